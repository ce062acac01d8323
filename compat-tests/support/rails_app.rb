# frozen_string_literal: true

require "json"
require "net/http"

# The Rails app of ruby-fixtures/rails_app: how its processes are started, and its page, pressed and read over HTTP.
class RailsApp
  DIR = File.expand_path("../../ruby-fixtures/rails_app", __dir__)

  # A row of the page's table.
  Report = Struct.new(:id, :kind, :asked_by, :ran_in, :result, :told_by, :mailed_to, :took)

  attr_reader :port, :data

  # `data` is a directory for the database and the mails.
  def initialize(port:, data:)
    @port = port
    @data = data
    @cookies = {}
  end

  def env = {"SHOP_DATA" => data, "SECRET_KEY_BASE" => "not a secret: this shop sells nothing " * 2}

  def web = ["ruby", "-S", "puma", "--quiet", "--bind", "tcp://127.0.0.1:#{port}", "--dir", DIR]

  def sidekiq = ["ruby", "-S", "sidekiq", "-r", DIR, "-C", File.join(DIR, "config/sidekiq.yml")]

  def url(path = "/") = "http://127.0.0.1:#{port}#{path}"

  # The answer, nil while nobody listens.
  def get(path) = send_off(Net::HTTP::Get.new(path))

  def up? = get("/").is_a?(Net::HTTPOK)

  # Presses a button of the page as somebody; the row that it made.
  def press(kind, user: "ann")
    token = get("/").body[/name="authenticity_token" value="([^"]+)"/, 1]
    before = reports.map(&:id).max || 0
    answer = Net::HTTP::Post.new("/reports").then do |request|
      request.set_form_data("authenticity_token" => token, "kind" => kind, "user" => user)
      send_off(request)
    end
    raise "#{kind}: #{answer.code} #{answer.body[0, 500]}" unless answer.is_a?(Net::HTTPRedirection)
    reports.select { |report| report.id > before && report.kind == kind && report.asked_by == user }.min_by(&:id)
  end

  # What the page's table shows, newest first.
  def reports
    get("/?list=1").body.force_encoding("UTF-8").scan(%r{<tr id="report-\d+">(.*?)</tr>}m).map { |(row)|
      cells = row.scan(%r{<td>(.*?)</td>}m).map { |(cell)| cell.gsub(/<[^>]*>/, "").strip }
      Report.new(cells[0].to_i, *cells[1..])
    }
  end

  def report(id) = reports.find { |report| report.id == id }

  # The mails that went to somebody, all in one.
  def mails_to(user)
    file = File.join(data, "mails", "#{user}@shop.example")
    File.exist?(file) ? File.read(file) : ""
  end

  private

  def send_off(request)
    request["Cookie"] = @cookies.map { |pair| pair.join("=") }.join("; ") unless @cookies.empty?
    response = Net::HTTP.start("127.0.0.1", port) { |http| http.request(request) }
    response.get_fields("Set-Cookie")&.each { |cookie| @cookies.store(*cookie[/[^;]+/].split("=", 2)) }
    response
  rescue SystemCallError
    nil
  end
end
