# frozen_string_literal: true

require_relative "../helper"
require "tmpdir"

# Classes that `contract ruby` made of the Rust worker's jobs, in a Ruby of their own: their names are those of other tests' jobs.
module Stubs
  RUBY = [WorkerProcess::RUST, "contract", "ruby"].freeze

  def self.write(*flags)
    dir = Dir.mktmpdir
    said, status = WorkerProcess.run(*RUBY, "--out", dir, *flags)
    raise said unless status.zero?
    dir
  end
end

describe "stubs made of the jobs of a worker" do
  include Compat

  before { @dir = Stubs.write("--checked") }

  after { FileUtils.rm_rf(@dir) }

  # Enqueues in another Ruby that knows the stubs; what the program printed, as JSON.
  def enqueue(program)
    preamble = %w[billing/charge_job sum_job].map { |file| %(require "#{File.join(@dir, file)}") }
    preamble << "def try\n  yield\nrescue ArgumentError, TypeError => error\n  [error.class.name, error.message]\nend"
    script = [%(require "sidekiq"\nrequire "json"), *preamble, program].join("\n")
    said, status = WorkerProcess.run("ruby", "-e", script)
    assert_equal 0, status, said
    JSON.parse(said.lines.last)
  end

  it "enqueue what runs in Rust, in every way there is" do
    jids = enqueue(<<~RUBY)
      card = {"number" => 4111, "kind" => "debit"}
      good = [7, "note", card, nil]
      puts JSON.generate([
        Billing::ChargeJob.perform_async(*good),
        Billing::ChargeJob.perform_in(0.01, 7, "note", card.merge("holder" => "amy"), 1),
        Billing::ChargeJob.set(queue: "other").perform_async(*good),
        *Billing::ChargeJob.perform_bulk([good, good]),
        *Billing::ChargeJob.set(queue: "other").perform_bulk([good]),
        SumJob.perform_async(1, 2, 3), SumJob.perform_async
      ])
    RUBY
    assert_equal 8, jids.compact.size
    job = JSON.parse(redis("LINDEX", "queue:rust", -1))
    assert_equal ["Billing::ChargeJob", 3, ["money"], "rust"], job.values_at("class", "retry", "tags", "queue")
    with_worker("-q", "rust", "-q", "other", "-q", "default") do
      card = {"number" => 4111, "kind" => "debit", "holder" => nil}
      assert_ran "rust", jids[0], [7, "note", card, nil]
      assert_ran "rust", jids[1], [7, "note", card.merge("holder" => "amy"), 1.0]
      jids[2, 4].each { |jid| assert_ran "rust", jid, [7, "note", card, nil] }
      assert_ran "rust", jids[6], 6
      assert_ran "rust", jids[7], 0
    end
    assert_equal 0, Sidekiq::RetrySet.new.size
  end

  it "refuse what Rust would refuse, name the argument, and enqueue nothing" do
    refused = enqueue(<<~'RUBY')
      card = {"number" => 4111, "kind" => "debit"}
      good = [7, "note", card, nil]
      charge = Billing::ChargeJob
      puts JSON.generate([
        try { charge.perform_async(7) },
        try { charge.perform_async("7", "note", card, nil) },
        try { charge.perform_async(1 << 63, "note", card, nil) },
        try { charge.perform_in(60, 7, nil, card, nil) },
        try { charge.perform_at(Time.now + 60, 7, "note", card.merge("number" => "s3cret"), nil) },
        try { charge.set(queue: "other").perform_async(7, "note", card.merge("number" => -1), nil) },
        try { charge.set(queue: "other").set(tags: []).perform_in(5, 7, "note", {"number" => 1}, nil) },
        try { charge.perform_bulk([good] * 1500 + [[7, "note", card.merge("kind" => "s3cret"), nil]]) },
        try { charge.set(queue: "other").perform_bulk([good, good[0, 3]]) },
        try { charge.perform_async(7, "note", card, "s3cret") },
        try { charge.perform_async(7, "note", card.merge("holder" => :sym), nil) },
        try { SumJob.perform_async(1, 2.5) }
      ])
    RUBY
    assert_equal [
      ["ArgumentError", "Billing::ChargeJob: wrong number of arguments (given 1, expected 4)"],
      ["TypeError", "Billing::ChargeJob: argument 1 (invoice_id) must be integer, not String"],
      ["ArgumentError", "Billing::ChargeJob: argument 1 (invoice_id) is out of range"],
      ["TypeError", "Billing::ChargeJob: argument 2 (note) must be string, not NilClass"],
      ["TypeError", "Billing::ChargeJob: argument 3 (card.number) must be integer, not String"],
      ["ArgumentError", "Billing::ChargeJob: argument 3 (card.number) is out of range"],
      ["ArgumentError", "Billing::ChargeJob: argument 3 (card) lacks \"kind\""],
      ["ArgumentError", "Billing::ChargeJob: argument 3 (card.kind) is none of the values it may be"],
      ["ArgumentError", "Billing::ChargeJob: wrong number of arguments (given 3, expected 4)"],
      ["TypeError", "Billing::ChargeJob: argument 4 (tip) must be number or null, not String"],
      ["TypeError", "Billing::ChargeJob: argument 3 (card.holder) must be string or null, not Symbol"],
      ["TypeError", "SumJob: argument 2 (numbers) must be integer, not Float"]
    ], refused
    assert_equal [0, 0], [Sidekiq::Stats.new.enqueued, Sidekiq::Stats.new.scheduled_size]
  end

  it "say where they run to whoever performs them" do
    said = enqueue('begin; SumJob.new.perform(1); rescue NotImplementedError => error; puts JSON.generate([error.message]); end')
    assert_equal ["SumJob runs in Rust: a ferrokiq worker performs it, Ruby enqueues it"], said
  end
