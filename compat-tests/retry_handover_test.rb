# frozen_string_literal: true

require_relative "helper"

describe "retries" do
  include Compat

  it "leaves a failed job the way Sidekiq would" do
    jid = FailJob.set(tags: %w[billing], backtrace: 5, tenant: 7).perform_async("boom é")
    with_worker { eventually { assert_equal 1, Sidekiq::RetrySet.new.size } }

    job = Sidekiq::RetrySet.new.first
    assert_equal [jid, "FailJob", "default", ["boom é"]], [job.jid, job.klass, job.queue, job.args]
    assert_equal ["ArgumentError", "boom é", 0], [job["error_class"], job["error_message"], job["retry_count"]]
    assert_kind_of Sidekiqs::STAMP, job["failed_at"]
    assert_in_delta Time.now.to_f, job.at.to_f, 30
    assert_match(/jobs\.rs:\d+/, job.error_backtrace.first)
    assert_equal [%w[billing], 7], [job.tags, job["tenant"]], "keys ferrokiq does not know must survive"
    assert_equal [1, 1], [Sidekiq::Stats.new.processed, Sidekiq::Stats.new.failed]
  end

  it "hands a job that failed in Rust to Ruby" do
    jid = FlakyJob.perform_async("rust first")
    with_worker { eventually { assert_equal 1, Sidekiq::RetrySet.new.size } }
    make_due "retry"
    with_sidekiq("-q", "default") { assert_ran "ruby", jid, "rust first" }
    assert_equal 0, Sidekiq::RetrySet.new.size
  end

  it "hands a job that failed in Ruby to Rust" do
    jid = FlakyJob.perform_async("ruby first")
    with_sidekiq("-q", "default") { eventually { assert_equal 1, Sidekiq::RetrySet.new.size } }
    make_due "retry"
    with_worker { assert_ran "rust", jid, "ruby first" }
    assert_equal 0, Sidekiq::RetrySet.new.size
  end

  it "counts on where the other side stopped" do
    FailJob.perform_async("again and again")
    with_sidekiq("-q", "default") { eventually { assert_equal 1, Sidekiq::RetrySet.new.size } }
    make_due "retry"
    with_worker { eventually { assert_equal 1, Sidekiq::RetrySet.new.first["retry_count"] } }
    make_due "retry"
    with_sidekiq("-q", "default") { eventually { assert_equal 2, Sidekiq::RetrySet.new.first["retry_count"] } }
    job = Sidekiq::RetrySet.new.first
    assert_operator job["retried_at"], :>, job["failed_at"]
    keys = job.item.keys
    assert_equal keys.uniq, keys
  end

  it "obeys the retry_in of the Rust job" do
    PatientJob.perform_async("later")
    with_worker { eventually { assert_equal 1, Sidekiq::RetrySet.new.size } }
    assert_includes 95..115, Sidekiq::RetrySet.new.first.at.to_f - Time.now.to_f
  end

  it "takes a panic for a failure and goes on" do
    panicking = PanicJob.perform_async("aaargh")
    echo = EchoJob.perform_async("still here")
    with_worker("-c", "1") do
      assert_ran "rust", echo, ["still here"]
      eventually { assert_equal 1, Sidekiq::RetrySet.new.size }
    end
    job = Sidekiq::RetrySet.new.find_job(panicking)
    assert_equal ["RuntimeError", "panicked: aaargh"], [job["error_class"], job["error_message"]]
  end
end
