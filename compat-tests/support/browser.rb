# frozen_string_literal: true

require "base64"
require "json"
require "net/http"

# A headless Chromium, driven over the WebDriver protocol. CHROMEDRIVER is where chromedriver listens; bin/test starts one.
class Browser
  ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

  def self.open
    browser = new(URI(ENV.fetch("CHROMEDRIVER")))
    yield browser
  ensure
    browser&.close
  end

  def initialize(driver)
    @driver = driver
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,1000"]
    capabilities = {"browserName" => "chrome", "goog:chromeOptions" => {"args" => arguments}, "unhandledPromptBehavior" => "ignore"}
    @session = call(:post, "", {capabilities: {alwaysMatch: capabilities}}).fetch("sessionId")
  end

  def visit(url) = call(:post, "/url", {url: url})

  # What a person sees.
  def text = script("return document.body ? document.body.innerText : String()")

  def title = call(:get, "/title")

  # Clicks what a CSS selector finds first, and agrees to what it asks.
  def click(selector)
    call(:post, "/element/#{find(selector)}/click", {})
    accept
  end

  # Types into what a CSS selector finds first, and presses Enter.
  def type(selector, text) = call(:post, "/element/#{find(selector)}/value", {text: "#{text}\uE007"})

  def has?(selector) = !call(:post, "/elements", {using: "css selector", value: selector}).empty?

  def script(source) = call(:post, "/execute/sync", {script: source, args: []})

  def screenshot(path) = File.binwrite(path, Base64.decode64(call(:get, "/screenshot")))

  def close = call(:delete, "")

  private

  # The first that a person sees; a narrow screen has menus of its own.
  def find(selector)
    found = call(:post, "/elements", {using: "css selector", value: selector}).map { |element| element.fetch(ELEMENT) }
    found.find { |element| call(:get, "/element/#{element}/displayed") } || found.first || raise("nothing on this page is #{selector}")
  end

  # "Are you sure?"
  def accept
    call(:post, "/alert/accept", {})
  rescue RuntimeError => error
    raise unless error.message.include?("no such alert")
  end

  def call(verb, path, body = nil)
    request = Net::HTTP.const_get(verb.capitalize).new("/session#{"/#{@session}" if @session}#{path}", "Content-Type" => "application/json")
    request.body = JSON.generate(body) if body
    response = Net::HTTP.start(@driver.host, @driver.port, read_timeout: 30) { |http| http.request(request) }
    value = JSON.parse(response.body)["value"]
    raise "#{path}: #{value["error"]}: #{value["message"]}" if value.is_a?(Hash) && value["error"]
    value
  end
end
