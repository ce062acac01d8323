# frozen_string_literal: true

require_relative "helper"
require_relative "support/web_ui"

describe "the Web UI" do
  include Compat
  include WebUi

  def page(path)
    get path
    assert_equal 200, last_response.status, "#{path}: #{last_response.body}"
    last_response.body
  end

  # A click on a button of a page.
  def click(path, **params)
    # Older ones have a token in every form, newer ones look at what the browser says.
    token = page("/busy")[/name=['"]authenticity_token['"] value=['"]([^'"]+)['"]/, 1]
    post path, token ? params.merge(authenticity_token: token) : params, {"HTTP_SEC_FETCH_SITE" => "same-origin"}
    assert_equal 302, last_response.status, "#{path}: #{last_response.status} #{last_response.body}"
  end

  # The retries that hold a text. The older ones of the Web UI leave that to Sidekiq Pro.
  def filtered(text)
    return page("/retries?substr=#{text}") if Sidekiqs::MAJOR >= 8
    Sidekiq::RetrySet.new.scan("*#{text}*").map(&:klass).join(" ")
  end

  it "renders every page with what Rust wrote" do
    hostile = "<script>alert('x')</script> \u0000 \u202e #{"long " * 2000}"
    FailJob.set(backtrace: 5, tags: ["vip"]).perform_async(hostile)
    DoomedJob.perform_async("dead <b>bold</b>")
    EchoJob.perform_in(3600, "later")
    EchoJob.set(queue: "waiting").perform_async("in line")
    NoopJob.perform_async("a", 1, {})
    slow = SlowJob.perform_async(60)
    with_worker("-t", "1", "-g", "rusty") do |worker|
      eventually { assert_equal [1, 1], [Sidekiq::RetrySet.new.size, Sidekiq::DeadSet.new.size] }
      eventually { assert_equal %w[SlowJob], busy_jobs.map(&:klass) }

      busy = page("/busy")
      [worker.identity, "SlowJob", slow, "rusty"].each { |text| assert_includes busy, text }
      assert_includes page("/"), "Dashboard"
      assert_includes page("/queues"), "waiting"
      assert_includes page("/queues/waiting"), "in line"
      assert_includes page("/retries"), "FailJob"
      assert_includes page("/morgue"), "DoomedJob"
      assert_includes page("/scheduled"), "EchoJob"
      if Sidekiqs::MAJOR >= 7
        assert_includes page("/metrics"), "NoopJob"
        page("/metrics/NoopJob")
      end
      retried = page("/retries/#{routed(Sidekiq::RetrySet.new.first)}")
      ["ArgumentError", "jobs.rs:", "&lt;script&gt;"].each { |text| assert_includes retried, text }
      refute_includes retried, "<script>alert"
      refute_includes page("/retries"), "<script>alert"
      dead = page("/morgue/#{routed(Sidekiq::DeadSet.new.first)}")
      assert_includes dead, "&lt;b&gt;bold"
      page("/scheduled/#{routed(Sidekiq::ScheduledSet.new.first)}")
      stats = JSON.parse(page("/stats"))
      assert_equal [1, 1, 1, 1], stats["sidekiq"].values_at("busy", "processes", "retries", "dead")
      assert_includes filtered("vip"), "FailJob"
      refute_includes filtered("nowhere"), "FailJob"
    end
  end

  it "retries, kills and deletes what Rust put into the retry set" do
    jids = 3.times.map { |n| FailJob.perform_async("boom #{n}") }
    flaky = FlakyJob.perform_async("ui")
    with_worker { eventually { assert_equal 4, Sidekiq::RetrySet.new.size } }

    find = ->(jid) { Sidekiq::RetrySet.new.find_job(jid) }
    click "/retries/#{routed(find[jids[0]])}", delete: "Delete"
    assert_nil find[jids[0]]
    click "/retries/#{routed(find[jids[1]])}", kill: "Kill"
    assert_equal jids[1], Sidekiq::DeadSet.new.first.jid
    click "/retries", "key[]": routed(find[jids[2]]), delete: "Delete"
    assert_nil find[jids[2]]
    click "/retries/#{routed(find[flaky])}", retry: "Retry"
    assert_equal [0, 1], [Sidekiq::RetrySet.new.size, Sidekiq::Queue.new.size]
    with_worker { assert_ran "rust", flaky, "ui" }
  end

  it "retries everything at once" do
    5.times { |n| FlakyJob.perform_async("all #{n}") }
    with_worker { eventually { assert_equal 5, Sidekiq::RetrySet.new.size } }
    click "/retries/all/retry"
    assert_equal 5, Sidekiq::Queue.new.size
    with_worker { eventually { assert_equal "5", redis("HGET", "proof:count", "rust") } }
  end

  it "brings the dead back, and buries them for good" do
    jids = 3.times.map { |n| DoomedJob.perform_async("dead #{n}") }
    with_worker { eventually { assert_equal 3, Sidekiq::DeadSet.new.size } }
    find = ->(jid) { Sidekiq::DeadSet.new.find_job(jid) }
    click "/morgue/#{routed(find[jids[0]])}", retry: "Retry"
    click "/morgue/#{routed(find[jids[1]])}", delete: "Delete"
    assert_equal [1, 1], [Sidekiq::DeadSet.new.size, Sidekiq::Queue.new.size]
    click "/morgue/all/delete"
    assert_equal 0, Sidekiq::DeadSet.new.size
  end

  it "moves what waits in the schedule to its queue now" do
    _, code = WorkerProcess.run(WorkerProcess::TOOL, "push", "EchoJob", '["early"]', "--in", "3600")
    assert_equal 0, code
    entry = Sidekiq::ScheduledSet.new.first
    click "/scheduled/#{routed(entry)}", add_to_queue: "Add to queue"
    with_worker { assert_ran "rust", entry.jid, ["early"] }
  end

  it "deletes jobs and queues that Rust pushed" do
    HandoverJob.perform_async("one")
    HandoverJob.perform_async("two")
    with_worker { eventually { assert_equal 2, Sidekiq::Queue.new("ruby").size } }
    click "/queues/ruby/delete", key_val: Sidekiq::Queue.new("ruby").first.value
    assert_equal 1, Sidekiq::Queue.new("ruby").size
    click "/queues/ruby", delete: "Delete"
    assert_equal 0, Sidekiq::Queue.new("ruby").size
  end

  it "quiets and stops the process" do
    worker = start_worker
    click "/busy", identity: worker.identity, quiet: "1"
    eventually { assert worker.process.stopping? }
    click "/busy", identity: worker.identity, stop: "1"
    assert_equal 0, worker.wait.exitstatus
  end
end
