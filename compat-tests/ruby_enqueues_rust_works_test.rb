# frozen_string_literal: true

require_relative "helper"

describe "Ruby enqueues, Rust works" do
  include Compat

  it "passes every kind of argument unharmed" do
    args = [1, -5, 123456789012345678901234, 1.5, 1.0e20, true, false, nil, "", "é漢 \u2028 \" \\ / </script>", [1, [2, []]], {"a" => {"b" => [nil]}}]
    jid = EchoJob.perform_async(*args)
    with_worker { eventually { assert_equal 1, proofs(jid).size } }
    side, said = proofs(jid).first
    assert_equal "rust", side
    # Rust's own JSON type reads big integers as floats; what is left in Redis never goes through it.
    assert_equal args - [args[2]], said - [said[2]]
    assert_in_delta args[2].to_f, said[2].to_f, 1e8
  end

  it "hands back every float as it was, to the last bit" do
    dice = Random.new(1_795_408_404)
    bits = ->(number) { [number].pack("Q>").unpack1("G") }
    kinds = [
      -> { bits.call(dice.rand(2**64)) },
      -> { dice.rand(1..1_000_000) / 3.0 },
      -> { dice.rand(-1_000_000..1_000_000) / 10.0**dice.rand(0..6) },
      -> { bits.call(dice.rand(2).zero? ? dice.rand(2**52) : (2046 << 52) + dice.rand(2**52)) },
      -> { dice.rand(-2**60..2**60).to_f },
      -> { dice.rand(100_000_000) / 100.0 * 1.19 },
    ]
    jobs = kinds.to_h do |draw|
      floats = Array.new(20_000) { draw.call }.select(&:finite?)
      [EchoJob.perform_async(*floats), floats]
    end
    with_worker { eventually { jobs.each_key { |jid| assert_equal 1, proofs(jid).size } } }
    jobs.each do |jid, floats|
      _, said = proofs(jid).first
      changed = floats.zip(said).reject { |ours, theirs| theirs.is_a?(Float) && [ours].pack("G") == [theirs].pack("G") }
      assert_empty changed.first(3), "#{changed.size} of #{floats.size} changed"
    end
  end

  it "runs a bulk of a thousand, each once, and counts them" do
    jids = EchoJob.perform_bulk((1..1000).map { |n| [n] })
    with_worker("-c", "20") do
      eventually { assert_equal "1000", redis("HGET", "proof:count", "rust") }
      eventually { assert_equal 0, private_jobs }
    end
    jids.each { |jid| assert_equal 1, proofs(jid).size }
    assert_equal 1000, Sidekiq::Stats.new.processed
    assert_equal 0, Sidekiq::Stats.new.failed
    assert_equal 0, Sidekiq::Queue.new.size
  end

  it "runs a job of every queue it is told, and of no other" do
    jids = %w[critical low other].to_h { |queue| [queue, EchoJob.set(queue: queue).perform_async(queue)] }
    with_worker("-q", "critical,3", "-q", "low,1") do
      assert_ran "rust", jids["critical"], ["critical"]
      assert_ran "rust", jids["low"], ["low"]
    end
    assert_equal 1, Sidekiq::Queue.new("other").size
  end

  it "shares a queue with Ruby, and each job runs once" do
    with_sidekiq("-c", "5", "-q", "default") do
      with_worker("-c", "5") do
        jids = EchoJob.perform_bulk((1..2000).map { |n| [n] })
        eventually { assert_equal 2000, redis("HVALS", "proof:count").sum(&:to_i) }
        jids.each { |jid| assert_equal 1, proofs(jid).size }
      end
    end
    assert_equal 2000, Sidekiq::Stats.new.processed
  end
end
