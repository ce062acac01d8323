//! What systemd is told of a process it started with `Type=notify`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::limits::start_thread;
use crate::server::report::vitals::Vitals;

/// Whoever started the process, where to tell it, and how often it wants a sign of life.
#[derive(Debug)]
pub(super) struct Supervisor {
    socket: UnixDatagram,
    to: SocketAddr,
    /// The time after which a process without a sign is killed.
    watchdog: Option<Duration>,
}

/// Between two looks at the process.
const PERIOD: Duration = Duration::from_millis(500);
/// The extension of systemd's start timeout, requested again and again while the process waits for Redis.
const EXTENSION: Duration = Duration::from_secs(15);
/// How much longer a stop may take than the jobs: what the orderly end needs, and then the last resort.
pub(super) const BEYOND: Duration = Duration::from_secs(10);

impl Supervisor {
    /// By `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub(super) fn from_env() -> Option<Self> {
        let to = address(&std::env::var_os("NOTIFY_SOCKET")?);
        let var = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let ours = var("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = var("WATCHDOG_USEC").filter(|usec| ours && *usec > 0).map(Duration::from_micros);
        let made = to.and_then(|to| Ok(Self { socket: UnixDatagram::unbound()?, to, watchdog }));
        match made {
            Ok(supervisor) => Some(supervisor),
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be used; systemd is told nothing");
                None
            }
        }
    }

    /// Tells it what goes on until the process ends, from a thread that no job can hold up.
    pub(super) fn watch(self, vitals: Vitals) -> Result<()> {
        start_thread("ferrokiq-notify", move |runtime| runtime.block_on(self.tell_all(&vitals)))
    }

    async fn tell_all(&self, vitals: &Vitals) {
        let (mut told, period) = (Told::default(), self.watchdog.map_or(PERIOD, |watchdog| PERIOD.min(watchdog / 4)));
        loop {
            self.tell(&told.news(&Look::at(vitals), self.watchdog));
            tokio::select! {
                () = tokio::time::sleep(period) => {}
                // A stop may be over before the next look.
                () = vitals.handle().stopping(), if !told.stopping => {}
            }
        }
    }

    fn tell(&self, news: &str) {
        if !news.is_empty()
            && let Err(error) = self.socket.send_to_addr(news.as_bytes(), &self.to)
        {
            tracing::debug!(%error, "systemd was not told");
        }
    }
}

/// A path, or a name that begins with `@`.
fn address(name: &OsStr) -> std::io::Result<SocketAddr> {
    match name.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(Path::new(name)),
        _ => Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no path and no abstract name")),
    }
}

/// The process at one moment.
#[derive(Clone, Debug)]
struct Look {
    /// What it waits for while it starts.
    awaited: Option<String>,
    /// Why it does not live, if it does not.
    ill: Option<&'static str>,
    ready: bool,
    quiet: bool,
    stopping: bool,
    busy: (usize, usize),
    /// How long a stop may take.
    timeout: Duration,
}

impl Look {
    fn at(vitals: &Vitals) -> Self {
        let handle = vitals.handle();
        Self {
            awaited: vitals.awaited(),
            ill: vitals.live().err(),
            ready: vitals.ready().is_ok(),
            quiet: handle.is_quiet(),
            stopping: handle.is_stopping(),
            busy: vitals.busy(),
            timeout: vitals.timeout(),
        }
    }
}

/// What was told so far.
#[derive(Debug, Default)]
struct Told {
    ready: bool,
    stopping: bool,
    status: String,
    /// Since a sign of life was given.
    fed: Option<Instant>,
    /// Since more time to start was asked for.
    extended: Option<Instant>,
}

