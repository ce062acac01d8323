# frozen_string_literal: true

require "tmpdir"
require_relative "helper"

# Every command there is, on every Redis that is not what it should be: one clear line, and the documented exit code. A command that is not
# in the table fails the test.
describe "every command" do
  include Operator

  DIRECTORY = Dir.mktmpdir
  Minitest.after_run { FileUtils.rm_rf(DIRECTORY) }
  JOURNAL = File.join(DIRECTORY, "journal.jsonl")
  File.write(JOURNAL, <<~LINES)
    {"ferrokiq_journal":1,"set":"retry","at":"2026-11-23T04:35:13Z"}
    {"jid":"r9","queue":"default","score":"5.5","bytes":"{\\"class\\":\\"A\\",\\"jid\\":\\"r9\\"}","pushed":"{\\"class\\":\\"A\\",\\"jid\\":\\"r9\\",\\"enqueued_at\\":1}"}
  LINES
  OTHERS = %w[schedule dead].to_h { |key| [key, "#{JOURNAL}.#{key}"] }
  OTHERS.each { |key, file| File.write(file, File.read(JOURNAL).sub('"retry"', %("#{key}"))) }

  # Its arguments; its exit code on a Redis that is empty, and on a replica that holds jobs: 75 is one that writes.
  Case = Struct.new(:arguments, :empty, :replica, :wrong, keyword_init: true)
  def self.looks(*arguments, empty: 0, wrong: 76) = Case.new(arguments: arguments, empty: empty, replica: 0, wrong: wrong)
  def self.writes(*arguments, empty: 0, wrong: 76) = Case.new(arguments: arguments, empty: empty, replica: 75, wrong: wrong)
  def self.set(name, key, jid, journal)
    {
      "#{name} list" => looks, "#{name} show" => looks(jid, empty: 1), "#{name} group" => looks, "#{name} retry" => writes(jid, empty: 1),
      "#{name} kill" => writes(jid, empty: 1), "#{name} delete" => writes(jid, empty: 1), "#{name} replay" => writes("--all"), "#{name} undo" => writes(journal, empty: 1)
    }.reject { |command,| command == "dead kill" }
  end

  CASES = {
    "stats" => looks, "queues list" => looks, "queues pause" => writes("low"), "queues unpause" => writes("low"), "queues clear" => writes("low", wrong: 76),
    "jobs list" => looks("low"), "jobs show" => looks("q1", empty: 1), "jobs delete" => writes("q1", empty: 1), "jobs find" => looks("q1", empty: 1),
    "processes list" => looks, "processes quiet" => writes("h:1:abcdef012345", empty: 1), "processes stop" => writes("--all"), "processes dump" => writes("h:1", empty: 1),
    "busy" => looks, "metrics" => looks, "push" => writes("EchoJob", "[1]"), "cancel" => writes("abc"), "deploy-mark" => writes("v1"),
    "completions" => :local, "man" => :local, "health" => :local,
    # It reports what it finds, and is tested with that.
    "doctor" => Case.new(arguments: []), "top" => :terminal,
    **set("retries", "retry", "r1", JOURNAL), **set("scheduled", "schedule", "s1", OTHERS["schedule"]), **set("dead", "dead", "d1", OTHERS["dead"])
  }.freeze

  # From what the tool knows of itself: the pages of commands with nothing below them.
  def commands
    Dir.mktmpdir do |pages|
      tool("man", pages)
      names = Dir.children(pages).map { |page| page.delete_suffix(".1").split("-").drop(1).join(" ").sub("deploy mark", "deploy-mark") }.reject { |name| name.empty? || name == "help" || name.end_with?(" help") }
      names.reject { |name| names.any? { |other| other.start_with?("#{name} ") } }.sort
    end
  end

  def each_case(env, only_judged: true)
    CASES.reject { |_, about| about.is_a?(Symbol) || (only_judged && !about.empty) }.each do |name, about|
      said = run_tool(*name.split, *about.arguments, "--yes", env: env)
      yield name, about, said
    end
  end

  def assert_one_line(said, code, what, name)
    assert_equal [code, "", 1], [said.code, said.out, said.err.lines.size], "#{name}: #{said.err}"
    assert_match(what, said.err, name)
    refute_includes said.err, "s3cr3t"
  end

  def fill_one_of_each(server)
    job = ->(jid) { %({"class":"EchoJob","args":[],"jid":"#{jid}","queue":"default","created_at":1.5}) }
    [["SADD", "queues", "low"], ["LPUSH", "queue:low", job["q1"]], ["ZADD", "retry", 1, job["r1"]], ["ZADD", "schedule", 1, job["s1"]], ["ZADD", "dead", 1, job["d1"]],
      ["SADD", "processes", "h:1:abcdef012345"], ["HSET", "h:1:abcdef012345", "info", "{}", "busy", 0]].each { |command| server.call(*command) }
  end

  it "is in this table" do
    assert_equal commands, CASES.keys.sort
  end

  it "says that Redis cannot be reached" do
    each_case({"REDIS_URL" => "redis://:s3cr3t@127.0.0.1:1/0"}, only_judged: false) do |name, _, said|
      assert_one_line(said, 69, %r{\Aerror: cannot reach redis://127.0.0.1:1/0( \(job \h+\))?: .*refused}i, name)
    end
  end

  it "that is a screen says that there is none" do
    CASES.select { |_, about| about == :terminal }.each_key { |name| assert_one_line(run_tool(name), 2, /\Aerror: #{name} needs a terminal/, name) }
  end

  it "says that the password is wrong" do
    each_case({"REDIS_URL" => "redis://ferrokiq-operator:s3cr3t-not@127.0.0.1:#{REDIS.port}/0"}, only_judged: false) do |name, _, said|
      assert_one_line(said, 77, /\Aerror: cannot reach .*invalid username-password/, name)
    end
  end

  it "finds nothing in an empty Redis, and leaves it so unless it is told to write" do
    each_case({}) do |name, about, said|
      assert_equal about.empty, said.code, "#{name}: #{said.err}"
      assert_operator said.err.lines.size, :<=, 1
      redis("FLUSHDB")
    end
  end

  it "says that a replica takes no writes, and reads there" do
    replica = RedisServer.start
    connection = RedisClient.config(url: replica.url).new_client
    fill_one_of_each(connection)
    connection.call("REPLICAOF", "127.0.0.1", "1")
    each_case({"REDIS_URL" => replica.url(as: "operator")}) do |name, about, said|
      case about.replica
      when 0 then assert_equal [0, ""], [said.code, said.err], name
      # What does the writing may have told of what it came to before.
      else assert_equal [75, 1], [said.code, said.err.lines.size], "#{name}: #{said.err}"
        assert_match(/read.?only/i, said.err, name)
      end
    end
  ensure
    connection&.close
    replica&.stop
  end

  it "says that the keys are not Sidekiq's" do
    now = Time.now.utc
    keys = %w[queues schedule retry dead processes queue:low queue:default paused h:1:abcdef012345-signals it-abc]
    keys.each { |key| redis("SET", key, "text") }
    [now, now + 60].each { |time| redis("SET", "#{time.strftime("%Y%m%d")}-marks", "text") }
    (-1..70).each { |ago| redis("SET", (now - ago * 60).strftime("j|%y%m%d|%-H:%-M"), "text") }
    before = Operator.dump(method(:redis))
    each_case({}) do |name, about, said|
      assert_one_line(said, about.wrong, /WRONGTYPE|wrong kind of value|is no list|is no sorted set/i, name)
    end
    before.each { |key, (value, _)| assert_equal value, redis("DUMP", key), key }
  end

  it "explains itself, its options and its exit codes" do
    assert_match(/^Exit codes:\n  0 .*\n  1 .*\n  2 .*\n  65 .*\n  69 .*\n  75 .*\n  76 .*\n  77 .*\n  78 .*\n  130 /, tool("--help").out)
    commands.each do |name|
      help = tool("help", *name.split).out
      assert_match(/^Usage: ferrokiq #{name}\b/, help)
      assert_match(/^Examples:\n  .*ferrokiq #{name}/, help)
      assert_includes help, "--redis <URL>"
    end
    page = tool("man").out
    assert_match(/^\.TH ferrokiq 1/, page)
    assert_includes page, "Exit codes"
    %w[bash zsh fish].each { |shell| assert_includes tool("completions", shell).out, "deploy-mark" }
  end
end
