//! What the screen knows, and what a key makes of it. Knows neither Redis nor terminal.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::keys::Key;
use super::model::Verb;
use super::model::{Command, PAGE, Request, Row, Snapshot, Tab};

/// Points of the graph that are kept.
pub(super) const POINTS: usize = 240;
/// How often a process adds to the counters: rates are averages over as long, or they would jump.
const BEAT: Duration = Duration::from_secs(10);
/// How long a notice stays.
const NOTICE: Duration = Duration::from_secs(8);
/// Data older than this is told to be old.
const FRESH: Duration = Duration::from_secs(6);

/// What the program must do next.
#[derive(Debug)]
pub(super) enum Effect {
    None,
    /// Read at once.
    Load,
    Do(Command),
    Quit,
}

/// Jobs a second at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) processed: f64,
    pub(super) failed: f64,
}

/// The screen.
#[derive(Debug)]
pub(super) struct State {
    pub(super) tab: Tab,
    /// Where Redis is.
    pub(super) redis: String,
    pub(super) is_helping: bool,
    pub(super) asked: Option<Command>,
    /// From 0.
    pub(super) page: usize,
    pub(super) cursor: usize,
    pub(super) selected: BTreeMap<Vec<u8>, Row>,
    pub(super) filter: Option<String>,
    pub(super) is_filtering: bool,
    pub(super) data: Option<Snapshot>,
    /// Newest last.
    pub(super) rates: VecDeque<Rate>,
    /// Counters of the last [`BEAT`] or so, oldest first.
    counted: VecDeque<(Instant, u64, u64)>,
    /// Why nothing could be read the last time.
    pub(super) trouble: Option<String>,
    notice: Option<(Instant, String)>,
}

impl State {
    pub(super) fn new(redis: String) -> Self {
        Self {
            tab: Tab::Home,
            redis,
            is_helping: false,
            asked: None,
            page: 0,
            cursor: 0,
            selected: BTreeMap::new(),
            filter: None,
            is_filtering: false,
            data: None,
            rates: VecDeque::new(),
            counted: VecDeque::new(),
            trouble: None,
            notice: None,
        }
    }

    /// What is to be read for what is to be seen.
    pub(super) fn request(&self) -> Request {
        let filter = self.filter.clone().filter(|text| self.tab.is_paged() && !text.is_empty());
        Request { tab: self.tab, page: self.page, filter }
    }

    /// What was read, if it is of this tab.
    pub(super) fn shown(&self) -> Option<&Snapshot> {
        self.data.as_ref().filter(|data| data.of.tab == self.tab)
    }

    pub(super) fn rows(&self) -> &[Row] {
        self.shown().map_or(&[], |data| &data.rows)
    }

    /// What is told for a while.
    pub(super) fn notice(&self, now: Instant) -> Option<&str> {
        let (since, text) = self.notice.as_ref()?;
        (now.saturating_duration_since(*since) < NOTICE).then_some(text)
    }

