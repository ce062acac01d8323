# frozen_string_literal: true

require_relative "helper"

describe "the golden corpus" do
  it "is what this Sidekiq does" do
    said, code = WorkerProcess.run("ruby", File.expand_path("../ruby-fixtures/generate.rb", __dir__), "--check")
    assert_equal 0, code, said
  end
end
