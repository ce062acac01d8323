# frozen_string_literal: true

require_relative "../helper"
require "tmpdir"

# A queue that Ruby and Rust both serve, with jobs that only one side knows: each runs once, where it is known, with no retry burnt. What Rust
# does not know it diverts or puts back; what runs in Rust, Ruby diverts by the middleware that comes with the stubs.
describe "a queue for Ruby and Rust" do
  include Compat

  EACH = 300

  before do
    @dir = Dir.mktmpdir
    said, status = WorkerProcess.run(WorkerProcess::RUST, "contract", "ruby", "--out", @dir)
    assert_equal 0, status, said
    # The app of the Ruby process.
    File.write("#{@dir}/app.rb", <<~RUBY)
      require #{File.expand_path("../../ruby-fixtures/jobs.rb", __dir__).inspect}
      require #{"#{@dir}/sum_job".inspect}
      require #{"#{@dir}/ferrokiq/divert".inspect}
      Sidekiq.configure_server do |config|
        config.server_middleware { |chain| chain.prepend Ferrokiq::Divert, "rust" }
      end
    RUBY
  end

  after { FileUtils.rm_rf(@dir) }

  def push_mixed
    (0...EACH).flat_map { |n|
      [["SumJob", [n, 1], ["rust", n + 1]], ["RubyEchoJob", [n], ["ruby", [n]]]].map { |klass, args, proof|
        [Sidekiq::Client.push("class" => klass, "queue" => "mixed", "args" => args), proof]
      }
    }.to_h
  end

  def calls(command) = redis("INFO", "commandstats")[/^cmdstat_#{command}:calls=(\d+)/, 1].to_i

  # Runs the jobs with both sides at work, and tells how often commands were called meanwhile.
  def run_mixed(policy)
    expected = push_mixed
    config = WorkerProcess.config_file(":unknown_classes: #{policy}\n")
    redis("CONFIG", "RESETSTAT")
    with_sidekiq("-r", "#{@dir}/app.rb", "-q", "mixed", "-q", "ruby", "-c", "5") {
      with_worker("-C", config, "-q", "mixed", "-q", "rust", "-c", "5") {
        eventually(within: 40) { assert_equal 2 * EACH, redis("KEYS", "proof:*").size - 1 }
        eventually { assert_equal 0, Sidekiq::Stats.new.enqueued + private_jobs }
      }
    }
    assert_equal expected.transform_values { |proof| [proof] }, expected.to_h { |jid, _| [jid, proofs(jid)] }
    assert_equal [0, 0, 0], [Sidekiq::RetrySet.new.size, Sidekiq::DeadSet.new.size, Sidekiq::Stats.new.failed]
  end

  it "diverts each job once at most" do
    run_mixed("divert(ruby)")
    # Where a claim may not rename or sort, it pushes to its private list; it may here.
    assert_operator calls("lpush"), :<=, 2 * EACH
  end

  it "leaves Ruby's jobs where they are, and does not look at them all the time" do
    run_mixed("requeue")
    # Each job pushes its proof; the rest are jobs that went back.
    back = calls("rpush") - 2 * EACH
    assert_operator back, :<=, 3 * EACH
  end
end
