# Enqueued by Rust.
class ReportReadyJob < ApplicationJob
  def perform(report, result, ran_in:)
    report.finish!(result, ran_in: ran_in)
  end
end
