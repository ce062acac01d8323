# frozen_string_literal: true

require_relative "helper"

describe "an iterable job" do
  include Compat

  before { skip_before 7, "has no iterable jobs" }

  def items(jid) = proofs(jid).filter_map { |_, what| what if what.is_a?(Integer) }

  def said(jid) = proofs(jid).filter_map { |side, what| "#{side} #{what}" if what.is_a?(String) }

  # Every item once and in order, but for the one that was interrupted.
  def assert_complete(number, jid)
    assert_equal (0...number).to_a, items(jid).uniq
    assert_operator items(jid).size, :<=, number + 1
    assert_empty redis_hash("it-#{jid}")
  end

  it "runs to its end in Rust and leaves nothing" do
    jid = CountJob.perform_async(20, 0)
    with_worker { eventually { assert_includes said(jid), "rust complete" } }
    assert_equal ["rust start", "rust complete"], said(jid)
    assert_complete 20, jid
  end

  it "that Rust began goes on in Ruby at the same item" do
    jid = CountJob.perform_async(40, 0.1)
    with_worker { eventually { assert_operator items(jid).size, :>=, 5 } }
    assert_equal 1, Sidekiq::Queue.new.size
    state = redis_hash("it-#{jid}")
    assert_equal [items(jid).last + 1, "1"], [JSON.parse(state["c"]), state["ex"]]
    assert_includes 0.4..10.0, Float(state["rt"])
    assert_includes 2_591_000..2_592_000, redis("TTL", "it-#{jid}")

    with_sidekiq("-q", "default") { eventually { assert_includes said(jid), "ruby complete" } }
    assert_equal ["rust start", "ruby resume", "ruby complete"], said(jid)
    assert_complete 40, jid
  end

  it "that Ruby began goes on in Rust at the same item" do
    jid = CountJob.perform_async(40, 0.1)
    with_sidekiq("-q", "default") { eventually { assert_operator items(jid).size, :>=, 5 } }
    with_worker { eventually { assert_includes said(jid), "rust complete" } }
    assert_equal ["ruby start", "rust resume", "rust complete"], said(jid)
    assert_complete 40, jid
  end

  it "makes way for others after its time" do
    config = WorkerProcess.config_file(":max_iteration_runtime: 0.5\n")
    jid = CountJob.perform_async(20, 0.1)
    with_worker("-c", "1", "-C", config) do
      eventually { assert_includes said(jid), "rust resume" }
      other = EchoJob.perform_async("me too")
      assert_ran "rust", other, ["me too"]
      eventually { assert_includes said(jid), "rust complete" }
    end
    assert_complete 20, jid
  end

  it "begins its retry with the item that failed" do
    jid = CountJob.perform_async(10, "no number")
    with_worker { eventually { assert_equal 1, Sidekiq::RetrySet.new.size } }
    redis("HSET", "it-#{jid}", "c", "7", "ex", "1", "rt", "0.5")
    retried = Sidekiq::RetrySet.new.first
    retried.delete
    redis("LPUSH", "queue:default", JSON.generate(retried.item.merge("args" => [10, 0])))
    with_worker { eventually { assert_includes said(jid), "rust complete" } }
    assert_equal [7, 8, 9], items(jid)
  end

  it "is cancelled by the command line, before and while it runs in Rust" do
    before = CountJob.perform_async(10, 0)
    _, code = WorkerProcess.run(WorkerProcess::TOOL, "cancel", before)
    assert_equal 0, code
    jid = CountJob.perform_async(1000, 0.1)
    with_worker do
      eventually { assert_includes said(before), "rust complete" }
      assert_equal [["rust start", "rust cancel", "rust complete"], []], [said(before), items(before)]
      eventually { assert_operator items(jid).size, :>=, 3 }
      WorkerProcess.run(WorkerProcess::TOOL, "cancel", jid)
      eventually { assert_includes said(jid), "rust complete" }
      assert_includes said(jid), "rust cancel"
    end
    assert_operator items(jid).size, :<, 200
    assert_empty redis("KEYS", "it-*")
  end

  it "that Rust cancelled before it began is cancelled in Ruby" do
    skip_before 8, "cannot cancel"
    jid = CountJob.perform_async(10, 0)
    WorkerProcess.run(WorkerProcess::TOOL, "cancel", jid)
    with_sidekiq("-q", "default") { eventually { assert_includes said(jid), "ruby complete" } }
    assert_includes said(jid), "ruby cancel"
    assert_empty items(jid)
  end
end
