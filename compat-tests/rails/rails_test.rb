# frozen_string_literal: true

require_relative "helper"

describe "a Rails app" do
  include Shop

  it "has a Sidekiq::Job run in Rust, which enqueues one for Rails" do
    report = finished(APP.press("primes"))
    assert_equal ["148933 primes", "Rust"], [report.result, report.ran_in]
  end

  it "goes on with retry_on in Ruby" do
    report = finished(APP.press("rates"))
    assert_equal ["rates, at attempt 3", "Ruby"], [report.result, report.ran_in]
  end

  it "delivers mail for whoever is Current" do
    report = APP.press("mail", user: "eve")
    eventually { assert_equal "eve@shop.example", APP.report(report.id).mailed_to }
    assert_includes APP.mails_to("eve"), "Subject: As asked"
  end
end

describe "a browser at a Rails app" do
  include Shop

  before { skip "there is no chromedriver (bin/setup --browser)" if ENV["CHROMEDRIVER"].to_s.empty? }

  def row(browser) = browser.script("return document.querySelector('#list tr[id]')?.innerText ?? ''")

  it "shows what Rust made of a click, and the Web UI shows the worker" do
    Browser.open do |browser|
      browser.visit(APP.url)
      browser.click("button[value=primes]")
      eventually { assert_match(/primes\s+ann\s+Rust\s+148933 primes/, row(browser)) }
      browser.visit(APP.url("/sidekiq/busy"))
      eventually { assert_includes browser.text, PROCESSES[:rust].identity.split(":")[0, 2].join(":") }
      assert_includes browser.text, PROCESSES[:ruby].identity.split(":")[0, 2].join(":")
    end
  end
end
