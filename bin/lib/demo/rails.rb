# frozen_string_literal: true

require_relative "stage"
require_relative "../../../compat-tests/support/rails_app"

# bin/demo --rails: a Rails app with the Web UI, its sidekiq, and the Rust worker.
class RailsDemo < Stage
  attr_reader :app

  def start
    @app = RailsApp.new(port: port, data: File.join(@dir, "data"))
    run("rails", *app.web, env: app.env)
    @ruby = run("sidekiq", *app.sidekiq, env: app.env)
    @rust = run("ferrokiq", ENV.fetch("WORKER"), "-q", "rust", "-c", "20", "-g", "rust", "-t", "8")
    wait("the Rails app answers") { app.up? }
    wait("the Rust worker is up") { rust }
    wait("the Ruby worker is up") { process(@ruby) }
  end

  def check = RailsCheck.new(self).run

  def show
    puts "The shop:           #{app.url}", "The Sidekiq Web UI: #{app.url("/sidekiq")}   (Ctrl-C stops everything)"
    wait("Ctrl-C", within: Float::INFINITY) { $stopping }
  end
end

# bin/demo --rails --check: each button, by each user.
class RailsCheck
  USERS = %w[ann bob eve].freeze
  # What each button's job is to leave: where it ran and what came out of it.
  RESULTS = {"primes" => ["Rust", "148933 primes"], "rates" => ["Ruby", "rates, at attempt 3"]}.freeze

  def initialize(demo)
    @demo = demo
    @app = demo.app
  end

  def run
    @pressed = USERS.flat_map { |user| (RESULTS.keys + ["mail"]).map { |kind| @app.press(kind, user: user) } }
    pages = {"/busy" => @demo.rust.identity, "/queues" => "rust"}.count { |path, text| @demo.shows?("/sidekiq#{path}", text) }
    settled = @demo.wait("all jobs have run", within: 40, quietly: true) { unfinished.zero? && mailed == USERS.size }
    report = result(pages)
    puts JSON.generate(report)
    settled && report[:lost].zero? && report[:web_pages_ok] == 2 && report[:process_seen]
  end

  private

  def rows = @pressed.map { |pressed| @app.report(pressed.id) }

  def done?(row) = RESULTS[row.kind] == [row.ran_in, row.result]

  def unfinished = rows.count { |row| RESULTS.key?(row.kind) && !done?(row) }

  def mailed = rows.count { |row| row.kind == "mail" && row.mailed_to == "#{row.asked_by}@shop.example" }

  def result(pages)
    done = rows.select { |row| done?(row) }
    {
      pressed: @pressed.size, rust_ran: done.count { |row| row.ran_in == "Rust" }, ruby_ran: done.count { |row| row.ran_in == "Ruby" },
      mailed: mailed, lost: @pressed.size - done.size - mailed, process_seen: !@demo.rust.nil?, web_pages_ok: pages,
      sidekiq: Sidekiq::VERSION
    }
  end
end
