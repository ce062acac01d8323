#!/usr/bin/env ruby
# frozen_string_literal: true

# Records what Sidekiq::CLI#parse makes of each file in ruby-fixtures/sidekiq_yml/, in sidekiq-MAJOR.json there. The Rust
# test src/cli/corpus.rs reads the same files and compares. Running it twice changes nothing.
#
#   bin/lib/in-ruby -- ruby ruby-fixtures/sidekiq_yml.rb            writes the recording of this major version
#   bin/lib/in-ruby -- ruby ruby-fixtures/sidekiq_yml.rb --check    only says what differs, and fails if anything does
#
# A file names the variables it needs in its first lines: `# with NAME=value`. APP_ENV is production unless it says otherwise; `# with
# APP_ENV=` unsets it.

require "json"
require "tempfile"
require "sidekiq/cli"
require "sidekiq/launcher"

DIR = File.expand_path("sidekiq_yml", __dir__)
MAJOR = Sidekiq::VERSION.to_i
APP = Tempfile.create(["app", ".rb"]).path
VARIABLES = %w[APP_ENV RAILS_ENV RACK_ENV RAILS_MAX_THREADS DEBUG_INVOCATION].freeze

def quiet_logger = Logger.new(IO::NULL, level: Logger::INFO)

def with_environment(text)
  given = text.lines.take_while { |line| line.start_with?("# with ") }.to_h { |line| line.delete_prefix("# with ").chomp.split("=", 2) }
  given = {"APP_ENV" => "production"}.merge(given)
  given.delete("APP_ENV") if given["APP_ENV"].empty?
  before = ENV.to_h
  VARIABLES.each { |name| ENV.delete(name) }
  given.each { |name, value| ENV[name] = value }
  yield
ensure
  ENV.replace(before)
end

# Names and weights as the process info shows them.
def capsule(cap)
  {concurrency: cap.concurrency, mode: cap.mode, weights: cap.weights.map { |name, weight| [name.to_s, weight] }}
end

# The one capsule of Sidekiq 6, which keeps a queue as often as its weight says, 0 being 1.
def only_capsule(options)
  mode = options[:strict] ? "strict" : "weighted"
  weights = options[:queues].tally.map { |name, times| [name, times] }
  {concurrency: options[:concurrency], mode: mode, weights: weights}
end

def parse_and_launch(path)
  arguments = ["-C", path, "-r", APP]
  if MAJOR >= 7
    cli = Sidekiq::CLI.send(:new)
    config = cli.config = Sidekiq::Config.new
    config.logger = quiet_logger
    cli.parse(arguments)
    # What the process checks next, before it takes a job.
    config.capsules.each_value { |cap| raise ArgumentError, "Pool size too small" if cap.redis_pool.size < cap.concurrency }
    Sidekiq::Launcher.new(config)
    [config, config.logger, config.capsules.transform_values { |cap| capsule(cap) }]
  else
    Sidekiq.instance_variable_set(:@options, nil)
    Sidekiq.logger = quiet_logger
    cli = Sidekiq::CLI.send(:new)
    cli.parse(arguments)
    # The size of the pool is made of it.
    Sidekiq.options[:concurrency] + 2
    Sidekiq::Launcher.new(Sidekiq.options)
    [Sidekiq.options, Sidekiq.logger, {"default" => only_capsule(Sidekiq.options)}]
  end
end

# What a worker would do, or the class of the error it ends with.
def outcome(path)
  config, logger, capsules = parse_and_launch(path)
  # `||=`: false is none.
  {capsules: capsules, timeout: config[:timeout].to_f, tag: config[:tag] ? config[:tag].to_s : nil, verbose: logger.debug?}
rescue StandardError, SyntaxError, Psych::Exception => error
  {refused: error.class.name}
end

result = Dir[File.join(DIR, "*.yml")].sort.to_h { |path|
  [File.basename(path, ".yml"), with_environment(File.read(path, encoding: "UTF-8")) { outcome(path) }]
}
lines = result.map { |name, what| "#{JSON.generate(name)}: #{JSON.generate(what)}" }
made = "{\n#{lines.join(",\n")}\n}\n"
kept = File.join(DIR, "sidekiq-#{MAJOR}.json")

if ARGV.include?("--check")
  was = File.exist?(kept) ? File.read(kept) : ""
  abort "#{kept} differs:\n#{(made.lines - was.lines).join}" unless made == was
  puts "#{result.size} files: as recorded"
else
  File.write(kept, made)
  puts "#{result.size} files recorded for Sidekiq #{MAJOR}"
end
