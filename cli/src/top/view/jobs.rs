//! Scheduled, Retries, Dead: a page of jobs, or what holds a text.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};

use super::Canvas;
use super::parts::{Column, grouped};
use crate::frame::ago;
use crate::record;
use crate::top::model::{PAGE, Row, Tab};

/// Characters of arguments that are worth drawing.
const ARGUMENTS: usize = 300;

impl Canvas<'_> {
    pub(super) fn jobs(&self, frame: &mut Frame<'_>, area: Rect) {
        let Some(data) = self.state.shown() else { return };
        let total = grouped(data.total as u64);
        let title = match (&data.of.filter, data.searched) {
            (Some(_), Some(searched)) => {
                format!(
                    "{}: {} found among the first {} or so of {total}",
                    self.state.tab.name(),
                    data.rows.len(),
                    grouped(searched as u64)
                )
            }
            (Some(_), None) => format!("{}: {} found of {total}", self.state.tab.name(), data.rows.len()),
            (None, _) => {
                let pages = data.total.div_ceil(PAGE).max(1);
                format!(
                    "{}: page {} of {}, {total} in all",
                    self.state.tab.name(),
                    data.of.page + 1,
                    grouped(pages as u64)
                )
            }
        };
        let is_failed = self.state.tab != Tab::Scheduled;
        // A narrow terminal has room for what and why.
        let (has_queue, has_arguments) = (area.width >= 60, !is_failed || area.width >= 90);
        let columns: Vec<Column> = [
            (true, ("When", Constraint::Length(9))),
            (has_queue, ("Queue", Constraint::Length(14))),
            (true, ("Job", Constraint::Fill(2))),
            (has_arguments, ("Arguments", Constraint::Fill(3))),
            (is_failed, ("Error", Constraint::Fill(3))),
        ]
        .into_iter()
        .filter_map(|(is_shown, column)| is_shown.then_some(column))
        .collect();
        self.table(frame, area, &title, &columns, |row| {
            let Row::Job(entry) = row else { return Vec::new() };
            let job = &entry.record;
            let queue = job.payload().map_or("", |payload| payload.queue());
            columns
                .iter()
                .map(|(name, _)| match *name {
                    "When" => ago(entry.score),
                    "Queue" => queue.to_owned(),
                    "Job" => job.display_class(),
                    "Arguments" => arguments(job),
                    _ => error(job),
                })
                .collect()
        });
    }
}

fn arguments(record: &ferrokiq::api::JobRecord) -> String {
    let shown: Vec<String> = record.display_args().iter().map(ToString::to_string).collect();
    shown.join(", ").chars().take(ARGUMENTS).collect()
}

fn error(record: &ferrokiq::api::JobRecord) -> String {
    record::error(record).unwrap_or_default().chars().take(ARGUMENTS).collect()
}
