//! Log lines on their way out: a buffer that a thread of its own empties.
//!
//! Whoever logs only copies a line. So no job waits for whoever reads the log: if nobody does, lines are counted and dropped once the
//! buffer is full.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Where lines go until they are written.
#[derive(Clone)]
pub(super) struct Buffer(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// The thread waits here for lines.
    filled: Condvar,
    /// Whoever flushes waits here for the thread.
    written: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    /// Lines that found no room since the last were written.
    dropped: u64,
    /// Lines are being written.
    writing: bool,
    /// Somebody waits for what is here to be written.
    hurry: bool,
    /// Nobody will flush any more: whoever logs waits until the line is written.
    ending: bool,
}

/// So many bytes are worth a write at once.
const WORTH_IT: usize = 128 * 1_024;
/// Bytes kept for a reader that is slow: a second or two of a busy worker's lines.
const ROOM: usize = 32 * 1_024 * 1_024;
/// How long a line waits for others.
const PATIENCE: Duration = Duration::from_millis(10);
/// How long a flush waits for whoever reads.
const FLUSH: Duration = Duration::from_secs(2);

impl Buffer {
    /// Starts the thread that writes to `out`.
    #[expect(clippy::disallowed_methods, reason = "it only writes, and a failure to write is ignored")]
    pub(super) fn over(out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let state = Mutex::new(State::default());
        let buffer = Self(Arc::new(Shared { state, filled: Condvar::new(), written: Condvar::new() }));
        let shared = Arc::clone(&buffer.0);
        thread::Builder::new().name("ferrokiq-log".to_owned()).spawn(move || shared.write_to(out))?;
        Ok(buffer)
    }

    /// Adds a line.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.0.state();
        let before = state.lines.len();
        if before + line.len() > ROOM {
            state.dropped += 1;
            return;
        }
        state.lines.extend_from_slice(line);
        let (worth_it, ending) = (before < WORTH_IT && state.lines.len() >= WORTH_IT, state.ending);
        drop(state);
        if before == 0 || worth_it {
            self.0.filled.notify_one();
        }
        if ending {
            self.flush();
        }
    }

    /// Waits until everything is written, or nobody has read for two seconds.
    pub(super) fn flush(&self) {
        let mut state = self.0.state();
        state.hurry = true;
        self.0.filled.notify_one();
        let unwritten = |state: &mut State| state.writing || !state.lines.is_empty();
        let _state = self.0.written.wait_timeout_while(state, FLUSH, unwritten).unwrap_or_else(PoisonError::into_inner);
    }

    /// From now on every line is written before `push` returns.
    pub(super) fn end(&self) {
        self.0.state().ending = true;
        self.flush();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut out: impl Write) {
        let mut lines = Vec::new();
        loop {
            let dropped = self.take(&mut lines);
            // A reader that is gone takes nothing any more; there is nobody to tell.
            let _ = out.write_all(&lines);
            if dropped > 0 {
                let _ = writeln!(out, "WARN  {dropped} log lines were dropped: they were not read fast enough");
            }
            let _ = out.flush();
            lines.clear();
            self.state().writing = false;
            self.written.notify_all();
        }
    }

    /// Waits for lines and takes them all; returns how many were dropped before they could be.
    fn take(&self, lines: &mut Vec<u8>) -> u64 {
        let empty = |state: &mut State| state.lines.is_empty() && state.dropped == 0;
        let state = self.filled.wait_while(self.state(), empty).unwrap_or_else(PoisonError::into_inner);
        let few = |state: &mut State| !(state.hurry || state.lines.len() >= WORTH_IT);
        let waited = self.filled.wait_timeout_while(state, PATIENCE, few);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.lines, lines);
        state.writing = true;
        state.hurry = false;
        std::mem::take(&mut state.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Instant;

    /// A reader that takes what it is sent, one write at a time, and only while it is asked to.
    struct Pipe {
        read: mpsc::SyncSender<Vec<u8>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.read.send(bytes.to_vec()).map_err(|_| std::io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn writes_every_line_soon_and_in_order() {
        let (read, lines) = mpsc::sync_channel(1_000);
        let buffer = Buffer::over(Pipe { read }).unwrap();
        for number in 0..10_000 {
            buffer.push(format!("{number}\n").as_bytes());
        }
        buffer.flush();
        let text = String::from_utf8(lines.try_iter().flatten().collect()).unwrap();
        assert!(text.lines().enumerate().all(|(number, line)| line == number.to_string()));
        assert_eq!(text.lines().count(), 10_000);

        buffer.push(b"soon\n");
        assert_eq!(lines.recv_timeout(Duration::from_millis(500)).unwrap(), b"soon\n");
        buffer.end();
        buffer.push(b"at once\n");
        assert_eq!(lines.try_recv().unwrap(), b"at once\n");
    }

    #[test]
    fn waits_for_no_reader_and_says_what_was_dropped() {
        let (read, lines) = mpsc::sync_channel(0);
        let buffer = Buffer::over(Pipe { read }).unwrap();
        let began = Instant::now();
        let line = [b'x'; 1_024];
        for _ in 0..2 * ROOM / line.len() + 1_000 {
            buffer.push(&line);
        }
        assert!(began.elapsed() < Duration::from_secs(5), "nobody read, and nobody waited");
        let said = lines.iter().find(|piece| piece.starts_with(b"WARN")).unwrap();
        drop(lines);
        assert!(!said.is_empty());
        // A reader that is gone holds up nobody either.
        buffer.push(b"nobody\n");
        buffer.flush();
    }
}
