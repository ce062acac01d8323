# frozen_string_literal: true

require_relative "helper"
require_relative "support/odd_payloads"
require "sidekiq/scheduled"

# Payloads nobody means, and what Ruby makes of what the Rust worker and its poller leave of them.
module Odds
  include Compat

  # The sorted sets a poller empties.
  WAITING = %w[retry schedule].freeze

  def odds(drawn:)
    listed = OddPayloads.listed(stamp)
    listed + OddPayloads.drawn(listed.size, drawn, stamp, Random.new(OddPayloads::SEED))
  end

  def stamp = (Sidekiqs::STAMP == Integer) ? "1795408384695" : "1795408384.695"

  def number(raw) = raw.b[/"odd" ?: ?(\d+)/, 1]&.to_i

  def queued = redis("KEYS", "queue:*").flat_map { |key| redis("LRANGE", key, 0, -1) }

  def numbers(raws) = raws.map { |raw| number(raw) }

  # Ruby's own poller moves everything that waits, once; what it raised.
  def ruby_polls
    enq = (Sidekiqs::MAJOR >= 7) ? Sidekiq::Scheduled::Enq.new(Sidekiq.default_configuration) : Sidekiq::Scheduled::Enq.new
    raised = []
    begin
      enq.enqueue_jobs
    rescue => error
      raised << "#{error.class}: #{error.message[0, 200]}"
      retry
    end
    raised
  end

  def idle(*sets)
    eventually(within: 60) { assert_equal [0, 0, *sets.map { 0 }], [Sidekiq::Queue.new.size, private_jobs, *sets.map { |set| redis("ZCOUNT", set, "-inf", 1) }] }
  end
end

describe "odd payloads that the Rust worker leaves" do
  include Odds

  # Whether Sidekiq drops such a job when it fails.
  def dropped?(odd) = odd.job.nil? || odd.job["retry"] == false || odd.job["dead"] == false || odd.job["class"] == "DiscardedJob"

  it "are all moved by Ruby's poller: nothing is lost, nothing is raised" do
    all = odds(drawn: 500)
    puts "odd payloads: #{all.size}, ODD_SEED=#{OddPayloads::SEED}"
    assert_operator all.size, :>=, 1_000
    all.each_slice(3) do |one, *others|
      redis("LPUSH", "queue:default", one.raw)
      Odds::WAITING.zip(others).each { |set, odd| redis("ZADD", set, 1, odd.raw) if odd }
    end
    with_worker("--wire-version", Sidekiqs::MAJOR.to_s) { idle(*Odds::WAITING) }

    dead = redis("ZRANGE", "dead", 0, -1)
    waiting = Odds::WAITING.flat_map { |set| redis("ZRANGE", set, 0, -1) }
    ran = redis("KEYS", "proof:*").size
    there = numbers(dead + waiting + queued)
    gone = all.reject { |odd| there.include?(odd.number) || dropped?(odd) || odd.job["class"] == "EchoJob" || odd.job["class"] == "StrictJob" }
    assert_empty gone.map(&:raw)
    assert_operator ran, :>, 10
    assert_operator waiting.size, :>, 300
    anonymous = Sidekiq::RetrySet.new.reject(&:jid).map(&:value)

    before = queued.size
    # One with a time of its own comes to the schedule first.
    raised = Array.new(2) { Odds::WAITING.each { |set| make_due(set) } && ruby_polls }.flatten
    assert_empty raised
    assert_equal [0, 0], Odds::WAITING.map { |set| redis("ZCARD", set) }
    assert_equal before + waiting.size, queued.size
    assert_empty numbers(waiting) - numbers(queued)
    assert_empty anonymous
  end
end
