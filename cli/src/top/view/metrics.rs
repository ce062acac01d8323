//! Metrics: what classes of jobs took in the last hour.

use ferrokiq::api::JobMetrics;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Paragraph, Row as Cells, Table};

use super::Canvas;
use super::parts::grouped;
use crate::frame::{printable, span};

/// Classes in the graph.
const LINES: usize = 6;
const MINUTES: f64 = 60.0;

/// A run time. Below a second in milliseconds: the total and the average of quick jobs both need them.
fn time(secs: f64) -> String {
    if secs < 1.0 { format!("{:.1} ms", secs * 1e3) } else { span(secs) }
}

impl Canvas<'_> {
    pub(super) fn metrics(&self, frame: &mut Frame<'_>, area: Rect) {
        let Some(metrics) = self.state.shown().and_then(|data| data.metrics.as_ref()) else { return };
        let wanted = self.state.filter.as_deref().unwrap_or_default().to_lowercase();
        let mut jobs: Vec<(&String, &JobMetrics)> =
            metrics.jobs.iter().filter(|(class, _)| class.to_lowercase().contains(&wanted)).collect();
        if jobs.is_empty() {
            let text = if wanted.is_empty() { self.nothing() } else { "No job matches the filter" };
            frame.render_widget(
                Paragraph::new(text).style(self.theme.faint()).block(self.block("Jobs of the last hour")),
                area,
            );
            return;
        }
        jobs.sort_by_key(|(_, job)| std::cmp::Reverse(job.totals.ms));
        let rows = u16::try_from(jobs.len()).unwrap_or(u16::MAX).saturating_add(3);
        let [graph, table] =
            Layout::vertical([Constraint::Fill(1), Constraint::Max(rows.min(area.height / 2))]).areas(area);
        self.lines(frame, graph, &jobs, metrics.ends_at.0);
        let cells = jobs.iter().enumerate().map(|(at, (class, job))| {
            let mark = if at < LINES { Line::styled("●", self.theme.line(at)) } else { Line::default() };
            let cells = [
                printable(class),
                grouped(job.totals.processed.saturating_sub(job.totals.failed)),
                grouped(job.totals.failed),
                time(job.totals.ms as f64 / 1e3),
                time(job.totals.average().as_secs_f64()),
            ];
            Cells::new([mark].into_iter().chain(cells.map(Line::from)))
        });
        let header = Cells::new(["", "Job", "Success", "Failure", "Total time", "Average"]).style(self.theme.heading());
        let widths = [
            Constraint::Length(1),
            Constraint::Fill(1),
            Constraint::Length(12),
            Constraint::Length(12),
            Constraint::Length(12),
            Constraint::Length(12),
        ];
        frame.render_widget(Table::new(cells, widths).header(header).block(self.block("Jobs of the last hour")), table);
    }

    fn lines(&self, frame: &mut Frame<'_>, area: Rect, jobs: &[(&String, &JobMetrics)], now: f64) {
        let this_minute = (now / 60.0).floor() as i64 * 60;
        let series: Vec<Vec<(f64, f64)>> = jobs
            .iter()
            .take(LINES)
            .map(|(_, job)| {
                (0..60_i64)
                    .rev()
                    .map(|ago| {
                        let totals = job.series.get(&(this_minute - ago * 60)).copied().unwrap_or_default();
                        (MINUTES - 1.0 - ago as f64, totals.ms as f64 / 1e3)
                    })
                    .collect()
            })
            .collect();
        let top = series.iter().flatten().fold(1.0_f64, |top, (_, secs)| top.max(*secs));
        let datasets = series
            .iter()
            .enumerate()
            .map(|(at, points)| {
                Dataset::default()
                    .marker(Marker::Braille)
                    .graph_type(GraphType::Line)
                    .style(self.theme.line(at))
                    .data(points)
            })
            .collect();
        let labels = [0.0, top / 2.0, top].map(|label| Line::from(format!("{label:>6.1}")));
        let chart = Chart::new(datasets)
            .x_axis(
                Axis::default().bounds([0.0, MINUTES - 1.0]).labels(["an hour ago", "now"]).style(self.theme.border()),
            )
            .y_axis(Axis::default().bounds([0.0, top]).labels(labels).style(self.theme.border()))
            .block(self.block("Seconds of work in each minute"));
        frame.render_widget(chart, area);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_quick_jobs_is_their_number_times_their_average() {
        assert_eq!(
            [0.0, 0.001, 0.03, 0.9999, 1.0, 300.0].map(time),
            ["0.0 ms", "1.0 ms", "30.0 ms", "999.9 ms", "1.0s", "5m"]
        );
    }
}