    /// How old the data is, if that must be told.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        let age = now.saturating_duration_since(self.data.as_ref()?.at);
        (age > FRESH).then_some(age)
    }

    pub(super) fn on_notice(&mut self, now: Instant, text: String) {
        self.notice = Some((now, text));
    }

    /// What was read, or why nothing was.
    pub(super) fn on_loaded(&mut self, loaded: Result<Snapshot, String>) {
        let snapshot = match loaded {
            Ok(snapshot) => snapshot,
            Err(trouble) => {
                self.trouble = Some(trouble);
                return;
            }
        };
        self.trouble = None;
        self.count(&snapshot);
        // An answer to a question that is asked no more has numbers of use, but not its rows.
        if snapshot.of != self.request() {
            return;
        }
        // Jobs that went away shorten the set below this page.
        if snapshot.rows.is_empty() && self.page > 0 && snapshot.of.filter.is_none() {
            self.page = snapshot.total.div_ceil(PAGE).saturating_sub(1).min(self.page - 1);
        }
        self.cursor = self.cursor.min(snapshot.rows.len().saturating_sub(1));
        self.data = Some(snapshot);
    }

    /// The graph goes by seconds, however far apart two answers are.
    fn count(&mut self, snapshot: &Snapshot) {
        let (at, processed, failed) = (snapshot.at, snapshot.stats.processed, snapshot.stats.failed);
        let since = |then: Instant| at.saturating_duration_since(then);
        if self.counted.back().is_some_and(|last| since(last.0) < Duration::from_secs(1)) {
            return;
        }
        while self.counted.get(1).is_some_and(|second| since(second.0) >= BEAT) {
            self.counted.pop_front();
        }
        // A single beat in a shorter time would look like a storm.
        if let Some((then, processed_then, failed_then)) = self.counted.front()
            && since(*then) >= BEAT / 2
        {
            let secs = since(*then).as_secs_f64();
            let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / secs;
            self.rates
                .push_back(Rate { processed: rate(processed, *processed_then), failed: rate(failed, *failed_then) });
            if self.rates.len() > POINTS {
                self.rates.pop_front();
            }
        }
        self.counted.push_back((at, processed, failed));
    }

    pub(super) fn on_key(&mut self, key: Key) -> Effect {
        if key == Key::CtrlC {
            return Effect::Quit;
        }
        if self.is_helping {
            self.is_helping = !matches!(key, Key::Esc | Key::Enter | Key::Char('?' | 'q'));
            return Effect::None;
        }
        if let Some(command) = self.asked.take() {
            return match key {
                Key::Char('y' | 'Y') => self.done(command),
                _ => {
                    self.on_notice(Instant::now(), "Nothing was done".to_owned());
                    Effect::None
                }
            };
        }
        if self.is_filtering {
            return self.on_filter_key(key);
        }
        match key {
            Key::Char('q') => Effect::Quit,
            Key::Char('?') => {
                self.is_helping = true;
                Effect::None
            }
            Key::Char('r') => Effect::Load,
            Key::Left => self.go(self.tab as usize + Tab::ALL.len() - 1),
            Key::Right => self.go(self.tab as usize + 1),
            Key::Char(digit @ '1'..='7') => self.go(digit as usize - '1' as usize),
            Key::Char('j') | Key::Down => self.step(1),
            Key::Char('k') | Key::Up => self.step(self.rows().len().saturating_sub(1)),
            Key::Char('h') | Key::PageUp if self.tab.is_paged() => self.turn(self.page.checked_sub(1)),
            Key::Char('l') | Key::PageDown if self.tab.is_paged() => self.turn(self.next_page()),
            Key::Char('x') if self.tab.has_rows() => self.select_one(),
            Key::Char('A') if self.tab.has_rows() => self.select_all(),
            Key::Char('/') if self.tab.is_filtered() => {
                self.is_filtering = true;
                self.filter = Some(String::new());
                Effect::None
            }
            Key::Esc => {
                self.selected.clear();
                if self.filter.take().is_some() { self.afresh() } else { Effect::None }
            }
            Key::Char(letter) => {
                let verb = Verb::of(self.tab).iter().find(|(key, _)| *key == letter).map(|(_, verb)| *verb);
                verb.map_or(Effect::None, |verb| self.ask(verb))
            }
            _ => Effect::None,
        }
    }

    fn on_filter_key(&mut self, key: Key) -> Effect {
        let text = self.filter.get_or_insert_default();
        match key {
            Key::Char(c) => text.push(c),
            Key::Backspace if text.pop().is_none() => {
                self.is_filtering = false;
                self.filter = None;
            }
            Key::Enter => {
                self.is_filtering = false;
                if text.is_empty() {
                    self.filter = None;
                }
                return Effect::None;
            }
            Key::Esc => {
                self.is_filtering = false;
                self.filter = None;
            }
            Key::Backspace => {}
            _ => return Effect::None,
        }
        self.selected.clear();
        self.afresh()
    }

    fn go(&mut self, to: usize) -> Effect {
        self.tab = Tab::at(to);
        self.filter = None;
        self.selected.clear();
        self.afresh()
    }

    fn afresh(&mut self) -> Effect {
        self.page = 0;
        self.cursor = 0;
        Effect::Load
    }

    fn step(&mut self, by: usize) -> Effect {
        let rows = self.rows().len();
        if rows > 0 {
            self.cursor = (self.cursor + by) % rows;
        }
        Effect::None
    }

    fn next_page(&self) -> Option<usize> {
        let data = self.shown().filter(|data| data.of.filter.is_none())?;
        ((self.page + 1) * PAGE < data.total).then_some(self.page + 1)
    }

    fn turn(&mut self, page: Option<usize>) -> Effect {
        match page {
            Some(page) => {
                self.page = page;
                self.cursor = 0;
                Effect::Load
            }
            None => Effect::None,
        }
    }

    fn select_one(&mut self) -> Effect {
        if let Some(row) = self.rows().get(self.cursor).cloned() {
            let id = row.id().to_vec();
            if self.selected.remove(&id).is_none() {
                self.selected.insert(id, row);
            }
        }
        Effect::None
    }

    fn select_all(&mut self) -> Effect {
        if self.selected.is_empty() {
            self.selected = self.rows().iter().map(|row| (row.id().to_vec(), row.clone())).collect();
        } else {
            self.selected.clear();
        }
        Effect::None
    }

    fn ask(&mut self, verb: Verb) -> Effect {
        let rows: Vec<Row> = if self.selected.is_empty() {
            self.rows().get(self.cursor).cloned().into_iter().collect()
        } else {
            self.selected.values().cloned().collect()
        };
        if rows.is_empty() {
            return Effect::None;
        }
        let command = Command { verb, tab: self.tab, rows };
        if verb.is_grave() {
            self.asked = Some(command);
            return Effect::None;
        }
        self.done(command)
    }

    fn done(&mut self, command: Command) -> Effect {
        self.selected.clear();
        Effect::Do(command)
    }
}
