# frozen_string_literal: true

require_relative "helper"

# What each command shows, and what Ruby's API says of the same Redis.
describe "what a command shows" do
  include Operator

  SETS = {"retries" => -> { Sidekiq::RetrySet.new }, "scheduled" => -> { Sidekiq::ScheduledSet.new }, "dead" => -> { Sidekiq::DeadSet.new }}.freeze

  before { fill }

  it "of queues and their jobs is Ruby's" do
    redis("SADD", "paused", "low")
    ruby = Sidekiq::Queue.all.map { |queue| [queue.name, queue.size, redis("SISMEMBER", "paused", queue.name) == 1] }
    assert_equal ruby.sort, tool("queues", "--json").json.map { |queue| queue.values_at("name", "size", "paused") }.sort
    # The latency is a number of seconds that grows.
    eventually { assert_equal tool("queues").out, tool("queues", "list").out }
    assert_match(/^low +3 +\S+ +paused$/, tool("queues").out)
    jobs = Sidekiq::Queue.new("low").map { |job| [job.jid, job.klass, job.args] }
    shown = tool("jobs", "list", "low", "--json").json
    assert_equal jobs, shown.map { |job| job.values_at("jid", "class", "args") }
    assert_equal jobs.first(2).map(&:first), tool("jobs", "list", "low", "-n", "2", "--json").json.map { |job| job["jid"] }
    assert_equal 4, tool("jobs", "list", "low").out.lines.size
  end

  it "of a set is Ruby's, in its order" do
    SETS.each do |name, set|
      ruby = set.call.map { |entry| [entry.jid, entry.klass, entry.args, entry.score, *entry.item.values_at("error_class", "error_message", "retry_count")] }
      ours = tool(name, "list", "--json").json.map { |entry| entry.values_at("jid", "class", "args", "at", "error_class", "error_message", "retry_count") }
      assert_equal ruby, ours, name
      assert_equal ruby.size + 1, tool(name, "list").out.lines.size
      set.call.each do |entry|
        shown = tool(name, "show", entry.jid, "--json").json.first
        assert_equal entry.item, shown["payload"]
        assert_equal entry.error_backtrace.to_a, shown["backtrace"].to_a
      end
      counts = set.call.group_by { |entry| [entry["error_class"].to_s, entry.display_class] }.transform_values(&:size)
      assert_equal counts, tool(name, "group", "--json").json.to_h { |group| [group.values_at("error_class", "class"), group["jobs"]] }
    end
  end

  it "of one job is all there is to know, readable" do
    entry = Sidekiq::RetrySet.new.find { |job| job.error_backtrace }
    said = tool("retries", "show", entry.jid).out
    [entry.jid, "in retry", "ArgumentError: #{entry["error_message"]}", '"retry": true', entry.error_backtrace.first, Time.at(entry.score).utc.strftime("%FT%TZ")].each { |what| assert_includes said, what }
    refute_includes said, entry["error_backtrace"]
    assert_includes tool("jobs", "show", entry.jid).out, "in retry"
    assert_equal [1, "error: not there: nobody\n"], run_tool("retries", "show", "nobody").to_a.values_at(2, 1)
    assert_equal [1, "error: there is no job nobody\n"], run_tool("jobs", "show", "nobody").to_a.values_at(2, 1)
  end

  it "of a search is all that hold it, wherever they lie" do
    places = {"queue:low" => Sidekiq::Queue.new("low"), "schedule" => SETS["scheduled"].call, "retry" => SETS["retries"].call, "dead" => SETS["dead"].call}
    places.each do |place, jobs|
      jid = jobs.first.jid
      assert_equal [[place, jid]], tool("jobs", "find", jid, "--json").json.map { |job| job.values_at("in", "jid") }
    end
    all = places.flat_map { |place, jobs| jobs.map { |job| [place, job.jid, job.value] } }
    [["boom", /boom/], ["EchoJob", /EchoJob/], ['*"args":[?"dead*'.sub("?", ""), /"args":\["dead/]].each do |text, pattern|
      ruby = all.select { |_, _, raw| raw.match?(pattern) }.map { |place, jid,| [place, jid] }
      refute_empty ruby
      assert_equal ruby.sort, tool("jobs", "find", "--match", text, "--json").json.map { |job| job.values_at("in", "jid") }.sort, text
    end
    assert_equal [1, "error: no job was found\n"], run_tool("jobs", "find", "--match", "nothing like it").to_a.values_at(2, 1)
  end

  it "of processes and what they work on is Ruby's" do
    ruby = Sidekiq::ProcessSet.new(false).map { |process| [process["identity"], process["tag"], process["busy"], process["queues"], process.stopping?] }
    assert_equal ruby, tool("processes", "--json").json.map { |process| process.values_at("identity", "tag", "busy", "queues", "quiet") }
    assert_includes tool("processes", "list").out, ruby[0][0]
    work = busy_jobs.map { |job| [job.identity, job.tid, job.queue, job.klass, job.jid, job.run_at.to_i] }
    assert_equal work, tool("busy", "--json").json.map { |job| job.values_at("identity", "tid", "queue", "class", "jid", "run_at") }
    assert_match(/SlowJob .* 60$/, tool("busy").out)
    assert_equal [1, "error: there is no process nobody\n"], run_tool("processes", "quiet", "nobody").to_a.values_at(2, 1)
  end

  it "of metrics is Ruby's" do
    totals = ->(job) { job.totals.values_at("p", "f", "ms").map(&:to_i) }
    ruby = Sidekiq::Metrics::Query.new.top_jobs(minutes: 60).job_results.transform_values(&totals)
    refute_empty ruby
    assert_equal ruby, tool("metrics", "--json").json.to_h { |job| [job["class"], job.values_at("processed", "failed", "ms")] }
    one = Sidekiq::Metrics::Query.new.for_job("FailJob", minutes: 30).job_results["FailJob"]
    shown = tool("metrics", "FailJob", "--minutes", "30", "--json").json.first
    assert_equal totals[one], shown.values_at("processed", "failed", "ms")
    assert_equal one.series["p"].values.sum, shown["series"].sum { |point| point["processed"] }
    assert_match(/^all +0 +7 /, tool("metrics", "FailJob").out)
  end

  it "needs no verb to list" do
    SETS.each_key do |name|
      [[], ["--json"], ["-n", "2", "--json"], ["--where", "class=EchoJob", "--json"]].each do |options|
        assert_equal tool(name, "list", *options).out.gsub(/\d+s\b/, ""), tool(name, *options).out.gsub(/\d+s\b/, ""), [name, *options].join(" ")
      end
    end
    assert_equal Sidekiq::Queue.all.sort_by { |queue| [-queue.size, queue.name] }.flat_map { |queue| queue.map { |job| [queue.name, job.jid] } }, tool("jobs", "--json").json.map { |job| job.values_at("queue", "jid") }
    {"queues" => "name", "processes" => "identity"}.each do |name, key|
      assert_equal tool(name, "list", "--json").json.map { |line| line[key] }, tool(name, "--json").json.map { |line| line[key] }
    end
  end

  it "prints a line for an empty list on a terminal, and nowhere else" do
    redis("FLUSHDB")
    {
      %w[retries] => "no jobs in the retry set", %w[scheduled list] => "no jobs in the scheduled set", %w[dead] => "no jobs in the dead set",
      %w[retries list --where class=A] => "no job in the retry set matches the filter", %w[retries group] => "no jobs in the retry set",
      %w[queues] => "no queues", %w[jobs] => "no jobs in any queue", %w[jobs list low] => "no jobs in the queue low",
      %w[processes] => "no live processes", %w[busy] => "no job is running", %w[metrics --minutes 5] => "no job was counted in the last 5 minutes"
    }.each do |command, words|
      assert_equal "#{words}\r\n", on_terminal(80, *command, env: {"NO_COLOR" => "1"}), command.join(" ")
      assert_equal "", on_terminal(80, *command, "--json", env: {"NO_COLOR" => "1"}), command.join(" ")
      assert_equal "", tool(*command).out, command.join(" ")
    end
  end

  it "fits the terminal, and has colours only there and only where they are wanted" do
    plain = on_terminal(60, "retries", "list", env: {"NO_COLOR" => "1", "TERM" => "xterm"})
    refute_includes plain, "\e["
    assert_includes plain, "…"
    assert_includes on_terminal(60, "retries", "list", env: {"NO_COLOR" => nil, "TERM" => "xterm"}), "\e[31m"
    refute_includes tool("retries", "list").out, "…"
  end
end
