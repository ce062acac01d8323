//! The foot: the keys of this tab, a question or a notice, where Redis is and how it does.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::Canvas;
use crate::frame::{printable, span};
use crate::top::keys::controls;
use crate::top::theme::Theme;

impl Canvas<'_> {
    pub(super) fn foot(&self, frame: &mut Frame<'_>, area: Rect) {
        if area.height < 3 {
            frame.render_widget(Paragraph::new(self.status_line()), area);
            return;
        }
        let block = self.block("Controls");
        let inner = block.inner(area);
        let mut lines = self.keys(usize::from(inner.width));
        lines.truncate(usize::from(inner.height).saturating_sub(1));
        lines.resize(usize::from(inner.height).saturating_sub(1), Line::default());
        lines.push(self.status_line());
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }

    /// On as many lines as they need.
    fn keys(&self, width: usize) -> Vec<Line<'static>> {
        if self.state.is_helping {
            return vec![Line::from(vec![Span::styled("Esc", Theme::key()), Span::raw(": Close")])];
        }
        let (mut lines, mut line, mut used) = (Vec::new(), Vec::new(), 0);
        for (key, what) in controls(self.state.tab) {
            let wide = key.chars().count() + what.len() + 4;
            if used + wide > width && !line.is_empty() {
                lines.push(Line::from(std::mem::take(&mut line)));
                used = 0;
            }
            used += wide;
            line.push(Span::styled(key, Theme::key()));
            line.push(Span::raw(format!(": {what}  ")));
        }
        lines.push(Line::from(line));
        lines
    }

    /// The most urgent thing: a question, trouble, old data, a notice, a filter; where Redis is, if nothing is.
    fn status_line(&self) -> Line<'static> {
        let (state, theme) = (self.state, self.theme);
        if let Some(command) = &state.asked {
            let question = format!("{} y: yes, any other key: no", printable(&command.question()));
            return Line::styled(question, theme.warning());
        }
        let age = state.age(self.now).map(|age| format!("data is {} old", span(age.as_secs_f64())));
        if let Some(trouble) = &state.trouble {
            let age = age.map_or_else(String::new, |age| format!("{age}; "));
            return Line::styled(format!("{age}trying again: {}", printable(trouble)), theme.bad());
        }
        if state.is_filtering {
            let text = state.filter.as_deref().unwrap_or_default();
            return Line::styled(format!("Filter: {}_", printable(text)), theme.warning());
        }
        if let Some(notice) = state.notice(self.now) {
            return Line::styled(printable(notice), theme.warning());
        }
        let mut spans = vec![Span::styled(format!("Redis: {}", printable(&state.redis)), theme.faint())];
        if let Some(filter) = &state.filter {
            spans.push(Span::styled(format!("   Filter: {}", printable(filter)), theme.warning()));
        }
        if let Some(age) = age {
            spans.push(Span::styled(format!("   {age}: Redis is slow"), theme.warning()));
        }
        Line::from(spans)
    }
}
