# frozen_string_literal: true

require_relative "../helper"
require_relative "../support/active_jobs"

describe "ActiveJob" do
  include Compat

  # A real `sidekiq` that has Rails's jobs.
  def with_rails(queue, &) = with_sidekiq("-r", File.expand_path("../support/active_jobs.rb", __dir__), "-q", queue, "-c", "2", &)

  def greet(**options) = GreetActiveJob.set(options).perform_later(User.new("7"), greeting: :hello, at: Time.at(1_795_408_404.25))

  def only(set) = set.new.first.tap { assert_equal 1, set.new.size }

  # What is drawn anew or depends on the moment.
  def timeless(raw)
    raw.gsub(/"(jid|provider_job_id|job_id)":"\h[\h-]+"/, '"\1":ID').gsub(/"(\w+_at)":(?:"[^"]+"|[\d.]+)/, '"\1":NOW')
  end

  it "runs in Rust what Rails enqueues, with a model and keyword arguments" do
    job = Current.set(tenant: 7) { greet }
    later = greet(wait: 1)
    with_worker do
      assert_ran "rust", job.provider_job_id, ["User", "7", "hello", 1_795_408_404.25, "en", 1, 7]
      assert_ran "rust", later.provider_job_id, ["User", "7", "hello", 1_795_408_404.25, "en", 1, nil]
    end
    assert_equal [0, 0], [Sidekiq::RetrySet.new.size, Sidekiq::Stats.new.failed]
  end

  it "runs in Rails what Rust enqueues: a job, a mail, and what surrounds them" do
    Current.set(tenant: 7) { RelayActiveJob.perform_later(User.new("9"), greeting: "hi") }
    with_worker { eventually { assert_equal 2, Sidekiq::Queue.new("ruby").size } }
    mail, greeting = Sidekiq::Queue.new("ruby").to_a
    assert_equal ["NoticeMailer#hello", "GreetActiveJob"], [mail.display_class, greeting.display_class]
    with_rails("ruby") do
      assert_ran "ruby", greeting.jid, ["User", "9", "hi", 1_767_323_045.25, "en", 1, 7]
      assert_ran "ruby", "mail", [["a@example.com"], "hi 1"]
    end
    assert_equal 0, Sidekiq::Stats.new.failed
  end

  it "enqueues a failed job again as Rails does" do
    sides = {"ruby" => ->(done) { with_rails("default", &done) }, "rust" => ->(done) { with_worker(&done) }}
    left = sides.transform_values do |side|
      redis("FLUSHDB")
      %w[Flaky ZeroDivisionError KeyError Gone RuntimeError].each { |error| RetryActiveJob.perform_later(error) }
      side.call(->(*) { eventually { assert_equal [3, 1, 0], [Sidekiq::ScheduledSet, Sidekiq::RetrySet, Sidekiq::Queue].map { |set| set.new.size } } })
      scheduled = redis("ZRANGE", "schedule", 0, -1).map { |raw| timeless(raw) }
      waits = Sidekiq::ScheduledSet.new.map { |job| (job.at.to_f - job.created_at.to_f).round }
      [scheduled, waits, only(Sidekiq::RetrySet)["error_class"]]
    end
    assert_equal left["ruby"], left["rust"]
    assert_equal [3, 30, 60], left["rust"][1].sort
  end

  it "runs in Rust what perform_all_later enqueues" do
    skip "Rails 6.1 has no perform_all_later" unless ActiveJob.respond_to?(:perform_all_later)
    jobs = Array.new(3) { GreetActiveJob.new(User.new("7"), greeting: :hello, at: Time.at(1_795_408_404.25)) }
    ActiveJob.perform_all_later(jobs[0], jobs[1], jobs[2].set(wait: 1))
    jids = (Sidekiq::Queue.new("default").to_a + Sidekiq::ScheduledSet.new.to_a).map(&:jid)
    assert_equal 3, jids.uniq.size
    with_worker { jids.each { |jid| assert_ran "rust", jid, ["User", "7", "hello", 1_795_408_404.25, "en", 1, nil] } }
    assert_equal [0, 0], [Sidekiq::RetrySet.new.size, Sidekiq::Stats.new.failed]
  end

  it "names the class of a job whose payload has no `wrapped`, in the log and in the metrics" do
    job = greet
    raw = redis("RPOP", "queue:default")
    redis("LPUSH", "queue:default", raw.sub('"wrapped":"GreetActiveJob",', ""))
    worker = start_worker
    assert_ran "rust", job.provider_job_id, ["User", "7", "hello", 1_795_408_404.25, "en", 1, nil]
    worker.stop
    assert_match(/class=GreetActiveJob/, worker.said)
    refute_match(/Wrapper/, worker.said)
    counted = redis("KEYS", "j|*").select { |key| redis("TYPE", key) == "hash" }.flat_map { |key| redis("HKEYS", key) }
    assert_includes counted, "GreetActiveJob|p"
    refute_includes counted.join, "Wrapper"
  end

  it "runs a job whatever its informative times are" do
    job = greet
    raw = redis("RPOP", "queue:default")
    redis("LPUSH", "queue:default", raw.gsub(/"(enqueued_at|scheduled_at)":("[^"]*"|null)/, '"\1":{"at":["noon"]}'))
    assert_match(/noon/, redis("LINDEX", "queue:default", 0))
    with_worker { assert_ran "rust", job.provider_job_id, ["User", "7", "hello", 1_795_408_404.25, "en", 1, nil] }
    assert_equal [0, 0], [Sidekiq::RetrySet.new.size, Sidekiq::Stats.new.failed]
  end

  it "fails with Rails's error for what it cannot read, and keeps the payload" do
    before = {
      "Serializer Money::Serializer is not known" => '{"_aj_serialized":"Money::Serializer","value":1}',
      "uninitialized constant Nobody" => '{"_aj_globalid":"gid://shop/Nobody/1"}',
      "Couldn't find User with 'id'=404" => '{"_aj_globalid":"gid://shop/User/404"}'
    }.to_h do |message, argument|
      job = greet
      raw = redis("RPOP", "queue:default").sub('{"_aj_globalid":"gid://shop/User/7"}', argument)
      redis("LPUSH", "queue:elsewhere", raw)
      ["Error while trying to deserialize arguments: #{message}", [job.provider_job_id, raw]]
    end
    with_worker("-q", "elsewhere") { eventually { assert_equal 3, Sidekiq::RetrySet.new.size } }
    Sidekiq::RetrySet.new.each do |job|
      assert_equal "ActiveJob::DeserializationError", job["error_class"]
      jid, raw = before.fetch(job["error_message"])
      assert_equal jid, job.jid
      args = raw[/"args":\[.*\]/]
      assert_includes job.value, args
    end
    RetryActiveJob.perform_later("fine")
    redis("LPUSH", "queue:elsewhere", redis("RPOP", "queue:default").sub('"arguments":["fine"]', '"arguments":[{"_aj_serialized":"X"}]'))
    with_worker("-q", "elsewhere") { eventually { assert_equal [0, "4"], [Sidekiq::Queue.new("elsewhere").size, redis("GET", "stat:processed")] } }
    assert_equal 3, Sidekiq::RetrySet.new.size
  end

  it "leaves what only Rails knows to Rails" do
    NoticeMailer.hello("bob").deliver_later(queue: "default")
    with_worker { eventually { assert_equal 1, Sidekiq::RetrySet.new.size } }
    job = only(Sidekiq::RetrySet)
    assert_equal "NameError", job["error_class"]
    assert_match(/\Auninitialized constant ActionMailer::\w+: NoticeMailer#hello is a mail/, job["error_message"])
    redis("FLUSHDB")
    NoticeMailer.hello("bob").deliver_later(queue: "default")
    greeting = greet
    with_worker("-C", WorkerProcess.config_file(":unknown_classes: requeue\n")) do
      assert_ran "rust", greeting.provider_job_id, ["User", "7", "hello", 1_795_408_404.25, "en", 1, nil]
      with_rails("default") { assert_ran "ruby", "mail", [["a@example.com"], "bob 1"] }
    end
    assert_equal [0, 0], [Sidekiq::RetrySet.new.size, Sidekiq::Stats.new.failed]
  end
end
