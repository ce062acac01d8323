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
        assert_includes browser.text, worker.identity.split(":")[0, 2].join(":")
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

  it "quiets and stops the process at the press of a button" do
    worker = start_worker
    Browser.open do |browser|
      press browser, "/busy", "[name=quiet]"
      eventually { assert worker.process.stopping? }
      press browser, "/busy", "[name=stop]"
      assert_equal 0, worker.wait.exitstatus
    end
  end
end
