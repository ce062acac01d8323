# frozen_string_literal: true

require_relative "helper"

describe "a Rails app" do
  include Shop

  it "has a perform_later with a GlobalID and keyword arguments run in Rust, which enqueues an ActiveJob and a mail for Rails" do
    report = finished(APP.press("render", user: "bob"))
    assert_equal ["Rust", "1642 KB of csv since 2026-01-01"], [report.ran_in, report.result]
    assert_equal "bob", report.told_by, "Current.user came to Rust and back"
    eventually { assert_equal "bob@shop.example", APP.report(report.id).mailed_to }
    assert_includes APP.mails_to("bob"), "Subject: From Rust, for bob"
  end

  it "has a Sidekiq::Job run in Rust, which enqueues one for Rails" do
    report = finished(APP.press("primes", user: "eve"))
    assert_equal ["Rust", "148933 primes", "eve"], [report.ran_in, report.result, report.told_by]
  end

  it "finds an ActiveJob that failed in Rust where Ruby's would be" do
    report = APP.press("pdf")
    entry = eventually {
      found = Sidekiq::RetrySet.new.find { |job| job.display_args.first.to_s.include?("gid://shop/Report/#{report.id}") }
      found.tap { refute_nil found }
    }
    assert_equal ["RenderReportJob", "UnknownFormat", "a report is csv, not pdf", "rust", 0],
      [entry.display_class, *entry.item.values_at("error_class", "error_message", "queue", "retry_count")]
    entry.retry
    eventually { assert Sidekiq::RetrySet.new.find_job(entry.jid)&.item&.key?("retried_at"), "the Web UI's retry ran it again" }
  end

  it "goes on with retry_on in Ruby" do
    report = finished(APP.press("rates"))
    assert_equal ["Ruby", "rates, at attempt 3", "ann"], [report.ran_in, report.result, report.told_by]
  end

  it "keeps the jobs that hold a lock or a batch of a gem, also where Rust knows their classes" do
    payloads = %w[lock_digest bid].flat_map { |key|
      render = {"class" => "Sidekiq::ActiveJob::Wrapper", "wrapped" => "RenderReportJob",
                "args" => [{"job_class" => "RenderReportJob", "job_id" => "a job", "queue_name" => "gems", "arguments" => [], "executions" => 0}]}
      [render, {"class" => "CountPrimesJob", "args" => [0, 10]}].map { |job| job.merge("queue" => "gems", key => "held") }
    }
    jids = 5.times.flat_map { payloads.map { |payload| Sidekiq::Client.push(payload) } }
    port = RedisServer.free_port
    rust = WorkerProcess.rust("-q", "gems", "--health", port.to_s)
    eventually { assert(foreign_counts(port).values_at("sidekiq-unique-jobs", "sidekiq-batch or Sidekiq Pro").all? { |count| count.to_i.positive? }) }
    # Those that Rust fetches go back at once.
    eventually { assert_equal jids.size, Sidekiq::Queue.new("gems").size }
    ruby = WorkerProcess.new("sidekiq for the gems", ["ruby", "-S", "sidekiq", "-r", RailsApp::DIR, "-q", "gems"], APP.env)
    # In Ruby these classes only raise.
    raised = eventually(within: 40) {
      entries = Sidekiq::RetrySet.new.select { |entry| jids.include?(entry.jid) }
      entries.tap { assert_equal jids.size, entries.size }
    }
    assert_equal ["NotImplementedError"], raised.map { |entry| entry["error_class"] }.uniq - ["ArgumentError"]
    assert_equal ["held"], raised.map { |entry| entry["lock_digest"] || entry["bid"] }.uniq
  ensure
    [rust, ruby].compact.each(&:kill)
    raised&.each(&:delete)
  end

  it "delivers mail for whoever is Current" do
    report = APP.press("mail", user: "zoe")
    eventually { assert_equal "zoe@shop.example", APP.report(report.id).mailed_to }
    assert_includes APP.mails_to("zoe"), "Subject: As asked"
  end
end

describe "a browser at a Rails app" do
  include Shop

  SHOTS = File.expand_path("../screenshots", __dir__)

  before { skip "there is no chromedriver (bin/setup --browser)" if ENV["CHROMEDRIVER"].to_s.empty? }

  # Presses a button and waits for the page that follows.
  def press(browser, kind)
    browser.script("window.pressed = true")
    browser.click("button[value=#{kind}]")
    eventually { refute browser.script("return window.pressed || document.readyState != 'complete'") }
  end

  # What the newest row of a kind says.
  def row(browser, kind)
    browser.script("return [...document.querySelectorAll('#list tr[id]')].map(row => row.innerText).find(text => text.includes('#{kind}')) ?? ''")
  end

  it "shows what became of a click, and the Web UI shows processes and jobs" do
    Browser.open do |browser|
      browser.visit(APP.url("/?user=joe"))
      %w[rates mail primes pdf render].each { |kind| press(browser, kind) }
      eventually {
        assert_match(/render\s+joe\s+Rust\s+1642 KB of csv since 2026-01-01\s+joe\s+joe@shop.example\s+\d+ ms/, row(browser, "render"))
        assert_match(/primes\s+joe\s+Rust\s+148933 primes\s+joe/, row(browser, "primes"))
        assert_match(/rates\s+joe\s+Ruby\s+rates, at attempt 3\s+joe/, row(browser, "rates"))
        assert_match(/mail\s+joe.*joe@shop.example/, row(browser, "mail"))
      }
      FileUtils.mkdir_p(SHOTS)
      browser.screenshot(File.join(SHOTS, "rails.png"))
      browser.visit(APP.url("/sidekiq/busy"))
      PROCESSES.values_at(:ruby, :rust).each { |process| eventually { assert_includes browser.text, process.identity.split(":")[0, 2].join(":") } }
      browser.visit(APP.url("/sidekiq/retries"))
      eventually { assert_match(/RenderReportJob.*UnknownFormat: a report is csv, not pdf/m, browser.text) }
      # With the next heartbeat.
      eventually {
        browser.visit(APP.url("/sidekiq/metrics"))
        %w[RenderReportJob CountPrimesJob ReportReadyJob].each { |name| assert_includes browser.text, name }
      }
    end
  end
end
