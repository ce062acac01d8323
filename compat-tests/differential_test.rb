# frozen_string_literal: true

require_relative "helper"
require_relative "../ruby-fixtures/cases"

# The same job once through a real `sidekiq` process and once through the Rust worker; then what lies in Redis is compared
# key by key. The corpus is that of ruby-fixtures/cases.rb.
describe "a job that ran in Rust" do
  include Compat

  ACCEPTED = JSON.parse(File.read(File.join(__dir__, "accepted_differences.json"))).freeze
  NOW_KEYS = %w[failed_at retried_at discarded_at].freeze

  def accepted?(name)
    ACCEPTED.key?(name) || ACCEPTED.key?("#{name}@#{Sidekiqs::MAJOR}")
  end

  # The jobs told apart by jid; every case at once.
  def enqueue
    Cases.run(Sidekiqs::MAJOR).each do |name, raw|
      next if accepted?("run/#{name}")
      redis("LPUSH", "queue:default", raw.sub('"jid":"a6"', %("jid":"#{name}")))
    end
  end

  def done
    eventually { assert_equal 0, Sidekiq::Queue.new.size + private_jobs }
  end

  def left
    %w[retry dead].to_h do |set|
      [set, redis("ZRANGE", set, 0, -1).map { |raw| comparable(raw) }.sort]
    end.merge("stats" => [redis("GET", "stat:processed"), redis("GET", "stat:failed")], "queues" => redis("SMEMBERS", "queues"))
  end

  # The member's own JSON, with the moment of this run and the frames of the language taken out.
  def comparable(raw)
    job = JSON.parse(raw)
    started = @started * 1000
    NOW_KEYS.each do |key|
      next unless job[key].is_a?(Sidekiqs::STAMP) && job[key] >= ((Sidekiqs::STAMP == Integer) ? started.floor : @started)
      job[key] = "now, as this Sidekiq writes it"
    end
    job["error_backtrace"] = "frames" if job["error_backtrace"]
    JSON.generate(job)
  rescue JSON::ParserError
    raw
  end

  def run_through
    redis("FLUSHDB")
    @started = Time.now.to_f
    enqueue
    yield
    left
  end

  it "is indistinguishable from one that ran in Ruby, key by key and in the same order" do
    ruby = run_through { with_sidekiq("-q", "default", "-c", "5") { done } }
    rust = run_through { with_worker("-c", "5") { done } }
    %w[retry dead stats queues].each { |part| assert_equal ruby[part], rust[part] }
    assert_operator ruby["retry"].size + ruby["dead"].size, :>, 20
  end
end
