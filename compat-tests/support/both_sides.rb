# frozen_string_literal: true

# What a setting, or the life of a process, does to what lies in Redis: once with a real `sidekiq`, once with the Rust worker,
# under the same configuration.
module BothSides
  include Compat

  # The block's answer for each side, which must be the same.
  def assert_alike(*flags, config: "", env: {})
    file = WorkerProcess.config_file(":poll_interval_average: 0.2\n#{config}")
    ruby = on_a_clean_redis { with_sidekiq("-C", file, *flags, env: env) { |process| return_of { yield process } } }
    rust = on_a_clean_redis { with_worker("-C", file, *flags, "--wire-version", Sidekiqs::MAJOR.to_s, env: env) { |process| return_of { yield process } } }
    assert_equal ruby, rust
    ruby
  end

  def on_a_clean_redis
    redis("FLUSHDB")
    @pushed = nil
    yield
    @answer
  end

  def return_of = @answer = yield

  # Until every job that was pushed has failed: a queue is empty before its jobs have run.
  def settled
    failed = -> { %w[retry dead].flat_map { |set| redis("ZRANGE", set, 0, -1) }.count { |raw| raw.include?('"error_class"') } }
    eventually { assert_equal [@pushed.to_i, 0, 0], [failed.call, Sidekiq::Queue.new.size, private_jobs] }
  end

  def jids(set) = redis("ZRANGE", set, 0, -1).map { |raw| JSON.parse(raw)["jid"] }

  def push(name, jid, **options)
    @pushed = @pushed.to_i + 1
    Sidekiq::Client.push({"class" => name, "args" => ["boom"], "jid" => jid}.merge(options.transform_keys(&:to_s)))
  end
end
