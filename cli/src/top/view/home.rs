//! Home: what happens now, and the server.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Chart, Dataset, GraphType};

use super::Canvas;
use crate::frame::printable;
use crate::top::state::{POINTS, Rate};

impl Canvas<'_> {
    pub(super) fn home(&self, frame: &mut Frame<'_>, area: Rect) {
        let server = if area.height < 12 { 0 } else { 4 };
        let [graph, server] = Layout::vertical([Constraint::Fill(1), Constraint::Length(server)]).areas(area);
        self.graph(frame, graph);
        if server.height > 0 {
            self.server(frame, server);
        }
    }

    fn graph(&self, frame: &mut Frame<'_>, area: Rect) {
        // Two dots of a line share a character.
        let most = usize::from(area.width.saturating_sub(8)).clamp(10, POINTS / 2);
        let rates = &self.state.rates;
        let begin = rates.len().saturating_sub(most);
        let points = |of: fn(&Rate) -> f64| -> Vec<(f64, f64)> {
            // As Sidekiq's, the graph begins at zero: the line is there from the first moment on.
            let before = vec![0.0; most - (rates.len() - begin)];
            before
                .into_iter()
                .chain(rates.iter().skip(begin).map(of))
                .enumerate()
                .map(|(at, rate)| (at as f64, rate))
                .collect()
        };
        let (processed, failed) = (points(|rate| rate.processed), points(|rate| rate.failed));
        let top = processed.iter().chain(&failed).fold(5.0_f64, |top, (_, rate)| top.max(*rate));
        let line = |points, style| {
            Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).style(style).data(points)
        };
        let datasets = vec![line(&processed, self.theme.good()), line(&failed, self.theme.bad())];
        let newest = rates.back().map_or_else(Vec::new, |rate| {
            vec![
                Span::styled(format!(" {:.0} processed/s ", rate.processed), self.theme.good()),
                Span::styled(format!(" {:.0} failed/s ", rate.failed), self.theme.bad()),
            ]
        });
        let labels = [0.0, top / 2.0, top].map(|label| Line::from(format!("{label:>6.0}")));
        let chart = Chart::new(datasets)
            .x_axis(Axis::default().bounds([0.0, most as f64 - 1.0]).style(self.theme.border()))
            .y_axis(Axis::default().bounds([0.0, top]).labels(labels).style(self.theme.border()))
            .block(self.block("Dashboard").title(Line::from(newest).right_aligned()));
        frame.render_widget(chart, area);
    }

    fn server(&self, frame: &mut Frame<'_>, area: Rect) {
        let Some(data) = self.state.shown() else { return };
        let of = |field: &str| {
            data.server.as_ref().and_then(|info| info.get(field)).map_or_else(|| "N/A".to_owned(), printable)
        };
        let pairs = [
            ("Version", data.server.as_ref().map_or_else(|| "N/A".to_owned(), |info| printable(&info.name()))),
            ("Uptime", format!("{} days", of("uptime_in_days"))),
            ("Connections", of("connected_clients")),
            ("Memory Usage", of("used_memory_human")),
            ("Peak Memory", of("used_memory_peak_human")),
        ];
        self.pairs(frame, area, "Redis", &pairs);
    }
}
