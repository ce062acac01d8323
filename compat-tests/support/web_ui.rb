# frozen_string_literal: true

require "rack/test"
require "securerandom"
require "sidekiq/web"
begin
  require "rack/session"
rescue LoadError
  # Older racks bring sessions themselves.
  require "rack/session/cookie"
end

# The real Web UI in this process.
module WebUi
  include Rack::Test::Methods

  APP = Rack::Builder.new {
    use Rack::Session::Cookie, secret: SecureRandom.hex(32), same_site: true
    run Sidekiq::Web
  }.to_app

  def app = APP

  def routed(entry) = "#{entry.score}-#{entry.jid}"
end
