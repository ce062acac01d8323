# frozen_string_literal: true

# How a test asks for what is to come about.
module Verbs
  DEADLINE = 20

  def redis(...) = Sidekiq.redis { |conn| conn.call(...) }

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
