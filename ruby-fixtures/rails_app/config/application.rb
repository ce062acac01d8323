require "fileutils"
require "securerandom"
require "rails"
require "active_record/railtie"
require "active_job/railtie"
require "action_controller/railtie"
require "action_view/railtie"
require "action_mailer/railtie"
require "sidekiq"
require "sidekiq/middleware/current_attributes"

module Shop
  # Where everything is written that is not code.
  DATA = ENV.fetch("SHOP_DATA") { File.expand_path("../storage", __dir__) }
  FileUtils.mkdir_p(DATA)

  class Application < Rails::Application
    config.load_defaults 7.2
    config.eager_load = true
    config.enable_reloading = false
    config.consider_all_requests_local = true
    config.secret_key_base = ENV.fetch("SECRET_KEY_BASE") { SecureRandom.hex(64) }
    config.paths["log"] = File.join(DATA, "rails.log")
    config.paths["tmp"] = DATA

    config.active_job.queue_adapter = :sidekiq
    config.action_mailer.deliver_later_queue_name = :mailers
    config.action_mailer.delivery_method = :file
    config.action_mailer.file_settings = {location: File.join(DATA, "mails")}
  end
end
