# frozen_string_literal: true

require_relative "../helper"

# GitLab's reliable fetcher as Debian ships it, unmodified, in Ruby processes beside Rust workers on the same queue.
describe "gitlab-sidekiq-fetcher beside ferrokiq" do
  include Compat

  JOBS = 1_000
  # How often a process looks for lists of dead ones, in seconds; an hour unless set.
  APP = <<~RUBY
    require #{File.expand_path("../../ruby-fixtures/jobs.rb", __dir__).inspect}
    require "sidekiq-reliable-fetch"

    Sidekiq.configure_server do |config|
      config.options.update(cleanup_interval: 1, lease_interval: 1)
      Sidekiq::ReliableFetch.setup_reliable_fetch!(config)
    end
  RUBY
  # Everything but ferrokiq's keys.
  RIGHTS = %w[~queue:* ~queues ~working:* ~reliable-fetcher-* ~interrupted ~retry ~schedule ~dead ~processes ~process_cleanup ~stat:* ~proof:* ~*:[0-9]*:* +@all].freeze

  before do
    skip "gitlab-sidekiq-fetcher is not installed with Sidekiq #{Sidekiq::VERSION}" unless system("ruby", "-e", 'require "sidekiq-reliable-fetch"', err: IO::NULL)
    @app = Tempfile.create(["app", ".rb"])
    @app.write(APP)
    @app.close
    redis("ACL", "SETUSER", "ferrokiq-neighbour", "reset", "on", ">s3cr3t", *RIGHTS)
  end

  after do
    redis("ACL", "DELUSER", "ferrokiq-neighbour")
    File.unlink(@app.path) if @app
  end

  def start_gitlab = start_sidekiq("-r", @app.path, "-c", "5", env: {"REDIS_URL" => REDIS.url(as: "neighbour"), "LANG" => "C.UTF-8"})

  def doctor
    said, = WorkerProcess.run(WorkerProcess::TOOL, "doctor", "--json")
    said.lines.map { |line| JSON.parse(line) }.select { |finding| finding["check"] == "foreign-list" }
  end

  def lists = redis("KEYS", "working:*")

  def found(jid)
    said, = WorkerProcess.run(WorkerProcess::TOOL, "jobs", "find", jid, "--json")
    said.lines.map { |line| JSON.parse(line)["in"] }
  end

  def ran(side) = redis("HGET", "proof:count", side).to_i

  it "loses no job over kills on both sides, and neither touches a key of the other" do
    # A thread of that fetcher that finds no job sleeps for five seconds.
    jids = SlowJob.perform_bulk(Array.new(JOBS) { [0.01] })
    gitlab, rust = start_gitlab, start_worker("-c", "5")
    eventually { assert_equal [true, true], [ran("ruby") > 40, ran("rust") > 40] }
    [gitlab, rust].each(&:kill)
    mine = eventually { lists.first || flunk("GitLab's process held nothing") }
    heartbeat = "reliable-fetcher-heartbeat-#{mine[/[^:]*:\d+:\h+\z/].tr(":", "-")}"
    assert_includes 1..60, redis("TTL", heartbeat)

    # Its heartbeat key exists: it is alive.
    held = JSON.parse(redis("LINDEX", mine, 0))["jid"]
    assert_equal [mine], found(held)
    assert_equal %w[note], doctor.map { |finding| finding["severity"] }
    refute_match(/push/, doctor.first["advice"])
    # As a minute later; and what Rust held, as after the time it waits for a sign of life.
    redis("DEL", heartbeat)
    assert_equal [%w[warning], false], [doctor.map { |finding| finding["severity"] }, doctor.any? { |finding| finding["fixable"] }]
    redis("SMEMBERS", "ferrokiq:processes").each do |identity|
      redis("ZADD", "ferrokiq:alive", 1, identity)
      redis("SET", "ferrokiq:suspect:#{identity}", "1 1")
    end

    [start_gitlab, start_worker("-c", "5")]
    eventually(within: 30) { assert_equal [0, 0, []], [Sidekiq::Queue.new.size, private_jobs, lists] }
    assert_equal [[], 0, 0, 0], [jids - jids.select { |jid| proofs(jid).any? { |_, what| what == "ended" } }, Sidekiq::RetrySet.new.size, Sidekiq::DeadSet.new.size, redis("ZCARD", "interrupted")]
    twice = jids.count { |jid| proofs(jid).count { |_, what| what == "ended" } > 1 }
    assert_operator twice, :<=, 5 + 5 + 64
  end
end
