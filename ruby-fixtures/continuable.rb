# frozen_string_literal: true

# Records what real Rails 8.1 makes of jobs in steps (`ActiveJob::Continuable`) that real Sidekiq interrupts: the payload before a run, and what the
# run left. The roots have Rails 7.2, so this needs the folders `activejob` and `activesupport` of Rails 8.1 somewhere:
#
#   bin/lib/in-ruby -- ruby ruby-fixtures/continuable.rb FOLDER    writes ruby-fixtures/continuable.json

folder = ARGV.fetch(0)
%w[activejob activesupport].each { |gem| $LOAD_PATH.unshift(File.join(folder, gem, "lib")) }
require "json"
require "logger"
require "active_job"
require "active_job/continuation"
require_relative "../compat-tests/support/redis_server"

server = RedisServer.start
at_exit { server.stop }
ENV["REDIS_URL"] = server.url
require "sidekiq"
require "sidekiq/api"
# Sidekiq's own adapter, which calls `gem` for ActiveJob first.
def gem(*) = nil
load File.join($LOAD_PATH.find { |path| File.exist?(File.join(path, "sidekiq/api.rb")) }, "active_job/queue_adapters/sidekiq_adapter.rb")

require_relative "frozen"
Frozen.freeze!

ActiveJob::Base.logger = Logger.new(IO::NULL)
ActiveJob::Base.queue_adapter = :sidekiq
Time.zone = "America/New_York"

def stopping(value) = ActiveJob::QueueAdapters::SidekiqAdapter.class_variable_set(:@@stopping, value)

# `src/active_job/tests/continuable.rs` has the same job in Rust.
class ContinuedActiveJob < ActiveJob::Base
  include ActiveJob::Continuable

  CURSORS = {"text" => ["é\"\#{x}\n", "plain"], "list" => [[1, "a", nil, 1.5, true], [2, "b"]]}.freeze

  def perform(kind)
    step(:validate) { stopping(true) if kind == "between" }
    step(:records) do |step|
      CURSORS.fetch(kind, []).each do |cursor|
        stopping(true)
        step.set!(cursor)
      end
      ((step.cursor || 0)...5).each do |record|
        raise KeyError, "gone" if (kind == "failed" && record == 3) || (kind == "failed_first" && record == 0 && resumptions > 0)
        stopping(true) if kind == "within" && [1, 3].include?(record)
        step.set!(record + 1)
      end
    end
    step(:finish) { checkpoint! }
  end
end

class LimitedActiveJob < ContinuedActiveJob
  self.max_resumptions = 1
end

# Steps that Rails refuses.
class InvalidActiveJob < ActiveJob::Base
  include ActiveJob::Continuable

  def perform(kind)
    case kind
    when "twice" then 2.times { step(:one) {} }
    when "nested" then step(:one) { step(:two) {} }
    when "order" then step(:two) {}
    when "resume" then step(:other) {}
    when "ignored" then nil
    end
  end
end

def pushed
  Sidekiq.redis { |conn| conn.call("FLUSHDB") }
  yield
  Sidekiq.redis { |conn| [conn.call("LRANGE", "queue:default", 0, -1).map { |raw| [nil, raw] }, conn.call("ZRANGE", "schedule", 0, -1, "WITHSCORES").flatten.each_slice(2).map { |raw, at| [Float(at), raw] }] }.flatten(1)
end

# Runs a payload once: a row of the record.
def run(name, raw)
  stopping(false)
  raises = nil
  left = pushed do
    payload = JSON.parse(raw)
    wrapper = Sidekiq::ActiveJob::Wrapper.new
    wrapper.jid = payload["jid"]
    wrapper.perform(payload["args"][0])
  rescue StandardError => error
    raises = [error.class.name, error.message]
  end
  {"name" => name, "payload" => raw, "left" => left, "raises" => raises}.compact
end

def runs(name, job, kind, times, **data)
  _, raw = pushed { job.perform_later(kind) }.fetch(0)
  raw = JSON.generate(JSON.parse(raw).tap { |payload| payload["args"][0].merge!(data.transform_keys(&:to_s)) }) if data.any?
  Array.new(times) do |run|
    next if raw.nil?
    row = run("#{name} #{run + 1}", raw)
    raw = row["left"].dig(0, 1)
    row
  end.compact
end

rows = runs("within", ContinuedActiveJob, "within", 3) + runs("between", ContinuedActiveJob, "between", 2) +
  runs("fine", ContinuedActiveJob, "fine", 1) + runs("text", ContinuedActiveJob, "text", 1) + runs("list", ContinuedActiveJob, "list", 2) +
  runs("failed", ContinuedActiveJob, "failed", 2) + runs("failed_first", ContinuedActiveJob, "failed_first", 1) +
  runs("failed_again", ContinuedActiveJob, "failed_first", 1, continuation: {completed: ["validate"]}, resumptions: 1) +
  runs("limited", LimitedActiveJob, "within", 3) +
  runs("counts", ContinuedActiveJob, "within", 1, exception_executions: {"[KeyError]" => 2}, executions: 4) +
  runs("without_keys", ContinuedActiveJob, "within", 1, continuation: {}, resumptions: 0) +
  %w[twice nested].flat_map { |kind| runs(kind, InvalidActiveJob, kind, 1) } +
  runs("order", InvalidActiveJob, "order", 1, continuation: {completed: ["one"]}) +
  runs("resume", InvalidActiveJob, "resume", 1, continuation: {completed: [], current: ["one", 5]}) +
  runs("ignored", InvalidActiveJob, "ignored", 1, continuation: {completed: ["one"], current: ["two", {"a" => 1}]}, resumptions: 7)

File.write(File.join(__dir__, "continuable.json"), "[\n#{rows.map { |row| "  #{JSON.generate(row)}" }.join(",\n")}\n]\n")
puts "#{rows.size} runs of Rails #{ActiveJob.version} with Sidekiq #{Sidekiq::VERSION} on Ruby #{RUBY_VERSION}"
