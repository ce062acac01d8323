# frozen_string_literal: true

require_relative "helper"
require "sidekiq/deploy" if Sidekiqs::MAJOR >= 7

describe "the operator's tool" do
  include Compat

  def tool(*arguments)
    said, code = WorkerProcess.run(WorkerProcess::TOOL, *arguments)
    assert_equal 0, code, said
    said
  end

  it "tells what Sidekiq's statistics tell" do
    3.times { |n| EchoJob.set(queue: "low").perform_async(n) }
    EchoJob.perform_in(1000, "later")
    DoomedJob.perform_async("dead")
    with_worker { eventually { assert_equal 1, Sidekiq::DeadSet.new.size } }
    said = JSON.parse(tool("stats", "--json"))
    stats = Sidekiq::Stats.new
    assert_equal [stats.processed, stats.failed, stats.enqueued, stats.scheduled_size, stats.retry_size, stats.dead_size],
      said.values_at("processed", "failed", "enqueued", "scheduled", "retries", "dead")
    assert_equal [1, 1, 3, 1, 0, 1], said.values_at("processed", "failed", "enqueued", "scheduled", "retries", "dead")
    assert_equal Sidekiq::Queue.all.map { |queue| [queue.name, queue.size] }.sort, said["queues"].map { |queue| queue.values_at("name", "size") }.sort
    assert_match(/^low +3 +\d+\.\ds *$/, tool("stats"))
  end

  it "marks a deploy where the Metrics page finds it" do
    skip_before 7, "has no deploy marks"
    assert_equal "marked: v2 é\n", tool("deploy-mark", "v2 é")
    assert_match(/not marked/, tool("deploy-mark", "v2 é"))
    marks = redis_hash(redis("KEYS", "*-marks").first)
    assert_equal ["v2 é"], marks.values
    assert_match(/\A\d{4}-\d\d-\d\dT\d\d:\d\d:00Z\z/, marks.keys.first)
    ours = redis("KEYS", "*").to_h { |key| [key, redis("TTL", key)] }
    redis("FLUSHDB")
    Sidekiq::Deploy.new.mark!(label: "v2 é")
    theirs = redis("KEYS", "*").to_h { |key| [key, redis("TTL", key)] }
    assert_equal theirs.keys.sort, ours.keys.sort
    theirs.each { |key, ttl| assert_in_delta ttl, ours[key], 5 }
  end

  it "says that Redis is away, and shows no password" do
    said, code = WorkerProcess.run(WorkerProcess::TOOL, "stats", env: {"REDIS_URL" => "redis://:s3cr3t@127.0.0.1:1/0"})
    assert_equal 69, code
    assert_includes said, "cannot reach redis://127.0.0.1:1/0"
    refute_includes said, "s3cr3t"
  end
end
