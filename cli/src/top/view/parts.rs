//! What several tabs have: numbers with names, tables with a cursor, ways to write numbers.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row as Cells, Table, TableState};

use super::Canvas;
use crate::frame::{printable, span};
use crate::top::model::{Row, Tab};

/// A column: its name, and its place on the line.
pub(super) type Column = (&'static str, Constraint);

impl Canvas<'_> {
    /// Names over values.
    pub(super) fn pairs(&self, frame: &mut Frame<'_>, area: Rect, title: &str, pairs: &[(&str, String)]) {
        let block = self.block(title);
        let inner = block.inner(area);
        frame.render_widget(block, area);
        let columns = Layout::horizontal(pairs.iter().map(|_| Constraint::Fill(1))).spacing(1).split(inner);
        for ((name, value), column) in pairs.iter().zip(columns.iter()) {
            let lines = vec![
                Line::styled(*name, self.theme.faint()),
                Line::from(Span::raw(value).style(self.value_style(name, value))),
            ];
            frame.render_widget(Paragraph::new(lines), *column);
        }
    }

    fn value_style(&self, name: &str, value: &str) -> ratatui::style::Style {
        let plain = ratatui::style::Style::new();
        match name {
            "Failed" | "Dead" if value != "0" => plain.patch(self.theme.bad()).bold(),
            "Processed" => plain.patch(self.theme.good()).bold(),
            _ => plain.bold(),
        }
    }

    pub(super) fn stats(&self, frame: &mut Frame<'_>, area: Rect) {
        let Some(data) = self.state.shown() else { return };
        let stats = &data.stats;
        let pairs = [
            ("Processed", stats.processed),
            ("Failed", stats.failed),
            ("Busy", stats.busy as u64),
            ("Enqueued", stats.enqueued as u64),
            ("Retries", stats.retries as u64),
            ("Scheduled", stats.scheduled as u64),
            ("Dead", stats.dead as u64),
        ];
        self.pairs(frame, area, "Statistics", &pairs.map(|(name, count)| (name, grouped(count))));
    }

    /// Returns the text that is drawn instead of an empty list.
    pub(super) fn nothing(&self) -> &'static str {
        match self.state.tab {
            Tab::Busy => "No processes",
            Tab::Queues => "No queues",
            Tab::Metrics => "No jobs in the last hour",
            Tab::Home | Tab::Scheduled | Tab::Retries | Tab::Dead => "No jobs",
        }
    }

    /// The rows of this tab, with a cursor and marks at what is selected.
    pub(super) fn table(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        title: &str,
        columns: &[Column],
        cells: impl Fn(&Row) -> Vec<String>,
    ) {
        let rows = self.state.rows().iter().map(|row| {
            let mark = if self.state.selected.contains_key(row.id()) { "*" } else { "" };
            Cells::new([mark.to_owned()].into_iter().chain(cells(row).into_iter().map(|cell| printable(&cell))))
        });
        let widths = [Constraint::Length(1)].into_iter().chain(columns.iter().map(|(_, width)| *width));
        let header =
            Cells::new([""].into_iter().chain(columns.iter().map(|(name, _)| *name))).style(self.theme.heading());
        let block = self.block(title);
        let block = if self.state.selected.is_empty() {
            block
        } else {
            block.title_bottom(format!(" {} selected ", self.state.selected.len()))
        };
        let [_header, inside] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(block.inner(area));
        let table = Table::new(rows, widths)
            .header(header)
            .block(block)
            .highlight_symbol("> ")
            .row_highlight_style(self.theme.cursor());
        let mut at = TableState::new().with_selected(Some(self.state.cursor).filter(|_| !self.state.rows().is_empty()));
        frame.render_stateful_widget(table, area, &mut at);
        if self.state.rows().is_empty() {
            frame.render_widget(Paragraph::new(self.nothing()).style(self.theme.faint()), inside);
        }
    }
}

/// `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Kilobytes as people read them.
pub(super) fn memory(kb: u64) -> String {
    match kb {
        0..100_000 => format!("{} KB", grouped(kb)),
        100_000..10_000_000 => format!("{} MB", grouped(kb / 1024)),
        _ => format!("{:.1} GB", kb as f64 / 1_048_576.0),
    }
}

/// A latency.
pub(super) fn latency(latency: Duration) -> String {
    span(latency.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_numbers_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 99_999, 204_800, 20_971_520].map(memory), ["0 KB", "99,999 KB", "200 MB", "20.0 GB"]);
    }
}
