# frozen_string_literal: true

require_relative "../helper"

# `ruby-fixtures/redis_urls.jsonl` holds what each Sidekiq makes of a URL of Redis; src/store/url.rs is held against it.
# WRITE=1 records what this Sidekiq does anew.
describe "a URL of Redis" do
  FILE = File.expand_path("../../ruby-fixtures/redis_urls.jsonl", __dir__)
  MAJOR = Sidekiq::VERSION.to_i.to_s

  def read(url)
    if MAJOR.to_i >= 7
      config = RedisClient.config(url: url)
      {host: config.host, port: config.port, path: config.path, db: config.db, tls: config.ssl?, user: config.username, pass: config.password}
    else
      options = Redis.new(url: url).instance_variable_get(:@original_client).options
      address = options[:path] ? {host: nil, port: nil} : options.slice(:host, :port)
      address.merge(path: options[:path], db: options[:db], tls: !!options[:ssl], user: options[:username] || "default", pass: options[:password])
    end
  rescue => error
    {error: error.class.name}
  end

  it "is read as it was recorded" do
    lines = File.readlines(FILE, chomp: true).map { |line| JSON.parse(line) }
    read = lines.map { |line| line.merge(MAJOR => JSON.parse(JSON.generate(read(line["url"])))) }
    File.write(FILE, read.map { |line| JSON.generate(line) + "\n" }.join) if ENV["WRITE"]
    assert_operator lines.size, :>=, 60
    assert_equal lines, read unless ENV["WRITE"]
  end
end
