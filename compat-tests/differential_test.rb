# frozen_string_literal: true

require_relative "helper"
require_relative "../ruby-fixtures/cases"

# The same jobs once through a real `sidekiq` process and once through the Rust worker; then what lies in Redis is compared
# key by key, feature by feature. The corpus is that of ruby-fixtures/cases.rb.
module Differential
  # Every case of the corpus belongs to one of these.
  FEATURES = {
    "retry: true, false, a number, null, absent" => %w[first_failure second_failure last_failure after_manual_retry retry_count_null retry_count_text retry_false retry_null
      retry_absent retry_absent_class_says_0 retry_0 retry_text],
    "dead: false and null" => %w[dead_false dead_null],
    "retry_queue" => %w[retry_queue other_queue_than_it_says],
    "retry_for" => %w[retry_for_alive retry_for_over retry_for_without_failed_at],
    "retry_in: delay, kill, discard" => %w[retry_in retry_in_kill retry_in_discard],
    "retries_exhausted" => %w[retries_exhausted retries_exhausted_discards],
    "backtrace" => %w[backtrace backtrace_false],
    "error_message" => %w[long_message hostile_message],
    "tags, bid, cattr, locale, encrypt, expires_in, display_class and unknown keys" => %w[unknown_keys carried duplicate_keys],
    "log_level" => %w[log_level log_level_invalid],
    "numbers, floats and stamps as they were written" => %w[big_integer float_spelling infinite_argument seconds no_created_at],
    "unknown classes" => %w[unknown_class unknown_class_retry_false unknown_class_retry_absent],
    "wrong arguments" => %w[too_few_arguments too_many_arguments args_object],
    "what is no payload" => %w[malformed json_array json_text],
    "success" => %w[success success_without_args]
  }.freeze

  ACCEPTED = JSON.parse(File.read(File.join(__dir__, "accepted_differences.json"))).freeze
  NOW_KEYS = %w[failed_at retried_at discarded_at].freeze

  def self.accepted?(name) = ACCEPTED.key?("run/#{name}") || ACCEPTED.key?("run/#{name}@#{Sidekiqs::MAJOR}")

  # What both left behind: run once, whoever asks first.
  def self.left(test)
    @left ||= {"ruby" => through(test) { |done| test.with_sidekiq("-q", "default", "-c", "1", &done) },
               "rust" => through(test) { |done| test.with_worker("-C", WorkerProcess.config_file(":foreign_jobs: run\n"), "-c", "1", &done) }}
  end

  def self.through(test)
    test.redis("FLUSHDB")
    started = Time.now.to_f
    test.redis("SADD", "queues", "default")
    # The jobs told apart by jid; every case at once.
    Cases.run(Sidekiqs::MAJOR).each do |name, raw|
      test.redis("LPUSH", "queue:default", raw.sub('"jid":"a6"', %("jid":"#{name}"))) unless accepted?(name)
    end
    # One at a time and in order: when the last has run, all have.
    last = EchoJob.perform_async("the last")
    yield ->(_process) { test.eventually { test.assert_equal [1, 0], [test.proofs(last).size, test.private_jobs] } }
    test.redis("DEL", "proof:#{last}")
    {"stats" => [test.redis("GET", "stat:processed"), test.redis("GET", "stat:failed")], "queues" => test.redis("SMEMBERS", "queues"),
     "jobs" => %w[retry dead].flat_map { |set| test.redis("ZRANGE", set, 0, -1).map { |raw| described(set, raw, started) } }.group_by(&:first),
     "delays" => test.redis("ZRANGE", "retry", 0, -1, "WITHSCORES").flatten.each_slice(2).to_h { |raw, score| [JSON.parse(raw)["jid"], [test.delay_of(raw, score.to_f), test.jitter_of(raw)]] },
     "proofs" => test.redis("KEYS", "proof:*").to_h { |key| [key, (key == "proof:count") ? nil : test.redis("TYPE", key) == "list" && test.proofs(key.delete_prefix("proof:")).map(&:last)] }}
  end

  # Its jid, where it is, and its own JSON with the moment of this run and the frames of the language taken out.
  def self.described(set, raw, started)
    job = JSON.parse(raw)
    NOW_KEYS.each do |key|
      next unless job[key].is_a?(Sidekiqs::STAMP) && job[key] >= ((Sidekiqs::STAMP == Integer) ? (started * 1000).floor : started)
      job[key] = "now, as this Sidekiq writes it"
    end
    job["error_backtrace"] = "frames" if job["error_backtrace"]
    [job["jid"], set, JSON.generate(job)]
  rescue JSON::ParserError
    [raw, set, raw]
  end
end

Differential::FEATURES.each do |feature, cases|
  describe feature do
    include Compat

    it "leaves the same in Rust as in Ruby, key by key and in the same order" do
      unless cases.any? { |name| !Differential.accepted?(name) }
        skip "differs on purpose in #{cases.size} cases: accepted_differences.json"
      end
      left = Differential.left(self)
      cases.each do |name|
        # What is no payload has no jid.
        jid = left["ruby"]["jobs"].key?(name) ? name : Cases::RUN.fetch(name)
        assert_equal left["ruby"]["jobs"][jid].inspect, left["rust"]["jobs"][jid].inspect, name
        ruby, rust = left.values.map { |side| side["delays"][jid] }
        assert_in_delta ruby[0], rust[0], ruby[1], name if ruby
        assert_equal left["ruby"]["proofs"]["proof:#{name}"].inspect, left["rust"]["proofs"]["proof:#{name}"].inspect, name
      end
    end
  end
end

describe "a run of all jobs" do
  include Compat

  it "belongs to a feature each, and counts as in Ruby" do
    assert_equal Cases::RUN.keys.sort, Differential::FEATURES.values.flatten.sort
    left = Differential.left(self)
    %w[stats queues proofs].each { |part| assert_equal left["ruby"][part], left["rust"][part], part }
    assert_equal left["ruby"]["jobs"].keys.sort, left["rust"]["jobs"].keys.sort
    assert_operator left["ruby"]["jobs"].size, :>, 20
  end
end
