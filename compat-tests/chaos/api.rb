# frozen_string_literal: true

# What people do in the Web UI, as fast as they can, for so many seconds; prints the jid of each job it deletes.

require "sidekiq"
require "sidekiq/api"

seconds, seed = ARGV.map(&:to_i)
random = Random.new(seed)
till = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
until Process.clock_gettime(Process::CLOCK_MONOTONIC) > till
  entry = Sidekiq::RetrySet.new.first(20).sample(random: random)
  case random.rand(5)
  when 0, 1 then entry&.retry
  when 2 then entry&.kill
  when 3 then puts entry.jid if entry&.delete
  else
    job = Sidekiq::Queue.new.first(20).sample(random: random)
    puts job.jid if job && job.delete
  end
end
