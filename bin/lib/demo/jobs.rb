# frozen_string_literal: true

require_relative "stage"

# bin/demo: the Web UI, the two workers, a producer.
class JobsDemo < Stage
  def initialize(...)
    super
    require_relative "../../../ruby-fixtures/jobs"
  end

  def start
    # Ruby looks at the schedule too, as in a shop's own mix, but seldom: the demo shows Rust.
    File.write(File.join(@dir, "sidekiq.yml"), ":poll_interval_average: 600\n")
    jobs = File.join(ROOT, "ruby-fixtures/jobs.rb")
    run("web", "ruby", "-S", "puma", "--quiet", "--environment", "production", "--bind", "tcp://127.0.0.1:#{port}", File.join(ROOT, "ruby-fixtures/web.ru"))
    @ruby = run("sidekiq", "ruby", "-S", "sidekiq", "-r", jobs, "-C", "sidekiq.yml", "-q", "ruby", "-c", "5", "-g", "ruby")
    ENV["POLL_INTERVAL"] = "1"
    @rust = run("ferrokiq", ENV.fetch("WORKER"), "-q", "default", "-c", "20", "-g", "rust", "-t", "8")
    wait("the Web UI answers") { page("/").is_a?(Net::HTTPOK) }
    wait("the Rust worker is up") { process(@rust) }
    wait("the Ruby worker is up") { process(@ruby) }
  end

  def check = Check.new(self).run

  # A shop's traffic, until told to stop.
  def show
    live = $stdout.tty?
    puts "The Sidekiq Web UI: http://127.0.0.1:#{port}   (Ctrl-C stops everything)"
    number = 0
    told = 0
    until $stopping
      number += 1
      EchoJob.perform_bulk((1..5).map { |n| ["order #{number}.#{n}"] })
      EchoJob.perform_in(10 + rand(50), "reminder #{number}") if (number % 5).zero?
      FlakyJob.perform_async("payment #{number}") if (number % 10).zero?
      HandoverJob.perform_async("invoice #{number}") if (number % 7).zero?
      SlowJob.perform_async(5 + rand(10)) if (number % 15).zero?
      DoomedJob.perform_async("no such customer #{number}") if (number % 50).zero?
      if live
        print "\r\e[K#{Count.line}"
      elsif now - told > 5
        told = now
        puts Count.line
      end
      IO.select(nil, nil, nil, 0.1)
    end
    puts
  end
end

# What became of the jobs, by what they told themselves and by Sidekiq's own API.
module Count
  module_function

  def redis(...) = Sidekiq.redis { |conn| conn.call(...) }

  def ran(side) = redis("HGET", "proof:count", side).to_i

  # Of these jobs, those that told that they ran to their end on this side.
  def proven(jids, side)
    jids.each_slice(500).sum do |some|
      told = Sidekiq.redis { |conn| conn.pipelined { |pipe| some.each { |jid| pipe.call("LRANGE", "proof:#{jid}", 0, -1) } } }
      told.count { |lines| lines.any? { |line| JSON.parse(line).first == side } }
    end
  end

  def line
    stats = Sidekiq::Stats.new
    "Rust ran #{ran("rust")} · Ruby ran #{ran("ruby")} · enqueued #{stats.enqueued} · scheduled #{stats.scheduled_size} · retries #{stats.retry_size} · dead #{stats.dead_size}"
  end
end

# bin/demo --check
class Check
  PAGES = {"/busy" => nil, "/queues" => "ruby", "/retries" => "FlakyJob", "/scheduled" => "EchoJob", "/morgue" => "DoomedJob", "/metrics" => "EchoJob"}.freeze
  SECONDS = 60

  def initialize(demo)
    @demo = demo
    @started = demo.now
    @jids = {}
  end

  def run
    enqueue
    pages = look_at_pages
    settled = @demo.wait("all jobs have run", within: SECONDS - (@demo.now - @started), quietly: true) { settled? }
    report = result(pages)
    puts JSON.generate(report)
    settled && holds?(report)
  end

  private

  def enqueue
    push = ->(kind, klass, count, **extra) {
      @jids[kind] = klass.perform_bulk((1..count).map { |n| klass == SlowJob ? [25] : ["#{kind} #{n}"] }, **extra)
    }
    push[:now, EchoJob, 1600]
    push[:scheduled, EchoJob, 200, at: (1..200).map { |n| Time.now.to_f + 12 + n / 100.0 }]
    push[:flaky, FlakyJob, 200]
    push[:doomed, DoomedJob, 100]
    push[:handover, HandoverJob, 100]
    push[:slow, SlowJob, 5]
  end

  def enqueued = @jids.values.sum(&:size)

  # Each page as soon as it shows what it should; how many did.
  def look_at_pages
    identity = @demo.rust.identity
    expected = PAGES.merge("/busy" => [identity, "SlowJob"])
    expected.count { |path, texts| @demo.shows?(path, texts) }
  end

  def succeeding = @jids.except(:doomed).values.flatten

  def settled?
    Count.ran("ruby") >= @jids[:handover].size && Sidekiq::DeadSet.new.size >= @jids[:doomed].size &&
      Sidekiq::RetrySet.new.size.zero? && Sidekiq::ScheduledSet.new.size.zero? &&
      Sidekiq::Queue.all.sum(&:size).zero? && Sidekiq::WorkSet.new.none? { |_, _, work| work.job.klass == "SlowJob" } &&
      Count.proven(@jids[:slow], "rust") == @jids[:slow].size && Count.redis("KEYS", "ferrokiq:batch:*").empty?
  end

  def result(pages)
    dead = Sidekiq::DeadSet.new.map(&:jid)
    ran = Count.proven(succeeding, "rust")
    buried = (@jids[:doomed] & dead).size
    handed = Count.redis("HGET", "proof:count", "ruby").to_i
    {
      enqueued: enqueued, rust_ran: ran + buried, ruby_ran: handed, retried: Count.proven(@jids[:flaky], "rust"), dead: buried,
      scheduled_ran: Count.proven(@jids[:scheduled], "rust"),
      lost: enqueued - ran - buried + [@jids[:handover].size - handed, 0].max,
      process_seen: !@demo.rust.nil?, web_pages_ok: pages, sidekiq: Sidekiq::VERSION
    }
  end

  def holds?(report)
    report[:enqueued] >= 2000 && report[:rust_ran] == report[:enqueued] && report[:ruby_ran] == @jids[:handover].size &&
      report[:retried] == @jids[:flaky].size && report[:dead] == @jids[:doomed].size &&
      report[:scheduled_ran] == @jids[:scheduled].size && report[:lost].zero? && report[:process_seen] &&
      report[:web_pages_ok] == PAGES.size
  end
end
