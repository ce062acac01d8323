# Current.user goes along with every job, whoever runs it.
Sidekiq::CurrentAttributes.persist("Current")

# As docs/guide/contracts.md shows it: jobs of the stubs that a worker writes go on to its queue.
require Rails.root.join("app/jobs/ferrokiq/divert") # where `contract ruby --out app/jobs` wrote it

Sidekiq.configure_server do |config|
  config.server_middleware { |chain| chain.prepend Ferrokiq::Divert, "rust" }
end
