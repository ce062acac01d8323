# frozen_string_literal: true

require_relative "helper"

describe "the dead set" do
  include Compat

  it "gets a job whose retries are used up, readable for Sidekiq" do
    jid = DoomedJob.perform_async("so long")
    with_worker { eventually { assert_equal 1, Sidekiq::DeadSet.new.size } }
    job = Sidekiq::DeadSet.new.find_job(jid)
    assert_equal ["DoomedJob", "ArgumentError", "so long", 0], [job.klass, job["error_class"], job["error_message"], job["retry_count"]]
    assert_in_delta Time.now.to_f, job.at.to_f, 20
  end

  it "gives a job back that Ruby retries, and Rust runs it" do
    jid = FlakyJob.set(retry: 0).perform_async("second life")
    with_worker { eventually { assert_equal 1, Sidekiq::DeadSet.new.size } }
    Sidekiq::DeadSet.new.find_job(jid).retry
    assert_equal [0, 1], [Sidekiq::DeadSet.new.size, Sidekiq::Queue.new.size]
    with_worker { assert_ran "rust", jid, "second life" }
  end

  it "gets what is no JSON, byte for byte" do
    raw = '{"class":"EchoJob","args":['
    redis("LPUSH", "queue:default", raw)
    with_worker { eventually { assert_equal [raw], redis("ZRANGE", "dead", 0, -1) } }
    assert_equal 0, Sidekiq::Stats.new.processed
  end

  it "gets what Ruby kills in the retry set" do
    FailJob.perform_async("boom")
    with_worker { eventually { assert_equal 1, Sidekiq::RetrySet.new.size } }
    before = Sidekiq::RetrySet.new.first.value
    Sidekiq::RetrySet.new.first.kill
    assert_equal [before], redis("ZRANGE", "dead", 0, -1)
  end

  it "does not get a job that says so" do
    DoomedJob.set(dead: false).perform_async("nothing left")
    KilledJob.perform_async("killed")
    DiscardedJob.perform_async("discarded")
    with_worker do
      eventually { assert_equal 1, Sidekiq::DeadSet.new.size }
      eventually { assert_equal 0, private_jobs + Sidekiq::Queue.new.size }
    end
    assert_equal "KilledJob", Sidekiq::DeadSet.new.first.klass
    assert_equal 0, Sidekiq::RetrySet.new.size
  end
end
