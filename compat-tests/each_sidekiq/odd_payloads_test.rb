# frozen_string_literal: true

require_relative "../helper"
require_relative "../support/odd_payloads"
require "sidekiq/scheduled"

# Payloads nobody means, and what Ruby makes of what the Rust worker and its poller leave of them.
module Odds
  include Compat

  # The sorted sets a poller empties.
  WAITING = %w[retry schedule].freeze

  def odds(drawn:)
    listed = OddPayloads.listed(stamp)
    listed + OddPayloads.drawn(listed.size, drawn, stamp, Random.new(OddPayloads::SEED))
  end

  def stamp = (Sidekiqs::STAMP == Integer) ? "1795408384695" : "1795408384.695"

  def number(raw) = raw.b[/"odd" ?: ?(\d+)/, 1]&.to_i

  def queued = redis("KEYS", "queue:*").flat_map { |key| redis("LRANGE", key, 0, -1) }

  def numbers(raws) = raws.map { |raw| number(raw) }

  # Ruby's own poller moves everything that waits, once; what it raised.
  def ruby_polls
    enq = (Sidekiqs::MAJOR >= 7) ? Sidekiq::Scheduled::Enq.new(Sidekiq.default_configuration) : Sidekiq::Scheduled::Enq.new
    raised = []
    begin
      enq.enqueue_jobs
    rescue => error
      raised << "#{error.class}: #{error.message[0, 200]}"
      retry
    end
    raised
  end

  def idle(*sets)
    eventually(within: 60) { assert_equal [0, 0, *sets.map { 0 }], [Sidekiq::Queue.new.size, private_jobs, *sets.map { |set| redis("ZCOUNT", set, "-inf", 1) }] }
  end
end

describe "odd payloads that the Rust worker leaves" do
  include Odds

  # Whether Sidekiq drops such a job when it fails.
  def dropped?(odd) = odd.job.nil? || odd.job["retry"] == false || odd.job["dead"] == false || odd.job["class"] == "DiscardedJob"

  it "are all moved by Ruby's poller: nothing is lost, nothing is raised" do
    all = odds(drawn: 500)
    puts "odd payloads: #{all.size}, ODD_SEED=#{OddPayloads::SEED}"
    assert_operator all.size, :>=, 1_000
    all.each_slice(3) do |one, *others|
      redis("LPUSH", "queue:default", one.raw)
      Odds::WAITING.zip(others).each { |set, odd| redis("ZADD", set, 1, odd.raw) if odd }
    end
    with_worker("-C", WorkerProcess.config_file(":foreign_jobs: run\n"), "--wire-version", Sidekiqs::MAJOR.to_s) { idle(*Odds::WAITING) }

    dead = redis("ZRANGE", "dead", 0, -1)
    waiting = Odds::WAITING.flat_map { |set| redis("ZRANGE", set, 0, -1) }
    ran = redis("KEYS", "proof:*").size
    there = numbers(dead + waiting + queued)
    gone = all.reject { |odd| there.include?(odd.number) || dropped?(odd) || odd.job["class"] == "EchoJob" || odd.job["class"] == "StrictJob" }
    assert_empty gone.map(&:raw)
    assert_operator ran, :>, 10
    assert_operator waiting.size, :>, 300
    anonymous = Sidekiq::RetrySet.new.reject(&:jid).map(&:value)

    before = queued.size
    # One with a time of its own comes to the schedule first.
    raised = Array.new(2) { Odds::WAITING.each { |set| make_due(set) } && ruby_polls }.flatten
    assert_empty raised
    assert_equal [0, 0], Odds::WAITING.map { |set| redis("ZCARD", set) }
    assert_equal before + waiting.size, queued.size
    assert_empty numbers(waiting) - numbers(queued)
    assert_empty anonymous
  end
end

