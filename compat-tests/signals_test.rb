# frozen_string_literal: true

require_relative "helper"

describe "signals" do
  include Compat

  it "quiets when the Web UI says so, and stays up" do
    with_worker do |worker|
      worker.process.quiet!
      eventually { assert worker.process.stopping?, "the next beat should say it is quiet" }
      @jid = EchoJob.perform_async("nobody")
      # A beat later it is still there and quiet.
      beat = worker.process["beat"]
      eventually { assert_operator worker.process["beat"], :>, beat }
      assert worker.process.stopping?
    end
    assert_equal [[@jid], []], [Sidekiq::Queue.new.map(&:jid), proofs(@jid)]
  end

  it "stops when the Web UI says so" do
    worker = start_worker
    worker.process.stop!
    assert_equal 0, worker.wait.exitstatus
    assert_equal 0, Sidekiq::ProcessSet.new.size
  end

  it "says what runs when asked for its threads" do
    jid = SlowJob.perform_async(30)
    worker = start_worker("-t", "1")
    eventually { assert_equal 1, proofs(jid).size }
    worker.signal("TTIN")
    eventually { assert_match(/class=SlowJob jid=#{jid} queue=default elapsed=/, worker.said) }
    worker.process.dump_threads
    eventually { assert_equal 2, worker.said.scan("1 jobs are running").size }
    worker.stop
  end

  %w[TERM INT].each do |signal|
    it "puts running jobs back after the timeout on #{signal}, byte for byte" do
      SlowJob.perform_async(30)
      before = redis("LRANGE", "queue:default", 0, -1)
      worker = start_worker("-t", "1")
      eventually { assert_equal 0, Sidekiq::Queue.new.size }
      worker.signal(signal)
      assert_equal 0, worker.wait.exitstatus
      assert_equal before, redis("LRANGE", "queue:default", 0, -1)
      assert_equal [0, 0, 0], [private_jobs, Sidekiq::ProcessSet.new.size, Sidekiq::RetrySet.new.size]
    end
  end

  it "does not wait when told twice" do
    SlowJob.perform_async(60)
    worker = start_worker("-t", "60")
    eventually { assert_equal 0, Sidekiq::Queue.new.size }
    worker.signal("TERM")
    eventually { assert_match(/Shutting down/, worker.said) }
    worker.signal("TERM")
    assert_equal 0, worker.wait(within: 15).exitstatus
    assert_equal 1, Sidekiq::Queue.new.size
  end

  it "ends although a job blocks its thread" do
    Sidekiq::Client.push("class" => "StubbornJob", "args" => [60])
    worker = start_worker("-t", "1")
    eventually { assert_equal 0, Sidekiq::Queue.new.size }
    assert_equal 0, worker.stop.exitstatus
    assert_equal 1, Sidekiq::Queue.new.size
  end

  it "fetches nothing more on TSTP" do
    worker = start_worker
    worker.signal("TSTP")
    eventually { assert_match(/no longer accepting new work/, worker.said) }
    jid = EchoJob.perform_async("nobody")
    # Two signs of life later.
    2.times do
      sign = redis("ZSCORE", "ferrokiq:alive", worker.identity)
      eventually { refute_equal sign, redis("ZSCORE", "ferrokiq:alive", worker.identity) }
    end
    assert_equal 0, worker.stop.exitstatus
    assert_equal [[jid], []], [Sidekiq::Queue.new.map(&:jid), proofs(jid)]
  end
end
