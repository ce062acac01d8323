# frozen_string_literal: true

# Lists of arguments drawn by lot, of every type that this Rails serializes.
class DrawnArguments
  TEXTS = ["", "plain", "é漢字 👩‍👩‍👧", "\"\\/\b\f\n\r\t", "\u0000\u001f\u007f", "\u2028", "</script>", "gid://shop/User/1", "_aj_serialized", "null", "[1]", "2026-01-02"].freeze
  KEYS = %w[a b value parts begin time_zone class aj_globalid with\ space é].push("", "\"", "_aj", "_aj_symbol").freeze
  ZONES = %w[America/New_York Europe/Berlin Asia/Kolkata Asia/Kathmandu Australia/Lord_Howe Pacific/Apia Etc/UTC].freeze
  UNITS = %i[years months weeks days hours minutes seconds].freeze
  MODULES = [User, Billing, Billing::Invoice, String, Comparable, ActiveJob::Base].freeze
  # Before 7.1 Rails has no serializer for ranges, modules are since 6.1, and JSON makes text of a decimal.
  HAS_RANGES = ActiveJob.version >= Gem::Version.new("7.1")

  def initialize(seed) = @random = Random.new(seed)

  def list
    list = Array.new(@random.rand(6)) { value(3) }
    list << Hash.ruby2_keywords_hash(hash(2) { |key| key.to_sym }) if one_in(4)
    list
  end

  private

  def one_in(count) = @random.rand(count).zero?

  def pick(from) = from[@random.rand(from.size)]

  def value(depth)
    kinds = %i[plain plain number text symbol moment duration decimal model module]
    kinds += %i[array hash mixed indifferent] * 2 if depth.positive?
    kinds << :range if HAS_RANGES
    case pick(kinds)
    when :plain then pick([nil, true, false])
    when :number then number
    when :text then text
    when :symbol then text.to_sym
    when :moment then moment
    when :duration then duration
    when :decimal then HAS_RANGES ? decimal : number
    when :model then pick([User, Billing::Invoice, Tenant]).new(one_in(2) ? @random.rand(10**12).to_s : "#{text}x".delete("\u0000"))
    when :module then pick(MODULES)
    when :array then Array.new(@random.rand(4)) { value(depth - 1) }
    when :hash then hash(depth) { |key| key }
    when :mixed then hash(depth) { |key| one_in(2) ? key.to_sym : key }
    when :indifferent then hash(depth) { |key| key }.with_indifferent_access
    when :range then range
    end
  end

  def hash(depth) = pick(KEYS.each_cons(4).to_a).first(@random.rand(5)).to_h { |key| [yield(key), value(depth - 1)] }

  def text = one_in(3) ? Array.new(@random.rand(12)) { pick([*"a".."f", " ", "é", "\\", "\"", "\n", "😀"]) }.join : pick(TEXTS).dup

  def integer = pick([0, 1, -1, 2**63, -2**63, 2**64, 10**40, -(10**25), @random.rand(10**9), -@random.rand(10**18)])

  def float = pick([0.0, -0.0, 0.1, 1.5, 1e16, 1e20, 1e-5, 5e-324, Float::MAX, @random.rand, -@random.rand * 1e9, @random.rand * 10**@random.rand(300)])

  def number = one_in(2) ? integer : float

  def decimal
    digits = "#{pick(["", "-"])}#{@random.rand(10**@random.rand(1..30))}.#{@random.rand(10**@random.rand(1..20))}e#{@random.rand(-30..30)}"
    pick([BigDecimal(digits), BigDecimal("0"), BigDecimal("-0"), BigDecimal("NaN"), BigDecimal("Infinity"), BigDecimal("-Infinity")].values_at(0, 0, 0, 0, 1, 2, 3, 4, 5))
  end

  def moment
    at = Time.at(@random.rand(-10**pick([9, 10, 11])..10**pick([9, 10, 11])), pick([0, 500_000_000, @random.rand(10**9)]), :nsec)
    case @random.rand(5)
    when 0 then at.utc
    when 1 then at.getlocal(@random.rand(-23..23) * 3600 + pick([0, 1800, 2700]))
    when 2 then at.in_time_zone(pick(ZONES))
    when 3 then DateTime.new(@random.rand(1600..9999), @random.rand(1..12), @random.rand(1..28), @random.rand(24), @random.rand(60), @random.rand(60) + Rational(@random.rand(10**9), 10**9), Rational(@random.rand(-12..12), 24))
    when 4 then at.to_date
    end
  end

  def duration
    duration = Array.new(@random.rand(1..3)) { part(pick(UNITS)) }.sum(0.seconds)
    case @random.rand(6)
    when 0 then -duration
    when 1 then duration / 3
    when 2 then duration * 1.5
    when 3 then HAS_RANGES ? duration / BigDecimal("7") : duration
    else duration
    end
  end

  def part(unit)
    whole = @random.rand(1..500)
    # Years and months are whole.
    amounts = %i[years months].include?(unit) ? [whole] : [whole, whole / 4.0, HAS_RANGES ? BigDecimal(whole) / 8 : whole]
    pick(amounts).public_send(unit)
  end

  def range
    ends = pick([-> { integer }, -> { float }, -> { Date.new(2000, 1, 1) + @random.rand(10_000) }, -> { pick(%w[a b z]) }, -> { Time.at(@random.rand(10**10), @random.rand(10**9), :nsec).utc }, -> { HAS_RANGES ? BigDecimal(@random.rand(10**6)) / 8 : 1 }])
    Range.new(one_in(5) ? nil : ends.call, one_in(5) ? nil : ends.call, one_in(2))
  end
end
