# frozen_string_literal: true

require "open3"
require_relative "../helper"

# Faults are planted one by one into a Redis that real Sidekiq filled; doctor must name each, and nothing else.
describe "ferrokiq doctor" do
  include Compat

  NOW = Time.now.to_f
  IDENTITY = "web:7:0123456789ab"
  SOUND = {"class" => "EchoJob", "args" => [1], "retry" => true, "queue" => "low", "jid" => "b" * 24,
           "created_at" => (NOW * 1000).to_i, "enqueued_at" => (NOW * 1000).to_i}.freeze

  # The name of the check, and what makes it find something.
  FAULTS = {
    "eviction" => -> { redis("CONFIG", "SET", "maxmemory-policy", "allkeys-lru") },
    "memory" => -> { redis("CONFIG", "SET", "maxmemory", redis("INFO", "memory")[/used_memory:(\d+)/, 1].to_i * 11 / 10) },
    "replica" => -> { redis("REPLICAOF", "127.0.0.1", "1") },
    "key-type" => -> { redis("SADD", "queues", "bad") && redis("SET", "queue:bad", "1") },
    "ghost-process" => -> { redis("SADD", "processes", IDENTITY) },
    "bad-process" => -> { redis("SADD", "processes", IDENTITY) && redis("HSET", IDENTITY, "beat", NOW, "info", "nonsense") },
    "silent-process" => -> { redis("HSET", redis("SMEMBERS", "processes").first, "beat", NOW - 100) },
    "mixed-sidekiqs" => -> { process(IDENTITY, "7.3.2") },
    "unserved-queue" => -> { EchoJob.set(queue: "nobody").perform_async },
    "no-process" => -> { redis("DEL", "processes", *redis("SMEMBERS", "processes")) },
    "paused-queue" => -> { redis("SADD", "paused", "low") && redis("RPUSH", "queue:low", job("enqueued_at" => (NOW * 1000).to_i - 7_200_000)) },
    "unnamed-queue" => -> { redis("LPUSH", "queue:hidden", job) },
    "ghost-work" => -> { redis("HSET", "#{IDENTITY}:work", "tid", "{}") },
    "orphaned-jobs" => -> { orphan(job) },
    "foreign-list" => -> { redis("ZADD", "goretry", 1, job) },
    "not-a-job" => -> { redis("LPUSH", "queue:low", "\e[2J nonsense") },
    "no-class" => -> { redis("LPUSH", "queue:low", job("class" => nil)) },
    "no-jid" => -> { redis("ZADD", "schedule", NOW + 1000, job("jid" => 17)) },
    "no-queue" => -> { redis("ZADD", "dead", NOW, job("queue" => nil)) },
    "no-args" => -> { redis("LPUSH", "queue:low", job("args" => nil)) },
    "bad-args" => -> { redis("LPUSH", "queue:low", job("args" => {"a" => 1})) },
    "no-retry" => -> { redis("LPUSH", "queue:low", JSON.generate(SOUND.except("retry"))) },
    "bad-retry-count" => -> { redis("ZADD", "dead", NOW, job("retry_count" => "3")) },
    "no-failure" => -> { redis("ZADD", "retry", NOW + 1000, job) },
    "float-millis" => -> { redis("LPUSH", "queue:low", job("created_at" => 1_795_408_384_695.0)) },
    "whole-seconds" => -> { redis("LPUSH", "queue:low", job("created_at" => 1_795_408_384)) },
    "text-times" => -> { redis("LPUSH", "queue:low", job("created_at" => "2026-11-23T04:35:13Z")) },
    "huge-job" => -> { redis("LPUSH", "queue:low", job("args" => ["x" * 300_000])) },
    "unknown-class" => -> { redis("ZADD", "retry", NOW + 1000, job("class" => "Gone::Job", "retry_count" => 1, "failed_at" => 1_795_408_384_695, "error_class" => "NameError", "error_message" => "uninitialized constant Gone")) },
    "gem-job" => -> { only_rust("low") && redis("LPUSH", "queue:low", job("bid" => "zRviBvBqbbkX3A")) },
    "limit-fetch" => -> { only_rust("low") && redis("SET", "limit_fetch:block:low", 1) },
    "dynamic-queues" => -> { only_rust("low") && redis("SET", "limit:heartbeat:5f3e0f40", 1) && redis("RPUSH", "limit_fetch:probed:low", "5f3e0f40") },
    "overdue" => -> { redis("ZADD", "schedule", NOW - 600, job) },
    "score" => -> { redis("ZADD", "schedule", NOW * 1000, job) },
    "dead-set" => -> { redis("EVAL", "for n = 1, 10001 do redis.call('ZADD', 'dead', ARGV[1] - n, ARGV[2] .. n .. '\"}') end", 0, NOW, job.sub(/"[^"]*"}\z/, "\"")) }
  }.freeze

  def job(changes = {}) = JSON.generate(SOUND.except("jid").merge(changes).then { |job| job.key?("jid") ? job : job.merge("jid" => SOUND["jid"]) })

  # A list that a dead worker of ours left, whom no registry knows.
  def orphan(job)
    redis("SADD", "ferrokiq:batches:#{IDENTITY}", "ferrokiq:batch:#{IDENTITY}|1|low")
    redis("LPUSH", "ferrokiq:batch:#{IDENTITY}|1|low", job)
  end

  def process(identity, version)
    like = redis_hash(redis("SMEMBERS", "processes").first)
    redis("SADD", "processes", identity)
    redis("HSET", identity, *like.merge("info" => JSON.generate(JSON.parse(like["info"]).merge("version" => version))).to_a.flatten)
  end

  # The rights of an operator do not include CONFIG, and without an append-only file only that shows it.
  UNCHECKED = "whether Redis writes snapshots was not checked: CONFIG GET save is refused".freeze

  # Makes the one process a Rust worker that serves this queue.
  def only_rust(queue)
    identity = redis("SMEMBERS", "processes").first
    info = JSON.parse(redis("HGET", identity, "info"))
    redis("HSET", identity, "info", JSON.generate(info.merge("version" => "ferrokiq-0.1.0", "queues" => [queue, "default"])))
    identity
  end

  # What was said, line by line, and the exit code.
  def doctor(*flags, as: "operator")
    said, status = Open3.capture2e({"REDIS_URL" => REDIS.url(as: as)}, WorkerProcess::TOOL, "doctor", *flags)
    [said.lines(chomp: true), status.exitstatus]
  end

  def checks(**options)
    said, code = doctor("--json", **options)
    found = said.map { |line| JSON.parse(line) }.reject { |finding| finding["severity"] == "note" }.map { |finding| finding["check"] }
    assert_equal found.empty? ? 0 : 1, code, said.inspect
    found
  end

  def dumps = redis("KEYS", "*").to_h { |key| [key, redis("DUMP", key)] }

  # Jobs that wait, one that failed, one that was scheduled, one that died, and the process that did it, as it left them.
  def fill
    EchoJob.perform_in(1000, "later")
    FailJob.perform_async("fails")
    DoomedJob.perform_async("dies")
    sidekiq = start_sidekiq("-q", "default", "-q", "low")
    eventually { assert_equal [1, 1, 0], [Sidekiq::RetrySet.new.size, Sidekiq::DeadSet.new.size, Sidekiq::Queue.new.size] }
    sidekiq.kill
    @workers.clear
    3.times { |n| EchoJob.set(queue: "low").perform_async(n) }
    redis("PERSIST", redis("SMEMBERS", "processes").first)
    redis("DEL", *redis("KEYS", "*:work"), "none")
  end

  def restore(dumped)
    redis("REPLICAOF", "NO", "ONE")
    redis("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")
    redis("FLUSHDB")
    dumped.each { |key, dump| redis("RESTORE", key, 0, dump) }
    redis("HSET", redis("SMEMBERS", "processes").first, "beat", Time.now.to_f)
  end

  it "says of a Redis that Ruby and Rust work on that it is healthy" do
    EchoJob.perform_in(1000, "later")
    FailJob.perform_async("fails")
    DoomedJob.perform_async("dies")
    with_sidekiq("-q", "default") do
      with_worker do
        SlowJob.perform_async(3)
        eventually { assert_equal [1, 1, 0], [Sidekiq::RetrySet.new.size, Sidekiq::DeadSet.new.size, Sidekiq::Queue.new.size] }
        assert_equal [[UNCHECKED, "healthy"], 0], doctor("--full")
        assert_equal [[], 0], doctor("--json")
      end
    end
  end

  it "counts jobs of Ruby gems by class and gem, and calls that healthy" do
    fill
    redis("LPUSH", "queue:low", job("class" => "HardJob", "lock_digest" => "uniquejobs:1"), job("class" => "HardJob", "lock" => "until_executed"),
      job("class" => "Sidekiq::ActiveJob::Wrapper", "wrapped" => "Import", "lock_digest" => "uniquejobs:2"))
    redis("ZADD", "retry", NOW + 1000, job("bid" => "zRviBvBqbbkX3A", "failed_at" => NOW))
    redis("HSET", "sidekiq:status:abc", "status", "queued")
    said, code = doctor
    assert_equal 0, code, said.inspect
    assert_equal "healthy", said.last
    assert_equal [
      "note     gem-keys: sidekiq-status is in use: the status of jobs that Rust runs stays queued until it expires",
      "note     gem-job: 3 jobs in queue:low of sidekiq-unique-jobs: HardJob 2, Import 1",
      "note     gem-job: 1 job in retry of sidekiq-batch or Sidekiq Pro: EchoJob 1",
      UNCHECKED
    ], said[..-2].map { |line| line[/\A[^;]*/] }
    found, code = doctor("--json")
    assert_equal [%w[note note note], 0], [found.map { |line| JSON.parse(line)["severity"] }, code]
  end

  # Keys as the gems write them.
  GEMS = {
    "sidekiq-throttled" => -> { redis("ZADD", "throttled:HardJob:concurrency.v2", NOW, "jid") },
    "sidekiq-limit_fetch" => -> { redis("SADD", "limit:processes", "5f3e0f40") },
    "sidekiq-superworker" => -> { redis("HSET", "subjob:6fac50c1db3c621b388a7e46", "status", '"initialized"') },
    "sidekiq-grouping" => -> { redis("SADD", "batching:batches", "hard_job:low") },
    "sidekiq-failures" => -> { redis("ZADD", "failed", NOW, job) },
    "sidekiq-statistic" => -> { redis("HSET", "sidekiq:statistic", "2026-11-27:HardJob:passed", 1) },
    "sidekiq-cron" => -> { redis("SADD", "cron_jobs:default", "cron_job:default:hard") },
    "sidekiq-scheduler" => -> { redis("HSET", "schedules", "hard", "{}") },
    "sidekiq_alive" => -> { redis("ZADD", "sidekiq-alive-hostnames", NOW, "host") },
    "gitlab-sidekiq-fetcher" => -> { redis("SET", "reliable-fetcher-cleanup-lock", 1) },
    "Sidekiq Enterprise" => -> { redis("SET", "dear-leader", IDENTITY) }
  }.freeze

  it "names what goes blind or waits for each gem whose keys are there, and calls that healthy" do
    GEMS.each_value { |plant| instance_exec(&plant) }
    said, code = doctor("--json")
    found = said.map { |line| JSON.parse(line) }
    assert_equal [0, %w[gem-keys], %w[note]], [code, found.map { |finding| finding["check"] }.uniq, found.map { |finding| finding["severity"] }.uniq], said.inspect
    assert_equal GEMS.keys.sort, found.map { |finding| finding["what"][/\A(.*) is in use: /, 1] }.sort
    found.each { |finding| refute_empty finding["advice"] }
  end

  it "names each fault that is planted, and only that" do
    fill
    healthy = dumps
    assert_equal [], checks
    FAULTS.each do |check, plant|
      restore(healthy)
      instance_exec(&plant)
      before = dumps
      assert_equal [check], checks
      assert_equal before, dumps, "#{check}: nothing is changed"
      said, = doctor
      assert_match(/\A(error   |warning ) #{check}: /, said.first)
      refute_includes said.join, "\e"
    end
  ensure
    restore(healthy || {}) if healthy
  end

  it "finds and puts back the jobs of a private list that is on no index" do
    redis("CONFIG", "SET", "save", "3600 1")
    redis("LPUSH", "ferrokiq:batch:#{IDENTITY}|1.69|low", job("jid" => "orphan"))
    before = dumps
    assert_equal ["orphaned-jobs"], checks
    assert_equal before, dumps
    said, code = doctor("--fix", "--yes", as: nil)
    assert_equal 0, code, said
    assert_includes said, "done     1 job put back"
    assert_equal ["orphan"], Sidekiq::Queue.new("low").map(&:jid)
    assert_empty redis("KEYS", "ferrokiq:batch*")
  ensure
    redis("CONFIG", "SET", "save", "")
  end

  it "sees at once that nothing is kept, where it may ask" do
    assert_equal ["persistence"], checks(as: nil)
  end

  it "says what it left out" do
    redis("EVAL", "for n = 1, 10050 do redis.call('ZADD', 'schedule', ARGV[1] + n, ARGV[2] .. n .. '\"}') end", 0, NOW + 1000, job.sub(/"[^"]*"}\z/, "\""))
    assert_equal [[UNCHECKED, "10000 of 10050 jobs in schedule were read; --full reads all", "healthy"], 0], doctor
    assert_equal [[UNCHECKED, "healthy"], 0], doctor("--full")
  end

  it "mends what destroys nothing, after a dry run" do
    fill
    # Under a rule of snapshots: the default user is told of it.
    redis("CONFIG", "SET", "save", "3600 1")
    redis("SADD", "processes", "ghost:1:0123456789ac")
    redis("LPUSH", "queue:hidden", job("queue" => "hidden"))
    redis("SADD", "paused", "hidden")
    orphan(job("jid" => "orphan"))
    redis("LPUSH", "queue:low", job("jid" => "times", "created_at" => 1_795_408_384_695.0, "enqueued_at" => 1_795_408_384), job("jid" => "args", "args" => nil))
    redis("ZADD", "retry", NOW + 1000, job("jid" => "retry", "failed_at" => 1_795_408_384_695.0))
    redis("ZADD", "dead", NOW, job("jid" => "dead", "args" => nil))
    before = dumps
    low = redis("LRANGE", "queue:low", 0, -1)
    said, code = doctor("--fix")
    assert_equal 2, code, said
    assert_equal 6, said.grep(/^would /).size, said
    assert_equal before, dumps, "nobody said yes"

    said, code = doctor("--fix", "--yes", as: nil)
    assert_equal 0, code, said
    assert_equal ["done     1 process taken off the list"], said.grep(/taken off/)
    after = dumps
    changed = (before.keys | after.keys).reject { |key| before[key] == after[key] }.sort
    assert_equal ["dead", "ferrokiq:batch:#{IDENTITY}|1|low", "ferrokiq:batches:#{IDENTITY}", "processes", "queue:low", "queues", "retry"],
      changed - after.keys.grep(/^ferrokiq:poison:/)
    mended = redis("LRANGE", "queue:low", 0, -1)
    assert_equal low.drop(2), mended.drop(2).reject { |raw| raw.include?("orphan") }, "the others are the same bytes in the same order"
    args, times = mended.first(2).map { |raw| JSON.parse(raw) }
    assert_equal ["args", []], args.values_at("jid", "args")
    assert_equal ["times", 1_795_408_384.695, 1_795_408_384.0], times.values_at("jid", "created_at", "enqueued_at")
    assert_equal "orphan", Sidekiq::Queue.new("low").to_a.last.jid, "it is next"
    assert_equal NOW + 1000, Sidekiq::RetrySet.new.find_job("retry").score
    assert_in_delta 1_795_408_384.695, Sidekiq::RetrySet.new.find_job("retry")["failed_at"]
    assert_equal [], Sidekiq::DeadSet.new.find_job("dead").args
    redis("DEL", "paused")
    redis("DEL", "queue:hidden")
    assert_equal [[UNCHECKED, "healthy"], 0], doctor
  ensure
    redis("CONFIG", "SET", "save", "")
  end
end
