# frozen_string_literal: true

require_relative "helper"
require_relative "support/both_sides"

describe "the process" do
  include BothSides

  # `info` of a process as both know it; a Rust process says more than an older Sidekiq.
  def told(process, keys)
    info = JSON.parse(redis("HGET", process.identity, "info")).slice(*keys)
    info.merge("hostname" => info["hostname"], "busy" => redis("HGET", process.identity, "busy"), "quiet" => redis("HGET", process.identity, "quiet"))
  end

  KEYS = {6 => %w[hostname tag concurrency queues labels], 7 => %w[hostname tag concurrency queues weights labels embedded],
          8 => %w[hostname tag capsules queues weights labels embedded]}.freeze

  it "shows tag, labels, queues and weights" do
    # Of queues without weights, 6 says nothing more.
    info = assert_alike("-c", "3", "-g", "mine", config: ":labels:\n  - reliable\n  - eu\n:queues:\n  - [critical, 3]\n  - [low, 1]\n") { |process|
      told(process, KEYS[Sidekiqs::MAJOR]).tap { |told| told["queues"] = told["queues"].uniq.sort }
    }
    assert_equal ["mine", %w[reliable eu]], info.values_at("tag", "labels")
  end

  it "shows strict order, and its directory where there is no tag" do
    # Before 8, a process without a Rails application has no tag.
    info = assert_alike("-q", "b", "-q", "a", "-c", "2") { |process| told(process, KEYS[Sidekiqs::MAJOR] - ((Sidekiqs::MAJOR < 8) ? %w[tag] : [])) }
    assert_equal %w[b a], info["queues"]
    assert_equal File.basename(Dir.tmpdir), info["tag"] if Sidekiqs::MAJOR >= 8
  end

  it "shows capsules" do
    skip_before 7, "has no capsules"
    info = assert_alike("-g", "mine", config: ":queues:\n  - default\n:capsules:\n  single:\n    :concurrency: 1\n    :queues:\n      - one\n  mixed:\n    :concurrency: 2\n    :queues:\n      - two,2\n      - three,1\n") { |process|
      told(process, KEYS[Sidekiqs::MAJOR])
    }
    assert_equal [{"default" => 0}, {"one" => 0}, {"two" => 2, "three" => 1}], info["weights"]
    assert_equal({"default" => 5, "single" => 1, "mixed" => 2}, info["capsules"].transform_values { |capsule| capsule["concurrency"] }) if Sidekiqs::MAJOR >= 8
  end

  it "is named after DYNO" do
    host = assert_alike(env: {"DYNO" => "worker.7"}) { |process| [process.identity.split(":").first, told(process, %w[hostname])["hostname"]] }
    assert_equal %w[worker.7 worker.7], host
  end

  it "shows in its name how busy it is" do
    SlowJob.perform_async(30)
    worker = start_worker("-c", "7", "-t", "1")
    eventually { assert_equal "ferrokiq 1/7", File.read("/proc/#{worker.pid}/comm").chomp }
    worker.signal("TSTP")
    eventually { assert_equal "ferrokiq stop 1", File.read("/proc/#{worker.pid}/comm").chomp }
    worker.stop
  end

  it "that is a guest of another one has no buttons and obeys none" do
    skip_before 7, "is never embedded"
    worker = start_worker(env: {"EMBEDDED" => "1"})
    assert worker.process.embedded?
    assert_raises(RuntimeError) { worker.process.quiet! }
    redis("LPUSH", "#{worker.identity}-signals", "TERM")
    eventually { assert_match(/ignored a signal/, worker.said) }
    assert worker.process
    worker.stop
  end
end

describe "process_cleanup" do
  include BothSides

  it "takes the dead off the list, once in a minute for all" do
    left = assert_alike { |process|
      # Its own cleaning must be over.
      eventually { assert_equal 1, redis("EXISTS", "process_cleanup") } if Sidekiqs::MAJOR >= 7
      redis("SADD", "processes", "gone:1:aaaaaaaaaaaa", "gone:2:bbbbbbbbbbbb")
      redis("DEL", "process_cleanup")
      # The cleaning is done at the start; whoever is started next does it.
      other = (process.title == "sidekiq") ? start_sidekiq : start_worker
      # The first process may still read its list. Only the key `process_cleanup` shows that the other process cleaned.
      eventually {
        refute_includes redis("SMEMBERS", "processes"), "gone:1:aaaaaaaaaaaa"
        assert_equal 1, redis("EXISTS", "process_cleanup") if Sidekiqs::MAJOR >= 7
      }
      other.stop
      # 6 looks at all of them, now and then, without a turn.
      turn = [redis("GET", "process_cleanup"), redis("TTL", "process_cleanup").between?(1, 60)] if Sidekiqs::MAJOR >= 7
      [redis("SMEMBERS", "processes").grep(/gone/), turn]
    }
    assert_equal [], left.first
  end
end

describe "lifecycle events" do
  include BothSides

  it "are told in the order of Sidekiq, and the heartbeat again after an outage" do
    events = ->(process) {
      eventually { assert_includes proofs("events"), [process.title == "sidekiq" ? "ruby" : "rust", "heartbeat"] }
      identity = process.identity
      redis("DEL", identity)
      eventually { assert_equal 1, redis("EXISTS", identity) }
      eventually { assert_equal 2, proofs("events").count { |_, event| event == "heartbeat" } } unless process.title == "sidekiq"
      process.signal("TSTP")
      eventually { assert_includes proofs("events").map(&:last), "quiet" }
      process.stop
      proofs("events").map(&:last)
    }
    env = {"TELL_EVENTS" => "1"}
    rust = events.call(start_worker(env: env))
    assert_equal %w[startup heartbeat heartbeat quiet shutdown exit], rust
    redis("FLUSHDB")
    ruby = events.call(start_sidekiq(env: env))
    # Ruby forgets the hook of an event it has told: accepted_differences.json. `exit` is an event of Sidekiq 8.
    assert_equal ruby, rust.each_with_index.reject { |event, at| at == 2 || (event == "exit" && Sidekiqs::MAJOR < 8) }.map(&:first)
  end
end
