# frozen_string_literal: true

require_relative "helper"

# A secret in every place one can be, and everything that is printed at the highest level.
describe "a secret" do
  include Compat

  SECRET = "s3cr3t"
  TRACE = {"RUST_LOG" => "trace", "RUST_BACKTRACE" => "full"}.freeze

  # Rust's worker and the operator's tool, each to its end.
  def both(env, *arguments)
    [WorkerProcess.run(WorkerProcess::RUST, "--boot-timeout", "0", env: TRACE.merge(env)), WorkerProcess.run(WorkerProcess::TOOL, "stats", *arguments, env: TRACE.merge(env))]
  end

  def assert_refused(env, what, code_of_tool)
    both(env).zip([1, code_of_tool]) do |(said, code), expected|
      assert_equal expected, code, said
      refute_includes said, SECRET
      assert_includes said, what
    end
  end

  it "in the arguments of jobs that fail in every way, in keys nobody knows, in what is no job: is never logged" do
    provider = {"REDIS_PROVIDER" => "MY_REDIS", "MY_REDIS" => REDIS.url(as: "worker"), "REDIS_URL" => "redis://#{SECRET}@nowhere/0"}
    file = WorkerProcess.config_file("redis:\n  url: redis://:#{SECRET}@127.0.0.1/0\npassword: #{SECRET}\nredis_url: #{SECRET}\n")
    worker = start_worker("-v", "-C", file, "-c", "4", env: TRACE.merge(provider))
    base = {"queue" => "default", "retry" => 3, "created_at" => 1.5, "token" => SECRET}
    jobs = [
      ["StrictJob", [SECRET]], ["StrictJob", [SECRET, SECRET]], ["StrictJob", [1, {"password" => SECRET}]], ["StrictJob", {SECRET => 1}],
      ["NoSuch", [SECRET]], ["CountJob", [1, SECRET]], ["EchoJob", [SECRET]], ["SlowJob", [SECRET]], ["SlowJob", [0.1, SECRET]],
      ["DoomedJob", [{"password" => SECRET}]], ["PanicJob", [[SECRET]]]
    ].each_with_index.map { |(name, args), n| JSON.generate(base.merge("class" => name, "args" => args, "jid" => "j#{n}")) }
    jobs << JSON.generate(base.merge("class" => "FailJob", "args" => [SECRET, 1], "retry_queue" => "\e[31m", "retry_count" => SECRET))
    jobs << JSON.generate(base.merge("class" => "NoopJob", "args" => [SECRET, 1, SECRET], "log_level" => SECRET))
    nonsense = [%(["#{SECRET}"), %("#{SECRET}"), %({"class":"StrictJob","args":["#{SECRET}"), "#{SECRET}\xff".b, %({"args":["#{SECRET}"]}), "[" * 200 + SECRET]
    (jobs + nonsense).each { |raw| redis("LPUSH", "queue:default", raw) }
    nonsense.each { |raw| redis("ZADD", "schedule", 1, raw) }
    redis("ZADD", "retry", 1, JSON.generate(base.merge("class" => "StrictJob", "args" => [SECRET], "queue" => "a\nb")))
    eventually { assert_equal [0, 0, 0], [redis("LLEN", "queue:default"), private_jobs, redis("ZCOUNT", "schedule", "-inf", 1)] }
    # What runs is told, too.
    SlowJob.perform_async(30, SECRET)
    redis("LPUSH", "queue:default", JSON.generate(base.merge("class" => "SlowJob", "args" => [1.0], "token" => SECRET)))
    worker.signal("TTIN")
    eventually { assert_match(/jobs are running/, worker.said) }
    # The link is lost and the password is another one.
    redis("ACL", "SETUSER", "ferrokiq-worker", "resetpass", ">other")
    redis("CLIENT", "KILL", "USER", "ferrokiq-worker")
    eventually { assert_match(/WRONGPASS|invalid username-password/, worker.said) }
    redis("ACL", "SETUSER", "ferrokiq-worker", ">s3cr3t")
    eventually { assert_match(/Redis is online/, worker.said) }
    worker.stop
    refute_includes worker.said, SECRET
    assert_match(/ArgumentError/, worker.said)
    assert_match(/uninitialized constant NoSuch/, worker.said)
    assert_match(/no job payload/, worker.said)
  end

  it "in a URL that is wrong, or right but refused: is never shown" do
    [
      ["redis://:#{SECRET}@127.0.0.1:1/0", "cannot reach redis://127.0.0.1:1/0", 69],
      ["redis://#{SECRET}:#{SECRET}@127.0.0.1:1/0", "cannot reach redis://127.0.0.1:1/0", 69],
      ["redis://#{SECRET}:#{SECRET}@127.0.0.1:#{REDIS.port}/0", "invalid username-password", 77],
      ["unix:///no/such?user=#{SECRET}&pass=#{SECRET}", "cannot reach unix:///no/such", 69],
      ["redis://:#{SECRET}@127.0.0.1:port/0", "no Redis URL", 78],
      ["http://:#{SECRET}@example.com", "no Redis URL", 78],
      [SECRET, "no Redis URL", 78]
    ].each { |url, what, code| assert_refused({"REDIS_URL" => url}, what, code) }
    assert_refused({"REDIS_PROVIDER" => "redis://:#{SECRET}@example.com"}, "REDIS_PROVIDER holds", 78)
    assert_refused({"REDIS_PROVIDER" => "#{SECRET}-"}, "REDIS_PROVIDER holds", 78)
    assert_refused({"REDIS_PROVIDER" => "MINE", "MINE" => "redis://:#{SECRET}@127.0.0.1:1/0"}, "cannot reach", 69)
  end

  # The first is the answer of a server without RESP3, which the worker puts into its own words.
  {"unknown command" => ["does not know HELLO", 1], "syntax error in" => ["syntax error in", 69]}.each do |error, (what, code)|
    it "in a login that a server quotes back after '#{error}': is not repeated" do
      server = TCPServer.new("127.0.0.1", 0)
      echo = Thread.new do
        loop do
          Thread.new(server.accept) do |socket|
            said = socket.readpartial(4096).scan(/^[\w-]+\r$/).map(&:strip)
            socket.write("-ERR #{error} '#{said[0]}', with args beginning with: #{said.drop(1).map { |word| "'#{word}'" }.join(" ")}\r\n" * 10)
            socket.close
          end
        end
      end
      assert_refused({"REDIS_URL" => "redis://me:#{SECRET}-word@127.0.0.1:#{server.addr[1]}/0"}, what, code)
    ensure
      echo&.kill
      server&.close
    end
  end

  it "that is the name of a user without rights: is not repeated" do
    redis("ACL", "SETUSER", SECRET, "reset", "on", ">#{SECRET}", "+hello", "+select")
    assert_refused({"REDIS_URL" => "redis://#{SECRET}:#{SECRET}@127.0.0.1:#{REDIS.port}/0"}, "has no permissions", 77)
  ensure
    redis("ACL", "DELUSER", SECRET)
  end

  it "in what the tool is given: is not repeated" do
    [[%(["#{SECRET}"), 65], [%({"a":"#{SECRET}"}), 65], [%(["#{SECRET}"]), 0]].each do |args, code|
      said, status = WorkerProcess.run(WorkerProcess::TOOL, "push", "HardJob", args, env: TRACE)
      assert_equal code, status, said
      refute_includes said, SECRET
    end
  end
end
