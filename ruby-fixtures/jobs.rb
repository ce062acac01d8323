# frozen_string_literal: true

# Every job class that both languages know. Each does one observable thing and tells it to Redis, under `proof:*`, with the
# language it ran in. The Rust halves stand in compat-tests/jobs.rs.

require "sidekiq"
require "json"

# What a job did, for whoever asks afterwards.
module Proof
  def self.tell(jid, what)
    Sidekiq.redis do |conn|
      conn.call("RPUSH", "proof:#{jid}", JSON.generate(["ruby", what]))
      conn.call("HINCRBY", "proof:count", "ruby", 1)
    end
  end
end

# Tells its arguments.
class EchoJob
  include Sidekiq::Job

  def perform(*args)
    Proof.tell(jid, args)
  end
end

# Tells its arguments; lives on a queue only Ruby serves.
class RubyEchoJob < EchoJob
  sidekiq_options queue: "ruby"
end

# Does nothing, as the job of Sidekiq's own load script.
class NoopJob
  include Sidekiq::Job

  def perform(string, index, hash)
  end
end

# Fails the first time it runs, whoever runs it.
class FlakyJob
  include Sidekiq::Job

  def perform(key)
    first = Sidekiq.redis { |conn| conn.call("SET", "proof:flaky:#{key}", 1, "NX") }
    raise ArgumentError, "not yet, #{key}" if first

    Proof.tell(jid, key)
  end
end

# Fails whenever it runs, with the message it is given.
class FailJob
  include Sidekiq::Job

  def perform(message)
    raise ArgumentError, message
  end
end

# Fails for good at once.
class DoomedJob
  include Sidekiq::Job
  sidekiq_options retry: 0

  def perform(message)
    raise ArgumentError, message
  end
end

# Takes its time, in seconds.
class SlowJob
  include Sidekiq::Job

  def perform(seconds)
    Proof.tell(jid, "started")
    sleep seconds
    Proof.tell(jid, "ended")
  end
end

# Panics in Rust, raises in Ruby.
class PanicJob
  include Sidekiq::Job

  def perform(message)
    raise message
  end
end

# Pushes a job that only Ruby knows.
class HandoverJob
  include Sidekiq::Job

  def perform(text)
    RubyEchoJob.perform_async(text)
    Proof.tell(jid, text)
  end
end

# Takes two arguments and no others.
class StrictJob
  include Sidekiq::Job

  def perform(id, name)
    Proof.tell(jid, [id, name])
  end
end

# Says itself when it is tried again.
class PatientJob
  include Sidekiq::Job
  sidekiq_options retry: 3
  sidekiq_retry_in { |count, _error| 100 * (count + 1) }

  def perform(message)
    raise ArgumentError, message
  end
end

# Wants no retry, by its own word, and no burial.
class KilledJob
  include Sidekiq::Job
  sidekiq_retry_in { :kill }

  def perform(message)
    raise ArgumentError, message
  end
end

class DiscardedJob
  include Sidekiq::Job
  sidekiq_retry_in { :discard }

  def perform(message)
    raise ArgumentError, message
  end
end

# Has a last word when its retries are over; wants no burial if that is its message.
class LastWordJob
  include Sidekiq::Job
  sidekiq_options retry: 0
  sidekiq_retries_exhausted do |job, error|
    Proof.tell(job["jid"], ["exhausted", error.message])
    :discard if error.message == "discard"
  end

  def perform(message)
    raise ArgumentError, message
  end
end

# Pushes a job to another Redis: a shard.
class ShardJob
  include Sidekiq::Job

  def perform(url, text)
    options = {url: url, size: 20}
    options[:logger] = Logger.new(IO::NULL) if Sidekiq.respond_to?(:default_configuration)
    Sidekiq::Client.via(Sidekiq::RedisConnection.create(options)) { RubyEchoJob.perform_async(text) }
    Proof.tell(jid, text)
  end
end

# Lines for a machine, where the suite asks for them.
if ENV["LOG_JSON"]
  Sidekiq.configure_server { |config| config.logger.formatter = Sidekiq::Logger::Formatters::JSON.new }
end

# What happens in the life of a process, told to Redis where the suite asks for it.
if ENV["TELL_EVENTS"]
  Sidekiq.configure_server do |config|
    %i[startup quiet shutdown exit heartbeat].each do |event|
      config.on(event) { Proof.tell("events", event) }
    rescue ArgumentError
      # An event of later versions.
    end
  end
end

# Counts to a number, item by item; goes on where it stopped, whoever runs it. From Sidekiq 7.3 on.
if defined?(Sidekiq::IterableJob)
  class CountJob
    include Sidekiq::IterableJob

    def build_enumerator(number, _seconds, cursor:)
      array_enumerator((0...number).to_a, cursor: cursor)
    end

    def each_iteration(item, _number, seconds)
      Proof.tell(jid, item)
      sleep seconds
    end

    def on_start = Proof.tell(jid, "start")

    def on_resume = Proof.tell(jid, "resume")

    def on_cancel = Proof.tell(jid, "cancel")

    def on_complete = Proof.tell(jid, "complete")
  end
end
