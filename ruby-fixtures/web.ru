# frozen_string_literal: true

# The real Sidekiq Web UI on its own: puma ruby-fixtures/web.ru

require "securerandom"
require "rack/session"
require "sidekiq/web"

use Rack::Session::Cookie, secret: SecureRandom.hex(32), same_site: true
run Sidekiq::Web.new
