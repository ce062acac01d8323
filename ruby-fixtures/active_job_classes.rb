# frozen_string_literal: true

# Models, jobs and mailers of Rails, for the corpus and for the suite. The Rust halves stand in compat-tests/active_jobs.rs.

require "logger"
require_relative "jobs"
require "rails"
require "active_job"
require "active_support/core_ext"
require "action_mailer"
require "global_id"
require "sidekiq/rails"

ActiveJob::Base.logger = Logger.new(IO::NULL)
ActiveJob::Base.queue_adapter = :sidekiq
ActionMailer::Base.logger = ActiveJob::Base.logger
GlobalID.app = "shop"
Time.zone = "America/New_York"

module Models
  def self.included(model)
    model.include GlobalID::Identification
    model.extend ClassMethods
  end

  module ClassMethods
    def find(id) = new(id)
  end

  attr_reader :id
  def initialize(id) = @id = id
  def ==(other) = other.class == self.class && other.id.to_s == id.to_s
end

class User
  include Models
end

module Billing
  class Invoice
    include Models
  end
end

# A model in another database, say.
class Tenant
  include Models
  def to_global_id(options = {}) = GlobalID.create(self, database: "acme ltd/ü", region: "eu~1")
end

class Current < ActiveSupport::CurrentAttributes
  attribute :tenant
end

class EchoActiveJob < ActiveJob::Base
  def perform(*, **) = nil
end

# Tells what it was given, and what surrounds it.
class GreetActiveJob < ActiveJob::Base
  def perform(user, greeting:, at: nil)
    Proof.tell(provider_job_id, [user.class.name, user.id, greeting.to_s, at&.to_f&.round(3), locale, executions, Current.tenant])
  end
end

# In Rust: enqueues a GreetActiveJob and a mail on the queue `ruby`.
class RelayActiveJob < ActiveJob::Base
  def perform(user, greeting:) = nil
end

class OptionsActiveJob < ActiveJob::Base
  queue_as :low
  queue_with_priority 7 if respond_to?(:queue_with_priority)
  sidekiq_options retry: 3, backtrace: 5, tags: ["vip"] if respond_to?(:sidekiq_options)
  def perform(*) = nil
end

class NoticeMailer < ActionMailer::Base
  # Tells what it would send.
  class Told
    def initialize(*) = nil
    def deliver!(mail) = Proof.tell("mail", [mail.to, mail.body.to_s])
  end
  add_delivery_method :told, Told
  self.delivery_method = :told

  def hello(name, times: 1) = mail(to: "a@example.com", from: "b@example.com", body: "#{name} #{times}", subject: "x")
end

class Flaky < StandardError; end

class Gone < StandardError; end

class RetryActiveJob < ActiveJob::Base
  class << self
    attr_accessor :raises
  end
  retry_on Flaky, Timeout::Error, wait: 30, attempts: 3, jitter: 0
  retry_on ZeroDivisionError, wait: ((ActiveJob.version >= Gem::Version.new("7.1")) ? :polynomially_longer : :exponentially_longer), queue: :slow, priority: 4, jitter: 0
  retry_on KeyError, wait: ->(executions) { executions * 60 }, attempts: 2 do |*| end
  discard_on Gone, ActiveJob::DeserializationError
  def perform(name, *)
    raise Object.const_get(name), "boom" unless name == "fine"
  end
end