impl Told {
    /// What there is to tell now, as systemd reads it; empty if nothing.
    fn news(&mut self, look: &Look, watchdog: Option<Duration>) -> String {
        let mut news = String::new();
        // A process that is told to quiet or stop before its first beat has started all the same.
        if !self.ready && (look.ready || look.quiet) {
            self.ready = true;
            news.push_str("READY=1\n");
        }
        // The wait may be longer than `TimeoutStartSec`.
        if look.awaited.is_some() && !self.ready && self.extended.is_none_or(|at| at.elapsed() >= EXTENSION / 3) {
            self.extended = Some(Instant::now());
            news.push_str(&format!("EXTEND_TIMEOUT_USEC={}\n", EXTENSION.as_micros()));
        }
        if look.stopping && !self.stopping {
            self.stopping = true;
            let patience = look.timeout.saturating_add(BEYOND).as_micros();
            news.push_str(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={patience}\n"));
        }
        let is_due = watchdog.is_some_and(|watchdog| self.fed.is_none_or(|fed| fed.elapsed() >= watchdog / 2));
        if look.ill.is_none() && is_due {
            self.fed = Some(Instant::now());
            news.push_str("WATCHDOG=1\n");
        }
        let status = status(look);
        if status != self.status {
            news.push_str(&format!("STATUS={status}\n"));
            self.status = status;
        }
        news
    }
}

fn status(look: &Look) -> String {
    let (busy, concurrency) = look.busy;
    if look.stopping {
        format!("stopping, {busy} jobs run")
    } else if look.quiet {
        format!("quiet, {busy} jobs run")
    } else if let Some(why) = look.ill {
        why.to_owned()
    } else if let Some(cause) = &look.awaited {
        format!("waiting for Redis: {cause}")
    } else if !look.ready {
        "waiting for Redis".to_owned()
    } else {
        format!("{busy} of {concurrency} busy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Look = Look {
        awaited: None,
        ill: None,
        ready: true,
        quiet: false,
        stopping: false,
        busy: (3, 10),
        timeout: Duration::from_secs(25),
    };

    #[test]
    fn tells_each_thing_once_and_feeds_the_watchdog_only_while_alive() {
        let (mut told, soon) = (Told::default(), Some(Duration::ZERO));
        let starting = Look { ready: false, ..WELL };
        assert_eq!(told.news(&starting, None), "STATUS=waiting for Redis\n");
        let waiting = Look { awaited: Some("connection refused".to_owned()), ..starting };
        assert_eq!(
            told.news(&waiting, None),
            "EXTEND_TIMEOUT_USEC=15000000\nSTATUS=waiting for Redis: connection refused\n"
        );
        assert_eq!(told.news(&waiting, None), "");
        assert_eq!(told.news(&WELL, None), "READY=1\nSTATUS=3 of 10 busy\n");
        assert_eq!(told.news(&WELL, None), "");
        assert_eq!(told.news(&WELL, soon), "WATCHDOG=1\n");
        assert_eq!(
            told.news(&Look { ill: Some("jobs block every thread"), ..WELL }, soon),
            "STATUS=jobs block every thread\n"
        );
        assert_eq!(told.news(&WELL, Some(Duration::from_secs(3_600))), "STATUS=3 of 10 busy\n");
        assert_eq!(told.news(&Look { quiet: true, ready: false, ..WELL }, None), "STATUS=quiet, 3 jobs run\n");
        let stopping = Look { quiet: true, stopping: true, ready: false, ..WELL };
        assert_eq!(
            told.news(&stopping, None),
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=35000000\nSTATUS=stopping, 3 jobs run\n"
        );
        assert_eq!(told.news(&stopping, None), "");
    }

    #[test]
    fn reaches_a_socket_by_path_and_by_abstract_name() {
        let dir = std::env::temp_dir().join(format!("ferrokiq-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&dir);
        let mut names = vec![dir.clone().into_os_string()];
        if cfg!(target_os = "linux") {
            names.push(format!("@ferrokiq-notify-{}", std::process::id()).into());
        }
        for name in names {
            let to = address(&name).unwrap();
            let systemd = UnixDatagram::bind_addr(&to).unwrap();
            systemd.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let supervisor = Supervisor { socket: UnixDatagram::unbound().unwrap(), to, watchdog: None };
            supervisor.tell(&Told::default().news(&WELL, None));
            let mut heard = [0; 256];
            let read = systemd.recv(&mut heard).unwrap();
            assert_eq!(&heard[..read], b"READY=1\nSTATUS=3 of 10 busy\n");
        }
        std::fs::remove_file(dir).unwrap();
        assert!(address("relative".as_ref()).is_err() && address("".as_ref()).is_err());
    }
}
