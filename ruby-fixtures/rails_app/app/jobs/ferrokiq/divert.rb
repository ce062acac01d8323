# frozen_string_literal: true

# Made from the worker's jobs; do not edit.

module Ferrokiq
  # For a Ruby process that serves a queue together with Rust: a job of a class that runs in Rust goes on to a queue that only Rust
  # serves, without burning a retry.
  #
  #   Sidekiq.configure_server do |config|
  #     config.server_middleware { |chain| chain.prepend Ferrokiq::Divert, "rust" }
  #   end
  class Divert
    def initialize(queue)
      @queue = queue
    end

    def call(instance, job, queue)
      return yield if queue == @queue || !instance.class.respond_to?(:runs_in_rust?)

      Sidekiq.redis do |conn|
        conn.multi do |transaction|
          transaction.sadd("queues", [@queue])
          transaction.lpush("queue:#{@queue}", [Sidekiq.dump_json(job)])
        end
      end
    end
  end
end
