# frozen_string_literal: true

require "io/console"
require "open3"
require "pty"
require_relative "../helper"
require "sidekiq/deploy"
require "sidekiq/metrics/query"

# The operator's tool on a Redis that real Sidekiq filled, and the same action through Ruby's own API. Nothing here depends on the version
# of either: this runs with Sidekiq 8 and one server.
module Operator
  include Compat

  # What a command said on both of its outputs, and how it ended; with nobody to ask.
  Said = Struct.new(:out, :err, :code) do
    def json = out.lines.map { |line| JSON.parse(line) }
  end

  def run_tool(*arguments, env: {}, input: "")
    command = [WorkerProcess::TOOL, *arguments]
    out, err, status = Open3.capture3(WorkerProcess.rights(command).merge("NO_COLOR" => nil).merge(env), *command, stdin_data: input)
    Said.new(out, err, status.exitstatus)
  end

  # One that must succeed.
  def tool(*arguments, **options)
    run_tool(*arguments, **options).tap { |said| assert_equal [0, ""], [said.code, said.err], [arguments, said.out].inspect }
  end

  # Returns what a command prints on a terminal with this many columns.
  def on_terminal(columns, *command, env: {})
    screen, terminal = PTY.open
    terminal.winsize = [24, columns]
    pid = spawn(WorkerProcess.rights([WorkerProcess::TOOL]).merge(env), WorkerProcess::TOOL, *command, out: terminal)
    terminal.close
    printed = +"".b
    begin
      loop { printed << screen.readpartial(4096).b }
    rescue Errno::EIO, EOFError
      nil
    end
    Process.wait(pid)
    printed.force_encoding("UTF-8")
  end

  # Every key, for RESTORE.
  def self.dump(redis) = redis["KEYS", "*"].to_h { |key| [key, [redis["DUMP", key], redis["PTTL", key]]] }

  # Redis as a `sidekiq` process left it in the middle of its work: made once. There are jobs in a queue, in the schedule, in the retry
  # set and in the dead set; one runs.
  def self.filled(test)
    @filled ||= begin
      3.times { |n| EchoJob.set(queue: "low").perform_async(n, "x" * n) }
      4.times { |n| EchoJob.perform_in(1000 + n, n) }
      5.times { |n| FailJob.set(backtrace: 3, queue: "default").perform_async("boom #{n}") }
      2.times { |n| FailJob.set(tags: ["red"]).perform_async("it's #{n}") }
      PanicJob.perform_async("panic")
      3.times { |n| DoomedJob.perform_async("dead #{n}") }
      SlowJob.perform_async(60)
      test.start_sidekiq("-q", "default", "-c", "3")
      test.eventually { test.assert_equal [8, 3], [Sidekiq::RetrySet.new.size, Sidekiq::DeadSet.new.size] }
      test.eventually { test.assert_equal [%w[SlowJob], 1], [test.busy_jobs.map(&:klass), Sidekiq::ProcessSet.new.sum { |process| process["busy"] }] }
      test.redis("DEL", *test.redis("KEYS", "proof:*"))
      dump(test.method(:redis)).tap { test.kill_workers }
    end
  end

  def kill_workers
    @workers.each(&:kill)
    @workers.clear
  end

  def fill(dumped = Operator.filled(self))
    redis("FLUSHDB")
    dumped.each { |key, (value, ttl)| redis("RESTORE", key, [ttl, 0].max, value) }
  end

  # All that lies in Redis, with the moments since `started` called now. Sets have no order; that of jobs which are moved together is free.
  def state(started)
    redis("KEYS", "*").sort.to_h { |key| [key, [content(key, started), redis("TTL", key).positive?]] }
  end

  def content(key, started)
    case redis("TYPE", key)
    when "list" then redis("LRANGE", key, 0, -1).map { |raw| described(raw, started) }.sort_by(&:inspect)
    when "zset" then redis("ZRANGE", key, 0, -1, "WITHSCORES").flatten.each_slice(2).map { |raw, score| [described(raw, started), moment(Float(score), started)] }.sort_by(&:inspect)
    when "set" then redis("SMEMBERS", key).sort
    when "hash" then redis_hash(key).map { |field, value| [moment(field, started), moment(value, started)] }.sort
    else redis("GET", key)
    end
  end

  def described(raw, started)
    job = JSON.parse(raw)
    return raw unless job.is_a?(Hash)
    job.each { |name, value| job[name] = moment(value, started) if %w[enqueued_at created_at].include?(name) }
    job["jid"] = "new" if job["created_at"] == "now"
    job.sort
  rescue JSON::ParserError
    raw
  end

  # Seconds or milliseconds, a number or text.
  def moment(value, started)
    return value if @old&.include?(value.to_s)
    number = Float(value.to_s, exception: false) or return value
    seconds = (number > 1e11) ? number / 1000 : number
    seconds.between?(started.to_f - 1, Time.now.to_f + 1) ? "now" : value
  end

  # The same from the same beginning: once Ruby, once the tool.
  def assert_same_effect(*arguments, from: Operator.filled(self), input: "", &ruby)
    fill(from)
    # A beat, say, may be a second old.
    @old = nil
    before = state(Time.now + 1000)
    @old = before.to_a.flatten.to_set(&:to_s)
    started = Time.now
    ruby.call
    expected = state(started)
    fill(from)
    started = Time.now
    said = tool(*arguments, "--yes", input: input)
    actual = state(started)
    (expected.keys | actual.keys).each { |key| assert_equal expected[key], actual[key], "#{arguments}: #{key}" }
    refute_equal before, actual, "#{arguments} does nothing"
    said
  end
end
