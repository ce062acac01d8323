#!/usr/bin/env ruby
# frozen_string_literal: true

# Records the golden corpus: drives real Sidekiq with frozen time, jids and dice, and writes what landed in Redis, one case
# per file, under ruby-fixtures/sidekiq-MAJOR/. Running it twice changes nothing.
#
#   bin/lib/in-ruby -- ruby ruby-fixtures/generate.rb            writes the files
#   bin/lib/in-ruby -- ruby ruby-fixtures/generate.rb --check    only says which differ, and fails if any does

require "fileutils"
require "logger"
require "zlib"
require_relative "../compat-tests/support/redis_server"

server = RedisServer.start
at_exit { server.stop }
ENV["REDIS_URL"] = server.url

require_relative "frozen"
require_relative "jobs"
require_relative "cases"
require "sidekiq/api"
require "sidekiq/processor"
require "sidekiq/scheduled"
require "sidekiq/launcher"

MAJOR = Sidekiq::VERSION.to_i

# The real parts of this Sidekiq, made by hand.
if MAJOR >= 7
  CONFIG = Sidekiq::Config.new(error_handlers: [])
  CONFIG.logger = Logger.new(IO::NULL)
  CONFIG.redis = {url: server.url}
  Sidekiq.default_configuration.redis = {url: server.url}
  Sidekiq.default_configuration.logger = Logger.new(IO::NULL)

  def processor = Sidekiq::Processor.new(CONFIG.default_capsule) { nil }
  def unit(raw) = Sidekiq::BasicFetch::UnitOfWork.new("queue:default", raw, CONFIG)
  def flush_stats = Sidekiq::Launcher.new(CONFIG).send(:flush_stats)
  def enq = Sidekiq::Scheduled::Enq.new(CONFIG)
else
  Sidekiq.logger = Logger.new(IO::NULL)
  Sidekiq.error_handlers.clear
  Redis.silence_deprecations = true if Redis.respond_to?(:silence_deprecations=)
  OPTIONS = Sidekiq.options.merge(queues: ["default"])

  def processor = Sidekiq::Processor.new(nil, OPTIONS.merge(fetch: Sidekiq::BasicFetch.new(OPTIONS)))
  def unit(raw) = Sidekiq::BasicFetch::UnitOfWork.new("queue:default", raw)
  def flush_stats = Sidekiq::Launcher.flush_stats
  def enq = Sidekiq::Scheduled::Enq.new
end

def redis(...) = Sidekiq.redis { |conn| conn.call(...) }

def lifetime(key)
  seconds = redis("TTL", key)
  seconds.negative? ? nil : seconds
end

# Everything in Redis but what the jobs told about themselves.
def state
  keys = redis("KEYS", "*").reject { |key| key.start_with?("proof:") }.sort
  keys.to_h do |key|
    value = case redis("TYPE", key)
    when "list" then redis("LRANGE", key, 0, -1).map { |raw| payload(raw) }
    when "zset" then redis("ZRANGE", key, 0, -1, "WITHSCORES").flatten.each_slice(2).map { |raw, score| {"score" => Float(score), "member" => payload(raw)} }
    when "set" then redis("SMEMBERS", key).sort
    when "string" then redis("GET", key)
    end
    [key, {"value" => value, "ttl" => lifetime(key)}.compact]
  end
end

# As an object where it is one, so that a diff reads; the bytes otherwise.
def payload(raw)
  parsed = JSON.parse(raw)
  return raw unless parsed.is_a?(Hash) && JSON.generate(parsed) == raw
  # Where the frames lie differs from machine to machine.
  packed = parsed["error_backtrace"]
  parsed["error_backtrace"] = "#{JSON.parse(Zlib.inflate(packed.unpack1("m"))).size} frames" if packed
  parsed
rescue JSON::ParserError
  raw
end

def enqueue(given)
  result = begin
    # Some calls change what they are given.
    Sidekiq::Client.new.public_send(given["call"], Marshal.load(Marshal.dump(given["item"])))
    nil
  rescue ArgumentError => error
    error.message[/\A[^:`,]*/]
  end
  result ? {"error" => result} : {}
end

def run(raw)
  begin
    processor.send(:process, unit(raw))
  rescue Exception => error # rubocop:disable Lint/RescueException
    raise if error.is_a?(SignalException)
  end
  # Counters as a beat would write them.
  flush_stats
  {}
end

def due((set, member))
  redis("ZADD", set, 5, member)
  begin
    enq.enqueue_jobs([set])
  rescue ArgumentError => error
    return {"error" => error.message[/\A[^:`,]*/]}
  end
  {}
end

