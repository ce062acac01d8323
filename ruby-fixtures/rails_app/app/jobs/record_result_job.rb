# Enqueued by Rust.
class RecordResultJob
  include Sidekiq::Job

  def perform(report_id, result, ran_in)
    Report.find(report_id).finish!(result, ran_in: ran_in)
  end
end
