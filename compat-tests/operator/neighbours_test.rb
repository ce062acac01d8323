# frozen_string_literal: true

require_relative "helper"

# Keys in which other fetchers keep the jobs that run, as they write them: recorded from gitlab-sidekiq-fetcher 0.8.0 (Debian bookworm) and
# read in sidekiq-reliable-fetch, go-workers and exq.
describe "running jobs of other fetchers" do
  include Operator

  OWNER = "web-1:4711:5f0c9d8e7a6b"
  LIST = "working:queue:low:#{OWNER}"
  HEARTBEAT = "reliable-fetcher-heartbeat-web-1-4711-5f0c9d8e7a6b"

  def job(jid = "b" * 24) = JSON.generate("class" => "EchoJob", "args" => [1], "retry" => true, "queue" => "low", "jid" => jid, "created_at" => 1_795_408_384_695, "enqueued_at" => 1_795_408_384_695)

  def findings(*flags)
    said = run_tool("doctor", "--json", *flags)
    [said.json.map { |finding| finding.values_at("check", "severity", "fixable") }, said.code, said.out]
  end

  it "are left alone while their owner lives" do
    redis("LPUSH", LIST, job)
    redis("SET", HEARTBEAT, 1, "EX", 60)
    found, code, said = findings
    assert_equal [[["foreign-list", "note", false], ["gem-keys", "note", false]], 0], [found.sort, code], said
    assert_includes said, "1 job in lists of live processes with gitlab-sidekiq-fetcher: #{OWNER}"
    refute_match(/push|left of/, said)
  end

  it "are its own fetcher's to put back once it is dead" do
    redis("LPUSH", LIST, job)
    _, code, said = findings
    assert_equal 1, code
    assert_includes said, "1 job in lists of dead processes with gitlab-sidekiq-fetcher: #{OWNER}"
    assert_includes said, "start a process with that fetcher"
    redis("SET", HEARTBEAT.sub("4711", "4712"), 1, "EX", 60)
    _, _, said = findings
    assert_includes said, "a live process with that fetcher puts them back"
    refute_match(/push|left of/, said)
  end

  it "never become queues" do
    EchoJob.set(queue: "low").perform_async
    Sidekiq::Queue.new("low").clear
    redis("SADD", "queues", "low")
    %w[queue:low:working queue:low:4711:inprogress queue:low:anything queue:sq|web:1:abc|low queue:backup::node::low].each { |key| redis("LPUSH", key, job) }
    found, = findings
    assert_equal [["foreign-list", "unnamed-queue"], [false]], [found.map(&:first).uniq.sort, found.map(&:last).uniq]
    run_tool("doctor", "--fix", "--yes")
    assert_equal ["low"], redis("SMEMBERS", "queues")
    redis("LPUSH", "queue:hidden", job)
    run_tool("doctor", "--fix", "--yes")
    assert_equal %w[hidden low], redis("SMEMBERS", "queues").sort
  end

  it "are a queue where Sidekiq's list of queues names it" do
    redis("SADD", "queues", "backup", "low:working")
    redis("LPUSH", "queue:low:working", job)
    redis("LPUSH", "queue:backup", job)
    assert_equal %w[no-process], findings[0].map(&:first).uniq
  end

  it "are found by jid and by text, each once" do
    identity = "rust:1:0123456789ab"
    places = {
      LIST => -> { redis("LPUSH", LIST, job("a" * 24)) },
      "queue:low:working" => -> { redis("LPUSH", "queue:low:working", job("b" * 24)) },
      "ferrokiq:batch:#{identity}|1.5|low" => -> {
        redis("SADD", "processes", identity)
        redis("HSET", "#{identity}:work", "t1", JSON.generate("queue" => "low", "payload" => job("c" * 24), "run_at" => 1))
        redis("LPUSH", "ferrokiq:batch:#{identity}|1.5|low", job("c" * 24))
      },
      "ruby:1:0123456789ab:work" => -> {
        redis("SADD", "processes", "ruby:1:0123456789ab")
        redis("HSET", "ruby:1:0123456789ab:work", "t1", JSON.generate("queue" => "low", "payload" => job("d" * 24), "run_at" => 1))
      },
      "interrupted" => -> { redis("ZADD", "interrupted", 1_795_408_384.5, job("e" * 24)) }
    }
    places.each_value(&:call)
    found = tool("jobs", "find", "--match", "EchoJob", "--json").json.map { |job| job.values_at("in", "jid") }
    assert_equal places.keys.zip(("a".."e").map { |letter| letter * 24 }).sort, found.sort
    assert_equal [[LIST, "a" * 24]], tool("jobs", "find", "a" * 24, "--json").json.map { |job| job.values_at("in", "jid") }
    assert_includes tool("jobs", "show", "e" * 24).out, "in interrupted"
  end
end
