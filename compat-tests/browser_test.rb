# frozen_string_literal: true

require_relative "helper"
require_relative "support/browser"
require "fileutils"

# The real Web UI, served by puma, in a real browser.
describe "a browser" do
  include Compat

  SHOTS = File.join(__dir__, "screenshots")

  before do
    skip "there is no chromedriver (bin/setup --browser)" if ENV["CHROMEDRIVER"].to_s.empty?
    skip_before 7, "is clicked through by rack-test alone"
    FileUtils.mkdir_p(SHOTS)
    @web = WorkerProcess.new("web", ["ruby", "-S", "puma", "--quiet", "--bind", "tcp://127.0.0.1:#{@port = RedisServer.free_port}", File.expand_path("../ruby-fixtures/web.ru", __dir__)], {})
    @workers << @web
    eventually(within: 30) { assert_equal "200", Net::HTTP.get_response("127.0.0.1", "/", @port).code }
  end

  def eventually(...)
    super
  rescue SystemCallError
    IO.select(nil, nil, nil, 0.1)
    retry
  end

  def url(path) = "http://127.0.0.1:#{@port}#{path}"

  # Presses a button of a page once it is there.
  def press(browser, path, selector)
    eventually {
      browser.visit(url(path))
      assert browser.has?(selector), browser.text
    }
    browser.click(selector)
  end

  def routed(entry) = "#{entry.score}-#{entry.jid}"

  it "shows every page, and no hostile payload does harm" do
    hostile = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script> \u202e txet #{"long " * 2000}\u0007"
    # Sidekiq 7.3 shows tags as they are, whoever wrote them.
    FailJob.set(tags: [(Sidekiqs::MAJOR >= 8) ? hostile[0, 60] : "vip"]).perform_async(hostile)
    DoomedJob.perform_async(hostile)
    EchoJob.perform_in(3600, hostile)
    EchoJob.set(queue: "waiting").perform_async(hostile)
    SlowJob.perform_async(60)
    with_worker("-t", "1", "-g", "rust") do |worker|
      eventually { assert_equal %w[SlowJob], busy_jobs.map(&:klass) }
      Browser.open do |browser|
        {"/" => "Dashboard", "/busy" => "SlowJob", "/queues" => "waiting", "/queues/waiting" => "EchoJob", "/retries" => "FailJob",
         "/retries/#{routed(Sidekiq::RetrySet.new.first)}" => "ArgumentError", "/scheduled" => "EchoJob", "/morgue" => "DoomedJob", "/metrics" => "FailJob"}.each do |path, text|
          browser.visit(url(path))
          eventually { assert_includes browser.text, text }
          refute_includes browser.title, "owned", path
          browser.screenshot(File.join(SHOTS, "#{Sidekiqs::MAJOR}#{path[/\A\/\w*/].tr("/", "-")}.png"))
        end
        browser.visit(url("/busy"))
        eventually { assert_includes browser.text, worker.identity.split(":")[0, 2].join(":") }
      end
    end
  end

  it "retries, kills, deletes and enqueues at the press of a button" do
    jids = 3.times.map { |n| FailJob.perform_async("boom #{n}") }
    flaky = FlakyJob.perform_async("browser")
    with_worker { eventually { assert_equal 4, Sidekiq::RetrySet.new.size } }
    find = ->(jid) { Sidekiq::RetrySet.new.find_job(jid) }
    Browser.open do |browser|
      press browser, "/retries/#{routed(find[jids[0]])}", "input[name=delete]"
      eventually { assert_nil find[jids[0]] }
      press browser, "/retries/#{routed(find[flaky])}", "input[name=retry]"
      eventually { assert_equal 1, Sidekiq::Queue.new.size }
      press browser, "/retries", "[formaction$='retries/all/kill'], form[action$='retries/all/kill'] input[type=submit]"
      eventually { assert_equal [0, 2], [Sidekiq::RetrySet.new.size, Sidekiq::DeadSet.new.size] }
      press browser, "/morgue", "[formaction$='morgue/all/delete'], form[action$='morgue/all/delete'] input[type=submit]"
      eventually { assert_equal 0, Sidekiq::DeadSet.new.size }
    end
    with_worker { assert_ran "rust", flaky, "browser" }
  end

  # Ticks the rows of entries and presses a button under the list.
  def select(browser, path, entries, button)
    eventually {
      browser.visit(url(path))
      entries.each { |entry| assert browser.has?(box(entry)), browser.text }
    }
    entries.each { |entry| browser.click(box(entry)) }
    browser.click("input[name=#{button}]")
  end

  def box(entry) = "input[type=checkbox][value='#{routed(entry)}']"

  it "acts on the rows that are ticked" do
    flaky = 3.times.map { |n| FlakyJob.perform_async("tick #{n}") }
    doomed = 3.times.map { |n| DoomedJob.perform_async("doom #{n}") }
    later = 3.times.map { |n| EchoJob.perform_in(3600, n) }
    with_worker { eventually { assert_equal [3, 3], [Sidekiq::RetrySet.new.size, Sidekiq::DeadSet.new.size] } }
    retries, dead, scheduled = [Sidekiq::RetrySet, Sidekiq::DeadSet, Sidekiq::ScheduledSet].map(&:new)
    Browser.open do |browser|
      select browser, "/retries", flaky[0, 1].map { |jid| retries.find_job(jid) }, "retry"
      eventually { assert_equal [2, flaky[0, 1]], [retries.size, Sidekiq::Queue.new.map(&:jid)] }
      select browser, "/retries", flaky[1, 1].map { |jid| retries.find_job(jid) }, "kill"
      eventually { assert_equal [1, 4], [retries.size, dead.size] }
      select browser, "/retries", flaky[2, 1].map { |jid| retries.find_job(jid) }, "delete"
      eventually { assert_equal 0, retries.size }
      select browser, "/morgue", doomed[0, 2].map { |jid| dead.find_job(jid) }, "delete"
      eventually { assert_equal [doomed[2], flaky[1]].sort, dead.map(&:jid).sort }
      select browser, "/morgue", [dead.find_job(flaky[1])], "retry"
      eventually { assert_equal doomed[2, 1], dead.map(&:jid) }
      select browser, "/scheduled", later[0, 2].map { |jid| scheduled.find_job(jid) }, "add_to_queue"
      eventually { assert_equal later[2, 1], scheduled.map(&:jid) }
      select browser, "/scheduled", [scheduled.find_job(later[2])], "delete"
      eventually { assert_equal 0, scheduled.size }
    end
    with_worker do
      later[0, 2].each_with_index { |jid, n| assert_ran "rust", jid, [n] }
      flaky[0, 2].each_with_index { |jid, n| assert_ran "rust", jid, "tick #{n}" }
    end
  end

  it "deletes a job of a queue, and the queue" do
    2.times { |n| HandoverJob.perform_async("browser #{n}") }
    with_worker { eventually { assert_equal 2, Sidekiq::Queue.new("ruby").size } }
    Browser.open do |browser|
      press browser, "/queues/ruby", "form[action$='queues/ruby/delete'] input[name=delete]"
      eventually { assert_equal 1, Sidekiq::Queue.new("ruby").size }
      press browser, "/queues", "form[action$='queues/ruby'] [name=delete]"
      eventually { assert_empty redis("SMEMBERS", "queues") & %w[ruby] }
      assert_equal 0, redis("EXISTS", "queue:ruby")
    end
  end

  it "finds retries by what is typed" do
    skip_before 8, "leaves the filter to Sidekiq Pro"
    FailJob.set(tags: %w[vip]).perform_async("needle")
    FailJob.perform_async("hay")
    with_worker { eventually { assert_equal 2, Sidekiq::RetrySet.new.size } }
    Browser.open do |browser|
      browser.visit(url("/retries"))
      eventually { assert_includes browser.text, "hay" }
      browser.type("input[name=substr]", "needle")
      eventually { refute_includes browser.text, "ArgumentError: hay" }
      assert_includes browser.text, "ArgumentError: needle"
    end
  end

  it "draws the metrics of a class" do
    5.times { |n| NoopJob.perform_async("a", n, {}) }
    SlowJob.perform_async(0.12)
    Sidekiq::Client.push("class" => "FailJob", "args" => ["boom"])
    with_worker("--wire-version", Sidekiqs::MAJOR.to_s) { eventually { assert_equal 0, Sidekiq::Queue.new.size + private_jobs } }
    Browser.open do |browser|
      press browser, "/metrics", "a[href*='metrics/SlowJob']"
      eventually { assert_match(/SlowJob/, browser.text) }
      eventually { assert_equal 2, browser.script("return document.querySelectorAll('canvas').length") }
      data = browser.script("return Array.from(document.querySelectorAll('canvas, [type=\"application/json\"]')).map(e => e.textContent).join(' ')")
      assert_match(/"hist|hist/, data)
      drawn = browser.script("return Array.from(document.querySelectorAll('canvas')).map(c => c.toDataURL().length)")
      # An empty canvas of that size has some 2,000 characters.
      assert drawn.all? { |size| size > 4000 }, drawn.inspect
      browser.screenshot(File.join(SHOTS, "#{Sidekiqs::MAJOR}-metrics-job.png"))
    end
  end

  it "shows what begins to run while it looks" do
    skip "Debian's Sidekiq comes without the script of Live Poll" unless Net::HTTP.get_response(URI(url("/javascripts/application.js"))).code == "200"
    with_worker("-t", "1") do
      Browser.open do |browser|
        press browser, "/busy", ".live-poll-start"
        refute_includes browser.text, "SlowJob"
        SlowJob.perform_async(60)
        eventually(within: 40) { assert_includes browser.text, "SlowJob" }
        assert_match(/SlowJob\s+60\b/, browser.text)
      end
    end
  end

  it "quiets and stops all processes at the press of a button" do
    workers = [start_worker, start_worker]
    Browser.open do |browser|
      press browser, "/busy", "input[name=quiet]"
      eventually { workers.each { |worker| assert worker.process.stopping? } }
      press browser, "/busy", "input[name=stop]"
      workers.each { |worker| assert_equal 0, worker.wait.exitstatus }
    end
  end

  it "quiets and stops the process at the press of a button" do
    worker = start_worker
    Browser.open do |browser|
      press browser, "/busy", "button[name=quiet]"
      eventually { assert worker.process.stopping? }
      press browser, "/busy", "button[name=stop]"
      assert_equal 0, worker.wait.exitstatus
    end
  end
end
