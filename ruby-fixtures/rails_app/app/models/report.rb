class Report < ActiveRecord::Base
  # Whoever is Current in the job that tells is the one who asked, if the context has made it to Rust and back.
  def finish!(result, ran_in:)
    update!(result: result, ran_in: ran_in, told_by: Current.user, finished_at: Time.current)
  end

  def milliseconds = finished_at && ((finished_at - created_at) * 1000).round
end
