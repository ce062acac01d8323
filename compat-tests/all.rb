# frozen_string_literal: true

# The whole suite: bin/test compat, or WORKER=... FERROKIQ=... ruby compat-tests/all.rb [-n /name/]

require_relative "helper"

Dir[File.join(__dir__, "*_test.rb")].sort.each { |file| require file }
puts "Sidekiq #{Sidekiq::VERSION}, Ruby #{RUBY_VERSION}, Redis #{Sidekiq.redis { |conn| conn.call("INFO", "server") }[/redis_version:(\S+)/, 1]}"
