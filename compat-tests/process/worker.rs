use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Makes this program a worker.
pub(crate) const AS_WORKER: &str = "FERROKIQ_TEST_AS_WORKER";

/// How long anything may take before a test gives up.
const LIMIT: Duration = Duration::from_secs(30);

/// A worker and what it logged. Killed when this is dropped.
pub(crate) struct Worker {
    child: Child,
    log: PathBuf,
    _dir: tempfile::TempDir,
}

impl Worker {
    /// Starts a worker. `around` is a command that starts it, as `["nohup"]`, or empty.
    pub(crate) fn start(around: &[&str], url: &str, flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let program = std::env::current_exe().unwrap();
        let mut command = match around.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        command.args(flags).env(AS_WORKER, "1").env("REDIS_URL", url).env_remove("REDIS_PROVIDER");
        command.current_dir(dir.path()).stdin(Stdio::null());
        let file = File::create(&log).unwrap();
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { child, log, _dir: dir }
    }

    /// All it printed so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits until it logs this.
    pub(crate) fn until_logged(&mut self, text: &str) {
        let deadline = Instant::now() + LIMIT;
        while !self.log().contains(text) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "no {text:?}, {ended:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it fetches jobs.
    pub(crate) fn until_booted(&mut self) {
        self.until_logged("Starting processing");
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for its end; `None` if it takes longer than `limit`.
    pub(crate) fn end_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || Instant::now() >= deadline {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end and returns its exit code; `None` if a signal ended it.
    pub(crate) fn end(&mut self) -> Option<i32> {
        self.end_within(LIMIT).unwrap_or_else(|| panic!("it does not end: {}", self.log())).code()
    }

    /// How it ended; `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this machine lets us run a command like this.
pub(crate) fn can(command: &[&str]) -> bool {
    let mut probe = Command::new(command[0]);
    probe.args(&command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}
