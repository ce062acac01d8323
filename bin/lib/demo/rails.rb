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
  # What each button's job is to leave in its row: where it ran, what came out of it, and whether it was mailed.
  ROWS = {
    "render" => ["Rust", "1642 KB of csv since 2026-01-01", true], "primes" => ["Rust", "148933 primes", false],
    "rates" => ["Ruby", "rates, at attempt 3", false], "mail" => ["", "", true], "pdf" => ["", "…", false]
  }.freeze

  def initialize(demo)
    @demo = demo
    @app = demo.app
  end

  def run
    @pressed = USERS.flat_map { |user| ROWS.keys.map { |kind| @app.press(kind, user: user) } }
    pages = {"/busy" => @demo.rust.identity, "/queues" => "rust", "/retries" => "RenderReportJob"}.count { |path, text| @demo.shows?("/sidekiq#{path}", text) }
    settled = @demo.wait("all jobs have run", within: 40, quietly: true) { done.size == @pressed.size && retrying == USERS.size }
    report = result(pages)
    puts JSON.generate(report)
    settled && report[:lost].zero? && report[:web_pages_ok] == 3 && report[:process_seen]
  end

  private

  def rows = @pressed.map { |pressed| @app.report(pressed.id) }

  # Whoever asked is who told and who was mailed: CurrentAttributes went along.
  def done
    rows.select { |row|
      ran_in, result, mailed = ROWS.fetch(row.kind)
      [ran_in, result] == [row.ran_in, row.result] && row.told_by == (ran_in.empty? ? "" : row.asked_by) &&
        row.mailed_to == (mailed ? "#{row.asked_by}@shop.example" : "")
    }
  end

  # Those that failed in Rust, where Ruby's would be.
  def retrying = Sidekiq::RetrySet.new.count { |job| job.display_class == "RenderReportJob" && job["error_class"] == "UnknownFormat" }

  def result(pages)
    found = done.group_by(&:kind).transform_values(&:size)
    {
      pressed: @pressed.size, rust_ran: found.values_at("render", "primes").compact.sum + retrying, ruby_ran: found["rates"].to_i,
      mailed: rows.count { |row| row.mailed_to == "#{row.asked_by}@shop.example" }, failed_in_retries: retrying,
      lost: @pressed.size - done.size + USERS.size - retrying, process_seen: !@demo.rust.nil?, web_pages_ok: pages,
      sidekiq: Sidekiq::VERSION
    }
  end
end
