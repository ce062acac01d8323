# frozen_string_literal: true

require_relative "helper"

describe "the command line" do
  include Compat

  def run_worker(*flags, env: {}) = WorkerProcess.run(WorkerProcess::RUST, *flags, env: env)

  # Carries one connection to Redis and back, until either side ends.
  def relay_to_redis(near)
    Thread.new do
      far = TCPSocket.new("127.0.0.1", REDIS.port)
      [[near, far], [far, near]].map { |from, to| Thread.new { IO.copy_stream(from, to) } }.each(&:join)
    ensure
      [near, far].each { |socket| socket&.close }
    end
  end

  def config(text)
    file = Tempfile.create(["sidekiq", ".yml"])
    file.write(text)
    file.close
    file.path
  end

  it "takes everything from a configuration file that Sidekiq takes" do
    path = config(<<~YAML)
      # for all
      :concurrency: 3
      :queues:
        - [critical, 2]
        - default
      :tag: fromfile
      production:
        :concurrency: 4
        :capsules:
          :serial:
            :concurrency: 1
            :queues:
              - invoices
    YAML
    with_worker("-C", path, "-e", "production", "-g", "fromflag") do |worker|
      process = worker.process
      assert_equal [5, "fromflag"], [process["concurrency"], process.tag]
      assert_equal({"invoices" => 0}, process["capsules"]["serial"]["weights"])
      assert_equal({"critical" => 2, "default" => 0}, process["capsules"]["default"]["weights"])
    end
  end

  it "takes the number of threads from the environment last" do
    with_worker(env: {"RAILS_MAX_THREADS" => "9"}) { |worker| assert_equal 9, worker.process["concurrency"] }
    with_worker("-c", "2", env: {"RAILS_MAX_THREADS" => "9"}) { |worker| assert_equal 2, worker.process["concurrency"] }
  end

  it "takes DYNO for its host, and leaves time out of its lines" do
    with_worker(env: {"DYNO" => "worker.1"}) do |worker|
      assert_match(/\Aworker\.1:/, worker.identity)
      assert_match(/\AINFO  pid=/, worker.said)
    end
  end

  it "refuses what makes no sense, naming the culprit" do
    [
      [["--bogus"], "--bogus"],
      [["-c", "0"], "concurrency: 0 is not a valid value"],
      [["-c", "x"], "'x'"],
      [["-t", "0"], "timeout: 0 is not a valid value"],
      [["-q", "a,b"], "\"b\" is no weight for queue \"a\""],
      [["-C", "no/such.yml"], "no/such.yml"],
      [["-C", config(":concurrency: <%= 5 + 5 %>")], "line 1 has an ERB tag"],
      [["-C", config(":concurrency: <%= ENV.fetch('NO_SUCH_VARIABLE') %>")], "no variable NO_SUCH_VARIABLE"],
      [["-C", config("- a\n- b\n")], "must be a map"],
      [["-C", config(":queues: []")], "queues: a list is not a list with at least one queue"],
      [["-C", config(":concurrency: many")], "concurrency: \"many\" is not a whole number"]
    ].each do |flags, culprit|
      said, code = run_worker(*flags)
      assert_equal 1, code, said
      assert_includes said, culprit
    end
  end

  it "refuses a Redis it cannot use, and shows no password" do
    [
      [{"REDIS_URL" => "redis://:s3cr3t@127.0.0.1:1/0"}, "redis://127.0.0.1:1/0"],
      [{"REDIS_URL" => "http://:s3cr3t@example.com"}, "no Redis URL"],
      [{"REDIS_PROVIDER" => "redis://:s3cr3t@example.com"}, "REDIS_PROVIDER holds the name of the variable"],
      [{"REDIS_PROVIDER" => "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE"]
    ].each do |env, culprit|
      said, code = run_worker("--boot-timeout", "0", env: env)
      assert_equal 1, code, said
      assert_includes said, culprit
      refute_includes said, "s3cr3t"
    end
  end

  it "waits at the start until Redis is available, and logs the cause" do
    port = RedisServer.free_port
    @workers << (worker = WorkerProcess.rust(env: {"REDIS_URL" => "redis://127.0.0.1:#{port}/0"}))
    eventually { assert_match(/waiting for Redis.*refused/, worker.said) }
    refute_match(/Booted/, worker.said)
    proxy = TCPServer.new("127.0.0.1", port)
    relay = Thread.new { loop { relay_to_redis(proxy.accept) } }
    eventually { assert_match(/Redis answers.*Booted ferrokiq/m, worker.said) }
    worker.stop
  ensure
    relay&.kill
    proxy&.close
  end

  it "logs Booted once it reached Redis, and not before" do
    said, code = WorkerProcess.run(WorkerProcess::RUST, "--boot-timeout", "0", env: {"REDIS_URL" => "redis://127.0.0.1:1/0"})
    assert_equal 1, code, said
    assert_match(/Booting ferrokiq .*redis=redis:\/\/127\.0\.0\.1:1\/0/, said)
    refute_match(/Booted|Starting processing/, said)
    with_worker { |worker| eventually { assert_match(/Booted ferrokiq .*Starting processing/m, worker.said) } }
  end

  it "helps and tells its version" do
    said, code = run_worker("--help")
    assert_equal 0, code
    %w[--concurrency --queue --timeout --config --environment --tag --require --verbose --version REDIS_URL TSTP].each { |word| assert_includes said, word }
    assert_match(/\d+\.\d+\.\d+/, run_worker("-V").first)
  end
end
