# frozen_string_literal: true

require_relative "../helper"

# The Rust test src/cli/corpus.rs compares with this recording.
describe "the recording of what Sidekiq makes of configuration files" do
  it "is what this Sidekiq makes of them" do
    said, code = WorkerProcess.run("ruby", File.expand_path("../../ruby-fixtures/sidekiq_yml.rb", __dir__), "--check")
    assert_equal 0, code, said
  end
end
