//! The help: every key.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Row as Cells, Table};

use super::Canvas;
use crate::top::keys::HELP;
use crate::top::theme::Theme;

impl Canvas<'_> {
    pub(super) fn help(&self, frame: &mut Frame<'_>, area: Rect) {
        let rows = HELP.iter().map(|(key, what)| Cells::new([Line::styled(*key, Theme::key()), Line::from(*what)]));
        let table = Table::new(rows, [Constraint::Length(16), Constraint::Fill(1)])
            .header(Cells::new(["Key", "Action"]).style(self.theme.heading()))
            .block(self.block("Help"));
        frame.render_widget(table, area);
    }
}
