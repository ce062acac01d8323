# frozen_string_literal: true

require_relative "helper"
require_relative "support/web_ui"

# Every known key with every kind of value. Sidekiq's own pages choke on some of them; what the Rust worker and its poller leave
# must choke none that the payload did not choke before.
describe "hostile payloads" do
  include Compat
  include WebUi

  CORPUS = JSON.parse(File.read(File.join(__dir__, "../ruby-fixtures/hostile.json"))).freeze

  def payloads
    CORPUS["keys"].product(CORPUS["values"]).each_with_index.map do |(key, value), number|
      base = {"class" => '"FailJob"', "args" => '["boom"]', "jid" => %("j#{number}"), "queue" => '"default"', "retry" => "3", "number" => number}
      "{#{base.merge(key => value).map { |name, json| %("#{name}":#{json}) }.join(",")}}"
    end
  end

  def number(raw) = raw[/"number":(\d+)/, 1].to_i

  # Whether the list that holds this one entry, and the entry's own page, can be shown.
  def shown(set, page, raw)
    redis("DEL", set)
    redis("ZADD", set, 5, raw)
    paths = [page]
    jid = JSON.parse(raw)["jid"]
    paths << "#{page}/5.0-#{jid}" if jid.is_a?(String) && jid.match?(/\A\w+\z/)
    paths.map { |path| answers(path) }
  end

  def queue_shown(raw)
    redis("DEL", "queue:default")
    redis("LPUSH", "queue:default", raw)
    [answers("/queues/default"), answers("/queues")]
  end

  def answers(path)
    get path
    last_response.status < 400
  rescue StandardError, SystemStackError
    false
  end

  def assert_no_worse(left, originals)
    whole = 0
    worse = left.flat_map do |page, raws|
      raws.reject do |raw|
        show = ->(bytes) { page ? shown(page[0], page[1], bytes) : queue_shown(bytes) }
        now = show[raw]
        whole += 1 if now.all?
        now.all? || now.zip(show[originals[number(raw)]]).all? { |is, was| is || !was }
      end
    end
    assert_empty worse
    assert_operator whole, :>, originals.size / 2
  end

  def left_behind
    sets = {["retry", "/retries"] => redis("ZRANGE", "retry", 0, -1), ["dead", "/morgue"] => redis("ZRANGE", "dead", 0, -1), ["schedule", "/scheduled"] => redis("ZRANGE", "schedule", 0, -1)}
    sets.merge(nil => redis("KEYS", "queue:*").flat_map { |key| redis("LRANGE", key, 0, -1) })
  end

  it "that failed in Rust spoil no page that they did not spoil before" do
    originals = payloads
    assert_operator originals.size, :>=, 300
    originals.each { |raw| redis("LPUSH", "queue:default", raw) }
    with_worker("-C", WorkerProcess.config_file(":foreign_jobs: run\n"), "--wire-version", Sidekiqs::MAJOR.to_s, env: {"POLL_INTERVAL" => "600"}) { eventually { assert_equal 0, Sidekiq::Queue.new.size + private_jobs } }
    left = left_behind
    assert_operator left.values.sum(&:size), :>, 300
    assert_no_worse left, originals
  end

  it "that Rust's poller moved spoil no page that they did not spoil before" do
    originals = payloads
    originals.each { |raw| redis("ZADD", "schedule", 1, raw) }
    with_worker("-q", "nobody", "--wire-version", Sidekiqs::MAJOR.to_s) { eventually { assert_equal 0, redis("ZCOUNT", "schedule", "-inf", 1) } }
    left = left_behind
    assert_equal originals.size, left.values.sum(&:size)
    assert_no_worse left, originals
  end
end
