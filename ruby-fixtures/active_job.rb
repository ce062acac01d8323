# frozen_string_literal: true

# ActiveJob payloads as real Rails enqueues them through real Sidekiq, and what Rails reads from them again. Loaded by generate.rb.

require_relative "active_job_classes"
require_relative "active_job_odd"

module ActiveJobs
  ZONES = {new_york: "America/New_York", berlin: "Europe/Berlin", utc: "UTC", kolkata: "Asia/Kolkata"}.freeze

  def self.zoned(zone, *at) = ActiveSupport::TimeZone[ZONES.fetch(zone)].local(*at)

  # Name and arguments; keyword arguments last, under :kw.
  ARGUMENTS = {
    "nothing" => [],
    "nil" => [nil],
    "booleans" => [true, false],
    "integers" => [0, 1, -1, 2**31, -2**63, 2**63, 2**64],
    "integer_huge" => [123456789012345678901234567890123456789, -10**40],
    "floats" => [0.0, -0.0, 1.5, -2.25, 0.1, 1e15, 1e16, 1e20, 1e-4, 1e-5, 5e-324, 1.7976931348623157e308, 123456789.123456789],
    "strings" => ["", "plain", " ", "a" * 300],
    "strings_unicode" => ["é漢字 👩‍👩‍👧", "\u2028\u2029", "\u00a0", "e\u0301"],
    "strings_escapes" => ["\"\\/\b\f\n\r\t", "\u0000\u0001\u001f\u007f", "</script>&'", "\\u00e9"],
    "strings_that_look_like_more" => ["gid://shop/User/1", "_aj_serialized", "2026-01-02", "null", "[1]"],
    "arrays" => [[], [1, [2, [3, []]]], [nil, [nil]], [[[[]]]]],
    "hash_empty" => [{}],
    "hash_string_keys" => [{"a" => 1, "b" => {"c" => nil}}],
    "hash_symbol_keys" => [{a: 1, b: {c: [1, {d: 2}]}}],
    "hash_mixed_keys" => [{:a => 1, "b" => 2, :"with space" => 3, "" => 4, :"é-漢" => 5}],
    "hash_odd_keys" => [{"\n\"" => 1, :"\"quoted\"" => 2, "aj_serialized" => 3, "class" => 4}],
    "hash_order" => [{"z" => 1, "a" => 2, :m => 3, "10" => 4, "9" => 5}],
    "hash_of_everything" => [{sym: :x, at: Time.utc(2026, 1, 2, 3, 4, 5), user: User.new(1), range_ends: [Date.new(2026, 1, 1), 2.days], nested: {"k" => {k: :v}}}],
    "indifferent" => [{a: 1, "b" => 2}.with_indifferent_access],
    "indifferent_empty" => [ActiveSupport::HashWithIndifferentAccess.new],
    "indifferent_nested" => [{a: {b: {c: :d}}, list: [{x: 1}]}.with_indifferent_access],
    "indifferent_in_hash" => [{plain: {a: 1}.with_indifferent_access}],
    "keywords" => [1, {kw: {name: "x", at: :noon}}],
    "keywords_only" => [{kw: {count: 2**70}}],
    "keywords_nested" => [{kw: {options: {deep: {deeper: [:a, {"s" => 1}]}}, list: [1, 2]}}],
    "keywords_behind_a_hash" => [{"h" => 1}, {kw: {k: nil}}],
    "keywords_with_models" => [User.new(7), {kw: {invoice: Billing::Invoice.new("A-1"), greeting: "hello"}}],
    "hash_last_is_no_keywords" => [1, {name: "x"}],
    "symbols" => [:plain, :"", :"with space", :"a-b", :"é漢", :"q?", :"b!", :[]=, :"\"", :"new\nline"],
    "symbols_in_arrays" => [[:a, [:b, "c"]]],
    "model" => [User.new(7)],
    "model_namespaced" => [Billing::Invoice.new(12)],
    "model_odd_ids" => [User.new("a/b c"), User.new("é漢"), User.new("x?y=z&w#f"), User.new("a+b%"), User.new("~-._*")],
    "model_with_params" => [Tenant.new(3)],
    "models_nested" => [[User.new(1), {owner: User.new(2), others: [User.new(3)]}]],
    "date" => [Date.new(2026, 1, 2), Date.new(2024, 2, 29), Date.new(1, 1, 1), Date.new(9999, 12, 31), Date.new(1500, 2, 28)],
    "date_far" => [Date.new(12026, 3, 4), Date.new(-4, 2, 29)],
    "time_utc" => [Time.utc(2026, 1, 2, 3, 4, 5), Time.at(0).utc, Time.at(-1, 250, :millisecond).utc],
    "time_subsecond" => [Time.utc(2026, 1, 2, 3, 4, 5.5r), Time.at(1_795_408_404, 123_456_789, :nsec).utc, Time.at(1, 1, :nsec).utc],
    "time_offsets" => [Time.new(2026, 1, 2, 3, 4, 5, "+05:30"), Time.new(2026, 7, 2, 3, 4, 5.25r, "-09:00"), Time.new(2026, 1, 2, 3, 4, 5, "+00:00")],
    "time_far" => [Time.utc(1600, 2, 29), Time.utc(12026, 1, 1), Time.utc(1, 1, 1)],
    "date_time" => [DateTime.new(2026, 1, 2, 3, 4, 5), DateTime.new(2026, 1, 2, 3, 4, 5.25r, "+01:00"), DateTime.new(2026, 12, 31, 23, 59, 59, "-08:00")],
    "time_with_zone" => [zoned(:new_york, 2026, 1, 2, 3, 4, 5), zoned(:new_york, 2026, 7, 2, 3, 4, 5)],
    "time_with_zone_subsecond" => [zoned(:new_york, 2026, 1, 2, 3, 4, 5.123456789r)],
    "time_with_zone_elsewhere" => [zoned(:berlin, 2026, 1, 2, 3, 4, 5), zoned(:utc, 2026, 1, 2), zoned(:kolkata, 2026, 1, 2, 12)],
    "time_with_zone_at_the_change" => [zoned(:berlin, 2026, 3, 29, 1, 59, 59), zoned(:berlin, 2026, 3, 29, 3), zoned(:berlin, 2026, 10, 25, 2, 30)],
    "duration" => [5.minutes, 1.day, 0.seconds, 30.seconds],
    "duration_parts" => [2.days + 3.hours, 1.year + 2.months - 1.week, 1.month + 1.day + 1.hour + 1.minute + 1.second],
    "duration_fraction" => [1.5.hours, 0.25.seconds, 1.5.days],
    "duration_negative" => [-5.minutes, -(1.day + 2.hours)],
    "duration_nested" => [{timeout: 1.minute, all: [1.hour, 1.week]}],
    "modules" => [User, Billing, Billing::Invoice, String, Comparable],
    "modules_nested" => [[User, {type: Billing::Invoice}]],
    "mixed" => [1, "two", 3.0, nil, true, :four, [5, {"six" => 7}], {eight: {nine: [10]}}, User.new(11), {kw: {twelve: 13.minutes}}],
    "deep" => [(1..24).reduce(:end) { |inner, level| level.odd? ? [inner] : {"l" => inner} }],
    "wide" => [(1..200).to_a, (1..50).to_h { |n| ["k#{n}", n] }]
  }.freeze

  # Since Rails 7.1.
  NEWER = {
    "decimal" => [BigDecimal("1.1"), BigDecimal("-0.05"), BigDecimal("100"), BigDecimal("123456789012345678901234567890.123456789")],
    "decimal_special" => [BigDecimal("0"), BigDecimal("-0"), BigDecimal("1e-30"), BigDecimal("1e30"), BigDecimal("NaN"), BigDecimal("Infinity"), BigDecimal("-Infinity")],
    "duration_decimal" => [BigDecimal("1.5").hours, 1.hour / BigDecimal("7"), 1.month + BigDecimal("2").days, -BigDecimal("0.5").weeks, {timeout: BigDecimal("2.25").minutes}],
    "decimal_nested" => [{price: BigDecimal("19.90"), all: [BigDecimal("1")]}],
    "ranges" => [1..5, 1...5, "a".."z", 1.5..2.5],
    "ranges_open" => [(1..), (..5), (1...), (...5), (nil..nil)],
    "ranges_of_dates" => [Date.new(2026, 1, 1)..Date.new(2026, 1, 31), Date.new(2026, 1, 1)...],
    "ranges_of_times" => [Time.utc(2026, 1, 1)..Time.utc(2026, 1, 2, 3, 4, 5.5r), zoned(:berlin, 2026, 1, 1)..zoned(:berlin, 2026, 2, 1)],
    "ranges_nested" => [{span: 1..2, all: [[:a..:c]]}]
  }.freeze

  # Rails 6.1 hands a BigDecimal to JSON, which makes a string of it.
  OLDER = {
    "decimal" => [BigDecimal("1.1"), BigDecimal("-0.05")]
  }.freeze

  # What an argument is, in terms both languages have.
  def self.describe(value)
    case value
    when nil then ["nil"]
    when true, false then ["bool", value]
    when Integer then ["integer", value.to_s]
    when Float then ["float", [value].pack("G").unpack1("H*")]
    when Symbol then ["symbol", value.to_s]
    when String then ["string", value]
    when Array then ["array", value.map { |item| describe(item) }]
    when ActiveSupport::HashWithIndifferentAccess then ["indifferent", value.map { |key, item| [key, describe(item)] }]
    when Hash then [Hash.ruby2_keywords_hash?(value) ? "keywords" : "hash", value.map { |key, item| [describe(key), describe(item)] }]
    when ActiveSupport::TimeWithZone then ["zoned", value.to_i, value.nsec, value.time_zone.tzinfo.name]
    when DateTime then ["date_time", value.strftime("%s").to_i, (value.sec_fraction * 1_000_000_000).to_i, (value.offset * 86_400).to_i]
    when Time then ["time", value.to_i, value.nsec, value.utc_offset]
    when Date then ["date", value.year, value.month, value.day]
    when ActiveSupport::Duration then ["duration", describe(value.value), value.parts.map { |unit, amount| [unit.to_s, describe(amount)] }]
    when BigDecimal then ["decimal", value.to_s]
    when Range then ["range", describe(value.begin), describe(value.end), value.exclude_end?]
    when Module then ["module", value.name]
    when GlobalID::Identification then ["model", value.class.name, value.id.to_s]
    else raise "what is #{value.inspect}?"
    end
  end

  def self.read(raw) = ActiveJob::Arguments.deserialize(JSON.parse(raw)["args"][0]["arguments"]).map { |value| describe(value) }

  # Sidekiq refuses them unless an app says `Sidekiq.strict_args!(false)`: Rails leaves the seconds of such a duration a BigDecimal.
  NOT_STRICT = %w[duration_decimal].freeze

  def self.enqueue(arguments, strict: true)
    Sidekiq.strict_args!(false) unless strict
    keywords = arguments.last[:kw] if arguments.last.is_a?(Hash)
    keywords ? EchoActiveJob.perform_later(*arguments[...-1], **keywords) : EchoActiveJob.perform_later(*arguments)
  ensure
    Sidekiq.strict_args! unless strict
  end

  # What one call leaves behind: bytes, and where.
  def self.pushed
    Sidekiq.redis { |conn| conn.call("FLUSHDB") }
    yield
    left
  end

  def self.left
    redis("KEYS", "*").sort.flat_map do |key|
      case redis("TYPE", key)
      when "list" then redis("LRANGE", key, 0, -1).map { |raw| [key, nil, raw] }
      when "zset" then redis("ZRANGE", key, 0, -1, "WITHSCORES").flatten.each_slice(2).map { |raw, score| [key, Float(score), raw] }
      else []
      end
    end
  end

  def self.row(name, pushed)
    (key, score, raw) = pushed.fetch(0)
    {"name" => name, "key" => key, "score" => score, "payload" => raw}.compact
  end

  # One row per case: [file, rows].
  def self.record
    arguments = cases.map do |name, given|
      row = row(name, pushed { enqueue(given, strict: !NOT_STRICT.include?(name)) })
      row.merge("means" => read(row["payload"]))
    end
    others = OTHERS.map { |name, call| row(name, pushed(&call)) }
    # A Rails that does not know when a job was to run meets no payload that says it.
    known = RETRIES.reject { |_, (_, data)| data.key?("scheduled_at") && ActiveJob.version < Gem::Version.new("7.1") }
    retries = known.map do |name, (arguments, data)|
      raw = pushed { RetryActiveJob.perform_later(arguments[0]) }.fetch(0).last
      payload = JSON.parse(raw)
      payload["args"][0].merge!(data)
      payload["args"][0]["arguments"] = arguments
      raw = JSON.generate(payload)
      redis("FLUSHDB")
      run(raw)
      {"name" => name, "payload" => raw, "left" => left}
    end
    recorded = {"arguments" => arguments, "others" => others, "retries" => retries}
    # What Rails reads besides what it writes differs a little from version to version; this is what the newest reads.
    recorded["odd"] = Odd.record if Sidekiq::VERSION.to_i >= 8
    recorded
  end

  def self.cases
    ARGUMENTS.merge((ActiveJob.version >= Gem::Version.new("7.1")) ? NEWER : OLDER)
  end

  # Payloads besides those of arguments.
  OTHERS = {
    "options" => -> { OptionsActiveJob.perform_later(1) },
    "set" => -> { EchoActiveJob.set(queue: :high, priority: 3).perform_later("x") },
    "wait" => -> { EchoActiveJob.set(wait: 60).perform_later("later") },
    "wait_until" => -> { EchoActiveJob.set(wait_until: Time.at(1_895_408_404, 500, :millisecond)).perform_later("at") },
    "mail" => -> { NoticeMailer.hello("bob", times: 2).deliver_later },
    "mail_later" => -> { NoticeMailer.hello("bob").deliver_later(wait: 60, queue: "post") },
    "mail_with_params" => -> { NoticeMailer.with(user: User.new(1), plan: "pro").hello("bob").deliver_later }
  }.freeze

  # Arguments of RetryActiveJob, and what its data says besides.
  RETRIES = {
    "first" => [["Flaky"], {}],
    "second" => [["Flaky"], {"executions" => 1, "exception_executions" => {"[Flaky, Timeout::Error]" => 1}}],
    "counted_together" => [["Timeout::Error"], {"executions" => 1, "exception_executions" => {"[Flaky, Timeout::Error]" => 1}}],
    "counted_apart" => [["Flaky"], {"executions" => 9, "exception_executions" => {"[ZeroDivisionError]" => 9}}],
    "used_up" => [["Flaky"], {"executions" => 2, "exception_executions" => {"[Flaky, Timeout::Error]" => 2}}],
    "longer" => [["ZeroDivisionError"], {}],
    "longer_still" => [["ZeroDivisionError"], {"executions" => 3, "exception_executions" => {"[ZeroDivisionError]" => 3}}],
    "by_a_function" => [["KeyError"], {}],
    "used_up_with_a_block" => [["KeyError"], {"executions" => 1, "exception_executions" => {"[KeyError]" => 1}}],
    "discarded" => [["Gone"], {}],
    "nobodys" => [["RuntimeError"], {}],
    "fine" => [["fine"], {}],
    "counts_missing" => [["Flaky"], {"executions" => 1, "exception_executions" => nil}],
    "executions_missing" => [["Flaky"], {"executions" => nil, "exception_executions" => {}}],
    "deserialization" => [["fine", {"_aj_serialized" => "NoSuchSerializer", "value" => 1}], {}],
    # Not of another locale: only newer Rails remembers that, as we do.
    "of_another_zone" => [["Flaky"], {"timezone" => "Europe/Berlin"}],
    "scheduled_before" => [["Flaky"], {"scheduled_at" => "2026-11-23T04:00:00.000000000Z"}]
  }.freeze
end
