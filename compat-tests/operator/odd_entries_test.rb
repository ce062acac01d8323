# frozen_string_literal: true

require_relative "helper"
require_relative "../support/web_ui"

# Entries that were written by hand, by older versions and by other clients: each number, time and word the tool shows is the one that Ruby's
# API and the Web UI show for the same entry.
describe "what a command shows of odd entries" do
  include Operator
  include WebUi

  WRAPPER = "Sidekiq::ActiveJob::Wrapper"
  OLD_WRAPPER = "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper"
  NOW = Time.now.to_f.floor

  # Payloads without `jid` and `queue`; strings are JSON as it is.
  BODIES = {
    "first" => {class: "A", args: [1], retry_count: 0, error_class: "E", error_message: "boom"},
    "second" => {class: "A", args: [], retry_count: 1, error_class: "E", error_message: "boom"},
    "many" => {class: "A", args: [nil, true, 1.5, "é"], retry_count: 24, error_class: "E", error_message: ""},
    "no count" => {class: "A", args: [], error_class: "E", error_message: "boom"},
    "null count" => {class: "A", args: [], retry_count: nil},
    "float count" => {class: "A", args: [], retry_count: 2.5, error_class: "E", error_message: "x"},
    "whole float count" => {class: "A", args: [], retry_count: 3.0, error_class: "E", error_message: "x"},
    "negative count" => {class: "A", args: [], retry_count: -1, error_class: "E", error_message: "x"},
    "count as text" => {class: "A", args: [], retry_count: "7", error_class: "E", error_message: "x"},
    "huge count" => {class: "A", args: [], retry_count: 10**25, error_class: "E", error_message: "x"},
    "message without class" => {class: "A", args: [], retry_count: 0, error_message: "lonely"},
    "class without message" => {class: "A", args: [], retry_count: 0, error_class: "E"},
    "number as message" => {class: "A", args: [], retry_count: 0, error_class: "E", error_message: 5},
    "milliseconds" => {class: "A", args: [], created_at: NOW * 1000 - 90_500, enqueued_at: NOW * 1000 - 61_250},
    "seconds" => {class: "A", args: [], created_at: NOW - 90.5, enqueued_at: NOW - 61.25},
    "never enqueued" => {class: "A", args: [], created_at: NOW - 90.5},
    "enqueued null" => {class: "A", args: [], created_at: NOW * 1000 - 90_500, enqueued_at: nil},
    "no times" => {class: "A", args: []},
    "display class" => {class: "A", display_class: "Shown", args: []},
    "wrapped" => {class: WRAPPER, wrapped: "Report", args: [{job_class: "Report", arguments: [1, {"_aj_globalid" => "gid://app/User/1"}, {"a" => 1, "_aj_symbol_keys" => ["a"]}]}]},
    "wrapped by an old adapter" => {class: OLD_WRAPPER, wrapped: "Report", args: [{job_class: "Report", arguments: ["x"]}]},
    "mail" => {class: WRAPPER, wrapped: "ActionMailer::MailDeliveryJob", args: [{arguments: ["Mailer", "hello", "deliver_now", {"args" => [1], "params" => {"a" => 2}, "_aj_ruby2_keywords" => ["args"]}]}]},
    "old mail" => {class: WRAPPER, wrapped: "ActionMailer::DeliveryJob", args: [{arguments: ["Mailer", "hello", "deliver_now", 5]}]},
    "encrypted" => {class: "A", encrypt: true, args: [1, "c2VjcmV0" * 20]},
    "not encrypted" => {class: "A", encrypt: false, args: [1, "plain"]},
    "long" => {class: "A", args: ["x" * 5_000, {"deep" => [[{"a" => nil}]]}]},
    "tags" => {class: "A", tags: %w[red <b>], args: []}
  }.freeze
  TITLES = BODIES.keys.freeze

  def payload(title) = JSON.generate(BODIES[title].merge(jid: "j#{TITLES.index(title)}", queue: "low"))
  def fill_set(key) = TITLES.each_with_index { |title, n| redis("ZADD", key, (NOW + 60 * (n - 10) + 0.25).to_s, payload(title)) }
  def shown_args(record) = record.display_args.map { |arg| JSON.generate(arg) }.join(", ")

  # The columns of a table that is not written to a terminal.
  def rows(*command)
    header, *lines = tool(*command).out.lines(chomp: true)
    starts = header.to_enum(:scan, /\S+/).map { Regexp.last_match.begin(0) }
    [header.split, lines, starts]
  end

  before { redis("FLUSHDB") }

  it "of a set is Ruby's" do
    {"retries" => Sidekiq::RetrySet, "scheduled" => Sidekiq::ScheduledSet, "dead" => Sidekiq::DeadSet}.each do |name, set|
      fill_set(set.new.name)
      entries = set.new.to_a
      ours = tool(name, "list", "--json").json
      assert_equal TITLES.size, ours.size
      keys = %w[retry_count error_class error_message]
      expected = entries.map { |entry| [entry.jid, entry.klass, entry.display_class, entry.queue, entry.args, entry.score, *entry.item.values_at(*keys)] }
      expected.zip(ours).each do |ruby, job|
        assert_equal ruby, job.values_at("jid", "class", "display_class", "queue", "args", "at", *keys), TITLES[ruby[0].delete("j").to_i]
      end
      lines = tool(name, "list").out.lines(chomp: true).drop(1)
      entries.zip(lines).each { |entry, line| assert line.rstrip.end_with?(shown_args(entry)), line }
    end
  end

  it "of retries is the count of the Web UI, and a filter compares the same number" do
    fill_set("retry")
    get "/retries?count=100"
    page = last_response.body.scan(%r{<tr>.*?</tr>}m).filter_map { |row| [row[/-(j\d+)"/, 1], row.scan(%r{<td>(.*?)</td>}m)[2][0].strip] if row.include?("checkbox") && row[/-(j\d+)"/, 1] }.to_h
    (get "/retries?page=2") && last_response.body.scan(%r{<tr>.*?</tr>}m).each { |row| page[row[/-(j\d+)"/, 1]] = row.scan(%r{<td>(.*?)</td>}m)[2][0].strip if row[/-(j\d+)"/, 1] }
    assert_equal TITLES.size, page.size
    counted = tool("retries", "list").out.lines(chomp: true).drop(1).to_h { |line| [line[/^j\d+/], line[/(?: ago|in \S+) +(\S*?) {2}/, 1].to_s] }
    page.each { |jid, count| assert_equal count, counted[jid], TITLES[jid.delete("j").to_i] }

    number = ->(entry) { Float(entry["retry_count"] || 0) }
    [["=0", :==, 0], ["=1", :==, 1], [">=1", :>=, 1], ["<1", :<, 1], [">2", :>, 2], ["<=3", :<=, 3], ["!=24", :!=, 24]].each do |filter, operator, value|
      ruby = Sidekiq::RetrySet.new.select { |entry| number[entry].public_send(operator, value) }.map(&:jid)
      assert_equal ruby.sort, tool("retries", "list", "--where", "retries#{filter}", "--json").json.map { |job| job["jid"] }.sort, filter
    end
    left = Sidekiq::RetrySet.new.reject { |entry| number[entry] == 1 }.map(&:jid)
    tool("retries", "delete", "--where", "retries=1", "--yes")
    assert_equal left.sort, Sidekiq::RetrySet.new.map(&:jid).sort
  end

  it "of errors is the Web UI's" do
    fill_set("retry")
    shown = tool("retries", "list").out.lines(chomp: true).drop(1)
    Sidekiq::RetrySet.new.zip(shown) do |entry, line|
      words = [entry["error_class"], entry["error_message"]].compact.map(&:to_s).reject(&:empty?).join(": ")
      assert_includes line, words
    end
  end

  it "of a queue and its latency is Ruby's" do
    TITLES.each_with_index do |title, n|
      redis("SADD", "queues", "q#{n}")
      redis("LPUSH", "queue:q#{n}", payload(title))
    end
    ours = tool("queues", "--json").json.to_h { |queue| [queue["name"], queue] }
    of_stats = JSON.parse(tool("stats", "--json").out)["queues"].to_h { |queue| [queue["name"], queue] }
    TITLES.each_with_index do |title, n|
      queue = Sidekiq::Queue.new("q#{n}")
      assert_in_delta queue.latency, ours["q#{n}"]["latency"], 5, title
      assert_in_delta queue.latency, of_stats["q#{n}"]["latency"], 5, title
      job = queue.first
      shown = tool("jobs", "list", "q#{n}", "--json").json.first
      assert_equal [job.jid, job.queue, job.klass, job.display_class, job.args], shown.values_at("jid", "queue", "class", "display_class", "args"), title
      assert_in_delta job.latency, shown["latency"], 5, title
    end
  end

  it "of statistics is Ruby's" do
    fill_set("retry")
    redis("MSET", "stat:processed", "12345678901", "stat:failed", "17")
    redis("SADD", "processes", "h:1:aaaaaaaaaaaa", "h:2:bbbbbbbbbbbb", "h:3:000000000000")
    redis("HSET", "h:1:aaaaaaaaaaaa", "info", "{}", "busy", "3")
    redis("HSET", "h:2:bbbbbbbbbbbb", "info", "{}")
    redis("SADD", "queues", "low", "empty")
    redis("LPUSH", "queue:low", payload("first"), payload("long"))
    stats = Sidekiq::Stats.new
    ruby = [stats.processed, stats.failed, stats.workers_size, stats.enqueued, stats.scheduled_size, stats.retry_size, stats.dead_size, stats.processes_size]
    assert_equal ruby, JSON.parse(tool("stats", "--json").out).values_at("processed", "failed", "busy", "enqueued", "scheduled", "retries", "dead", "processes")
    assert_equal ruby.map(&:to_s), tool("stats").out.lines.first(8).map { |line| line.split[1] }
  end

  it "of processes and what they run is Ruby's" do
    started = NOW - 3_700.5
    capsules = {"default" => {"mode" => "strict", "concurrency" => 3, "weights" => {"high" => 0, "low" => 0}}, "one" => {"mode" => "strict", "concurrency" => 1, "weights" => {"single" => 0}}}
    common = {"hostname" => "h", "pid" => 1, "tag" => "app", "started_at" => started, "labels" => [], "version" => "8.1.7", "embedded" => false}
    infos = {
      "h:1:aaaaaaaaaaaa" => common.merge("identity" => "h:1:aaaaaaaaaaaa", "concurrency" => 4, "queues" => %w[high low single], "capsules" => capsules),
      # What a version writes that left out the old key.
      "h:2:bbbbbbbbbbbb" => common.merge("identity" => "h:2:bbbbbbbbbbbb", "concurrency" => 4, "capsules" => capsules, "embedded" => true),
      "h:3:cccccccccccc" => common.merge("identity" => "h:3:cccccccccccc", "concurrency" => 25, "queues" => %w[default], "version" => nil, "tag" => "")
    }
    infos.each do |identity, info|
      redis("SADD", "processes", identity)
      redis("HSET", identity, "info", JSON.generate(info), "concurrency", info["concurrency"], "beat", (NOW - 3.5).to_s, "quiet", (identity == "h:2:bbbbbbbbbbbb").to_s, "rss", (identity == "h:3:cccccccccccc") ? "0" : "123456", "busy", "2")
    end
    redis("SET", "dear-leader", "h:3:cccccccccccc")
    ours = tool("processes", "--json").json
    leader = Sidekiq::ProcessSet.new(false).leader
    ruby = Sidekiq::ProcessSet.new(false).map do |process|
      [process.identity, process.tag, process.queues, process["busy"], process["concurrency"], process["rss"], process["started_at"], process["beat"], process.stopping?, process.identity == leader, process.version, process.embedded?]
    end
    assert_equal ruby, ours.map { |process| process.values_at("identity", "tag", "queues", "busy", "concurrency", "rss_kb", "started_at", "beat", "quiet", "leader", "version", "embedded") }
    rows = tool("processes").out.lines.drop(1)
    assert_match(/^h:1:aaaaaaaaaaaa +app +high,low,single +2 +4 +120 +62m ago +\S+ ago *$/, rows[0])
    # What the Web UI marks.
    assert_match(/quiet.*embedded|embedded.*quiet/, rows[1])
    assert_match(/leader/, rows[2])

    works = [
      {"queue" => "low", "payload" => payload("wrapped"), "run_at" => NOW - 75},
      {"queue" => "low", "payload" => JSON.parse(payload("encrypted")), "run_at" => NOW - 7_300},
      {"payload" => payload("no times"), "run_at" => NOW - 5},
      {"queue" => "low", "payload" => payload("mail"), "run_at" => NOW - 2.5}
    ]
    works.each_with_index { |work, n| redis("HSET", "h:1:aaaaaaaaaaaa:work", "t#{n}", JSON.generate(work)) }
    ruby = Sidekiq::WorkSet.new.map { |identity, tid, work| [identity, tid, work.queue.to_s, work.job.jid, work.job.klass, work.job.display_class, work.run_at.to_f] }
    assert_equal ruby, tool("busy", "--json").json.map { |work| work.values_at("identity", "tid", "queue", "jid", "class", "display_class", "run_at") }
    lines = tool("busy").out.lines(chomp: true).drop(1)
    Sidekiq::WorkSet.new.to_a.zip(lines) do |(_, tid, work), line|
      assert_includes line, "#{tid} "
      assert_includes line, work.job.display_class
      assert line.rstrip.end_with?(shown_args(work.job)), line
    end
  end

  it "of metrics adds up" do
    at = Time.now.utc
    [at, at - 60].each { |time| redis("HSET", time.strftime("j|%y%m%d|%-H:%M"), "Quick|p", 30, "Quick|f", 1, "Quick|ms", 29, "Slow|p", 2, "Slow|ms", 3_000_001, "Bad|p", 2, "Bad|f", 2) }
    ruby = Sidekiq::Metrics::Query.new.top_jobs(minutes: 60).job_results
    tool("metrics", "--json").json.each do |job|
      result = ruby[job["class"]]
      assert_equal result.totals.values_at("p", "f", "ms"), job.values_at("processed", "failed", "ms")
      assert_in_delta result.total_avg, job["average_ms"], 1e-6
    end
    lines = tool("metrics").out.lines.drop(1).map(&:split) + [["Quick", *tool("metrics", "Quick").out.lines.last.split.drop(1)]]
    assert_equal 4, lines.size
    lines.each do |name, succeeded, failed, seconds, average|
      result = ruby[name]
      assert_equal [result.totals["p"] - result.totals["f"], result.totals["f"]], [Integer(succeeded), Integer(failed)]
      assert_in_delta result.totals["s"], Float(seconds), 0.0005, name
      assert_in_delta Float(seconds) * 1000, Float(average) * Integer(succeeded), 0.001 * result.totals["p"] + 0.5, name
    end
  end
end
