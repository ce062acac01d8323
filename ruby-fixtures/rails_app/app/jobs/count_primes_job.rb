# Runs in Rust.
class CountPrimesJob
  include Sidekiq::Job
  sidekiq_options queue: "rust", retry: 5

  def perform(report_id, below)
    raise NotImplementedError, "runs in Rust"
  end
end
