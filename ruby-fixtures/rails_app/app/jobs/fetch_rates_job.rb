# Runs in Rails, the third time.
class FetchRatesJob < ApplicationJob
  class Unavailable < StandardError; end

  retry_on Unavailable, wait: 1.second, attempts: 5

  def perform(report)
    raise Unavailable, "come back later" if executions < 3
    report.finish!("rates, at attempt #{executions}", ran_in: "Ruby")
  end
end
