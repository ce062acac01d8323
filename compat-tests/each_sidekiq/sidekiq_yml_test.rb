# frozen_string_literal: true

require_relative "../helper"

describe "config/sidekiq.yml" do
  include Compat

  # The Rust test src/cli/corpus.rs compares with this recording.
  it "means to this Sidekiq what was recorded" do
    said, code = WorkerProcess.run("ruby", File.expand_path("../../ruby-fixtures/sidekiq_yml.rb", __dir__), "--check")
    assert_equal 0, code, said
  end

  it "may have the ERB tags that need no Ruby" do
    path = WorkerProcess.config_file(":concurrency: <%= ENV.fetch('THREADS', 5).to_i %>\n")
    worker = start_worker("-C", path, env: {"THREADS" => "3"})
    assert_equal 3, worker.process["concurrency"]
  end

  it "is rendered as Ruby renders it if the advice is followed" do
    path = WorkerProcess.config_file("<% jobs = [4, 2].max -%>\n:concurrency: <%= jobs %>\n")
    said, = WorkerProcess.run(WorkerProcess::RUST, "-C", path)
    advice = said[/\(erb (.*?) > plain.yml\)/, 1] or flunk said
    assert_equal ":concurrency: 4\n", `erb #{advice}`
  end
end

describe "a worker that systemd starts again to find out why it failed" do
  include Compat

  it "logs at level debug, as Sidekiq 8.1" do
    # A socket that is not there is worth a line of level debug.
    worker = start_worker(env: {"DEBUG_INVOCATION" => "1", "NOTIFY_SOCKET" => "/no/such/socket"})
    eventually { assert_match(/^DEBUG/, worker.said) }
  end
end
