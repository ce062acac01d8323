# frozen_string_literal: true

# The real Sidekiq Web UI on its own: puma ruby-fixtures/web.ru

require "securerandom"
require "sidekiq/web"
begin
  require "rack/session"
rescue LoadError
  # Older racks bring sessions themselves.
  require "rack/session/cookie"
end

use Rack::Session::Cookie, secret: SecureRandom.hex(32), same_site: true
run Sidekiq::Web.new
