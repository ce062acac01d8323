# frozen_string_literal: true

require_relative "helper"

describe "Rust enqueues, Ruby works" do
  include Compat

  it "runs what a Rust job pushes" do
    jid = HandoverJob.perform_async("hello é")
    with_worker { assert_ran "rust", jid, "hello é" }
    record = Sidekiq::Queue.new("ruby").first
    assert_equal ["RubyEchoJob", ["hello é"]], [record.klass, record.args]
    assert_in_delta Time.now.to_f, record.enqueued_at.to_f, 60
    assert_in_delta 0, record.latency, 60
    with_sidekiq("-q", "ruby") { assert_ran "ruby", record.jid, ["hello é"] }
  end

  it "runs what the command line pushes, now and later" do
    args = '[1, "two", {"three": [123456789012345678901234, 1.0e+20]}]'
    now, code = WorkerProcess.run(WorkerProcess::TOOL, "push", "EchoJob", args)
    assert_equal 0, code, now
    later, = WorkerProcess.run(WorkerProcess::TOOL, "push", "EchoJob", "[5]", "--in", "1")
    assert_equal 1, Sidekiq::ScheduledSet.new.size
    expected = [1, "two", {"three" => [123456789012345678901234, 1.0e20]}]
    with_sidekiq("-q", "default") do
      assert_ran "ruby", now.chomp, expected
      assert_ran "ruby", later.chomp, [5]
    end
  end

  it "says what is wrong with what cannot be pushed" do
    [["push", "X", "{}"], ["push", "X", "[1,"], ["push", "X", "[]", "--queue", ""]].each do |arguments|
      said, code = WorkerProcess.run(WorkerProcess::TOOL, *arguments)
      assert_equal 65, code, said
      assert_match(/\Aerror: /, said)
    end
    assert_equal [], redis("KEYS", "*")
  end
end
