# frozen_string_literal: true

# What differs between the Sidekiqs the suite runs against, in one place.
module Sidekiqs
  MAJOR = Sidekiq::VERSION.to_i

  if MAJOR >= 7
    Sidekiq.default_configuration.logger = Logger.new(IO::NULL)
  else
    Sidekiq.logger = Logger.new(IO::NULL)
    # The client library of that time warns about commands it does not know the future of.
    Redis.silence_deprecations = true if Redis.respond_to?(:silence_deprecations=)
  end

  # How this Sidekiq writes moments into payloads.
  STAMP = (MAJOR >= 8) ? Integer : Float

  # A pool of connections to another Redis.
  def self.pool(**config)
    (MAJOR >= 7) ? Sidekiq::RedisConnection.create({size: 2, logger: Logger.new(IO::NULL)}.merge(config)) : Sidekiq::RedisConnection.create({size: 2}.merge(config))
  end

  # Pushes over it.
  def self.push(pool, item)
    ((MAJOR >= 7) ? Sidekiq::Client.new(pool: pool) : Sidekiq::Client.new(pool)).push(item)
  end

  # Busy jobs: identity, tid, and what runs there.
  BusyJob = Struct.new(:identity, :tid, :queue, :klass, :args, :jid, :run_at)

  def busy_jobs
    (MAJOR >= 7 ? Sidekiq::WorkSet : Sidekiq::Workers).new.map do |identity, tid, work|
      queue, payload, run_at = work.is_a?(Hash) ? work.values_at("queue", "payload", "run_at") : [work.queue, work.payload, work.run_at]
      payload = JSON.parse(payload) if payload.is_a?(String)
      BusyJob.new(identity, tid, queue, *payload.values_at("class", "args", "jid"), Time.at(run_at))
    end
  end

  # A hash, whatever the protocol makes of it.
  def redis_hash(key)
    found = redis("HGETALL", key)
    found.is_a?(Hash) ? found : Hash[*found]
  end

  def skip_before(major, why)
    skip "Sidekiq #{Sidekiq::VERSION} #{why}" if MAJOR < major
  end
end
