use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How far long work is, on standard error if that is a terminal. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    doing: &'static str,
    /// What all of it is, if that is known.
    total: Option<u64>,
    done: u64,
    shown: Instant,
    visible: bool,
    is_terminal: bool,
}

/// Nothing is shown of work that is done sooner, nor more often.
const PAUSE: Duration = Duration::from_millis(200);

impl Progress {
    /// `doing` is a verb: `retrying`.
    pub(crate) fn new(doing: &'static str, total: Option<u64>) -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self { doing, total, done: 0, shown: Instant::now(), visible: false, is_terminal }
    }

    pub(crate) fn add(&mut self, entries: usize) {
        self.done += entries as u64;
        if self.is_terminal && self.shown.elapsed() >= PAUSE {
            self.shown = Instant::now();
            self.visible = true;
            let _ = write!(io::stderr(), "\r\x1b[K{}", bar(self.doing, self.done, self.total));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.visible {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn bar(doing: &str, done: u64, total: Option<u64>) -> String {
    const WIDTH: u64 = 30;
    match total.filter(|total| *total > 0) {
        Some(total) => {
            // A set may grow while it is worked through.
            let part = (done.min(total) * WIDTH / total) as usize;
            let (full, rest) = ("#".repeat(part), "-".repeat(WIDTH as usize - part));
            format!("{doing} [{full}{rest}] {done} of {total}")
        }
        None => format!("{doing} {done}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_up_and_never_runs_over() {
        assert_eq!(
            bar("retrying", 50, Some(100)),
            format!("retrying [{}{}] 50 of 100", "#".repeat(15), "-".repeat(15))
        );
        assert_eq!(bar("retrying", 101, Some(100)), format!("retrying [{}] 101 of 100", "#".repeat(30)));
        assert_eq!(bar("reading", 7, None), "reading 7");
        assert_eq!(bar("reading", 7, Some(0)), "reading 7");
    }
}
