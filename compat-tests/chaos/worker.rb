# frozen_string_literal: true

# The Ruby side of the faults that need one: the same job as in worker.rs, for real Sidekiq, and the same ledger.

require "sidekiq"

LIFE, DIR = ENV.fetch("CHAOS_LIFE").split("|")
LEDGER = File.open(File.join(DIR, "#{LIFE}.ledger"), "a")

# One write a line: those of several threads never mix.
def tell(jid, phase)
  LEDGER.syswrite("#{jid}#{phase}#{Process.clock_gettime(Process::CLOCK_BOOTTIME, :microsecond).to_s.rjust(22, "0")}\n")
end

# How often a job failed before.
class Failures
  include Sidekiq::ServerMiddleware

  def call(_worker, job, _queue)
    Thread.current[:failures] = job["retry_count"] ? job["retry_count"] + 1 : 0
    yield
  end
end

class Work
  include Sidekiq::Job
  sidekiq_retry_in { 1 }

  def perform(ms, failures)
    tell(jid, "s")
    sleep(ms / 1000.0)
    fails = Thread.current[:failures] < failures
    tell(jid, fails ? "f" : "d")
    raise "it was told to fail" if fails
  end
end

class LeaveItToFerrokiq
  def initialize(*) = nil
  def enqueue_jobs(*) = nil
  def terminate = nil
end

Sidekiq.configure_server do |config|
  config.server_middleware { |chain| chain.add Failures }
  config[:poll_interval_average] = 0.5
  # As docs/promises.md has it.
  config[:scheduled_enq] = LeaveItToFerrokiq if ENV.key?("CHAOS_NO_POLLER")
end