# The same odd payloads once through Ruby and once through Rust.
module OddDifferential
  # What one side did with a payload: the arguments it ran with, and where its entries are now.
  Outcome = Struct.new(:ran, :entries) do
    def nowhere? = ran.empty? && entries.empty?

    # Its one entry, in this place.
    def only(place) = (entries.first if ran.empty? && entries.size == 1 && entries.first.place == place)

    def buried? = only("dead")&.unchanged
  end
  # `job` is its JSON without what belongs to the moment or to the language.
  Entry = Struct.new(:place, :raw, :unchanged, :job, :delay)

  MOMENTS = %w[created_at enqueued_at failed_at retried_at discarded_at].freeze

  module_function

  # How each side leaves each payload: of a run from a queue, and of a poller's look at the schedule.
  def outcomes(test, kind, odds)
    %w[ruby rust].map do |side|
      test.redis("FLUSHDB")
      started = Time.now.to_f
      (kind == "run") ? run(test, side, odds) : poll(test, side, odds)
      yield if side == "rust" && block_given?
      found(test, odds, started)
    end
  end

  # In one process, one after the other; when the last one ran, all did.
  def run(test, side, odds)
    odds.each_slice(100) { |some| test.redis("LPUSH", "queue:default", *some.map(&:raw)) }
    last = EchoJob.perform_async("the last")
    done = ->(_process) { test.eventually(within: 60) { test.assert_equal [1, 0], [test.proofs(last).size, test.private_jobs] } }
    flags = ["-C", WorkerProcess.config_file(":poll_interval_average: 600\n:foreign_jobs: run\n"), "-q", "default", "-c", "1"]
    if side == "ruby"
      test.with_sidekiq(*flags, &done)
    else
      test.with_worker(*flags, "--wire-version", Sidekiqs::MAJOR.to_s, env: {"POLL_INTERVAL" => "600"}, &done)
    end
    test.redis("DEL", "proof:#{last}")
  end

  def poll(test, side, odds)
    odds.each_slice(100) { |some| test.redis("ZADD", "schedule", *some.flat_map { |odd| [1, odd.raw] }) }
    return test.ruby_polls if side == "ruby"
    test.with_worker("-q", "nobody", "--wire-version", Sidekiqs::MAJOR.to_s) { test.eventually(within: 60) { test.assert_equal 0, test.redis("ZCOUNT", "schedule", "-inf", 1) } }
  end

  def found(test, odds, started)
    found = odds.to_h { |odd| [odd.number, Outcome.new([], [])] }
    test.redis("KEYS", "proof:*").each do |key|
      next unless test.redis("TYPE", key) == "list"
      test.redis("LRANGE", key, 0, -1).each do |raw|
        number = key[/\Aproof:o(\d+)\z/, 1] || raw[/\A\["\w+", ?\["o(\d+)"\]\]\z/, 1]
        # What this Ruby does not read ran in Rust all the same.
        found[number.to_i].ran << (OddPayloads.read(raw)&.last.inspect || raw) if number
      end
    end
    note = ->(place, raw, score) {
      given = odds[test.number(raw) || next]
      unchanged = raw.b.delete_suffix(" (not a job)") == given.raw.b
      found[given.number].entries << Entry.new(place, raw, unchanged, job(raw, given, started), score && test.delay_of(raw, score.to_f))
    }
    %w[retry dead schedule].each { |set| test.redis("ZRANGE", set, 0, -1, "WITHSCORES").flatten.each_slice(2) { |raw, score| note[set, raw, score] } }
    test.redis("KEYS", "queue:*").each { |key| test.redis("LRANGE", key, 0, -1).each { |raw| note[key, raw, nil] } }
    found
  end

  def job(raw, given, started)
    job = OddPayloads.read(raw)
    return raw.b unless job.is_a?(Hash)
    MOMENTS.each do |key|
      next if !job.key?(key) || (given.job&.key?(key) && given.job[key].eql?(job[key]))
      is_now = job[key].is_a?(Sidekiqs::STAMP) && job[key] >= ((Sidekiqs::STAMP == Integer) ? (started * 1000).floor : started)
      job[key] = "now, as this Sidekiq writes it" if is_now
    end
    if job.key?("error_class")
      job["error_backtrace"] = "frames" if job["error_backtrace"]
      job.delete("error_message")
    end
    job["jid"] = "drawn" if job["jid"].to_s.match?(/\A\h{24}\z/)
    job
  end

  # Whether two entries have the same values, and are due at the same time but for the jitter.
  def same_entry?(test, one, other)
    one.place == other.place && same?(one.job, other.job) && (one.delay.nil? || other.delay.nil? || (one.delay - other.delay).abs <= test.jitter_of(one.raw))
  end

  def same?(one, other) = (one.is_a?(Hash) ? one.sort : one).inspect == (other.is_a?(Hash) ? other.sort : other).inspect

  def alike?(test, ruby, rust)
    by_place = ->(outcome) { outcome.entries.sort_by(&:place) }
    ruby.ran == rust.ran && ruby.entries.size == rust.entries.size && by_place[ruby].zip(by_place[rust]).all? { |one, other| same_entry?(test, one, other) }
  end

  # Where Rust differs on purpose, and nowhere else. `given` is whether a payload is such a one, `kept` whether Rust does what is declared,
  # `seen` where the listed payloads show it: in which kind of test, and with which Sidekiq if not with each.
  Difference = Struct.new(:reason, :given, :kept, :seen) do
    def seen?(kind) = (seen & [kind, "#{kind}@#{Sidekiqs::MAJOR}"]).any?
  end
  BURIED = ->(_ruby, rust) { rust.buried? }
  READABLE = ->(odd) { odd.job }

  # Whether Ruby's own push refuses what Ruby's retry layer wrote: its poller loses the job.
  def self.lost_by_poller?(raw)
    job = Sidekiq.load_json(raw)
    client = Sidekiq::Client.new
    Sidekiq.dump_json(client.send(:normalize_item, job))
    false
  rescue StandardError
    true
  end

  def self.on_purpose?(job) = job && (job["retry"] == false || job["dead"] == false)

  DIFFERENCES = {
    "text that is not UTF-8" => Difference["Ruby runs it, and loses the job if it fails. No Rust string can hold it: the bytes go to the dead set, with a log line.",
      ->(odd) { !odd.raw.dup.force_encoding(Encoding::UTF_8).valid_encoding? }, BURIED, %w[run due]],
    "arguments that are no array" => Difference["Ruby passes a value as one argument and an object as pairs, and its poller loses the job if it fails.",
      ->(odd) { odd.job && !odd.job["args"].nil? && !odd.job["args"].is_a?(Array) }, BURIED, %w[run due]],
    "a key that stands twice" => Difference["The json gem refuses it from 3.0 on; the last value counts here, as in json 2.",
      ->(odd) { odd.job.nil? && JSON::VERSION.to_i >= 3 && (JSON.parse(odd.raw, allow_duplicate_key: true) rescue nil).is_a?(Hash) },
      ->(ruby, rust) { (ruby.buried? || ruby.nowhere?) && !rust.buried? && !rust.nowhere? }, %w[run@8 due@8]],
    "a key that stands twice inside a value" => Difference["So a failed job goes to the dead set: a poller with json 3 would lose it.", ->(odd) { odd.job && odd.raw.include?('{"a":1,"a":2}') }, BURIED, %w[run@7]],
    "comments and unknown escapes" => Difference["The json gem reads them before 3.0 and refuses them from then on; so it is here.",
      ->(odd) { JSON::VERSION.to_i < 3 && odd.raw.match?(%r{/\*|\\q}) }, BURIED, %w[run@7 due@7]],
    "more than 1,024 keys" => Difference["other/many_keys in accepted_differences.json.", ->(odd) { odd.job && odd.job.size > 1_024 }, BURIED, %w[run due]],
    "a queue that can be none" => Difference["Ruby pushes to a queue named by control characters, or by what `inspect` returns for an array.",
      ->(odd) { odd.job && (odd.job["queue"].is_a?(Array) || odd.job["queue"].is_a?(Hash) || odd.job["queue"].to_s.match?(/[[:cntrl:]]/)) }, BURIED, %w[due]],
    "an unknown class without `retry`" => Difference["run/unknown_class_retry_absent in accepted_differences.json.",
      ->(odd) { odd.job && odd.job["retry"].nil? }, ->(ruby, rust) { ruby.nowhere? && rust.buried? }, %w[run]],
    "what Ruby loses" => Difference["Ruby raises outside its retry layer, or its poller's push raises: the job is in no place. Here it runs, waits, or is in the dead set.",
      ->(odd) { !on_purpose?(odd.job) }, ->(ruby, rust) { ruby.nowhere? && !rust.nowhere? }, %w[run due]],
    "what Ruby's poller would lose" => Difference["Ruby writes it into the retry set, where its own poller loses it; here it goes to the dead set unchanged.",
      READABLE, ->(ruby, rust) { (entry = ruby.only("retry") || ruby.only("dead")) && rust.buried? && lost_by_poller?(entry.raw) }, %w[run]],
    "a `wrapped` that is no class" => Difference["Ruby then ignores `sidekiq_retry_in` of the class; here it holds.",
      ->(odd) { odd.job && !odd.job["wrapped"].nil? }, ->(ruby, rust) { ruby.only("retry") && (rust.only("dead") || rust.nowhere? || rust.only("retry")) }, %w[run]],
    "`retry_for` in 7.3" => Difference["run/retry_for_alive@7 in accepted_differences.json.",
      ->(odd) { Sidekiqs::MAJOR == 7 && odd.job && odd.job["retry_for"] }, ->(ruby, rust) { ruby.only("dead") && rust.only("retry") || (ruby.only("retry") && rust.only("dead")) }, %w[run@7]]
  }.freeze

  # Keys of an entry that Rust writes in another way than Ruby: what they would be with Rust's value, if that is as declared.
  REWRITTEN = {
    "`args`, `jid` and `at` as Ruby's poller and API need them" => Difference["Ruby writes what its own poller loses: null for arguments, an `at` of null; and an entry without a jid, which its API cannot find.",
      READABLE, ->(ruby, rust) {
        changed = {}
        changed["args"] = [] if ruby["args"].nil? && rust["args"] == []
        changed["jid"] = "drawn" if (!ruby["jid"] || ruby["jid"] == "") && rust["jid"] == "drawn"
        changed["at"] = :gone if ruby.key?("at") && ruby["at"].nil? && !rust.key?("at")
        changed
      }, %w[run due]],
    "stamps" => Difference["run/seconds in accepted_differences.json: in the form of the payload's own created_at.",
      READABLE, ->(ruby, rust) {
        MOMENTS.select { |key| ruby[key].to_s.start_with?("now,") && rust[key].is_a?(Numeric) && ((now = Time.now.to_f) - rust[key] < 300 || now - rust[key] / 1000.0 < 300) }.to_h { |key| [key, rust[key]] }
      }, %w[run due]],
    "`retry_queue` that is no text, or no name of a queue" => Difference["Ruby sends the retry to a queue named by what it is; here it comes back to the queue the job was fetched from.",
      ->(odd) { odd.job && odd.job["retry_queue"] && !odd.job["retry_queue"].to_s.match?(/\A[[:print:]]+\z/) || !odd.job["retry_queue"].is_a?(String) },
      ->(_ruby, rust) { {"queue" => rust["queue"]} }, %w[run]]
  }.freeze

  # The names of the declared differences that explain what differs; nil if they do not.
  def declared(test, odd, ruby, rust)
    name, = DIFFERENCES.find { |_, difference| difference.given[odd] && difference.kept[ruby, rust] }
    return [name] if name
    return unless ruby.entries.size == 1 && rust.entries.size == 1 && ruby.ran == rust.ran
    one, other = ruby.entries.first, rust.entries.first
    return unless one.job.is_a?(Hash) && other.job.is_a?(Hash)
    names = REWRITTEN.filter_map do |rewritten, difference|
      next unless difference.given[odd]
      changed = difference.kept[one.job, other.job].reject { |key, value| one.job[key].eql?(value) }
      next if changed.empty?
      one = one.dup.tap { |copy| copy.job = one.job.merge(changed).reject { |_, value| value == :gone } }
      rewritten
    end
    names if same_entry?(test, one, other)
  end
