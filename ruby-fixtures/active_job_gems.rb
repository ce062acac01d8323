# frozen_string_literal: true

# Records what the jobs of ActiveStorage, ActionMailbox and Turbo leave in Redis, and that Rails runs them from there. The roots have none of these
# gems, so this needs the folders `activestorage`, `actionmailbox`, `actioncable` of Rails 7.2, `marcel` and `turbo-rails` below one folder:
#
#   bin/lib/in-ruby -- ruby ruby-fixtures/active_job_gems.rb FOLDER    writes ruby-fixtures/active_job_gems.json

require_relative "../compat-tests/support/redis_server"
require "json"
require "logger"
require "tmpdir"

folder = ARGV.fetch(0)
%w[activestorage actionmailbox actioncable marcel turbo-rails].each { |gem| $LOAD_PATH.unshift(File.join(folder, gem, "lib")) }
SERVER = RedisServer.start
at_exit { SERVER.stop }
ENV["REDIS_URL"] = SERVER.url
ENV["RAILS_ENV"] = "test"
DATA = Dir.mktmpdir
at_exit { FileUtils.rm_rf(DATA) }

%w[rails active_record/railtie active_job/railtie action_controller/railtie action_view/railtie action_mailer/railtie active_storage/engine
  action_mailbox/engine action_cable/engine turbo-rails sidekiq sidekiq/api sidekiq/rails].each { |file| require file }

class App < Rails::Application
  config.root = DATA
  config.load_defaults 7.2
  config.eager_load = false
  config.secret_key_base = "x" * 64
  config.logger = Logger.new(IO::NULL)
  config.active_job.queue_adapter = :sidekiq
  config.active_storage.service = :local
end

{"database" => "adapter: sqlite3\n  database: #{DATA}/test.sqlite3", "cable" => "adapter: async"}.each do |name, settings|
  FileUtils.mkdir_p(File.join(DATA, "config"))
  File.write(File.join(DATA, "config", "#{name}.yml"), "test:\n  #{settings}\n")
end
File.write(File.join(DATA, "config", "storage.yml"), "local:\n  service: Disk\n  root: #{DATA}/storage\n")
Rails.application.initialize!
ActiveRecord::Migration.verbose = false
Dir[File.join(folder, "{activestorage,actionmailbox}/db/migrate/*.rb")].each { |file| load file }
[CreateActiveStorageTables, CreateActionMailboxTables].each { |tables| tables.new.change }
ActiveRecord::Base.connection.create_table(:rows) { |table| table.string :state }

class Row < ActiveRecord::Base; end

class PlainJob < ActiveJob::Base
  def perform(*) = nil
end

class ApplicationController < ActionController::Base; end

class ApplicationMailbox < ActionMailbox::Base
  routing all: :rows
end

class RowsMailbox < ApplicationMailbox
  def process = nil
end

def left = Sidekiq.redis { |conn| conn.call("SMEMBERS", "queues").flat_map { |queue| conn.call("LRANGE", "queue:#{queue}", 0, -1) } + conn.call("ZRANGE", "schedule", 0, -1) }

def recorded(name)
  Sidekiq.redis { |conn| conn.call("FLUSHDB") }
  yield
  left.map { |raw| {"name" => name, "payload" => raw} }
end

def refused(name, rows) = rows.empty? ? [] : abort("#{name} enqueued #{rows.size} jobs")

blob = ActiveStorage::Blob.create_and_upload!(io: StringIO.new("hello"), filename: "a.txt")
mail = nil
rows = recorded("perform_all_later") { ActiveJob.perform_all_later(PlainJob.new(1), PlainJob.new(:two), PlainJob.new(3).set(wait: 60)) } +
  recorded("enqueue_after_transaction_commit") {
    ActiveRecord::Base.transaction do
      PlainJob.perform_later("committed")
      refused("an open transaction", left)
    end
  } +
  refused("a transaction rolled back", recorded("rolled_back") {
    ActiveRecord::Base.transaction do
      PlainJob.perform_later("rolled back")
      raise ActiveRecord::Rollback
    end
  }) +
  recorded("analyze") { ActiveStorage::AnalyzeJob.perform_later(blob) } +
  recorded("mirror") { ActiveStorage::MirrorJob.perform_later(blob.key, checksum: blob.checksum) } +
  recorded("transform") { ActiveStorage::TransformJob.perform_later(blob, {resize_to_limit: [100, 100], format: :png}) } +
  recorded("preview_image") { ActiveStorage::PreviewImageJob.perform_later(blob, [{resize_to_limit: [100, 100]}]) } +
  recorded("routing") { mail = ActionMailbox::InboundEmail.create_and_extract_message_id!("From: a@example.com\r\nTo: b@example.com\r\nMessage-ID: <1@example.com>\r\n\r\nhi") } +
  recorded("broadcast_action") { Turbo::StreamsChannel.broadcast_replace_later_to(Row.create!(state: "x"), :list, target: "list", html: "<b>", locals: {a: 1}) } +
  recorded("broadcast_stream") { Turbo::Streams::BroadcastStreamJob.perform_later("list", content: "<turbo-stream>") } +
  recorded("broadcast_render") { Turbo::Streams::BroadcastJob.perform_later("list", inline: "<b><%= row.state %></b>", locals: {row: Row.first}) } +
  recorded("incineration") { mail.incinerate_later } +
  recorded("purge") { blob.purge_later }

# How Rails runs them, in the order they came; a text has no preview.
rows.each do |row|
  payload = JSON.parse(row["payload"])
  wrapper = Sidekiq::ActiveJob::Wrapper.new
  wrapper.jid = payload["jid"]
  row["ran"] = begin
    wrapper.perform(payload["args"][0])
    "fine"
  rescue => error
    error.class.name
  end
end
puts rows.map { |row| "#{row["name"]}: #{row["ran"]}" }
File.write(File.join(__dir__, "active_job_gems.json"), "[\n#{rows.map { |row| "  #{JSON.generate(row)}" }.join(",\n")}\n]\n")
