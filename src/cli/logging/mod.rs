//! Log lines as Sidekiq writes them.

mod line;
mod writer;

use std::cell::RefCell;
use std::io::IsTerminal;

use clap::ValueEnum;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use line::{Form, Line};
use writer::Buffer;

/// How log lines look; Sidekiq's formatters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum LogFormat {
    /// Level, time, pid, tid, context, message; coloured on a terminal. Without time under `DYNO`.
    #[default]
    Pretty,
    /// As pretty, without time and colour
    Bare,
    /// One JSON object per line
    Json,
}

/// Sends everything that is logged to stdout as Sidekiq's lines. `RUST_LOG` chooses levels; without it INFO, or DEBUG if
/// `verbose`. Does nothing if the program has set up logging of its own.
///
/// Lines are written by a thread of their own, a few milliseconds later: keep what this returns until the program ends.
pub fn init(format: LogFormat, verbose: bool) -> Logging {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(if verbose { "info,ferrokiq=debug" } else { "info" }));
    let dyno = std::env::var_os("DYNO").is_some();
    let form = Form {
        format: if dyno && format == LogFormat::Pretty { LogFormat::Bare } else { format },
        colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        pid: std::process::id(),
    };
    // Without a thread there is no server either; it will say so.
    let Ok(buffer) = Buffer::over(std::io::stdout()) else { return Logging(None) };
    let lines = Lines { form, buffer: buffer.clone() };
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_err() {
        return Logging(None);
    }
    flush_before_the_end(buffer.clone());
    Logging(Some(buffer))
}

/// Log lines that are still to be written: dropping it writes them, and from then on each line at once.
#[must_use = "lines are written one by one once it is dropped"]
pub struct Logging(Option<Buffer>);

impl Logging {
    /// Writes what is still to be written, for whoever ends the process without ado.
    pub(super) fn flusher(&self) -> impl Fn() + Send + 'static + use<> {
        let buffer = self.0.clone();
        move || {
            if let Some(buffer) = &buffer {
                buffer.flush();
            }
        }
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        if let Some(buffer) = &self.0 {
            buffer.end();
        }
    }
}

impl std::fmt::Debug for Logging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logging").finish_non_exhaustive()
    }
}

/// Text of somebody else's on one line that steers nothing.
pub(super) fn clean(text: &str) -> String {
    let mut out = String::new();
    line::push_clean(&mut out, text);
    out
}

/// A panic that ends the process must not take the lines before it along. One in a job ends only the job.
fn flush_before_the_end(buffer: Buffer) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        hook(panic);
        if cfg!(panic = "abort") || std::thread::current().name() == Some("main") {
            buffer.flush();
        }
    }));
}

struct Lines {
    form: Form,
    buffer: Buffer,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Kept by each thread, so that a line costs no allocation.
        thread_local! { static LINE: RefCell<Line> = RefCell::default(); }
        LINE.with(|line| match line.try_borrow_mut() {
            Ok(mut line) => self.buffer.push(line.write(&self.form, event)),
            // A field that logs while it is written.
            Err(_) => self.buffer.push(Line::default().write(&self.form, event)),
        });
    }
}
