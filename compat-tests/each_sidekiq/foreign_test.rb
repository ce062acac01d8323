# frozen_string_literal: true

require_relative "../helper"
require "socket"

# Middleware in Ruby that imitates a lock of sidekiq-unique-jobs and a counter of sidekiq-batch, and a Rust worker on the same queue that knows
# the class of every job: the jobs that hold something run in Ruby alone, so each lock is released and the batch completes.
describe "jobs that hold something of a Ruby gem" do
  include Compat

  EACH = 20
  BID = "zRviBvBqbbkX3A"

  APP = <<~RUBY
    require #{File.expand_path("../../ruby-fixtures/jobs.rb", __dir__).inspect}

    class ImitatedGems
      def call(_instance, job, _queue)
        yield
        Sidekiq.redis do |conn|
          conn.call("DEL", job["lock_digest"]) if job["lock_digest"]
          if job["bid"] && conn.call("HINCRBY", "BID-\#{job["bid"]}", "pending", -1).zero?
            conn.call("INCR", "proof:callbacks")
          end
        end
      end
    end

    Sidekiq.configure_server do |config|
      config.server_middleware { |chain| chain.add ImitatedGems }
    end
  RUBY

  before do
    @app = Tempfile.create(["app", ".rb"])
    @app.write(APP)
    @app.close
    @port = RedisServer.free_port
  end

  after { File.unlink(@app.path) }

  def push(**keys) = Sidekiq::Client.push({"class" => "EchoJob", "queue" => "mixed", "args" => []}.merge(keys.transform_keys(&:to_s)))

  # As the client middleware of the gem: no job while another holds the lock.
  def push_locked(number)
    digest = "uniquejobs:#{number}"
    push(lock: "until_executed", lock_args: [number], lock_digest: digest) if redis("SET", digest, "1", "NX")
  end

  def push_into_batch
    redis("HINCRBY", "BID-#{BID}", "pending", 1)
    push(bid: BID)
  end

  it "are left to Ruby, which releases locks and completes batches" do
    with_worker("-q", "mixed", "-c", "10", "--health", @port.to_s) do |worker|
      held = (0...EACH).flat_map { |number| [push_locked(number), push_into_batch].tap { push } }
      assert_nil push_locked(0), "the lock is held"
      eventually do
        assert_operator foreign_counts(@port)["sidekiq-unique-jobs"], :>, 0
        assert_operator foreign_counts(@port)["sidekiq-batch or Sidekiq Pro"], :>, 0
      end
      assert_equal EACH.to_s, redis("HGET", "BID-#{BID}", "pending")

      with_sidekiq("-r", @app.path, "-q", "mixed", "-c", "5") do
        eventually(within: 30) { assert_equal 3 * EACH, redis("KEYS", "proof:*").grep_v(/count|callbacks/).size }
        eventually { assert_equal [0, 0], [Sidekiq::Queue.new("mixed").size, private_jobs] }
      end
      assert_equal [[["ruby", []]]], held.map { |jid| proofs(jid) }.uniq, "each ran once, in Ruby"
      assert_empty redis("KEYS", "uniquejobs:*"), "every lock is released"
      assert_equal %w[0 1], [redis("HGET", "BID-#{BID}", "pending"), redis("GET", "proof:callbacks")]
      assert_equal [0, 0], [Sidekiq::RetrySet.new.size, Sidekiq::DeadSet.new.size]
      assert push_locked(0), "the next push takes the lock"
      assert_equal 1, worker.said.scan("only a Ruby gem releases").size, "one line for the class"
    end
  end
end
