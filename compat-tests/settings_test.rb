# frozen_string_literal: true

require_relative "helper"
require_relative "support/both_sides"

describe "max_retries" do
  include BothSides

  it "is the number of retries of a job that only says true" do
    dead = assert_alike(config: ":max_retries: 1\n") {
      push("FailJob", "first")
      push("FailJob", "last", retry_count: 0, failed_at: 1.5, error_class: "X", error_message: "x")
      push("FailJob", "own", retry: 5, retry_count: 0, failed_at: 1.5, error_class: "X", error_message: "x")
      settled
      %w[retry dead].map { |set| jids(set).sort }
    }
    assert_equal [%w[first own], %w[last]], dead
  end
end

describe "dead_max_jobs and dead_timeout_in_seconds" do
  include BothSides

  it "bury the oldest for good" do
    left = assert_alike("-c", "1", config: ":dead_max_jobs: 4\n:dead_timeout_in_seconds: 1000\n") {
      now = Time.now.to_f
      redis("ZADD", "dead", now - 2000, '{"jid":"too old"}', now - 500, '{"jid":"old"}', now - 400, '{"jid":"younger"}')
      3.times { |n| push("DoomedJob", "new #{n}", retry: 0) }
      settled
      jids("dead")
    }
    assert_includes left, "new 2"
    refute_includes left, "too old"
    assert_operator left.size, :<=, 4
  end
end

describe "sharded clients" do
  include BothSides

  it "push to the Redis they are told, with the same bytes" do
    shard = RedisServer.start
    there = Sidekiqs.pool(url: shard.url)
    pushed = assert_alike {
      there.with { |conn| conn.call("FLUSHALL") }
      jid = ShardJob.perform_async(shard.url(as: "producer"), "over there")
      eventually { assert_equal ["over there"], proofs(jid).map(&:last) }
      raw = there.with { |conn| conn.call("LRANGE", "queue:ruby", 0, -1) }
      assert_equal 0, Sidekiq::Queue.new("ruby").size
      raw.map { |job| JSON.parse(job).tap { |item| item.each_key { |key| item[key] = item[key].class.name if %w[jid created_at enqueued_at].include?(key) } }.sort.to_h }
    }
    assert_equal [["over there"]], pushed.map { |job| job["args"] }
  ensure
    shard&.stop
  end
end

describe "log lines" do
  include BothSides

  # Of a job, with what differs from run to run taken out.
  def lines(process, jid)
    process.said.lines.grep(/#{jid}/).map { |line|
      line = line.gsub(/\e\[[\d;]*m/, "").sub(/\d{4}-\d\d-\d\dT[\d:.]+Z/, "TS").sub(/pid=\d+/, "pid=P").sub(/tid=\w+/, "tid=T").sub(jid, "J")
      line.gsub(/elapsed=[\d.]+/, "elapsed=E").gsub(/"elapsed":[\d.]+/, '"elapsed":E').gsub(/"pid":\d+/, '"pid":P').gsub(/"tid":"\w+"/, '"tid":"T"').squeeze(" ").strip
    }
  end

  {"pretty" => {}, "without a timestamp" => {"DYNO" => "web.1"}, "json" => {"LOG_JSON" => "1"}}.each do |format, env|
    it "look like Sidekiq's: #{format}" do
      skip_before 8, "has other formats"
      jid = nil
      flags = (format == "json") ? ["--log-format", "json"] : []
      said = ->(process) {
        jid = NoopJob.set(tags: %w[a b], bid: "B1").perform_async("x", 1, {})
        settled
        eventually { assert_equal 2, lines(process, jid).size }
        lines(process, jid)
      }
      ruby = said.call(ruby_process = start_sidekiq(env: env))
      ruby_process.stop
      rust = said.call(start_worker("-C", WorkerProcess.config_file(":foreign_jobs: run\n"), *flags, env: env.except("LOG_JSON")))
      assert_equal ruby, rust
    end
  end
end
