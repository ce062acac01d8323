//! `ferrokiq top`: a screen that shows what happens, with the tabs and keys of Sidekiq's own.

mod keys;
mod loader;
mod model;
mod state;
#[cfg(test)]
mod tests;
mod theme;
mod view;

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use clap::Args;
use ferrokiq::api::Api;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinError, JoinHandle};

use super::frame::{Code, Done, Failure, Tool};
use keys::Key;
use model::{Command, Snapshot};
use state::{Effect, State};
use theme::Theme;

/// How often it is read anew, at most one reading at a time.
const REFRESH: Duration = Duration::from_secs(2);
/// How often it is drawn at least, so that the age of the data is right.
const REDRAW: Duration = Duration::from_secs(1);

/// A screen of what happens: graph, processes, queues, retries, scheduled and dead jobs, metrics
///
/// Keys are those of Sidekiq's own terminal screen; ? shows them. Whatever the size of a set, a page of it is read at a time.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ferrokiq top\n  NO_COLOR=1 ferrokiq top --redis redis://10.0.0.7/1")]
pub(crate) struct Top {}

impl Top {
    pub(crate) async fn run(self, tool: &mut Tool) -> Done {
        let api = tool.api()?;
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(Failure::usage("top needs a terminal; for scripts there is: ferrokiq stats --json"));
        }
        // From here on the terminal comes back as it was, whatever happens: a panic restores it, too.
        let mut terminal = ratatui::try_init()?;
        let ended = Screen::new(api).run(&mut terminal).await;
        ratatui::restore();
        ended.map(|()| Code::Fine).map_err(Failure::from)
    }
}

/// What runs beside the screen.
struct Screen {
    api: Api,
    state: State,
    theme: Theme,
    loading: Option<JoinHandle<Result<Snapshot, String>>>,
    /// Whether to read once more when the reading under way is done.
    load_again: bool,
    acting: Option<JoinHandle<String>>,
    todo: VecDeque<Command>,
}

impl Screen {
    fn new(api: Api) -> Self {
        let state = State::new(api.redis());
        let theme = Theme::from_env();
        Self { api, state, theme, loading: None, load_again: false, acting: None, todo: VecDeque::new() }
    }

    /// Until somebody quits.
    async fn run(&mut self, terminal: &mut DefaultTerminal) -> io::Result<()> {
        let mut events = events();
        let mut signals = signals()?;
        let mut refresh = tokio::time::interval(REFRESH);
        refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut redraw = tokio::time::interval(REDRAW);
        loop {
            terminal.draw(|frame| view::draw(frame, &self.state, self.theme, Instant::now()))?;
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Key(key)) => {
                        if let Some(key) = Key::of(&key) && self.on_key(key) {
                            return Ok(());
                        }
                    }
                    // Drawing finds the new size.
                    Some(_) => {}
                    None => return Ok(()),
                },
                loaded = of(&mut self.loading) => self.on_loaded(loaded.map_err(io::Error::other)?),
                said = of(&mut self.acting) => self.on_acted(said.map_err(io::Error::other)?),
                _ = refresh.tick() => self.load(),
                _ = redraw.tick() => {}
                () = signals.next() => return Ok(()),
            }
        }
    }

    /// Whether to quit.
    fn on_key(&mut self, key: Key) -> bool {
        match self.state.on_key(key) {
            Effect::None => {}
            Effect::Load => {
                self.load_again = self.loading.is_some();
                self.load();
            }
            Effect::Do(command) => {
                self.todo.push_back(command);
                self.act();
            }
            Effect::Quit => return true,
        }
        false
    }

    /// Unless a reading is under way.
    #[expect(clippy::disallowed_methods, reason = "the loop awaits it")]
    fn load(&mut self) {
        if self.loading.is_none() {
            self.loading = Some(tokio::spawn(loader::load(self.api.clone(), self.state.request())));
        }
    }

    fn on_loaded(&mut self, loaded: Result<Snapshot, String>) {
        self.loading = None;
        self.state.on_loaded(loaded);
        if std::mem::take(&mut self.load_again) {
            self.load();
        }
    }

    /// One after the other.
    #[expect(clippy::disallowed_methods, reason = "the loop awaits it")]
    fn act(&mut self) {
        if self.acting.is_none()
            && let Some(command) = self.todo.pop_front()
        {
            self.acting = Some(tokio::spawn(loader::act(self.api.clone(), command)));
        }
    }

    fn on_acted(&mut self, said: String) {
        self.acting = None;
        self.state.on_notice(Instant::now(), said);
        self.act();
        self.load_again = self.loading.is_some();
        self.load();
    }
}

/// The end of what runs; waits for ever if nothing does.
async fn of<T>(running: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match running {
        Some(running) => running.await,
        None => std::future::pending().await,
    }
}

/// Keys and sizes, read by a thread of its own, since a terminal is read by waiting. It ends with the process.
#[expect(clippy::disallowed_methods, reason = "the loop notices its end: no more events come")]
fn events() -> UnboundedReceiver<Event> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

/// What asks to end.
struct Signals {
    #[cfg(unix)]
    kinds: [tokio::signal::unix::Signal; 3],
}

#[cfg(unix)]
fn signals() -> io::Result<Signals> {
    use tokio::signal::unix::{SignalKind, signal};
    let [term, hup, int] = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()].map(signal);
    Ok(Signals { kinds: [term?, hup?, int?] })
}

#[cfg(not(unix))]
fn signals() -> io::Result<Signals> {
    Ok(Signals {})
}

impl Signals {
    #[cfg(unix)]
    async fn next(&mut self) {
        let [term, hup, int] = &mut self.kinds;
        tokio::select! {
            _ = term.recv() => {}
            _ = hup.recv() => {}
            _ = int.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
