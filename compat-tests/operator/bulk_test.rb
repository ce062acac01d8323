# frozen_string_literal: true

require "tmpdir"
require_relative "helper"

# Work on many jobs: asked for first, stopped by Ctrl-C, undone by its journal; hostile payloads and files.
describe "work on many jobs" do
  include Operator

  def job(number, more = "") = %({"retry":true,"queue":"default","class":"EchoJob","args":[#{number}, 1.50],"jid":"j#{number}","created_at":1795408384695,"error_class":"ArgumentError","failed_at":1795408385000,"retry_count":2#{more}})

  def fill_retries(count) = count.times.each_slice(500) { |slice| redis("ZADD", "retry", *slice.flat_map { |n| ["#{1_795_500_000 + n}.1234567", job(n)] }) }

  def retries = redis("ZRANGE", "retry", 0, -1, "WITHSCORES").flatten

  # What a command says on a terminal, and how it ends, when its question is answered so; the block runs while it waits for that.
  def answer(text, *command)
    require "pty"
    reader, writer, pid = PTY.spawn(WorkerProcess.rights([WorkerProcess::TOOL]), WorkerProcess::TOOL, *command)
    said = +""
    said << reader.readpartial(4096) until said.include?("[y/N]")
    yield if block_given?
    writer.puts(text)
    begin
      loop { said << reader.readpartial(4096) }
    rescue Errno::EIO, EOFError
      nil
    end
    [said, Process.wait2(pid)[1].exitstatus]
  end

  DIRECTORY = Dir.mktmpdir
  Minitest.after_run { FileUtils.rm_rf(DIRECTORY) }

  # A file that is not there yet.
  def journal = File.join(Dir.mktmpdir(nil, DIRECTORY), "replay.jsonl")

  it "asks before it takes away, and does nothing where there is nobody to ask" do
    fill_retries(3)
    redis("LPUSH", "queue:low", job(9))
    redis("SADD", "queues", "low")
    redis("SADD", "processes", "h:1:abcdef012345")
    redis("HSET", "h:1:abcdef012345", "info", "{}", "busy", 0)
    before = Operator.dump(method(:redis))
    [%w[retries delete j1], %w[retries delete --all], %w[retries kill --where class=EchoJob], %w[retries retry --all], %w[retries replay --all],
      %w[queues clear low], %w[jobs delete j9], %w[processes stop --all]].each do |command|
      said = run_tool(*command)
      assert_equal [2, ""], [said.code, said.out], command
      assert_match(/\Aerror: [A-Z].*\? .*There is nobody to ask: say --yes\n\z/, said.err)
    end
    assert_equal before.transform_values(&:first), Operator.dump(method(:redis)).transform_values(&:first)
  end

  it "takes a no for a no on a terminal" do
    fill_retries(3)
    said, code = answer("n", "retries", "delete", "--all")
    assert_equal [1, 3], [code, redis("ZCARD", "retry")], said
    assert_includes said, "Delete all 3 jobs of retries? [y/N]"
    said, code = answer("yes", "retries", "delete", "--all")
    assert_equal [0, 0], [code, redis("ZCARD", "retry")], said
  end

  it "acts on what it counted, and says what it left" do
    [%w[delete --all], %w[delete --where class=EchoJob], %w[kill --all], %w[retry --where args~1]].each do |command|
      redis("FLUSHDB")
      fill_retries(2)
      said, code = answer("y", "retries", *command) { 100.times { |n| redis("ZADD", "retry", 1_795_500_000 + n, job(100 + n)) } }
      assert_equal [0, 100], [code, redis("ZCARD", "retry")], said
      assert_match(/(^|\e\[K)2 (deleted|killed|retried), 100 that came later stay\r?$/, said)
    end
    redis("LPUSH", "queue:low", job(1), job(2))
    redis("SADD", "queues", "low")
    said, code = answer("y", "queues", "clear", "low") { 100.times { |n| redis("LPUSH", "queue:low", job(100 + n)) } }
    assert_equal [0, 100], [code, redis("LLEN", "queue:low")], said
    assert_includes said, "low keeps 100 jobs that came later or came back; 2 are deleted"
  end

  it "trims no dead set, retries a count that is the least there is, and waits at any rate" do
    redis("EVAL", "for n = 1, 10500 do redis.call('ZADD', KEYS[1], n, n) end", 1, "dead")
    redis("ZADD", "retry", 1, job(1), 2, job(2).sub('"retry_count":2', %("retry_count":#{-2**63})))
    tool("retries", "kill", "j1", "--yes")
    assert_equal 10_501, redis("ZCARD", "dead")
    assert_includes tool("retries", "list").out, "j2"
    pid = spawn(WorkerProcess.rights([WorkerProcess::TOOL]), WorkerProcess::TOOL, "retries", "replay", "--all", "--yes", "--rate", "1e-19/s", out: File::NULL)
    eventually { assert_equal 1, redis("LLEN", "queue:default") }
    assert_equal 0, Process.wait2(pid)[1].exitstatus
  end

  it "changes nothing in a dry run, and says what it would do" do
    fill_retries(30)
    before = retries
    %w[retry kill delete replay].each do |verb|
      said = tool("retries", verb, "--where", "args~1", "--dry-run").out
      assert_match(/^30 would be (retried|killed|deleted|replayed)$/, said)
      assert_includes said, "... and 10 more"
    end
    assert_equal 30, tool("retries", "delete", "--all", "--dry-run", "--json").json.size
    assert_equal before, retries
    assert_equal 0, redis("EXISTS", "queue:default", "dead")
  end

  it "stops between two jobs at Ctrl-C and says how far it came; the journal undoes that, byte for byte" do
    fill_retries(600)
    before, file = retries, journal
    out, err = Tempfile.create("out"), Tempfile.create("err")
    pid = spawn(WorkerProcess.rights([WorkerProcess::TOOL]), WorkerProcess::TOOL, "retries", "replay", "--all", "--yes", "--rate", "200/s", "--journal", file, out: out.path, err: err.path)
    eventually { assert_operator redis("LLEN", "queue:default"), :>=, 40 }
    Process.kill("INT", pid)
    assert_equal 130, Process.wait2(pid)[1].exitstatus, err.read
    moved = File.read(err.path)[/\Aerror: interrupted; (\d+) were replayed, the rest is as it was\n\z/, 1].to_i
    assert_equal [moved, 600 - moved], [redis("LLEN", "queue:default"), redis("ZCARD", "retry")]
    assert_includes 40...600, moved
    assert_equal [moved, 0o600], [File.readlines(file).size - 1, File.stat(file).mode & 0o777]
    assert_equal [1], redis("LRANGE", "queue:default", 0, -1).map { |raw| JSON.parse(raw)["retry_count"] }.uniq

    assert_equal "#{moved} are back\n", tool("retries", "undo", file).out
    assert_equal [before, 0], [retries, redis("EXISTS", "queue:default")]
    assert_equal "0 are back, #{moved} had not left or were back already\n", tool("retries", "undo", file).out
    assert_equal before, retries
  end

  it "says which jobs cannot be undone, since they were taken" do
    fill_retries(150)
    before, file = retries, journal
    tool("retries", "replay", "--where", "class=EchoJob", "--yes", "--journal", file)
    taken = redis("RPOP", "queue:default", 2).map { |raw| JSON.parse(raw)["jid"] }
    said = run_tool("retries", "undo", file)
    assert_equal [1, "error: 2 were taken by processes already\n"], [said.code, said.err]
    assert_equal taken.sort, said.out.scan(/^taken: (\w+) from default$/).flatten.sort
    assert_includes said.out, "148 are back"
    assert_equal before.each_slice(2).reject { |raw,| taken.include?(JSON.parse(raw)["jid"]) }, retries.each_slice(2).to_a
    # Another set's jobs go back to that set.
    redis("ZADD", "schedule", "2000000000.25", job(1))
    file = journal
    tool("scheduled", "replay", "--all", "--yes", "--journal", file)
    assert_equal 0, redis("ZCARD", "schedule")
    tool("scheduled", "undo", file)
    assert_equal [job(1), 2_000_000_000.25], redis("ZRANGE", "schedule", 0, -1, "WITHSCORES").flatten
  end

  it "overwrites no journal, and follows none that is not in order" do
    fill_retries(3)
    file = journal
    tool("retries", "replay", "j0", "--yes", "--journal", file)
    kept = File.read(file)
    said = run_tool("retries", "replay", "--all", "--yes", "--journal", file)
    assert_equal [65, 2, kept], [said.code, redis("ZCARD", "retry"), File.read(file)], said.err
    {
      "" => /line 1: this is no journal/, "nonsense\n" => /line 1: this is no journal/, kept.sub('"ferrokiq_journal":1', '"ferrokiq_journal":2') => /line 1: this is no journal/,
      kept.sub('"retry"', '"dead"') => /another set: say ferrokiq dead undo/, "#{kept}{}\n" => /line 3: this is no line of a journal/,
      kept.sub(/"score":"[^"]*"/, '"score":"nan"') => /line 2: this is no line/
    }.each do |text, why|
      bad = journal
      File.write(bad, text)
      said = run_tool("retries", "undo", bad)
      assert_equal [65, 1], [said.code, said.err.lines.size], text
      assert_match why, said.err
      assert_match(/nothing was undone$/, said.err)
    end
    assert_equal 65, run_tool("retries", "undo", "/no/such/file").code
    # The machine went down while it wrote: what was not written was not moved.
    File.write(file, %({"jid":"j1","queue":"defau), mode: "a")
    assert_equal "1 are back\n", tool("retries", "undo", file).out
  end

  it "keeps what is no payload, or has nowhere to go, and says so" do
    redis("ZADD", "retry", 1, "no payload", 2, job(1), 3, job(2).sub('"default"', '"wrong"'))
    redis("SET", "queue:wrong", "a string")
    said = run_tool("retries", "retry", "--all", "--yes")
    assert_equal [1, "1 retried\n"], [said.code, said.out]
    assert_match(/\Aerror: 2 are no job payloads, or their queue's key is no list; they stay\n\z/, said.err)
    assert_equal [2, 1], [redis("ZCARD", "retry"), redis("LLEN", "queue:default")]
    said = run_tool("retries", "delete", "j2", "j7", "j8", "--yes")
    assert_equal [1, "1 deleted\n", "error: not there: j7, j8\n"], [said.code, said.out, said.err]
    assert_equal ["no payload"], redis("ZRANGE", "retry", 0, -1)
  end

  it "shows hostile payloads escaped, whatever stands where" do
    hostile = JSON.parse(File.read(File.expand_path("../../ruby-fixtures/hostile.json", __dir__)))
    jobs = hostile["keys"].product(hostile["values"]).map { |key, value| %({"class":"EchoJob","args":[],"jid":"h","created_at":1.5,"#{key}":#{value}}) }
    evil = "\e[2J\u009b31m\u202eevil\u2028\r\n\u200b"
    text = evil.to_json
    jobs << %({"class":#{text},"args":[#{text}],"jid":#{text},"queue":#{text},"nul":"\\u0000","error_class":#{text},"error_message":#{text},"tags":[#{text}],"wrapped":#{text},"created_at":1.5,"error_backtrace":#{[Zlib::Deflate.deflate([evil].to_json)].pack("m0").to_json}})
    jobs << "\e]0;title\a no json \xff".b << "[1,2]" << %("text") << "{" << ""
    jobs.each_with_index { |raw, n| redis("ZADD", "retry", n, raw) && redis("LPUSH", "queue:x", raw) }
    redis("SADD", "queues", "x", evil)
    [%w[retries list -n 0], %w[retries group], %w[jobs list x -n 0], %w[jobs find --match evil], ["retries", "show", evil], ["jobs", "show", evil], %w[queues], %w[stats],
      %w[retries list -n 0 --where class=EchoJob,age>1s,retries<5], %w[retries retry --where class!=x --dry-run]].each do |command|
      [[], ["--json"]].each do |form|
        said = tool(*command, *form).out
        assert_predicate said, :valid_encoding?
        refute_match(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b\u2028\u202e]/, said, command)
        form.empty? || said.lines.each { |line| JSON.parse(line) }
      end
    end
    assert_includes tool("retries", "show", evil).out, '\u{1b}[2J'
    assert_equal evil, tool("retries", "show", evil, "--json").json[0]["jid"]
    tool("retries", "delete", "--all", "--yes")
  end

  it "names the bad line of a file, and pushes nothing of it" do
    file = journal
    {"[1]\n[2\n" => "line 2: ", "[1]\n\n{\"a\":1}\n" => "line 3: ", "7\n" => "line 1: ", "[1]\n\xff\n" => "line 2: it is not UTF-8", "#{"[" * 200}#{"]" * 200}\n" => "line 1: "}.each do |text, where|
      File.binwrite(file, text)
      said = run_tool("push", "EchoJob", "--bulk", file)
      assert_equal [65, "", 1], [said.code, said.out, said.err.lines.size], text
      assert_includes said.err, where
      assert_includes said.err, "nothing was pushed"
      assert_equal 0, redis("EXISTS", "queue:default")
    end
    # Of a stream what was before it is.
    said = run_tool("push", "EchoJob", "--bulk", "-", input: "#{(1..1200).map { |n| "[#{n}]\n" }.join}nonsense\n[7]\n")
    assert_equal [65, 1200], [said.code, redis("LLEN", "queue:default")]
    assert_match(/line 1201: .*; 1200 jobs were pushed$/, said.err)
    assert_equal (1..1200).to_a, redis("LRANGE", "queue:default", 0, -1).reverse.map { |raw| JSON.parse(raw)["args"][0] }
    File.write(file, "[123456789012345678901234, 1.50]\n")
    tool("push", "EchoJob", "--bulk", file)
    assert_includes redis("LINDEX", "queue:default", 0), '"args":[123456789012345678901234,1.50]'
  end

  it "takes Redis from a flag, or from the variable that another one names" do
    fill_retries(1)
    [[{"REDIS_URL" => "redis://127.0.0.1:1"}, "--redis", REDIS.url(as: "operator")], [{"REDIS_PROVIDER" => "MINE", "MINE" => REDIS.url(as: "operator"), "REDIS_URL" => "redis://127.0.0.1:1"}]].each do |env, *flags|
      assert_equal 1, tool("stats", "--json", *flags, env: env).json[0]["retries"]
    end
  end

  it "says how far it came when Redis goes silent" do
    fill_retries(600)
    silent = Thread.new { eventually { assert_operator redis("LLEN", "queue:default"), :>=, 20 } && redis("CLIENT", "KILL", "USER", "ferrokiq-operator") && redis("ACL", "SETUSER", "ferrokiq-operator", "off") }
    said = run_tool("retries", "replay", "--all", "--yes", "--rate", "400/s")
    silent.join
    assert_includes [69, 77], said.code, said.err
    assert_match(/\Aerror: .*; \d+ were replayed, (the rest is as it was|of the next hundred nobody knows)\n\z/, said.err)
    assert_equal 600, redis("LLEN", "queue:default") + redis("ZCARD", "retry")
  ensure
    redis("ACL", "SETUSER", "ferrokiq-operator", "on")
    redis("ACL", "LOG", "RESET")
  end

  it "ends well when nobody reads on" do
    fill_retries(3000)
    reader = IO.popen(WorkerProcess.rights([WorkerProcess::TOOL]), [WorkerProcess::TOOL, "retries", "list", "-n", "0", "--json"], err: [:child, :out])
    assert_includes reader.gets, '"in":"retry"'
    reader.close
    assert_equal 0, $?.exitstatus
  end

  it "knows no filter that makes no sense" do
    {"clas=A" => "is no field; expected class", "age>7" => "expected a number with its unit", "class" => "compares nothing", "retries>x" => "expected such as 5"}.each do |filter, why|
      said = run_tool("retries", "delete", "--where", filter, "--yes")
      assert_equal 2, said.code
      assert_includes said.err, why
    end
    assert_equal 2, run_tool("retries", "delete", "--yes").code
    assert_equal 2, run_tool("retries", "delete", "j1", "--all", "--yes").code
    assert_equal 2, run_tool("dead", "kill", "--all", "--yes").code
  end
end
