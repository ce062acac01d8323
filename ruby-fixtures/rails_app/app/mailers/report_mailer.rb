class ReportMailer < ActionMailer::Base
  default from: "shop@shop.example"

  after_deliver { @report.update!(mailed_to: message.to.first) }

  def ready(report, subject: "Your report")
    @report = report
    mail(to: "#{Current.user || "nobody"}@shop.example", subject: subject)
  end
end
