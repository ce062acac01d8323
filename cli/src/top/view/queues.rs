//! Queues by name.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};

use super::Canvas;
use super::parts::{grouped, latency};
use crate::top::model::Row;

impl Canvas<'_> {
    pub(super) fn queues(&self, frame: &mut Frame<'_>, area: Rect) {
        let columns = [
            ("Queue", Constraint::Fill(1)),
            ("Size", Constraint::Length(14)),
            ("Latency", Constraint::Length(10)),
            ("Paused", Constraint::Length(7)),
        ];
        self.table(frame, area, "Queues", &columns, |row| {
            let Row::Queue(queue) = row else { return Vec::new() };
            let paused = if queue.paused { "paused" } else { "" };
            vec![queue.name.clone(), grouped(queue.size as u64), latency(queue.latency), paused.to_owned()]
        });
    }
}
