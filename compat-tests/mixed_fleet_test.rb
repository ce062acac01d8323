# frozen_string_literal: true

require_relative "helper"

# Processes of other versions, as they show themselves: what Rust writes must be readable for the oldest.
describe "a mixed fleet" do
  include Compat

  # A process of Sidekiq VERSION that lives; 6.4 does not say its version.
  def pretend(version)
    identity = "old:1:#{version || "64"}"
    info = {hostname: "old", started_at: Time.now.to_f, pid: 1, tag: "", concurrency: 1, queues: ["q"], labels: [], identity: identity}
    info[:version] = version if version
    redis("SADD", "processes", identity)
    redis("HSET", identity, "info", JSON.generate(info), "busy", 0, "beat", Time.now.to_f, "quiet", "false")
  end

  def pushed(class_name)
    raw = redis("LRANGE", "queue:ruby", 0, -1).first
    assert_includes raw, class_name
    JSON.parse(raw)
  end

  [[nil, Float], ["7.3.2", Float], ["8.1.7", Integer]].each do |version, kind|
    it "writes stamps that Sidekiq #{version || "6.4"} reads, from a job and from the command line" do
      pretend(version)
      HandoverJob.set(created_at: 1_795_408_384_695).perform_async("x")
      with_worker { eventually { assert_equal 1, redis("LLEN", "queue:ruby") } }
      assert_kind_of kind, pushed("RubyEchoJob")["created_at"]
      assert_kind_of kind, pushed("RubyEchoJob")["enqueued_at"]

      _, code = WorkerProcess.run(WorkerProcess::TOOL, "push", "RubyEchoJob", "[]", "--queue", "ruby")
      assert_equal 0, code
      assert_kind_of kind, pushed("RubyEchoJob")["created_at"]
    end
  end

  it "takes the form of the jobs it gets where no process tells" do
    HandoverJob.set(created_at: 1_795_408_384.5).perform_async("x")
    with_worker { eventually { assert_equal 1, redis("LLEN", "queue:ruby") } }
    assert_kind_of Float, pushed("RubyEchoJob")["created_at"]
  end

  it "shows what runs under the keys of all versions" do
    SlowJob.perform_async(30)
    with_worker("-t", "1") do |worker|
      eventually { assert_equal 1, redis("HLEN", "#{worker.identity}:work") }
      assert_equal 1, redis("HLEN", "#{worker.identity}:workers")
      assert_includes 1..60, redis("TTL", "#{worker.identity}:workers")
    end
    assert_empty redis("KEYS", "*:work*")
  end
end
