# frozen_string_literal: true

require_relative "../helper"

# Sidekiq 6.4 writes what runs under a key of another name.
describe "ferrokiq busy" do
  include Compat

  it "shows what each Sidekiq runs" do
    jid = SlowJob.perform_async(60)
    ruby = start_sidekiq("-c", "1")
    eventually { assert_equal [jid], busy_jobs.map(&:jid) }
    said, code = WorkerProcess.run(WorkerProcess::TOOL, "busy", "--json")
    assert_equal 0, code
    assert_equal [[ruby.identity, "default", jid]], said.lines.map { |line| JSON.parse(line).values_at("identity", "queue", "jid") }
    said, = WorkerProcess.run(WorkerProcess::TOOL, "jobs", "find", jid, "--json")
    assert_equal ["#{ruby.identity}:work"], said.lines.map { |line| JSON.parse(line)["in"] }
  end
end
