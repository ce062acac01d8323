# frozen_string_literal: true

require "net/http"

# How a test asks for what is to come about.
module Verbs
  DEADLINE = 20

  def redis(...) = Sidekiq.redis { |conn| conn.call(...) }

  # How many jobs of each gem a worker did not run, by its metrics; empty before it listens.
  def foreign_counts(port)
    text = Net::HTTP.get("127.0.0.1", "/metrics", port)
    text.scan(/^ferrokiq_jobs_foreign_total\{gem="(.*)"\} (\d+)$/).to_h.transform_values(&:to_i)
  rescue SystemCallError
    {}
  end

  # Polls until the block raises no assertion any more, and raises the last one at the deadline.
  def eventually(within: DEADLINE)
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + within
    begin
      yield
    rescue Minitest::Assertion, NoMethodError
      raise if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
      IO.select(nil, nil, nil, 0.02)
      retry
    end
  end
end
