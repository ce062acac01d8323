# frozen_string_literal: true

# Arguments that no Rails writes, each an `arguments` array as JSON: what other writers, older versions and hands may leave in Redis. generate.rb
# records whether Rails reads them, and as what.

module ActiveJobs
  module Odd
    DAYS = '{"_aj_serialized":"ActiveJob::Serializers::SymbolSerializer","value":"days"}'

    TIMES = %w[
      2026-01-02T03:04:05 2026-01-02T03:04:05.5 2026-01-02t03:04:05z 2026-01-02T03:04:05Zx 2026-01-02T24:00:00Z 2026-01-02T24:00:01Z
      2026-01-02T03:04:60Z 2026-01-02T03:04:61Z 2026-01-02T03:60:05Z 2026-01-02T25:00:00Z 2026-02-29T00:00:00Z 2026-02-30T00:00:00Z
      2026-02-32T00:00:00Z 2026-13-01T00:00:00Z 2026-00-01T00:00:00Z 2026-01-00T00:00:00Z 26-01-02T03:04:05Z 999-01-02T03:04:05Z
      20260102T030405Z 2026-01-02T03:04Z 2026-01-02T03:04:05.Z 2026-01-02T03:04:05,5Z 2026-01-02T03:04:05+1:00 2026-01-02T03:04:05+01
      2026-01-02T03:04:05+0100 2026-01-02T03:04:05+01:00:30 2026-01-02T03:04:05+24:00 2026-01-02T03:04:05+23:59 2026-01-02T03:04:05+23:60
      2026-01-02T03:04:05-00:00 2026-01-02T03:04:05-12:34 2026-01-02 2026-W01-1 2026-001 +2026-01-02T03:04:05Z -2026-01-02T03:04:05Z
      2026-1-2T03:04:05Z 99999999999-01-02T03:04:05Z 2026-01-02T03 2026-01-02T03:04:05EST -0004-02-29 1500-02-29 1900-02-29 2026-04-31 20260101
      26-01-02 12026-03-04 1582-10-10 1582-10-10T00:00:00Z 2026-01-02T 2026-01-02x 2026-01-02-03 T03:04:05Z 2026-01 x
    ].push("", " 2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z\n", "2026-01-02 03:04:05Z", "2026-01-02T03:04:05 Z", " 2026-01-02 ").freeze

    DECIMALS = [
      ".5", "-.5", "1.", "1.e5", "", "x", "1e", "1e+", "1,5", "0x10", "Inf", "- 1", " 1 ", "1\n", "1_0", "1__0", "_1", "1_", "1_.5", "1._5", "1.5_",
      "1e1_0", "1E5", "1d5", "1D5", "+1", "--1", "+Infinity", "nan", "INFINITY", "1 2", "1\u0000", "1e5x", "+NaN", "1e 5"
    ].freeze

    GLOBAL_IDS = %w[
      gid://shop/User/1 s3cr3t gid://shop/User gid:///User/1 http://shop/User/1 gid://shop/User/%zz gid://shop/User/1?a gid://shop/User/1#x
      Z2lkOi8vc2hvcC9Vc2VyLzE gid://SHOP/User/1 GID://shop/User/1 gid://shop/User/1/ gid://shop/User//1 gid://shop:80/User/1 gid://u@shop/User/1
      gid://sh_op/User/1 gid://shop/user/1 gid://shop/User/a+b
    ].freeze

    def self.serialized(name, **fields)
      fields = fields.map { |key, raw| ",#{key.to_s.to_json}:#{raw}" }
      %([{"_aj_serialized":"ActiveJob::Serializers::#{name}Serializer"#{fields.join}}])
    end

    def self.moments
      %w[Time DateTime Date].flat_map { |name| TIMES.map { |text| serialized(name, value: text.to_json) } } +
        TIMES.map { |text| serialized("TimeWithZone", value: text.to_json, time_zone: '"Etc/UTC"') } +
        ["null", "false", "true", "5", "5.5", '""', '"Nope"', '"Europe/Berlin"', "[]", "{}"].map { |zone|
          serialized("TimeWithZone", value: '"2026-01-02T03:04:05Z"', time_zone: zone)
        } + [serialized("TimeWithZone", value: '"2026-01-02T03:04:05Z"')]
    end

    def self.durations
      values = ['"5"', '"0.54e4"', '"5400.0"', '"abc"', '"1200/1"', "5", "null", "true", "[]", "{}"].map { |value| serialized("Duration", value: value, parts: "[]") }
      parts = ["null", "{}", '{"days":1}', '[["days",1]]', "[[]]", "[1]", "5", '"x"', "[[#{DAYS},\"1\"]]", "[[#{DAYS},1,2]]", "[[#{DAYS},null]]", "[[#{DAYS},0]]",
        "[[#{DAYS},1],[#{DAYS},2]]", "[[#{DAYS},1.5]]", '[[{"_aj_serialized":"ActiveJob::Serializers::SymbolSerializer","value":"apples"},2]]',
        "[[#{DAYS},{\"_aj_serialized\":\"ActiveJob::Serializers::BigDecimalSerializer\",\"value\":\"1.5\"}]]"]
      values + parts.map { |part| serialized("Duration", value: "5", parts: part) } +
        [serialized("Duration"), serialized("Duration", value: "5"), serialized("Duration", parts: "[]")]
    end

    def self.others
      odd = ["1", "null", '"x"', "true", "[]", "{}"]
      DECIMALS.map { |text| serialized("BigDecimal", value: text.to_json) } +
        ["1.5", "5", "-7", "null", "true", "[]"].map { |raw| serialized("BigDecimal", value: raw) } + [serialized("BigDecimal")] +
        %w[Symbol Module Date Time DateTime].flat_map { |name| odd.map { |raw| serialized(name, value: raw) } + [serialized(name)] } +
        ['"::User"', '"User"', '"user"', '"Nope"', '""'].map { |raw| serialized("Module", value: raw) } +
        ["true", "false", "null", '"no"', "0", "[]"].map { |raw| serialized("Range", begin: 1, end: 2, exclude_end: raw) } +
        [serialized("Range"), serialized("Range", begin: 1, end: '"a"'), serialized("Range", begin: true, end: true), serialized("Range", begin: 1, end: 2.5)] +
        ['[{"_aj_serialized":null}]', '[{"_aj_serialized":{}}]', '[{"_aj_serialized":5}]', '[{"_aj_serialized":""}]', '[{"_aj_serialized":"Nope"}]',
          '[{"_aj_serialized":"::ActiveJob::Serializers::SymbolSerializer","value":"x"}]', '[{"_aj_serialized":false}]',
          serialized("Symbol", value: '"x"', more: '{"a":5}'), "{}", "null", "7", '"x"', '{"a":1}']
    end

    def self.hashes
      names = ["null", "false", "true", "5", '"abc"', '["a"]', "[1]", '{"a":1}', '[null,"a"]', "[]", '["gone"]', '["a","a"]', "{}"]
      ["true", "false", "null", '"yes"', "0", "[]", "{}"].flat_map { |mark|
        [%([{"a":1,"_aj_hash_with_indifferent_access":#{mark}}]), %([{"a":1,"_aj_hash_with_indifferent_access":#{mark},"_aj_symbol_keys":["a"]}])]
      } + names.flat_map { |raw|
        [%([{"a":1,"_aj_symbol_keys":#{raw}}]), %([{"a":1,"_aj_ruby2_keywords":#{raw}}]), %([{"a":1,"_aj_symbol_keys":["a"],"_aj_ruby2_keywords":#{raw}}]),
          %([{"_aj_symbol_keys":#{raw},"a":1,"b":2,"_aj_ruby2_keywords":["a"]}])]
      } + (GLOBAL_IDS.map(&:to_json) + ["7", "null", "[]"]).map { |raw| %([{"_aj_globalid":#{raw}}]) } + ['[{"_aj_globalid":"gid://shop/User/1","a":1}]']
    end

    ALL = (moments + durations + others + hashes).freeze

    # [whether Rails reads it, as what].
    def self.read(raw)
      [true, ActiveJob::Arguments.deserialize(JSON.parse(raw)).map { |value| ActiveJobs.describe(value) }]
    rescue ActiveJob::DeserializationError
      [false, nil]
    end

    def self.record
      ALL.map do |raw|
        reads, means = read(raw)
        {"raw" => raw, "reads" => reads, "means" => means}.compact
      end
    end
  end
end
