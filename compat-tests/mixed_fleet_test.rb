# frozen_string_literal: true

require_relative "helper"

# Processes of other versions, as they show themselves: what Rust writes must be readable for the oldest.
describe "a mixed fleet" do
  include Compat

  # A process of Sidekiq VERSION that lives; 6.4 does not say its version.
  def pretend(version)
    identity = "old:1:%012x" % version.to_i
    info = {hostname: "old", started_at: Time.now.to_f, pid: 1, tag: "", concurrency: 1, queues: ["q"], labels: [], identity: identity}
    info[:version] = version if version
    redis("SADD", "processes", identity)
    redis("HSET", identity, "info", JSON.generate(info), "busy", 0, "beat", Time.now.to_f, "quiet", "false")
  end

  def pushed(class_name)
    raw = redis("LRANGE", "queue:ruby", 0, -1).first
    assert_includes raw, class_name
    JSON.parse(raw)
  end

  [[nil, Float], ["7.3.2", Float], ["8.1.7", Integer]].each do |version, kind|
    it "writes stamps that Sidekiq #{version || "6.4"} reads, from a job and from the command line" do
      pretend(version)
      HandoverJob.set(created_at: 1_795_408_384_695).perform_async("x")
      with_worker { eventually { assert_equal 1, redis("LLEN", "queue:ruby") } }
      assert_kind_of kind, pushed("RubyEchoJob")["created_at"]
      assert_kind_of kind, pushed("RubyEchoJob")["enqueued_at"]

      _, code = WorkerProcess.run(WorkerProcess::TOOL, "push", "RubyEchoJob", "[]", "--queue", "ruby")
      assert_equal 0, code
      assert_kind_of kind, pushed("RubyEchoJob")["created_at"]
    end
  end

  it "takes the form of the jobs it gets where no process tells" do
    HandoverJob.set(created_at: 1_795_408_384.5).perform_async("x")
    with_worker { eventually { assert_equal 1, redis("LLEN", "queue:ruby") } }
    assert_kind_of Float, pushed("RubyEchoJob")["created_at"]
  end

  it "shows what runs under the keys of all versions" do
    SlowJob.perform_async(30)
    with_worker("-t", "1") do |worker|
      eventually { assert_equal 1, redis("HLEN", "#{worker.identity}:work") }
      assert_equal 1, redis("HLEN", "#{worker.identity}:workers")
      assert_includes 1..60, redis("TTL", "#{worker.identity}:workers")
    end
    assert_empty redis("KEYS", "*:work*")
  end
end

describe "a fleet of three versions" do
  include Compat

  OLD = 6

  def start_beside(*command)
    skip "there is no Sidekiq #{OLD} beside this one: bin/setup --sidekiq #{OLD}" unless (command = WorkerProcess.beside(OLD, *command))
    WorkerProcess.new("sidekiq #{OLD}", command, {}).tap { |process| @workers << process }
  end

  # What the Web UI of the old Sidekiq shows.
  def old_page(path)
    response = Net::HTTP.get_response("127.0.0.1", path, @port)
    assert_equal "200", response.code, path
    @cookie = response["Set-Cookie"]
    response.body.force_encoding("UTF-8")
  rescue SystemCallError
    flunk "the Web UI is not up yet"
  end

  # A click there: the token of its form, and its session.
  def old_click(path, **fields)
    token = old_page(path)[/name=['"]authenticity_token['"] value=['"]([^'"]+)['"]/, 1]
    request = Net::HTTP::Post.new(path, "Cookie" => @cookie[/\A[^;]+/])
    request.set_form_data(fields.merge(authenticity_token: token))
    assert_equal "302", Net::HTTP.start("127.0.0.1", @port) { |http| http.request(request) }.code
  end

  # Pushed by the client of the old Sidekiq; its jids.
  def old_push(code)
    command = WorkerProcess.beside(OLD, "ruby", "-r", File.expand_path("../ruby-fixtures/jobs.rb", __dir__), "-e", code)
    said, status = WorkerProcess.run(*command)
    assert_equal 0, status, said
    said.lines.last.split
  end

  it "works: 6.4 pushes and shows, 8.1 and Rust work" do
    skip_before 8, "is not the newest of the fleet"
    require "net/http"
    start_beside("ruby", "-S", "puma", "--quiet", "--bind", "tcp://127.0.0.1:#{@port = RedisServer.free_port}", File.expand_path("../ruby-fixtures/web.ru", __dir__))
    eventually(within: 30) { old_page("/") }

    jids = old_push('print SlowJob.perform_async(60), " ", HandoverJob.perform_async("x"), " ", FailJob.perform_async("from the old"), " ", EchoJob.perform_in(3600, 1)')
    slow, _handover, failed, later = jids
    with_sidekiq("-q", "ruby", "-c", "2") do |ruby|
      rust = start_worker("-t", "1", "-g", "rust")
      # 6.4 -> Rust -> 8.1.
      eventually { assert_equal 1, redis("HGET", "proof:count", "ruby").to_i }
      # What Rust wrote, on the pages of 6.4: the same moment, the same day.
      eventually { assert_includes old_page("/retries"), "from the old" }
      retried = Sidekiq::RetrySet.new.find_job(failed)
      assert_kind_of Float, retried["failed_at"]
      assert_includes old_page("/retries/#{retried.score}-#{failed}"), Time.at(retried["failed_at"]).utc.strftime("%Y-%m-%dT%H:%M")
      # Its turn may come before the end of this test, and it would be queued beside what Rust leaves.
      retried.delete
      # Rust's running job is seen by both.
      eventually { assert_includes old_page("/busy"), slow }
      eventually { assert_includes busy_jobs.map(&:jid), slow }
      [rust, ruby].each { |process| assert_includes old_page("/busy"), process.identity }
      # A button of 6.4 moves a job of 6.4 to Rust; a button of 6.4 stops Rust.
      entry = Sidekiq::ScheduledSet.new.find_job(later)
      old_click("/scheduled/#{entry.score}-#{later}", add_to_queue: "1")
      assert_ran "rust", later, [1]
      old_click("/busy", identity: rust.identity, stop: "1")
      assert_equal 0, rust.wait.exitstatus
      # What Rust left is there for Ruby, and moments are readable for the oldest.
      assert_equal [slow], Sidekiq::Queue.new.map(&:jid)
      assert_kind_of Float, Sidekiq::Queue.new.first["created_at"]
    end
  end
end
