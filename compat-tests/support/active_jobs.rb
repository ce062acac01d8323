# frozen_string_literal: true

# Rails's jobs with CurrentAttributes that flow from job to job: for the suite itself and for its `sidekiq`.

require_relative "../../ruby-fixtures/active_job_classes"
require "sidekiq/middleware/current_attributes"
Sidekiq::CurrentAttributes.persist((Sidekiq::VERSION.to_i > 6) ? "Current" : Current)
