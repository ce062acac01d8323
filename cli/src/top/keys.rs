//! Keys, and what they do on which tab: the ones of Sidekiq's own terminal screen.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::{Tab, Verb};

/// A key, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Left,
    Right,
    Up,
    Down,
    PageUp,
    PageDown,
    Enter,
    Esc,
    Backspace,
    CtrlC,
}

impl Key {
    /// `None` for what is of no use, and for the release of a key.
    pub(super) fn of(event: &KeyEvent) -> Option<Self> {
        if event.kind == KeyEventKind::Release {
            return None;
        }
        let is_ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
        Some(match event.code {
            KeyCode::Char('c') if is_ctrl => Self::CtrlC,
            KeyCode::Char(_) if is_ctrl || event.modifiers.contains(KeyModifiers::ALT) => return None,
            KeyCode::Char(c) => Self::Char(c),
            KeyCode::Left | KeyCode::BackTab => Self::Left,
            KeyCode::Right | KeyCode::Tab => Self::Right,
            KeyCode::Up => Self::Up,
            KeyCode::Down => Self::Down,
            KeyCode::PageUp => Self::PageUp,
            KeyCode::PageDown => Self::PageDown,
            KeyCode::Enter => Self::Enter,
            KeyCode::Esc => Self::Esc,
            KeyCode::Backspace => Self::Backspace,
            _ => return None,
        })
    }
}

/// The keys of a tab and what they do, for the foot of the screen.
pub(super) fn controls(tab: Tab) -> Vec<(String, &'static str)> {
    let mut keys = vec![("?", "Help"), ("←/→", "Select Tab"), ("q", "Quit")];
    if tab.is_paged() {
        keys.push(("h/l", "Prev/Next Page"));
    }
    if tab.has_rows() {
        keys.extend([("j/k", "Next/Prev Row"), ("x", "Select"), ("A", "Select All")]);
    }
    if tab.is_filtered() {
        keys.push(("/", "Filter"));
    }
    let keys = keys.into_iter().map(|(key, what)| (key.to_owned(), what));
    keys.chain(Verb::of(tab).iter().map(|(key, verb)| (key.to_string(), verb.name()))).collect()
}

/// All keys, for the help.
pub(super) const HELP: [(&str, &str); 19] = [
    ("←/→, Tab", "Move between tabs; 1 to 7 go to one"),
    ("h/l, PgUp/PgDn", "Move to the previous/next page of data"),
    ("j/k, ↓/↑", "Move to the next/previous row of this page"),
    ("x", "Select or deselect this row"),
    ("A", "Select or deselect all rows of this page"),
    ("/", "Show only jobs that hold a text; Enter keeps it, Esc ends it"),
    ("", ""),
    ("", "What follows is done to the selected rows, or to the one you are at"),
    ("T", "Busy: terminate a process (asks first)"),
    ("Q", "Busy: quiet a process, so that it fetches nothing more (asks first)"),
    ("p", "Queues: pause, or unpause; of Ruby's processes only Sidekiq Pro's heed it"),
    ("D", "Queues: delete a queue and its jobs. Scheduled, Retries, Dead: delete a job (asks first)"),
    ("R", "Scheduled, Retries, Dead: retry a job now, which counts as one try less"),
    ("E", "Scheduled, Retries, Dead: enqueue a job now, as it is"),
    ("K", "Scheduled, Retries: move a job to the dead (asks first)"),
    ("", ""),
    ("r", "Read anew at once"),
    ("Esc", "Close this, end a filter, take a selection back"),
    ("q, Ctrl-C", "Quit"),
];
