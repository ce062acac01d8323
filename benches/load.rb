# frozen_string_literal: true

# One workload with real Sidekiq in this process, on an empty Redis; prints what it measured as `name value` lines on stderr. The
# same jobs as benches/load/. Run by bin/bench: REDIS_URL=... ruby benches/load.rb drain --jobs 100000 --concurrency 10

require "json"
require "logger"
require "optparse"
require "sidekiq"
require "sidekiq/api"
require "sidekiq/launcher"

workload = ARGV.shift
OPTIONS = {jobs: 100_000, concurrency: 10, queues: 1, processes: 1}
OptionParser.new do |parser|
  %i[jobs concurrency queues processes rate].each { |name| parser.on("--#{name} N", Integer) { |number| OPTIONS[name] = number } }
  parser.on("--log") { OPTIONS[:log] = true }
end.parse!
JOBS = OPTIONS[:jobs]

# As Sidekiq's own.
class LoadJob
  include Sidekiq::Job

  def perform(string, index, hash)
  end
end

class FailingJob
  include Sidekiq::Job

  def perform(string, index, hash) = raise("boom")
end

class SleepingJob
  include Sidekiq::Job

  def perform(string, index, hash) = sleep(0.1)
end

class LargeJob
  include Sidekiq::Job

  def perform(text) = (raise("it arrived whole") unless text.size == 1_000_000)
end

class ReadingJob
  include Sidekiq::Job

  def perform(document)
    records = JSON.parse(document)
    sum = records.sum { |record| record["sums"].sum }
    long = records.count { |record| record["name"].size + record["tags"].size > 12 && record["id"] > 0 }
    raise "it was read" unless sum > 0 && long > 0
  end
end

# Says how long it waited.
class LatencyJob
  include Sidekiq::Job
  WAITED = Queue.new

  def perform(pushed)
    WAITED << Process.clock_gettime(Process::CLOCK_REALTIME, :microsecond) - pushed
  end
end

def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

def tell(name, value) = warn("#{name} #{value}")

def queue(number) = number.zero? ? "default" : "queue#{number}"

def redis(...) = Sidekiq.redis { |conn| conn.call(...) }

def redis_cpu = redis("INFO", "cpu").scan(/used_cpu_(?:sys|user):([\d.]+)/).flatten.sum(&:to_f)

# Seconds of all threads, and of children that have ended.
def own_cpu = Process.times.then { |times| times.utime + times.stime + times.cutime + times.cstime }

CONFIG = Sidekiq.default_configuration
CONFIG.concurrency = OPTIONS[:concurrency]
CONFIG.queues = (0...OPTIONS[:queues]).map { |number| (OPTIONS[:queues] > 1) ? "#{queue(number)},#{number % 5 + 1}" : queue(number) }
if OPTIONS[:log]
  # What the `sidekiq` command does on its own.
  CONFIG.logger = Sidekiq::Logger.new($stdout, level: Logger::INFO)
else
  CONFIG.logger = Logger.new(IO::NULL)
end

def fill(job)
  (0...OPTIONS[:queues]).each do |number|
    (0...JOBS / OPTIONS[:queues]).each_slice(1000) { |some| job.set(queue: queue(number)).perform_bulk(some.map { |index| ["string", index, {"mike" => "bob"}] }) }
  end
end

# From the start of the server to the end of the last job.
def drain
  cpu = redis_cpu
  own = own_cpu
  started = now
  children = (OPTIONS[:processes] - 1).times.map { fork { launch.tap { settled }.stop } }
  launcher = launch
  settled
  seconds = now - started
  children.each { |child| Process.wait(child) }
  tell "own_cpu_us", (own_cpu - own) / JOBS * 1e6
  tell "redis_cpu_us", (redis_cpu - cpu) / JOBS * 1e6
  yield seconds
  launcher.stop
end

def launch = Sidekiq::Launcher.new(CONFIG).tap(&:run)

def settled
  # No closer than this to the end, as the original: a poll costs the workers time.
  sleep 0.02 until Sidekiq::Stats.new.enqueued.zero?
  sleep 0.005 until Sidekiq::Processor::WORK_STATE.size.zero?
end

def rate = ->(seconds) { tell "per_s", JOBS / seconds }

def rss_kb = File.read("/proc/self/status")[/VmRSS:\s+(\d+)/, 1].to_i

case workload
when "drain"
  fill(LoadJob)
  drain(&rate)
when "fail"
  fill(FailingJob)
  drain(&rate)
when "cpu"
  document = JSON.generate((0...1_250).map { |id| {"id" => id, "name" => "customer #{id}", "tags" => %w[a b], "sums" => [1.5, 2.25, id]} })
  (0...JOBS).each_slice(50) { |some| ReadingJob.perform_bulk(some.map { [document] }) }
  drain(&rate)
when "large"
  text = "x" * 1_000_000
  (0...JOBS).each_slice(10) { |some| LargeJob.perform_bulk(some.map { [text] }) }
  drain { |seconds| tell "mb_per_s", JOBS / seconds }
when "sleep"
  fill(SleepingJob)
  drain { |seconds| tell "seconds", seconds }
when "promote"
  (0...JOBS).each_slice(1000) { |some| LoadJob.perform_bulk(some.map { |index| ["string", index, {"mike" => "bob"}] }, at: Time.now.to_f + 3600) }
  redis("EVAL", "for at, job in ipairs(redis.call('ZRANGE', 'schedule', 0, -1)) do redis.call('ZADD', 'schedule', at / 1000, job) end", 0)
  require "sidekiq/scheduled"
  started = now
  Sidekiq::Scheduled::Enq.new(CONFIG).enqueue_jobs
  rate[now - started]
when "latency"
  launcher = launch
  waited = JOBS.times.map { LatencyJob::WAITED.pop }
  launcher.stop
  # The first tenth warms up.
  waited = waited.drop(waited.size / 10).sort
  percentile = ->(share) { waited[((waited.size - 1) * share).to_i] }
  tell "p50_us", percentile[0.5]
  tell "p99_us", percentile[0.99]
when "push"
  LoadJob.perform_async
  started = now
  OPTIONS[:concurrency].times.map { Thread.new { (JOBS / OPTIONS[:concurrency]).times { |index| LoadJob.perform_async("string", index, {"mike" => "bob"}) } } }.each(&:join)
  rate[now - started]
when "bulk"
  LoadJob.perform_async
  started = now
  fill(LoadJob)
  rate[now - started]
when "idle"
  launcher = launch
  sleep 3
  before = redis("INFO", "stats")[/total_commands_processed:(\d+)/, 1].to_i
  sleep 20
  tell "commands_per_s", (redis("INFO", "stats")[/total_commands_processed:(\d+)/, 1].to_i - before) / 20.0
  tell "rss_kb", rss_kb
  launcher.stop
else
  abort "which workload? drain, fail, cpu, large, sleep, promote, latency, push, bulk, idle"
end