# How long the poller waits, in seconds, with the dice at 0, a half and almost 1: [processes, configured average, dice, seconds].
def poll
  [1, 2, 5, 9, 10, 11, 50].product([nil, 0.2, 15], [0.0, 0.5, 0.999]).map do |processes, average, dice|
    if MAJOR >= 7
      CONFIG[:poll_interval_average] = average
      poller = Sidekiq::Scheduled::Poller.new(CONFIG)
    else
      Sidekiq.options[:poll_interval_average] = average
      poller = Sidekiq::Scheduled::Poller.new
    end
    poller.define_singleton_method(:process_count) { processes }
    loaded = Object.new.tap { |one| one.define_singleton_method(:rand) { |*| dice } }
    poller.respond_to?(:rnd=) ? poller.rnd = loaded : poller.define_singleton_method(:rand) { |*| dice }
    [processes, average, dice, poller.send(:random_poll_interval).round(6)]
  end
ensure
  (MAJOR >= 7) ? CONFIG[:poll_interval_average] = nil : Sidekiq.options.delete(:poll_interval_average)
end

# The bucket of the histogram a duration falls into: [milliseconds, bucket].
def histogram
  bounds = Sidekiq::Metrics::Histogram::BUCKET_INTERVALS
  (bounds[0...-1].flat_map { |ms| [ms - 1, ms, ms + 1] } + [0, 1, 51, 9_999_999]).sort.map do |ms|
    histogram = Sidekiq::Metrics::Histogram.new("X")
    histogram.record_time(ms)
    [ms, histogram.buckets.index { |counter| counter.value == 1 }]
  end
end

# Floats of six kinds as this Ruby writes them: [kind, bits, JSON]. Integers are spelled as floats are. The same floats each time.
def floats
  dice = Random.new(1_795_408_404)
  from_bits = ->(bits) { [bits].pack("Q>").unpack1("G") }
  kinds = {
    "random bits" => -> { from_bits.call(dice.rand(2**64)) },
    "thirds" => -> { dice.rand(1..100_000) / 3.0 },
    "decimals" => -> { dice.rand(-1_000_000..1_000_000) / 10.0**dice.rand(0..6) },
    "extremes" => -> { from_bits.call(dice.rand(2).zero? ? dice.rand(2**52) : (2046 << 52) + dice.rand(2**52)) },
    "integers" => -> { dice.rand(-2**60..2**60).to_f },
    "money" => -> { dice.rand(100_000_000) / 100.0 * 1.19 },
  }
  kinds.flat_map do |kind, draw|
    Array.new(84) do
      float = draw.call until float&.finite?
      json = Sidekiq.dump_json([float])[1...-1]
      raise "#{json} is not read as it was written" unless [Sidekiq.load_json("[#{json}]")[0]].pack("G") == [float].pack("G")
      [kind, [float].pack("G").unpack1("H*"), json]
    end
  end
end

Frozen.freeze!
Sidekiq::JobRetry.prepend(Module.new { def rand(*) = 0 })
Sidekiq::Client.prepend(Module.new { def rand(*) = 0.5 })
root = File.join(__dir__, "sidekiq-#{MAJOR}")
check = ARGV.delete("--check")
differing = []
keep = ->(name, text) {
  path = File.join(root, "#{name}.json")
  return if File.exist?(path) && File.read(path) == "#{text}\n"
  return differing << path if check
  FileUtils.mkdir_p(File.dirname(path))
  File.write(path, "#{text}\n")
}

{"enqueue" => [Cases::ENQUEUE, method(:enqueue)], "run" => [Cases.run(MAJOR), method(:run)], "due" => [Cases.due(MAJOR), method(:due)]}.each do |kind, (cases, record)|
  cases.each do |name, given|
    redis("FLUSHDB")
    said = record.call(given)
    keep.call("#{kind}/#{name}", JSON.pretty_generate({"name" => name, "given" => given}.merge(said).merge("redis" => state)))
  end
end
rows = ->(rows) { "[\n#{rows.map { |row| "  #{JSON.generate(row)}" }.join(",\n")}\n]" }
keep.call("poll", rows.call(poll))
keep.call("floats", rows.call(floats))
if MAJOR >= 7
  require "sidekiq/metrics/tracking"
  keep.call("histogram", rows.call(histogram))
end

# Last, since Rails changes what Ruby's own classes do.
require_relative "active_job"
ActiveJobs.record.each { |kind, recorded| keep.call("active_job/#{kind}", rows.call(recorded)) }

if differing.any?
  warn "these cases differ from what Sidekiq #{Sidekiq::VERSION} does:", *differing
  exit 1
end
count = [Cases::ENQUEUE, Cases::RUN, Cases::DUE].sum(&:size)
puts "#{count} cases of Sidekiq #{Sidekiq::VERSION}, Ruby #{RUBY_VERSION}: #{check ? "all as recorded" : "recorded"}"
