# Current.user goes along with every job, whoever runs it.
Sidekiq::CurrentAttributes.persist("Current")
