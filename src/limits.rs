//! What the system refuses a process: threads, open files, memory. Names the limit, so that the operator can raise it.

use std::io;
use std::sync::mpsc;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};

/// An error of the system that stopped the start. Names the limit behind it, if it is one.
pub(crate) fn refused(what: &str, error: io::Error) -> Error {
    let limit = match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::WouldBlock, _) => {
            "; raise the limit of threads (`ulimit -u`, LimitNPROC= or TasksMax= of systemd, or pids.max of the container), or \
             that of memory if the stack of a thread does not fit (`ulimit -v`)"
        }
        (io::ErrorKind::OutOfMemory, _) => "; raise the limit of memory: `ulimit -v`, or MemoryMax= of systemd",
        (_, Some(EMFILE)) => "; raise the limit of open files: `ulimit -n`, or LimitNOFILE= of systemd",
        (_, Some(ENFILE)) => "; raise the system's limit of open files: sysctl fs.file-max",
        _ => "",
    };
    Error::config(format!("{what}{limit}")).because(error)
}

/// No more open files for this process, and for the system: the same numbers on every Unix.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// Whether the system refused a connection for want of a file descriptor, by the text of the error.
pub(crate) fn is_out_of_files(cause: &str) -> bool {
    [EMFILE, ENFILE].iter().any(|code| cause.contains(&format!("(os error {code})")))
}

/// Starts a thread with a runtime of its own. Returns once the runtime is made.
///
/// # Errors
///
/// The system refuses the thread or what the runtime needs.
#[expect(clippy::disallowed_methods, reason = "each caller keeps what runs on its thread")]
pub(crate) fn start_thread(name: &str, run: impl FnOnce(Runtime) + Send + 'static) -> Result<()> {
    let (starts, started) = mpsc::sync_channel(1);
    let body = move || match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            drop(starts.send(Ok(())));
            run(runtime);
        }
        Err(error) => drop(starts.send(Err(error))),
    };
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    thread.map_err(|error| refused(&format!("cannot start the thread {name}"), error))?;
    let started: io::Result<()> = started.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
    started.map_err(|error| refused(&format!("cannot make the runtime of the thread {name}"), error))
}

/// Checks that this process can open so many more files.
///
/// # Errors
///
/// It cannot.
#[cfg(unix)]
pub(crate) fn check_files(count: usize) -> Result<()> {
    let opened: io::Result<Vec<_>> = (0..count).map(|_| std::os::unix::net::UnixDatagram::unbound()).collect();
    opened.map(drop).map_err(|error| refused(&format!("cannot open the {count} files a worker needs"), error))
}

/// This system has no such limit.
#[cfg(not(unix))]
pub(crate) fn check_files(_count: usize) -> Result<()> {
    Ok(())
}

/// Makes a runtime with a thread for each core, or `TOKIO_WORKER_THREADS`.
///
/// # Errors
///
/// The system refuses the threads: tokio itself panics then.
#[cfg(feature = "cli")]
pub(crate) fn runtime() -> Result<Runtime> {
    let wanted = std::env::var("TOKIO_WORKER_THREADS").ok().and_then(|count| count.parse().ok());
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let count = wanted.filter(|count| *count > 0).unwrap_or_else(cores);
    check_threads(count).map_err(|error| refused(&format!("cannot start {count} threads"), error))?;
    let runtime = Builder::new_multi_thread().worker_threads(count).enable_all().build();
    runtime.map_err(|error| refused("cannot make the runtime", error))
}

/// Checks that this process can start so many threads at the same time.
#[cfg(feature = "cli")]
#[expect(clippy::disallowed_methods, reason = "each thread waits and does nothing else")]
fn check_threads(count: usize) -> io::Result<()> {
    let (end, ended) = mpsc::channel::<()>();
    let ended = std::sync::Arc::new(std::sync::Mutex::new(ended));
    let mut threads = Vec::with_capacity(count);
    let mut refused = Ok(());
    for _ in 0..count {
        let ended = std::sync::Arc::clone(&ended);
        let wait = move || drop(ended.lock().map(|ended| ended.recv()));
        match std::thread::Builder::new().spawn(wait) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                refused = Err(error);
                break;
            }
        }
    }
    drop(end);
    // Each has ended before others need its place.
    threads.into_iter().for_each(|thread| drop(thread.join()));
    refused
}

#[cfg(test)]
#[cfg(feature = "cli")]
mod tests {
    use super::*;

    #[test]
    fn names_the_limit() {
        for (code, limit) in [(EMFILE, "LimitNOFILE="), (ENFILE, "fs.file-max"), (11, "TasksMax="), (12, "ulimit -v")] {
            let error = refused("cannot start", io::Error::from_raw_os_error(code)).to_string();
            assert!(error.starts_with("cannot start; raise ") && error.contains(limit), "{code}: {error}");
        }
        assert_eq!(refused("cannot start", io::Error::from_raw_os_error(2)).to_string(), "cannot start");
    }

    #[test]
    fn a_thread_has_its_runtime_when_it_is_started() {
        let (sent, received) = mpsc::channel();
        start_thread("ferrokiq-test", move |runtime| sent.send(runtime.block_on(async { 7 })).unwrap()).unwrap();
        assert_eq!(received.recv().unwrap(), 7);
        check_threads(3).unwrap();
        check_files(3).unwrap();
        assert!(runtime().unwrap().block_on(async { true }));
    }
}
