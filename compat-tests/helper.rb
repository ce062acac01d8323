# frozen_string_literal: true

# Real Sidekiq and the Rust worker on one Redis of the suite's own. Three verbs are enough: `with_worker`, `eventually`,
# `redis`. WORKER is the Rust worker, FERROKIQ the operator's tool; bin/test builds and names both.

require "minitest/autorun"
require "zlib"
require_relative "support/redis_server"
require_relative "support/worker_process"

REDIS = RedisServer.start
ENV["REDIS_URL"] = REDIS.url
Minitest.after_run { REDIS.stop }

require "logger"
require_relative "../ruby-fixtures/jobs"
require "sidekiq/api"
require_relative "support/sidekiqs"
require_relative "support/verbs"

module Compat
  include Sidekiqs
  include Verbs

  def before_setup
    super
    redis("FLUSHDB")
    @workers = []
  end

  def after_teardown
    @workers.each(&:kill)
    # The password every Rust worker logs in with.
    @workers.each { |worker| refute_includes worker.said, "s3cr3t" if worker.title == "ferrokiq" }
    assert_empty RedisServer.refusals(redis("ACL", "LOG")), "the shipped users may not"
    redis("ACL", "LOG", "RESET")
    super
  end

  # A Rust worker, up and seen by Sidekiq; stopped after the block. What it said is shown if the test fails.
  def with_worker(*flags, env: {})
    worker = start_worker(*flags, env: env)
    yield worker
    worker.stop
  end

  def start_worker(*flags, env: {})
    start(WorkerProcess.rust(*flags, env: env))
  end

  # A real `sidekiq` process.
  def with_sidekiq(*flags, env: {})
    process = start_sidekiq(*flags, env: env)
    yield process
    process.stop
  end

  def start_sidekiq(*flags, env: {})
    start(WorkerProcess.ruby(*flags, env: env))
  end

  def proofs(jid) = redis("LRANGE", "proof:#{jid}", 0, -1).map { |raw| JSON.parse(raw) }

  def assert_ran(side, jid, what)
    eventually { assert_includes proofs(jid), [side, what] }
  end

  # Moves everything in a set to the past.
  def make_due(set)
    redis("ZRANGE", set, 0, -1).each { |member| redis("ZADD", set, 1, member) }
  end

  # Seconds from the failure of a job, as its payload has it, until it is due at this score; nil if it never failed.
  def delay_of(raw, score)
    job = JSON.parse(raw)
    stamps = job.is_a?(Hash) ? job.values_at("retried_at", "failed_at").grep(Numeric) : []
    latest = stamps.map { |stamp| (stamp >= 1e11) ? stamp / 1000.0 : stamp }.select { |stamp| stamp <= score }.max
    latest && score - latest
  rescue JSON::ParserError
    nil
  end

  # The width of the jitter in the delay of a failed job, and a second for the clocks to move on.
  def jitter_of(raw) = 10 * (JSON.parse(raw)["retry_count"].to_f.abs + 1) + 1

  def private_jobs = redis("KEYS", "ferrokiq:batch:*").sum { |key| redis("LLEN", key) }

  private

  def start(worker)
    @workers << worker
    eventually { assert worker.identity, worker.said }
    worker
  end
end

# One part of the tests of a file, where all.rb divides them.
module Shard
  NUMBER, OF = ENV.fetch("SHARD", "0/1").split("/").map(&:to_i)

  def runnable_methods = super.select { |method| Zlib.crc32("#{name} #{method}") % OF == NUMBER }
end
Minitest::Test.singleton_class.prepend(Shard)

# Shows what the workers said where a test failed, and notes every result for the matrix where it is asked for.
module Minitest
  class Test
    prepend(Module.new do
      def after_teardown
        @workers&.each { |worker| warn "--- #{name}: #{worker.title} said\n#{worker.said}---" } unless passed? || skipped?
        Matrix.note(self) if ENV["COMPAT_REPORT"]
        super
      end
    end)
  end
end

# One line of JSON for each test that ran.
module Matrix
  SERVER = begin
    info = Sidekiq.redis { |conn| conn.call("INFO", "server") }
    name = info[/server_name:(\w+)/, 1] || "redis"
    "#{name.capitalize} #{info[/#{name}_version:(\d+\.\d+)/, 1]}"
  end

  def self.note(test)
    result = {feature: test.class.name, test: test.name, sidekiq: Sidekiq::VERSION, server: SERVER,
              passed: test.passed?, skipped: test.skipped? && test.failure.message}
    File.open(ENV["COMPAT_REPORT"], "a") { |file| file.puts(JSON.generate(result)) }
  end
end
