# frozen_string_literal: true

require_relative "helper"

# What each command changes, and the same through Ruby's API: Redis afterwards, key by key.
describe "the effect of a command" do
  include Operator

  before { Operator.filled(self) }

  def retries = Sidekiq::RetrySet.new
  def scheduled = Sidekiq::ScheduledSet.new
  def dead = Sidekiq::DeadSet.new

  # Of one of a set's jobs, the same one every time.
  def jid(set)
    fill
    set.map(&:jid).min
  end

  it "on a queue is Ruby's" do
    assert_same_effect("queues", "pause", "low") { redis("SADD", "paused", "low") }
    paused = Operator.dump(method(:redis))
    assert_same_effect("queues", "unpause", "low", from: paused) { redis("SREM", "paused", "low") }
    assert_same_effect("queues", "clear", "low") { Sidekiq::Queue.new("low").clear }
    one = jid(Sidekiq::Queue.new("low"))
    assert_same_effect("jobs", "delete", one) { Sidekiq::Queue.new("low").find_job(one).delete }
  end

  it "on one job of a set is Ruby's" do
    one = jid(retries)
    assert_same_effect("retries", "retry", one) { retries.find_job(one).retry }
    assert_same_effect("retries", "kill", one) { retries.find_job(one).kill }
    assert_same_effect("retries", "delete", one) { retries.find_job(one).delete }
    one = jid(scheduled)
    assert_same_effect("scheduled", "retry", one) { scheduled.find_job(one).add_to_queue }
    assert_same_effect("scheduled", "kill", one) { scheduled.find_job(one).kill }
    assert_same_effect("scheduled", "delete", one) { scheduled.find_job(one).delete }
    one = jid(dead)
    assert_same_effect("dead", "retry", one) { dead.find_job(one).retry }
    assert_same_effect("dead", "delete", one) { dead.find_job(one).delete }
  end

  it "on several jobs of a set is Ruby's" do
    fill
    two = retries.map(&:jid).sort.first(2)
    assert_same_effect("retries", "retry", *two) { two.each { |one| retries.find_job(one).retry } }
    assert_same_effect("retries", "retry", "--where", "class=FailJob,message~boom") { retries.select { |job| job["error_message"].include?("boom") }.each(&:retry) }
    assert_same_effect("retries", "kill", "--where", "message~\"it's\"") { retries.select { |job| job["error_message"].include?("it's") }.each(&:kill) }
    assert_same_effect("retries", "delete", "--where", "tag=red") { retries.select { |job| job.tags == ["red"] }.each(&:delete) }
    assert_same_effect("retries", "delete", "--where", "error=RuntimeError|NoSuchError") { retries.select { |job| job["error_class"] == "RuntimeError" }.each(&:delete) }
    assert_same_effect("retries", "replay", "--where", "error!=RuntimeError", "--where", "class=FailJob") { retries.reject { |job| job.klass == "PanicJob" }.each(&:retry) }
    assert_same_effect("scheduled", "retry", "--where", "args~[2]") { scheduled.select { |job| job.args == [2] }.each(&:add_to_queue) }
    assert_same_effect("dead", "retry", "--where", "message=dead 1") { dead.select { |job| job["error_message"] == "dead 1" }.each(&:retry) }
  end

  it "on a whole set is Ruby's" do
    assert_equal "8 retried\n", assert_same_effect("retries", "retry", "--all") { retries.retry_all }.out
    assert_equal "8 killed\n", assert_same_effect("retries", "kill", "--all") { retries.kill_all }.out
    assert_equal "8 deleted\n", assert_same_effect("retries", "delete", "--all") { retries.clear }.out
    assert_equal "8 replayed\n", assert_same_effect("retries", "replay", "--all") { retries.retry_all }.out
    assert_equal "4 retried\n", assert_same_effect("scheduled", "retry", "--all") { scheduled.each(&:add_to_queue) }.out
    assert_equal "4 killed\n", assert_same_effect("scheduled", "kill", "--all") { scheduled.kill_all }.out
    assert_equal "4 deleted\n", assert_same_effect("scheduled", "delete", "--all") { scheduled.clear }.out
    assert_equal [{"retried" => 3, "gone" => 0, "stuck" => 0}], assert_same_effect("dead", "retry", "--all", "--json") { dead.retry_all }.json
    assert_equal "3 deleted\n", assert_same_effect("dead", "delete", "--all") { dead.clear }.out
  end

  it "on a process is Ruby's" do
    process = -> { Sidekiq::ProcessSet.new(false).first }
    fill
    identity = process.call["identity"]
    assert_same_effect("processes", "quiet", identity) { process.call.quiet! }
    assert_same_effect("processes", "stop", identity.split(":").first(2).join(":")) { process.call.stop! }
    assert_same_effect("processes", "dump", identity) { process.call.dump_threads }
    assert_same_effect("processes", "quiet", "--all") { process.call.quiet! }
    assert_same_effect("processes", "stop", "--all") { process.call.stop! }
  end

  it "of pushing is Ruby's" do
    push = ->(options = {}, args = [1, "two", 3.0]) { Sidekiq::Client.push({"class" => "EchoJob", "args" => args, "queue" => "default"}.merge(options)) }
    assert_same_effect("push", "EchoJob", '[1, "two", 3.0]') { push.call }
    assert_same_effect("push", "EchoJob", "--queue", "high", "--retry", "3") { push.call({"queue" => "high", "retry" => 3}, []) }
    assert_same_effect("push", "EchoJob", "--at", "2200-01-02T03:04:05Z") { push.call({"at" => 7_258_215_845.0}, []) }
    lines = (1..2500).map { |n| [n, "é #{n}"] }
    assert_equal "2500 jobs pushed\n", assert_same_effect("push", "EchoJob", "--bulk", "-", input: lines.map { |args| "#{args.to_json}\n" }.join("\n")) {
      Sidekiq::Client.push_bulk("class" => "EchoJob", "queue" => "default", "args" => lines)
    }.out
    redis("FLUSHDB")
    tool("push", "EchoJob", "--in", "2m")
    assert_in_delta Time.now.to_f + 120, scheduled.first.score, 10
  end

  it "of asking a job to end, and of a deploy, is Ruby's" do
    # One that has begun: of one that has not, Ruby writes a state that it cannot read itself.
    redis("FLUSHDB")
    redis("HSET", "it-abc123", "ex", 1, "c", "[3]", "rt", "0.5")
    begun = Operator.dump(method(:redis))
    assert_same_effect("cancel", "abc123", from: begun) { CountJob.new.tap { |job| job.jid = "abc123" }.cancel! }
    assert_same_effect("deploy-mark", "v2 é") { Sidekiq::Deploy.new.mark!(label: "v2 é") }
  end
end
