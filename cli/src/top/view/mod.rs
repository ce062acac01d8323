//! Draws the screen out of what the state knows, and nothing else.

mod busy;
mod foot;
mod help;
mod home;
mod jobs;
mod metrics;
mod parts;
mod queues;

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::widgets::{Block, Paragraph, Tabs};

use super::model::Tab;
use super::state::State;
use super::theme::Theme;

/// Below this there is no room for frames around things.
const LOW: u16 = 18;

/// What the parts of the screen are drawn with.
#[derive(Clone, Copy, Debug)]
struct Canvas<'a> {
    state: &'a State,
    theme: Theme,
    now: Instant,
}

pub(in crate::top) fn draw(frame: &mut Frame<'_>, state: &State, theme: Theme, now: Instant) {
    let canvas = Canvas { state, theme, now };
    let area = frame.area();
    let (head, foot) = if area.height < LOW { (1, 1) } else { (3, 5) };
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(head), Constraint::Fill(1), Constraint::Length(foot)]).areas(area);
    canvas.tabs(frame, head);
    if state.is_helping {
        canvas.help(frame, body);
    } else if state.shown().is_none() {
        let text = if state.trouble.is_some() { "" } else { "reading..." };
        frame.render_widget(Paragraph::new(text).block(canvas.block(state.tab.name())), body);
    } else {
        canvas.body(frame, body);
    }
    canvas.foot(frame, foot);
}

impl Canvas<'_> {
    fn tabs(&self, frame: &mut Frame<'_>, area: Rect) {
        let at = Tab::ALL.iter().position(|tab| *tab == self.state.tab);
        let tabs =
            Tabs::new(Tab::ALL.map(Tab::name)).select(at).divider("|").highlight_style(self.theme.title().underlined());
        let tabs =
            if area.height < 3 { tabs } else { tabs.block(self.block("ferrokiq").title_style(self.theme.title())) };
        frame.render_widget(tabs, area);
    }

    fn body(&self, frame: &mut Frame<'_>, area: Rect) {
        let stats = if area.height < LOW - 4 { 0 } else { 4 };
        let [stats, rest] = Layout::vertical([Constraint::Length(stats), Constraint::Fill(1)]).areas(area);
        if stats.height > 0 {
            self.stats(frame, stats);
        }
        match self.state.tab {
            Tab::Home => self.home(frame, rest),
            Tab::Busy => self.busy(frame, rest),
            Tab::Queues => self.queues(frame, rest),
            Tab::Scheduled | Tab::Retries | Tab::Dead => self.jobs(frame, rest),
            Tab::Metrics => self.metrics(frame, rest),
        }
    }

    fn block<'t>(&self, title: &'t str) -> Block<'t> {
        Block::bordered()
            .border_style(self.theme.border())
            .title(format!(" {title} "))
            .title_style(self.theme.heading())
    }
}
