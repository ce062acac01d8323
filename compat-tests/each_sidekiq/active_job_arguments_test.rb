# frozen_string_literal: true

# Arguments that Rails serializes go through Rust's reader and writer and back into Rails, which must read from them what it reads from its own.
# One process converts all lists. ARGUMENT_LISTS is their number, ARGUMENT_SEED the seed they are drawn with.

require "open3"
require "minitest/autorun"
require_relative "../../ruby-fixtures/active_job"
require_relative "../support/arguments"

describe "ActiveJob's arguments" do
  INSPECT = ENV.fetch("INSPECT") { abort "INSPECT is not set: run bin/test compat" }
  LISTS = Integer(ENV.fetch("ARGUMENT_LISTS", "2500"))

  # In through Rust's reader, out of its writer.
  def through_rust(raws)
    written, status = Open3.capture2(INSPECT, "arguments", stdin_data: raws.map { |raw| "#{raw}\n" }.join)
    assert status.success?
    written.split("\n").tap { |lines| assert_equal raws.size, lines.size }
  end

  def read(raw) = ActiveJob::Arguments.deserialize(JSON.parse(raw)).map { |value| ActiveJobs.describe(value) }

  it "are written by Rust as it read them, byte for byte" do
    seed = Integer(ENV.fetch("ARGUMENT_SEED", "20261127"))
    drawn = DrawnArguments.new(seed)
    raws = Array.new(LISTS) { Sidekiq.dump_json(ActiveJob::Arguments.serialize(drawn.list)) }
    back = through_rust(raws)
    differing = raws.zip(back).reject { |raw, written| raw == written && read(raw) == read(written) }
    assert_empty differing.first(3), "#{differing.size} of #{LISTS} lists differ, seed #{seed}"
    # Each type is among them.
    kinds = raws.flat_map { |raw| raw.scan(/_aj_\w+|Serializers::\w+/) }.tally
    wanted = %w[_aj_globalid _aj_symbol_keys _aj_ruby2_keywords _aj_hash_with_indifferent_access] +
      ActiveJob::Serializers.serializers.map { |serializer| serializer.name[/Serializers::\w+\z/] }
    wanted.each { |kind| assert_operator kinds.fetch(kind, 0), :>=, LISTS / 50, kind }
  end

  it "that no Rails writes keep their meaning in Rust" do
    raws = ActiveJobs::Odd::ALL.select { |raw| ActiveJobs::Odd.read(raw).first }
    back = through_rust(raws)
    pairs = raws.zip(back).reject { |_, written| written.start_with?("!") }
    assert_operator pairs.size, :>=, 120
    assert_empty pairs.reject { |raw, written| read(raw) == read(written) }
  end
end
