# frozen_string_literal: true

require "tmpdir"
require_relative "helper"

describe "kill -9" do
  include Compat

  it "loses nothing: another process puts the jobs back within a minute" do
    jids = SlowJob.perform_bulk((1..12).map { [45] })
    victim = start_worker("-c", "10")
    eventually { assert_equal 10, redis("HGET", "proof:count", "rust").to_i }
    victim.kill
    held = private_jobs
    assert_includes 10..12, held
    assert_equal 12, held + Sidekiq::Queue.new.size

    killed_at = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    survivor = start_worker("-q", "elsewhere")
    eventually(within: 70) { assert_equal [0, 12], [private_jobs, Sidekiq::Queue.new.size] }
    assert_operator Process.clock_gettime(Process::CLOCK_MONOTONIC) - killed_at, :<, 60
    assert_equal jids.sort, Sidekiq::Queue.new.map(&:jid).sort
    eventually { assert_match(/put back the jobs of a process that died/, survivor.said) }
    named = survivor.said.scan(/jid=(\w+) class=SlowJob queue=default: recovered from a process that died/).flatten
    assert_equal [held, []], [named.size, named - jids]
    survivor.stop
  end

  it "runs few jobs twice, even such that take no time" do
    Dir.mktmpdir do |dir|
      tally = File.join(dir, "tally")
      (0...100).each { Sidekiq::Client.push_bulk("class" => "TallyJob", "args" => [[tally]] * 1_000) }
      worker = start_worker("-c", "10")
      eventually { assert_operator File.size?(tally) || 0, :>, 5_000 }
      worker.kill
      twice = File.size(tally) + private_jobs + Sidekiq::Queue.new.size - 100_000
      assert_includes 0..10 + 64, twice
    end
  end

  it "runs every job of a thousand at least once over five kills" do
    jids = EchoJob.perform_bulk((1..1000).map { |n| [n] })
    slow = SlowJob.perform_bulk((1..10).map { [0.2] })
    5.times do
      worker = start_worker("-c", "10")
      eventually { assert_operator redis("HGET", "proof:count", "rust").to_i, :>, 0 }
      worker.kill
    end
    # What the dead ones held comes back as soon as they are known to be dead; here they are known at once.
    redis("SMEMBERS", "ferrokiq:processes").each do |identity|
      redis("ZADD", "ferrokiq:alive", 1, identity)
      redis("SET", "ferrokiq:suspect:#{identity}", "1 1")
    end
    with_worker("-c", "10") do
      eventually { assert_equal 0, Sidekiq::Queue.new.size + private_jobs + Sidekiq::RetrySet.new.size }
    end
    (jids + slow).each { |jid| assert_operator proofs(jid).size, :>=, 1 }
    twice = jids.count { |jid| proofs(jid).size > 1 }
    assert_operator twice, :<=, 5 * (10 + 64)
  end
end
