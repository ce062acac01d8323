# frozen_string_literal: true

# Drains no-op jobs with real Sidekiq in this process and prints the line of its own load script; the same jobs as
# benches/load.rs. Run by bin/bench: REDIS_URL=... ruby benches/load.rb --jobs 100000 --concurrency 10

require "logger"
require "optparse"
require "sidekiq"
require "sidekiq/api"
require "sidekiq/launcher"

options = {jobs: 100_000, concurrency: 10}
OptionParser.new do |parser|
  parser.on("--jobs N", Integer) { |jobs| options[:jobs] = jobs }
  parser.on("--concurrency N", Integer) { |threads| options[:concurrency] = threads }
end.parse!
jobs = options[:jobs]

# As Sidekiq's own.
class LoadJob
  include Sidekiq::Job

  def perform(string, index, hash)
  end
end

def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

config = Sidekiq.default_configuration
config.logger = Logger.new(IO::NULL)
config.concurrency = options[:concurrency]
config.queues = %w[default]

started = now
(0...jobs).each_slice(1000) { |some| LoadJob.perform_bulk(some.map { |index| ["string", index, {"mike" => "bob"}] }) }
puts "Created #{jobs} jobs in #{(now - started).round(1)} sec"

launcher = Sidekiq::Launcher.new(config)
started = now
launcher.run
queue = Sidekiq::Queue.new
# No closer than this to the end, as the original: a poll costs the workers time.
sleep 0.02 until queue.size.zero?
sleep 0.005 until Sidekiq::Processor::WORK_STATE.size.zero?
seconds = now - started
puts format("Done, %d jobs in %.2f sec, %.0f jobs/sec", jobs, seconds, jobs / seconds)
$stdout.flush
launcher.stop
