class ReportsController < ActionController::Base
  ENQUEUE = {
    "render" => ->(report) { RenderReportJob.perform_later(report, format: :csv, rows: 100_000, since: Date.new(2026, 1, 1)) },
    "primes" => ->(report) { CountPrimesJob.perform_async(report.id, 2_000_000) },
    "pdf" => ->(report) { RenderReportJob.perform_later(report, format: :pdf, rows: 10) },
    "rates" => ->(report) { FetchRatesJob.perform_later(report) },
    "mail" => ->(report) { ReportMailer.ready(report, subject: "As asked").deliver_later }
  }.freeze

  before_action { Current.user = params[:user].presence || "ann" }

  def index
    @reports = Report.order(id: :desc).limit(20)
    render partial: "list" if params[:list]
  end

  def create
    enqueue = ENQUEUE.fetch(params.require(:kind)) { return head(:unprocessable_entity) }
    enqueue.call(Report.create!(kind: params[:kind], asked_by: Current.user))
    redirect_to root_path(user: Current.user)
  end
end
