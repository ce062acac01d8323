# frozen_string_literal: true

require_relative "helper"

# The Data API of ferrokiq and Sidekiq's own, on the same Redis.
describe "the Data API" do
  include Compat

  INSPECT = ENV.fetch("INSPECT") { abort "INSPECT is not set: run bin/test compat" }

  def inspect_rust(*arguments)
    said, code = WorkerProcess.run(INSPECT, *arguments)
    assert_equal 0, code, said
    said
  end

  def rust = JSON.parse(inspect_rust)

  def entries(set) = set.map { |entry| [entry.jid, entry.klass, entry.score, (entry.error_backtrace || []).size] }

  def ruby
    stats = Sidekiq::Stats.new
    history = Sidekiq::Stats::History.new(2)
    {
      "stats" => [stats.processed, stats.failed, stats.scheduled_size, stats.retry_size, stats.dead_size, stats.processes_size, stats.workers_size, stats.enqueued],
      "queues" => Sidekiq::Queue.all.sort_by { |queue| [-queue.size, queue.name] }.map { |queue|
        {"name" => queue.name, "size" => queue.size, "paused" => redis("SISMEMBER", "paused", queue.name) == 1, "jids" => queue.map(&:jid), "waited" => queue.latency}
      },
      "schedule" => entries(Sidekiq::ScheduledSet.new), "retry" => entries(Sidekiq::RetrySet.new), "dead" => entries(Sidekiq::DeadSet.new),
      "history" => history.processed.map { |day, count| [day, count, history.failed[day]] },
      "processes" => Sidekiq::ProcessSet.new(false).map { |process|
        concurrency = (Sidekiq::VERSION < "8.1") ? process["concurrency"] : Integer(redis("HGET", process["identity"], "concurrency"))
        [process["identity"], concurrency, process["busy"], process.stopping?, process["pid"]]
      }.sort,
      "work" => busy_jobs.map { |work| [work.identity, work.tid, work.queue, work.jid, work.run_at.to_i] }.sort_by(&:last)
    }
  end

  it "sees what Sidekiq sees" do
    120.times { |n| EchoJob.set(queue: "waiting").perform_async(n) }
    70.times { |n| EchoJob.perform_in(1000 + n, n) }
    3.times { |n| FailJob.set(backtrace: 3).perform_async("boom #{n}") }
    2.times { |n| DoomedJob.perform_async("dead #{n}") }
    SlowJob.perform_async(30)
    redis("SADD", "paused", "waiting")
    with_worker("-t", "1") do
      eventually { assert_equal %w[SlowJob], busy_jobs.map(&:klass) }
      # Again if the worker beat between the two readings.
      eventually do
        expected, actual = ruby, rust
        [expected, actual].each { |all| all["queues"].each { |queue| assert_in_delta 0, queue.delete("waited"), 60 } }
        expected.each_key { |part| assert_equal expected[part], actual[part], part }
      end
    end
  end

  # What Sidekiq's own query says, in the words of the Rust one.
  def described(result)
    totals = ->(series, bucket) { %w[p f ms].map { |metric| series[metric][bucket] } }
    jobs = result.job_results.to_h do |name, job|
      buckets = %w[p f ms].flat_map { |metric| job.series[metric].keys }.uniq.sort
      histogram = job.hist.values.map(&:reverse).reject(&:empty?).reduce([0] * 26) { |sum, runs| sum.zip(runs).map(&:sum) }
      [name, {"totals" => job.totals.values_at("p", "f", "ms"), "histogram" => histogram,
              "series" => buckets.map { |bucket| [epoch(bucket), totals[job.series, bucket]] }}]
    end
    {"jobs" => jobs, "marks" => result.marks.map { |mark| [mark.time.to_i, mark.label, epoch(mark.bucket)] }.sort}
  end

  # Sidekiq 7 says "4:35" where 8 says the whole moment.
  def epoch(bucket)
    time = Time.parse(bucket.include?("T") ? bucket : "#{bucket} UTC")
    ((time > Time.now) ? time - 86_400 : time).to_i
  end

  it "answers questions for metrics as Sidekiq does" do
    skip_before 7, "has no metrics"
    require "sidekiq/metrics/query"
    require "sidekiq/deploy"
    3.times { |n| NoopJob.perform_async("a", n, {}) }
    FailJob.perform_async("boom")
    SlowJob.perform_async(0.12)
    Sidekiq::Deploy.mark!("release one")
    work = -> { eventually { assert_equal [0, 5], [Sidekiq::Queue.new.size + private_jobs, Sidekiq::Metrics::Query.new.top_jobs(minutes: 10).job_results.values.sum { |job| job.totals["p"] }] } }
    with_sidekiq("-q", "default") { work.call }
    NoopJob.perform_async("b", 4, {})
    with_worker("--wire-version", Sidekiqs::MAJOR.to_s) { eventually { assert_equal 0, Sidekiq::Queue.new.size + private_jobs } }

    assert_asked = ->(*question) {
      eventually {
        ruby = answer_of_ruby(question)
        assert_equal ruby, JSON.parse(inspect_rust("metrics", *question)), question
        refute_empty ruby["jobs"]
      }
    }
    assert_asked["minutes", "60"]
    assert_asked["NoopJob", "minutes", "60"]
    assert_asked["SlowJob", "minutes", "60"]
    assert_asked["NoSuchJob", "minutes", "60"]
    assert_asked["hours", "2"] if Sidekiqs::MAJOR >= 8
  end

  def answer_of_ruby(question)
    query = Sidekiq::Metrics::Query.new
    result =
      case question
      in ["minutes", count] then query.top_jobs(minutes: count.to_i)
      in ["hours", count] then query.top_jobs(hours: count.to_i)
      in [name, "minutes", count] then query.for_job(name, minutes: count.to_i)
      end
    described(result)
  end

  it "knows where iterable jobs stand" do
    skip_before 8, "shows nobody where they stand"
    jid = CountJob.perform_async(1000, 0.1)
    with_sidekiq("-q", "default") { eventually { assert_operator proofs(jid).size, :>=, 4 } }
    cancelled = CountJob.perform_async(5, 0)
    WorkerProcess.run(WorkerProcess::TOOL, "cancel", cancelled)
    ruby = [jid, cancelled, "none"].map do |one|
      state = Sidekiq::IterableJobQuery.new(one)[one]
      state && [one, state.executions, state.runtime.round(6), state.cursor, state.cancelled]
    end
    rust = JSON.parse(inspect_rust("iterable", jid, cancelled, "none"))
    assert_equal ruby, rust.map { |state| state && [*state[0, 2], state[2].round(6), *state[3..]] }
    assert_equal [1, nil, nil], [ruby[0][1], ruby[0][4], ruby[2]]
    assert_kind_of Integer, ruby[1][4]
  end

  it "moves jobs as Sidekiq moves them" do
    jids = 3.times.map { |n| FailJob.perform_async("boom #{n}") }
    with_worker { eventually { assert_equal 3, Sidekiq::RetrySet.new.size } }
    before = redis("ZRANGE", "retry", 0, -1).to_h { |raw| [JSON.parse(raw)["jid"], raw] }

    assert_equal "true\n", inspect_rust("retry", "kill", jids[0])
    assert_equal [before[jids[0]]], redis("ZRANGE", "dead", 0, -1)
    assert_equal "true\n", inspect_rust("retry", "retry", jids[1])
    queued = redis("LRANGE", "queue:default", 0, -1).map { |raw| JSON.parse(raw) }
    assert_equal [[jids[1], -1]], queued.map { |job| job.values_at("jid", "retry_count") }
    assert_kind_of Sidekiqs::STAMP, queued[0]["enqueued_at"]
    assert_equal "true\n", inspect_rust("retry", "later", jids[2])
    assert_equal [[before[jids[2]], 2_000_000_000.5]], redis("ZRANGE", "retry", 0, -1, "WITHSCORES").flatten.each_slice(2).map { |raw, score| [raw, Float(score)] }
    assert_equal "true\n", inspect_rust("retry", "delete", jids[2])
    assert_equal 0, Sidekiq::RetrySet.new.size
    inspect_rust("dead", "clear")
    assert_equal 0, Sidekiq::DeadSet.new.size

    soon = EchoJob.perform_in(3600, "soon")
    assert_equal "true\n", inspect_rust("schedule", "add_to_queue", soon)
    assert_equal [soon, jids[1]], Sidekiq::Queue.new.map(&:jid)
    assert_equal "true\n", inspect_rust("queue", "delete", "default", soon)
    inspect_rust("queue", "clear", "default")
    assert_equal [0, []], [Sidekiq::Queue.new.size, Sidekiq::Queue.all]
  end

  it "moves all at once as Sidekiq moves them" do
    sides = {"ruby" => ->(set, what) { set.public_send(what) }, "rust" => ->(set, what) { inspect_rust(set.name, what) }}
    left = sides.transform_values do |act|
      redis("FLUSHDB")
      120.times { |n| redis("ZADD", "retry", 1000 + n, %({"class":"EchoJob","args":[#{n}],"jid":"r#{n}","queue":"default","retry":true,"retry_count":#{n},"created_at":#{(Sidekiqs::STAMP == Integer) ? 1_795_408_384_695 : 1_795_408_384.5}})) }
      act[Sidekiq::RetrySet.new, "retry_all"]
      queued = redis("LRANGE", "queue:default", 0, -1).map { |raw| JSON.parse(raw).values_at("jid", "retry_count") }.sort
      60.times { |n| redis("ZADD", "retry", 1000 + n, %({"class":"EchoJob","args":[#{n}],"jid":"k#{n}"})) }
      act[Sidekiq::RetrySet.new, "kill_all"]
      [queued, redis("ZRANGE", "dead", 0, -1).sort, redis("ZCARD", "retry")]
    end
    assert_equal left["ruby"], left["rust"]
    assert_equal [120, 60, 0], [left["rust"][0].size, left["rust"][1].size, left["rust"][2]]
  end

  it "shows a job as Sidekiq shows it" do
    jobs = [
      {"class" => "EchoJob", "args" => [1, "two"]},
      {"class" => "EchoJob", "display_class" => "Shown", "args" => []},
      {"class" => "EchoJob", "encrypt" => true, "args" => [1, "secret"]},
      {"class" => "Sidekiq::ActiveJob::Wrapper", "wrapped" => "GreetJob", "args" => [{"job_class" => "GreetJob", "arguments" => [1, {"_aj_globalid" => "gid://app/User/1"}, {"a" => [{"b" => 2, "_aj_symbol_keys" => ["b"]}], "_aj_ruby2_keywords" => ["a"]}]}]},
      {"class" => "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper", "wrapped" => "ActionMailer::MailDeliveryJob", "args" => [{"job_class" => "ActionMailer::MailDeliveryJob", "arguments" => ["UserMailer", "welcome", "deliver_now", {"params" => {"x" => 1}, "args" => [7]}]}]},
      {"class" => "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper", "wrapped" => "ActionMailer::DeliveryJob", "args" => [{"job_class" => "ActionMailer::DeliveryJob", "arguments" => ["UserMailer", "welcome", "deliver_now", 5]}]}
    ]
    # Sidekiq 6 and 7 know the new wrapper as a class like any other.
    jobs.reject! { |job| job["class"] == "Sidekiq::ActiveJob::Wrapper" } if Sidekiq::VERSION < "7.3.3"
    # Sidekiq 6 shows the last argument of the newer mails alone.
    jobs.reject! { |job| job["wrapped"] == "ActionMailer::MailDeliveryJob" } if Sidekiqs::MAJOR < 7
    jobs.each_with_index { |job, n| redis("LPUSH", "queue:shown", JSON.generate(job.merge("jid" => n.to_s))) }
    redis("LPUSH", "queue:shown", "no payload")
    ruby = Sidekiq::Queue.new("shown").map { |job| [job.display_class.to_s, job.display_args] }
    assert_equal ruby, inspect_rust("shown", "shown").lines.map { |line| JSON.parse(line) }
  end

  it "finds what runs, who leads and what is due when, and forgets counts" do
    jid = SlowJob.perform_async(30)
    redis("SET", "dear-leader", "somebody")
    3.times { |n| redis("ZADD", "schedule", 100 + n, %({"class":"EchoJob","args":[],"jid":"s#{n}"})) }
    redis("MSET", "stat:processed", 7, "stat:failed", 3)
    # Before a worker is there: its poller would move them.
    assert_equal Sidekiq::ScheduledSet.new.fetch(101..102).map(&:jid), JSON.parse(inspect_rust("schedule", "fetch", "101", "102"))
    assert_equal %w[s1 s2], JSON.parse(inspect_rust("schedule", "fetch", "101", "102"))
    redis("DEL", "schedule")
    with_worker("-t", "1", "-q", "default") do
      eventually { assert_equal "default\n", inspect_rust("work", jid) }
      assert_equal "somebody\n", inspect_rust("leader")
      assert_equal "\n", inspect_rust("work", "nobody")
    end
    inspect_rust("stats", "reset")
    assert_equal [0, 0], [Sidekiq::Stats.new.processed, Sidekiq::Stats.new.failed]
  end

  it "keeps what is no payload, and can delete it" do
    redis("ZADD", "dead", 5, "no json abcdef")
    said, code = WorkerProcess.run(INSPECT, "dead", "retry", "abcdef")
    assert_equal 1, code, said
    assert_equal ["no json abcdef"], redis("ZRANGE", "dead", 0, -1)
    assert_equal [["", "", 5.0, 0]], rust["dead"]
  end

  it "quiets and stops processes of either side" do
    worker = start_worker
    inspect_rust("process", "quiet", worker.identity)
    eventually { assert worker.process.stopping? }
    inspect_rust("process", "stop", worker.identity)
    assert_equal 0, worker.wait.exitstatus
    with_sidekiq("-q", "default") do |sidekiq|
      inspect_rust("process", "quiet", sidekiq.identity)
      # It takes the signal with one beat, and says so with the next.
      eventually(within: 40) { assert sidekiq.process.stopping? }
    end
  end
end
