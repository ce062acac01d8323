# frozen_string_literal: true

require_relative "helper"

describe "the schedule" do
  include Compat

  it "is looked at by Rust" do
    jid = EchoJob.perform_in(1, "in a second")
    assert_equal 1, Sidekiq::ScheduledSet.new.size
    with_worker { assert_ran "rust", jid, ["in a second"] }
    assert_equal 0, Sidekiq::ScheduledSet.new.size
  end

  it "promotes a thousand at once, whoever serves their queues" do
    Sidekiq::Client.push_bulk("class" => "EchoJob", "queue" => "elsewhere", "args" => (1..1000).map { |n| [n] }, "at" => Time.now.to_f + 1)
    with_worker { eventually { assert_equal 1000, Sidekiq::Queue.new("elsewhere").size } }
    latency = Sidekiq::Queue.new("elsewhere").latency
    assert_includes 0..20, latency
    assert_includes Sidekiq::Queue.all.map(&:name), "elsewhere"
  end

  it "is shared with Ruby's poller without a job running twice or never" do
    Sidekiq::Client.push_bulk("class" => "EchoJob", "args" => (1..500).map { |n| [n] }, "at" => Time.now.to_f + 2)
    with_sidekiq("-q", "default") do
      with_worker do
        eventually { assert_equal 500, redis("HVALS", "proof:count").sum(&:to_i) }
        eventually { assert_equal 0, Sidekiq::ScheduledSet.new.size + Sidekiq::Queue.new.size }
      end
    end
    assert_equal 500, redis("HVALS", "proof:count").sum(&:to_i)
    assert_equal 500, redis("KEYS", "proof:????????????????????????").size
  end

  it "keeps a job that is not due" do
    EchoJob.perform_in(3600, "much later")
    with_worker { assert_ran "rust", EchoJob.perform_async("now"), ["now"] }
    assert_equal 1, Sidekiq::ScheduledSet.new.size
  end

  it "is left to Rust by a Ruby process that is told so, in the words of docs/promises.md" do
    told = File.read(File.expand_path("../docs/promises.md", __dir__))[/```ruby\n(.*?)```/m, 1]
    told = told.sub("config[:scheduled_enq]", "Sidekiq.options[:scheduled_enq]") if Sidekiqs::MAJOR < 7
    looks = 'LeaveItToFerrokiq.prepend(Module.new { def enqueue_jobs(*) = (super; Sidekiq.redis { |conn| conn.call("INCR", "proof:looks") }) })'
    file = Tempfile.create(["leave", ".rb"])
    file.write("require #{File.expand_path("../ruby-fixtures/jobs.rb", __dir__).inspect}\n#{told}\n#{looks}\n")
    file.close
    jid = EchoJob.perform_in(3600, "long ago")
    make_due("schedule")
    with_sidekiq("-r", file.path) do
      eventually { assert_operator redis("GET", "proof:looks").to_i, :>=, 2 }
      assert_equal 1, Sidekiq::ScheduledSet.new.size
      with_worker("-q", "nobody") { assert_ran "ruby", jid, ["long ago"] }
    end
  end
end