end

describe "odd payloads in Rust and in Ruby" do
  include Odds

  before { skip_before 7, "is not compared: its Ruby and its json gem are too old" }

  # What a Ruby process beside Rust does with all that Rust left.
  def assert_of_use_to_ruby
    %w[retry schedule].each { |set| make_due(set) }
    waiting = redis("ZCARD", "retry") + redis("ZCARD", "schedule")
    before = queued.size
    2.times { %w[retry schedule].each { |set| make_due(set) } && assert_empty(ruby_polls) }
    assert_equal before + waiting, queued.size
    dead = Sidekiq::DeadSet.new
    size = dead.size
    dead.to_a.each { |entry| [entry.score, entry.jid, entry.display_class, entry.delete] }
    assert_operator size, :>, 100
    assert_equal 0, dead.size
  end

  {"run" => "run", "due" => "wait in the schedule"}.each do |kind, what|
    it "end alike when they #{what}, but for what is declared" do
      all = odds(drawn: 200)
      assert_operator all.size, :>=, 1_200
      ruby, rust = OddDifferential.outcomes(self, kind, all)
      assert_of_use_to_ruby
      used = Hash.new(0)
      undeclared = all.filter_map do |odd|
        one, other = ruby[odd.number], rust[odd.number]
        next if OddDifferential.alike?(self, one, other)
        names = OddDifferential.declared(self, odd, one, other)
        names&.each { |name| used[name] += 1 }
        "#{odd.raw.b}\n  ruby: #{one.to_a}\n  rust: #{other.to_a}" unless names
      end
      puts "odd payloads that #{what}: #{all.size}, ODD_SEED=#{OddPayloads::SEED}; declared: #{used}"
      assert_empty undeclared
      declared = OddDifferential::DIFFERENCES.merge(OddDifferential::REWRITTEN).select { |_, difference| difference.seen?(kind) }
      assert_empty declared.keys - used.keys, "declared, and not seen"
    end
  end
end
