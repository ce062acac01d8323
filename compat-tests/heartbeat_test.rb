# frozen_string_literal: true

require_relative "helper"
require "sidekiq/metrics/query" if Sidekiqs::MAJOR >= 7

describe "the heartbeat" do
  include Compat

  it "shows the process to Sidekiq's own API" do
    with_worker("-c", "7", "-q", "critical,2", "-q", "default", "-g", "myapp") do |worker|
      process = worker.process
      assert_equal [7, "myapp", %w[critical default]], [process["concurrency"], process.tag, process.queues.sort]
      assert_equal [worker.identity, false], [process.identity, process.stopping?]
      assert_match(/\Aferrokiq-/, process["version"])
      assert_equal false, process["embedded"]
      assert_in_delta Time.now.to_f, process["beat"], 15
      assert_in_delta Time.now.to_f, process["started_at"], 15
      assert_operator process["rss"], :>, 1000
      assert_operator process["rtt_us"], :>, 0
      assert_equal({"default" => {"concurrency" => 7, "mode" => "weighted", "weights" => {"critical" => 2, "default" => 0}}}, process["capsules"])
      assert_equal [7, 1], [Sidekiq::ProcessSet.new.total_concurrency, Sidekiq::ProcessSet.new.size]
      assert_operator Sidekiq::ProcessSet.new.total_rss, :>, 1000
      assert_includes 50..60, redis("TTL", worker.identity)
    end
    assert_equal 0, Sidekiq::ProcessSet.new.size
  end

  it "shows what runs" do
    jid = SlowJob.perform_async(30)
    with_worker("-t", "1") do |worker|
      # The work set is written with a beat, ten seconds apart.
      work = eventually {
        assert_equal [jid], busy_jobs.map(&:jid)
        busy_jobs.first
      }
      assert_equal worker.identity, work.identity
      assert_match(/\A[0-9a-z]+\z/, work.tid)
      assert_equal ["default", "SlowJob", [30]], [work.queue, work.klass, work.args]
      assert_in_delta Time.now.to_f, work.run_at.to_f, 20
      # Written after the work set, by the same beat.
      eventually { assert_equal 1, Sidekiq::ProcessSet.new.find { |process| process.identity == worker.identity }["busy"] }
      assert_equal 1, Sidekiq::Stats.new.workers_size
    end
    assert_empty busy_jobs
  end

  it "counts for the history and the metrics of every class" do
    3.times { |n| NoopJob.perform_async("a", n, {}) }
    FailJob.perform_async("boom")
    SlowJob.perform_async(0.1)
    with_worker("--wire-version", Sidekiqs::MAJOR.to_s) { eventually { assert_equal 0, Sidekiq::Queue.new.size + private_jobs } }

    history = Sidekiq::Stats::History.new(1)
    assert_equal [[5], [1]], [history.processed.values, history.failed.values]
    skip_before 7, "has no metrics"

    top = Sidekiq::Metrics::Query.new.top_jobs(minutes: 10)
    results = top.job_results
    assert_equal %w[FailJob NoopJob SlowJob], results.keys.sort
    assert_equal [3, 0], results["NoopJob"].totals.values_at("p", "f")
    assert_equal [1, 1], results["FailJob"].totals.values_at("p", "f")
    assert_includes 90..1000, results["SlowJob"].totals["ms"]

    slow = Sidekiq::Metrics::Query.new.for_job("SlowJob", minutes: 10).job_results["SlowJob"]
    assert_equal 1, slow.hist.values.flatten.sum
    return if Sidekiqs::MAJOR < 8
    assert_includes 250_000..259_200, redis("TTL", redis("KEYS", "j|*").min_by(&:size))
  end

  it "writes the same metrics as Ruby for the same jobs" do
    skip_before 7, "has no metrics"
    work = -> {
      4.times { |n| NoopJob.perform_async("a", n, {}) }
      FailJob.perform_async("boom")
      Sidekiq::Client.push("class" => "NoSuchJob", "args" => [])
    }
    # Summed over the keys of one grain: a beat may fall into the next one.
    fields = -> {
      keys = redis("KEYS", "j|*")
      keys.select! { |key| key.size == keys.map(&:size).min } if Sidekiqs::MAJOR >= 8
      keys.map { |key| redis_hash(key) }.reduce({}) { |sum, some| sum.merge(some) { |_, a, b| a.to_i + b.to_i } }
        .transform_values(&:to_i).reject { |field, _| field.end_with?("|ms") }
    }
    done = -> {
      eventually { assert_equal [0, 2], [Sidekiq::Queue.new.size + private_jobs, Sidekiq::RetrySet.new.size] }
      # Sidekiq 7 writes them with a beat and not at its end.
      eventually { assert_equal 5, fields.call.sum { |field, count| field.end_with?("|p") ? count : 0 } }
    }

    work.call
    with_sidekiq("-q", "default") { done.call }
    ruby = fields.call
    redis("FLUSHDB")
    work.call
    with_worker("--wire-version", Sidekiqs::MAJOR.to_s) { done.call }
    assert_equal ruby, fields.call
  end
end
