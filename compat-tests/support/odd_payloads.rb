# frozen_string_literal: true

# Payloads that no careful client writes: each known key with each kind of value, text that is nearly JSON, and random mixtures. Each holds
# `"odd":N`, by which it is found again wherever it goes.
module OddPayloads
  # The same in each run of the suite: a failure is no accident. Give others to look for more.
  SEED = Integer(ENV.fetch("ODD_SEED", 20_261_127))

  Odd = Struct.new(:number, :raw) do
    # Its JSON as this Ruby reads it; nil if it does not, or if it is no object.
    def job
      @job ||= [OddPayloads.read(raw)]
      @job.first.is_a?(Hash) ? @job.first : nil
    end
  end

  KEYS = %w[class args jid queue retry created_at enqueued_at at retry_count failed_at retried_at error_message error_class error_backtrace
    backtrace retry_queue retry_for dead tags wrapped display_class bid cattr locale log_level encrypt expires_in unique_for lock lock_args].freeze

  VALUES = ["null", "true", "false", "0", "-0", "-1", "7", "1.5", "2.0", "-0.0", "1e400", "123456789012345678901234", "1795408384695", "1795408384.5", "1795408384695.0",
    '""', '"x"', '"7"', '"\u0000\u001b"', '"\ud83d\ude00"', "[]", "[1,[2]]", "[null]", '{"a":{}}'].freeze

  CLASSES = %w[FailJob FailJob FailJob DoomedJob PatientJob KilledJob EchoJob StrictJob NoSuchJob Object::FailJob ::FailJob No::Such].freeze

  # Around a whole payload, in the place of <>.
  AROUND = ["<>", " <>", "<>\n", "\t<>\r\n ", "\uFEFF<>", "<>x", "<>{}", "<>\0", "[<>]", "/* */<>", "<>// x"].freeze

  # Values of a key that only some readers take.
  NEARLY = ["NaN", "Infinity", "-Infinity", "01", "+1", ".5", "1.", "1e", "0x1", "'x'", "[1,]", '{"a":1,}', '{"a":1,"a":2}', "nil", "True", "\"a\tb\"", "\"a\nb\"",
    '"\q"', '"\u12"', '"\ud83d"', '"\ude00x"', '"\u00e9\/"', "\"\u2028\u007f\"", "1e5", "1E+2", "1.10", "1.0e+20", "-", "", "#{"9" * 400}", "#{"9" * 400}.0", "1e-400"].freeze

  # Bytes that are no UTF-8.
  BYTES = ["\xE9", "\xFF\xFE", "\xC3", "\xED\xA0\xBD"].map(&:b).freeze

  def self.read(raw)
    JSON.parse(raw.dup.force_encoding(Encoding::UTF_8))
  rescue StandardError
    nil
  end

  # `stamp` is a created_at as the Sidekiq of this suite writes it.
  def self.base(number, stamp)
    {"odd" => number.to_s, "retry" => "true", "queue" => '"default"', "class" => '"FailJob"', "args" => %(["o#{number}"]), "jid" => %("o#{number}"), "created_at" => stamp}
  end

  def self.text(fields) = "{#{fields.map { |name, json| %("#{name}":#{json}) }.join(",")}}"

  # By hand: what every kind of fault looks like.
  def self.listed(stamp)
    all = []
    add = ->(fields = {}, &around) {
      number = all.size
      raw = text(base(number, stamp).merge(fields).compact)
      all << Odd.new(number, around ? around[raw] : raw)
    }
    KEYS.product(VALUES).each { |key, value| add[{key => value}] }
    %w[args class jid queue retry wrapped tags].product(VALUES).each { |key, value| add[{"class" => '"EchoJob"', key => value}] }
    # Absent altogether.
    %w[retry queue class args jid created_at].each { |key| 3.times { |n| add[{"class" => CLASSES[n * 3].to_json, key => nil}] } }
    add[{"args" => nil, "jid" => nil, "retry" => nil, "queue" => nil, "created_at" => nil}]
    [nil, "null"].each { |absent| add[{"class" => '"NoSuchJob"', "retry" => absent}] }
    %w[KilledJob DiscardedJob].each { |name| add[{"class" => name.to_json, "wrapped" => '"Inner"'}] && add[{"class" => name.to_json, "wrapped" => "7"}] }
    add[{"retry" => "0", "retry_for" => "3600"}]
    CLASSES.uniq.each { |name| add[{"class" => name.to_json}] && add[{"class" => name.to_json, "retry" => "0"}] && add[{"class" => name.to_json, "retry" => "false"}] }
    AROUND.each { |around| 2.times { |n| add[{"class" => %w["FailJob" "EchoJob"][n]}].last.then { |odd| odd.raw = around.sub("<>") { odd.raw } } } }
    NEARLY.each { |value| add[{"x" => value}] && add[{"args" => "[#{value}]", "class" => '"EchoJob"'}] }
    BYTES.each do |bytes|
      add.call { |raw| raw.b.sub('"created_at"') { "\"note\":\"".b + bytes + "\",\"created_at\"".b } }
      add.call("class" => '"EchoJob"') { |raw| raw.b.sub('"created_at"') { "\"note\":\"".b + bytes + "\",\"created_at\"".b } }
    end
    # Keys that stand twice.
    {"class" => ['"NoSuchJob"', '"FailJob"'], "args" => ["null", "[1]"], "jid" => ['"a"', '"b"'], "retry" => ["false", "true"], "queue" => ['"a"', '"b"']}.each do |key, (one, other)|
      add.call { |raw| raw.sub("{", %({"#{key}":#{one},)) } && add.call { |raw| raw.sub(/\}\z/, %(,"#{key}":#{other}})) }
    end
    add.call { |raw| raw.sub('"class"', '"\u0063lass"') }
    add.call { |raw| raw.sub('"FailJob"', '"\u0046ailJob"') }
    [97, 98, 99, 100].each { |depth| add[{"x" => "[" * depth + "]" * depth}] && add[{"class" => '"EchoJob"', "args" => "[" * depth + "]" * depth}] }
    [900, 1_030].each { |keys| add.call { |raw| raw.sub(/\}\z/) { (0...keys).map { |n| %(,"k#{n}":#{n}) }.join + "}" } } }
    # Counts and spans that go together.
    ["0", "3", "24", "25", "2.0", "1.5", "-0", "-3", "24.5", "1e2", "\"3\""].each do |count|
      ["3", "true", "25"].each { |limit| add[{"retry" => limit, "retry_count" => count, "failed_at" => stamp}] }
      add[{"retry_for" => "3600", "retry_count" => count, "failed_at" => stamp}]
    end
    ["3600", "0", "-5", "1000000000", "1000000001", "3600.9", "true"].product([nil, stamp, "1795408384695.0"]).each { |span, failed_at| add[{"retry_for" => span, "retry_count" => failed_at && "2", "failed_at" => failed_at}] }
    all
  end

  # Mixtures of it all, `count` of them, numbered from `from`.
  def self.drawn(from, count, stamp, random)
    Array.new(count) do |at|
      number = from + at
      fields = base(number, stamp).merge("class" => CLASSES.sample(random: random).to_json)
      random.rand(1..4).times do
        key = KEYS.sample(random: random)
        (random.rand(8) == 0) ? fields.delete(key) : fields[key] = value(random)
      end
      fields = fields.to_a.shuffle(random: random) if random.rand(3) == 0
      raw = (random.rand(4) == 0) ? "{ #{fields.map { |name, json| %("#{name}" : #{json}) }.join(" , ")} }" : text(fields)
      raw = AROUND.sample(random: random).sub("<>") { raw } if random.rand(40) == 0
      Odd.new(number, raw)
    end
  end

  def self.value(random, depth = 0)
    case random.rand(12)
    when 0 then NEARLY.sample(random: random)
    when 1 then "[#{Array.new(random.rand(3)) { value(random, depth + 1) }.join(",")}]" if depth < 3
    when 2 then "{#{Array.new(random.rand(3)) { |n| %("k#{n}":#{value(random, depth + 1)}) }.join(",")}}" if depth < 3
    when 3 then random.rand(-5..30).to_s
    when 4 then (random.rand * 30).round(2).to_s
    end || VALUES.sample(random: random)
  end
end
