# frozen_string_literal: true

# A Rails app, its sidekiq and the Rust worker on one Redis, started once for all tests: WORKER is examples/rails_worker.rs. Tests
# tell their jobs apart by the row of the page that each makes.

require "minitest/autorun"
require "logger"
require "tmpdir"
require_relative "../support/redis_server"

REDIS = RedisServer.start
ENV["REDIS_URL"] = REDIS.url
DATA = Dir.mktmpdir("ferrokiq-rails")

require "sidekiq/api"
require_relative "../support/browser"
require_relative "../support/rails_app"
require_relative "../support/sidekiqs"
require_relative "../support/verbs"
require_relative "../support/worker_process"

APP = RailsApp.new(port: RedisServer.free_port, data: DATA)
PROCESSES = {
  web: WorkerProcess.new("the shop", APP.web, APP.env),
  ruby: WorkerProcess.new("sidekiq", APP.sidekiq, APP.env),
  rust: WorkerProcess.rust("-q", "rust", "-c", "5", "-g", "shop")
}.freeze

Minitest.after_run do
  PROCESSES.each_value(&:kill)
  REDIS.stop
  FileUtils.rm_rf(DATA)
end

module Shop
  include Sidekiqs
  include Verbs

  def before_setup
    super
    eventually(within: 40) {
      PROCESSES.each_value { |process| raise "#{process.title} has ended:\n#{process.said}" if process.ended? }
      assert APP.up?
      assert PROCESSES[:ruby].identity
      assert PROCESSES[:rust].identity
    }
  end

  def after_teardown
    PROCESSES.each_value { |process| warn "--- #{name}: #{process.title} said\n#{process.said}---" } unless passed? || skipped?
    assert_empty RedisServer.refusals(redis("ACL", "LOG")), "the shipped users may not"
    super
  end

  # The row of the page, once it has a result.
  def finished(report)
    eventually {
      found = APP.report(report.id)
      refute_includes ["", "…"], found.result
      found
    }
  end
end
