# frozen_string_literal: true

require_relative "helper"

describe "the schedule" do
  include Compat

  # The code in docs/promises.md that switches off the poller of a Ruby process.
  def leave_it_to_ferrokiq
    told = File.read(File.expand_path("../docs/promises.md", __dir__))[/```ruby\n(.*?)```/m, 1]
    (Sidekiqs::MAJOR < 7) ? told.sub("config[:scheduled_enq]", "Sidekiq.options[:scheduled_enq]") : told
  end

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
    looks = 'LeaveItToFerrokiq.prepend(Module.new { def enqueue_jobs(*) = (super; Sidekiq.redis { |conn| conn.call("INCR", "proof:looks") }) })'
    file = Tempfile.create(["leave", ".rb"])
    file.write("require #{File.expand_path("../ruby-fixtures/jobs.rb", __dir__).inspect}\n#{leave_it_to_ferrokiq}\n#{looks}\n")
    file.close
    jid = EchoJob.perform_in(3600, "long ago")
    make_due("schedule")
    with_sidekiq("-r", file.path) do
      eventually { assert_operator redis("GET", "proof:looks").to_i, :>=, 2 }
      assert_equal 1, Sidekiq::ScheduledSet.new.size
      with_worker("-q", "nobody", "--promote", "all") { assert_ran "ruby", jid, ["long ago"] }
    end
  end

  # Ruby serves the queue of RubyEchoJob; a client middleware of its counts each push. It looks at the schedule every two seconds.
  def with_counting_sidekiq(more = "", &)
    file = Tempfile.create(["count", ".rb"])
    file.write(<<~RUBY)
      require #{File.expand_path("../ruby-fixtures/jobs.rb", __dir__).inspect}
      class CountPushes
        def call(_worker, job, _queue, _pool)
          Sidekiq.redis { |conn| conn.call("HINCRBY", "proof:pushes", job["class"], 1) }
          yield
        end
      end
      Sidekiq.configure_server { |config| config.client_middleware { |chain| chain.add CountPushes } }
      #{more}
    RUBY
    file.close
    with_sidekiq("-C", WorkerProcess.config_file(":poll_interval_average: 2\n"), "-r", file.path, "-q", "ruby", &)
  end

  it "leaves Ruby's jobs to Ruby's poller, so that they pass its client middleware" do
    with_counting_sidekiq do
      # Rust looks twenty times as often.
      with_worker(env: {"POLL_INTERVAL" => "0.1"}) do
        Sidekiq::Client.push_bulk("class" => "RubyEchoJob", "queue" => "ruby", "args" => (1..200).map { |n| [n] }, "at" => Time.now.to_f + 1)
        eventually { assert_equal 200, redis("HGET", "proof:count", "ruby").to_i }
      end
    end
    assert_equal 200, redis("HGET", "proof:pushes", "RubyEchoJob").to_i
  end

  it "is looked at by Rust for its own jobs though a Ruby process lives that promotes none" do
    with_counting_sidekiq(leave_it_to_ferrokiq) do
      theirs = RubyEchoJob.perform_in(1, "for Ruby")
      ours = EchoJob.perform_in(1, "in a second")
      with_worker do
        assert_ran "rust", ours, ["in a second"]
        assert_equal [theirs], Sidekiq::ScheduledSet.new.map(&:jid)
      end
    end
    assert_nil redis("HGET", "proof:pushes", "EchoJob")
  end
end
