//! Worker processes, what was done to them, and how long their jobs were away.

use std::fs::File;
use std::io::Error;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

use crate::Failure;
use crate::worker::LIFE;

/// Numbers every worker process of this run.
static LIVES: AtomicU32 = AtomicU32::new(1);

/// A worker that a fault ended or held: what ran in it may run again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broken {
    concurrency: usize,
    pub(crate) times: usize,
}

impl Broken {
    pub(crate) fn new(concurrency: usize, times: usize) -> Self {
        Self { concurrency, times }
    }

    /// Jobs that may run twice because of it.
    pub(crate) fn allowed(self) -> usize {
        self.times * (self.concurrency + 64)
    }
}

pub(crate) struct Worker {
    pub(crate) life: u32,
    pub(crate) concurrency: usize,
    child: Child,
    log: PathBuf,
    logs_elsewhere: bool,
}

/// What a worker is started with.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) url: String,
    pub(crate) concurrency: usize,
    /// Seconds a stop waits for jobs.
    pub(crate) timeout: u64,
    pub(crate) queues: Vec<String>,
    /// How long it counts as alive without a sign of life.
    pub(crate) alive: Duration,
    pub(crate) environment: Vec<(String, String)>,
    /// Where it logs, if not to a file of its own.
    pub(crate) log: Option<PathBuf>,
    /// Words of a command that comes before the program: `prlimit --nofile=64`, say.
    pub(crate) wrapper: Vec<String>,
}

impl Worker {
    /// This program as a worker.
    pub(crate) fn start(dir: &Path, orders: &Orders) -> Result<Self, Error> {
        let program = std::env::current_exe()?;
        let mut command = match orders.wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.args(["-c", &orders.concurrency.to_string(), "-t", &orders.timeout.to_string()]);
        for queue in &orders.queues {
            command.args(["-q", queue]);
        }
        Self::spawn(dir, orders, command)
    }

    /// Any command that becomes a worker and keeps its process id.
    pub(crate) fn spawn(dir: &Path, orders: &Orders, mut command: Command) -> Result<Self, Error> {
        let life = LIVES.fetch_add(1, Ordering::Relaxed);
        let log = dir.join(format!("worker-{life}.log"));
        let out = match &orders.log {
            Some(elsewhere) => File::options().write(true).open(elsewhere)?,
            None => File::create(&log)?,
        };
        let child = command
            .env(LIFE, format!("{life}|{}|{}", dir.display(), orders.alive.as_millis()))
            .env("REDIS_URL", &orders.url)
            .envs(orders.environment.iter().cloned())
            .current_dir(dir)
            .stdin(std::process::Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out)
            .spawn()?;
        Ok(Self { life, concurrency: orders.concurrency, child, log, logs_elsewhere: orders.log.is_some() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory it used so far, in KB; 0 once it has ended.
    pub(crate) fn peak_kb(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak.unwrap_or(0)
    }

    /// Its identity, once it is registered.
    pub(crate) async fn identity(&self, redis: &mut MultiplexedConnection) -> Result<Option<String>, Failure> {
        let all: Vec<String> = redis::cmd("SMEMBERS").arg("ferrokiq:processes").query_async(redis).await?;
        let pid = format!(":{}:", self.pid());
        Ok(all.into_iter().find(|identity| identity.contains(&pid)))
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn signal(&self, name: &str) -> Result<(), Error> {
        signal(self.pid(), name)
    }

    /// Waits until a TERM stops it in good order; false if it ended. A process that was just started dies of a signal until it logs, and
    /// one that logs elsewhere was started long before.
    pub(crate) async fn handles_signals(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.exited().is_none() {
            if self.logs_elsewhere || !self.said().is_empty() || Instant::now() > deadline {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// How it ended, if it does in time.
    pub(crate) async fn exit(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.exited() {
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What it logged.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Sends a signal to a process this program started.
pub(crate) fn signal(pid: u32, name: &str) -> Result<(), Error> {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status()?;
    if status.success() { Ok(()) } else { Err(Error::other(format!("cannot send {name} to {pid}"))) }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // One that is held by SIGSTOP ends by SIGKILL too.
        self.kill();
    }
}
