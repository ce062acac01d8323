# frozen_string_literal: true

# The other half of top.rs: real Sidekiq fills Redis, and tells afterwards what its API sees.

require_relative "../../../ruby-fixtures/jobs"
require "sidekiq/api"
require "sidekiq/embedded"

Sidekiq.default_configuration.logger.level = :fatal

# Two jobs that failed, one that died, one for later, one that waits.
def fill
  2.times { |n| FailJob.perform_async("boom #{n}") }
  DoomedJob.perform_async("doomed")
  EchoJob.perform_in(1000, "later")
  EchoJob.set(queue: "low").perform_async("waits")
  sidekiq = Sidekiq.configure_embed { |config| config.queues = %w[default] }
  sidekiq.run
  sleep 0.02 until [Sidekiq::RetrySet.new.size, Sidekiq::DeadSet.new.size] == [2, 1]
  sidekiq.stop
end

def tell
  texts = ->(jobs) { jobs.map { |job| job.args.first }.sort }
  retried = Sidekiq::Queue.new("default").first
  puts JSON.generate(
    retries: texts[Sidekiq::RetrySet.new], dead: texts[Sidekiq::DeadSet.new], scheduled: texts[Sidekiq::ScheduledSet.new],
    enqueued: texts[Sidekiq::Queue.new("default")], retry_count: retried && retried["retry_count"],
    paused: Sidekiq.redis { |conn| conn.call("SMEMBERS", "paused") }
  )
end

send(ARGV.fetch(0))