end

describe "contracts in one file" do
  include Compat

  it "load in Ruby, in RBS and as JSON" do
    stubs, status = WorkerProcess.run(*Stubs::RUBY, "--checked")
    assert_equal 0, status, stubs
    said, status = WorkerProcess.run("ruby", "-w", "-e", "#{stubs}\nprint Billing::ChargeJob.instance_method(:perform).parameters.map(&:last).join(' '), Billing::ChargeJob.get_sidekiq_options['queue']")
    assert_equal [0, "invoice_id note card tiprust"], [status, said], said

    signatures, = WorkerProcess.run(*Stubs::RUBY[0, 2], "rbs")
    assert_includes signatures, "class Billing::ChargeJob\n"
    assert_includes signatures, "def self.perform_async: (Integer invoice_id, String note, Hash[String, untyped] card, (Integer | Float | nil) tip) -> String?"
    # Where there is no such gem, the lines above have to do. Version 2, of Ruby 3.1, cannot be loaded in the middle of a test.
    if Gem::Specification.find_all_by_name("rbs", ">= 3").any?
      require "rbs"
      buffer = RBS::Buffer.new(name: "contract.rbs", content: signatures)
      _, _, declarations = RBS::Parser.parse_signature(buffer)
      assert_includes declarations.map { |declaration| declaration.name.to_s }, "Billing::ChargeJob"
    end

    document, = WorkerProcess.run(*Stubs::RUBY[0, 2], "json-schema")
    schema = JSON.parse(document)
    assert_equal "https://json-schema.org/draft/2020-12/schema", schema["$schema"]
    charge = schema.dig("$defs", "Billing::ChargeJob", "properties")
    assert_equal [{"const" => "Billing::ChargeJob"}, "rust", 3], [charge["class"], charge.dig("queue", "default"), charge.dig("retry", "default")]
    pointers = document.scan(/"\$ref": "#\/([^"]+)"/).flatten
    refute_empty pointers
    pointers.each { |pointer| assert schema.dig(*pointer.split("/")), "#{pointer} leads nowhere" }
  end
end
