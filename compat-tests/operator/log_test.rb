# frozen_string_literal: true

require "fileutils"
require "time"
require "tmpdir"
require_relative "helper"
require_relative "../support/redis_server"

# The log of a worker: lines for jobs that fail, for jobs that a stop interrupts, and for an outage. crash_test covers the jobs of a dead process.
describe "the log" do
  include Compat

  def lines(worker, pattern) = worker.said.lines(chomp: true).grep(pattern)

  # The fields of a line, and its message.
  def fields(line)
    head, message = line.split(": ", 2)
    [head.scan(/(\w+)=(\S*)/).to_h, message]
  end

  it "has one line for a failure, with job, thread, cause, attempt, outcome and time of the retry" do
    jids = {
      retry: FailJob.set(queue: "low", retry: 3).perform_async("boom: a: b"), default: FailJob.perform_async("again"), dead: DoomedJob.perform_async("lost"),
      discarded: FailJob.set(retry: false).perform_async("gone")
    }
    redis("LPUSH", "queue:default", JSON.generate("class" => "FailJob", "args" => ["third"], "jid" => "third", "retry" => 5, "retry_count" => 1, "failed_at" => 1_795_408_384_695, "created_at" => 1_795_408_384_695))
    with_worker("-q", "default", "-q", "low") do |worker|
      eventually { assert_equal [3, 1], [Sidekiq::RetrySet.new.size, Sidekiq::DeadSet.new.size] }
      eventually { assert_equal 5, lines(worker, /Job raised exception/).size }
      assert_equal 1, lines(worker, /^WARN.*jid=#{jids[:retry]}/).size
      logged = lines(worker, /Job raised exception/).to_h { |line| fields(line).then { |about, message| [about["jid"], [about, message]] } }
      expected = {
        jids[:retry] => ["FailJob", "low", "1/4", "retry"], jids[:default] => ["FailJob", "default", "1/26", "retry"], "third" => ["FailJob", "default", "3/6", "retry"],
        jids[:discarded] => ["FailJob", "default", "1/1", "discarded"]
      }
      expected.each do |jid, about|
        assert_equal about, logged[jid][0].values_at("class", "queue", "attempt", "outcome"), jid
        assert_match(/\A[0-9a-z]+\z/, logged[jid][0]["tid"])
        start = fields(lines(worker, /jid=#{jid} .*: start$/).first)[0]
        assert_equal start["tid"], logged[jid][0]["tid"]
      end
      assert_equal %w[DoomedJob dead], logged[jids[:dead]][0].values_at("class", "outcome")
      assert_equal "Job raised exception: ArgumentError: boom: a: b", logged[jids[:retry]][1]
      Sidekiq::RetrySet.new.each { |entry| assert_in_delta entry.score, Time.iso8601(logged[entry.jid][0]["next_at"]).to_f, 2 }
      [jids[:dead], jids[:discarded]].each { |jid| refute logged[jid][0].key?("next_at") }
    end
  end

  it "lists the registered classes for an unregistered one, and stores the payload as Ruby does" do
    Sidekiq::Client.push("class" => "FailJbo", "args" => [1])
    with_worker do |worker|
      eventually { assert_equal 1, Sidekiq::RetrySet.new.size }
      eventually { assert_equal 1, lines(worker, /Job raised exception/).size }
      line = lines(worker, /Job raised exception/).first
      assert_match(/: Job raised exception: NameError: uninitialized constant FailJbo: this worker registers no such class; did you mean FailJob\? registered: [\w:]+(, [\w:]+){9} and \d+ more$/, line)
      entry = Sidekiq::RetrySet.new.first
      assert_equal ["NameError", "uninitialized constant FailJbo"], entry.item.values_at("error_class", "error_message")
    end
  end

  it "names jobs that a stop cuts off, up to a bound" do
    cut = SlowJob.perform_bulk(Array.new(60) { [60] })
    worker = start_worker("-c", "60", "-t", "1")
    eventually { assert_equal 60, redis("HGET", "proof:count", "rust").to_i }
    worker.stop
    named = lines(worker, /jid=.*: cut off by the stop, goes back to its queue$/).map { |line| fields(line)[0] }
    assert_equal [50, ["SlowJob"], ["default"], []], [named.size, named.map { |about| about["class"] }.uniq, named.map { |about| about["queue"] }.uniq, named.map { |about| about["jid"] } - cut]
    assert named.all? { |about| about["tid"] }
    assert_match(/jobs=10: more jobs, not named: cut off by the stop/, worker.said)
  end

  it "begins an outage with a line about Redis, and ends it with one" do
    directory = Dir.mktmpdir
    socket = File.join(directory, "redis.sock")
    start = -> { spawn(*RedisServer::PROGRAM, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", directory, out: File::NULL, err: File::NULL, pgroup: true) }
    stop = ->(pid) { Process.kill("KILL", pid) && Process.wait(pid) && FileUtils.rm_f(socket) }
    server = start.call
    eventually { assert File.exist?(socket) }
    # On a Redis of its own.
    @workers << (worker = WorkerProcess.rust("-c", "5", env: {"REDIS_URL" => "unix://#{socket}"}))
    eventually { assert_match(/Starting processing/, worker.said) }
    stop.call(server)
    server = nil
    eventually { assert_equal 1, lines(worker, /Redis is away/).size }
    server = start.call
    eventually { assert_equal 1, lines(worker, /Redis is online/).size }
    logged = lines(worker, /^ERROR|Redis is/)
    assert_match(/^ERROR .* noticed=.*: Redis is away: .+/, logged.first)
    assert_equal 2, logged.size, logged.join("\n")
    worker.stop
  ensure
    stop.call(server) if server
    FileUtils.rm_rf(directory) if directory
  end
end
