use clap::Args;
use ferrokiq::api::{JobMetrics, Span, Totals};
use ferrokiq::time::EpochSecs;
use serde_json::{Value, json};

use super::frame::{Code, Done, Style, Table, Tool, cell};

/// What jobs took: all classes, or one class point by point
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ferrokiq metrics\n  ferrokiq metrics ReportJob --minutes 30\n  ferrokiq metrics --hours 24 --json\n\n\
                  Sidekiq 7 and 8 and ferrokiq count each minute and keep it for eight hours; by ten minutes and for three days Sidekiq 8 and ferrokiq."
)]
pub(crate) struct Metrics {
    /// A class
    class: Option<String>,

    /// So many minutes back, minute by minute; at most 480
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=480))]
    minutes: u32,

    /// So many hours back, by ten minutes; at most 72
    #[arg(long, value_name = "N", conflicts_with = "minutes", value_parser = clap::value_parser!(u32).range(1..=72))]
    hours: Option<u32>,
}

impl Metrics {
    pub(crate) async fn run(self, tool: &mut Tool) -> Done {
        let api = tool.api()?;
        let span = self.hours.map_or(Span::Minutes(self.minutes), Span::Hours);
        let Some(class) = &self.class else {
            let metrics = api.top_jobs(span).await?;
            let mut jobs: Vec<_> = metrics.jobs.iter().collect();
            jobs.sort_by_key(|(_, job)| std::cmp::Reverse(job.totals.ms));
            return all(tool, &jobs, span);
        };
        let metrics = api.job_metrics(class, span).await?;
        let Some(job) = metrics.jobs.get(class) else { return Ok(Code::Fine) };
        one(tool, class, job)?;
        let marks = if tool.screen.is_json() { &[] } else { metrics.marks.as_slice() };
        for mark in marks {
            tool.screen.styled(Style::Yellow, &format!("{} deploy: {}", mark.at.to_utc(), mark.label))?;
        }
        Ok(Code::Fine)
    }
}

fn all(tool: &mut Tool, jobs: &[(&String, &JobMetrics)], span: Span) -> Done {
    let mut table = Table::new(["~class", ">succeeded", ">failed", ">total s", ">average ms"]);
    for (class, job) in jobs {
        let totals = job.totals;
        if tool.screen.is_json() {
            let mut line = described(totals);
            line["class"] = Value::from(class.as_str());
            tool.screen.json(&line)?;
            continue;
        }
        let [succeeded, failed, seconds, average] = cells(totals);
        let failed = if totals.failed > 0 { cell(failed).style(Style::Red) } else { cell(failed) };
        table.row(&mut tool.screen, [cell(class), cell(succeeded), failed, cell(seconds), cell(average)])?;
    }
    table.end_or(&mut tool.screen, &format!("no job was counted in the last {span}"))?;
    Ok(Code::Fine)
}

fn one(tool: &mut Tool, class: &str, job: &JobMetrics) -> std::io::Result<()> {
    if tool.screen.is_json() {
        let series: Vec<Value> = job
            .series
            .iter()
            .map(|(at, totals)| {
                let mut point = described(*totals);
                point["at"] = Value::from(*at);
                point
            })
            .collect();
        let mut line = described(job.totals);
        line["class"] = Value::from(class);
        line["series"] = Value::from(series);
        return tool.screen.json(&line);
    }
    let mut table = Table::new(["from", ">succeeded", ">failed", ">total s", ">average ms"]);
    for (at, totals) in &job.series {
        let [succeeded, failed, seconds, average] = cells(*totals).map(cell);
        table.row(&mut tool.screen, [cell(EpochSecs(*at as f64).to_utc()), succeeded, failed, seconds, average])?;
    }
    let [succeeded, failed, seconds, average] = cells(job.totals).map(|text| cell(text).style(Style::Bold));
    table.row(&mut tool.screen, [cell("all"), succeeded, failed, seconds, average])?;
    table.end(&mut tool.screen)
}

fn described(totals: Totals) -> Value {
    let average = totals.average().as_secs_f64() * 1e3;
    json!({"processed": totals.processed, "failed": totals.failed, "ms": totals.ms, "average_ms": average})
}

fn cells(totals: Totals) -> [String; 4] {
    let average = totals.average().as_secs_f64() * 1e3;
    let succeeded = totals.processed.saturating_sub(totals.failed);
    [
        succeeded.to_string(),
        totals.failed.to_string(),
        // To the millisecond that is counted, so that the sum of many quick jobs is their number times their average.
        format!("{:.3}", totals.ms as f64 / 1e3),
        format!("{average:.3}"),
    ]
}
