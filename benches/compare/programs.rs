use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::measurements::{Measurement, System};
use crate::proxy::Proxy;
use crate::redis_server::RedisServer;

/// The programs that do the work, as `bin/bench` has built them.
pub(crate) struct Programs {
    root: PathBuf,
    load: PathBuf,
    rusty: PathBuf,
    ruby: Option<PathBuf>,
}

/// Ended with the value, whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Programs {
    pub(crate) fn new(root: &Path, ruby: Option<PathBuf>) -> Result<Self, Box<dyn Error>> {
        let built = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).ok_or_else(|| format!("{name} is not set: run bin/bench"))
        };
        Ok(Self { root: root.to_owned(), load: built("LOAD")?, rusty: built("RUSTY_SIDEKIQ")?, ruby })
    }

    fn ruby(&self) -> Command {
        match &self.ruby {
            Some(path) => Command::new(path),
            None => {
                let mut command = Command::new(self.root.join("bin/lib/in-ruby"));
                command.args(["--sidekiq", "8", "--", "ruby"]);
                command
            }
        }
    }

    fn command(&self, system: System) -> Command {
        match system {
            System::Reliable | System::Basic | System::Ceiling => Command::new(&self.load),
            System::Rusty => Command::new(&self.rusty),
            System::Sidekiq => {
                let mut command = self.ruby();
                command.arg(self.root.join("benches/load.rb"));
                command
            }
        }
    }

    /// Runs it on a fresh Redis; its figures under their keys.
    pub(crate) fn measure(&self, one: &Measurement) -> Result<Vec<(String, f64)>, Box<dyn Error>> {
        let redis = RedisServer::start()?;
        let proxy = one.delay_ms.map(|ms| Proxy::start(redis.port(), ms)).transpose()?;
        let url = format!("redis://127.0.0.1:{}/0", proxy.as_ref().map_or(redis.port(), Proxy::port));
        let _producer = match one.pushed {
            Some(rate) => {
                let mut produce = Command::new(&self.load);
                produce.args(["produce", "--jobs", one.jobs(), "--rate", &rate.to_string(), "--queues", one.queues()]);
                produce.env("REDIS_URL", &url);
                Some(Running(produce.spawn()?))
            }
            None => None,
        };
        // Log lines go where a shop's would: to a file.
        let log = std::env::temp_dir().join(format!("ferrokiq-bench-{}.log", std::process::id()));
        let output = self
            .command(one.system)
            .args(&one.arguments)
            .env("REDIS_URL", &url)
            .env_remove("RUST_LOG")
            .current_dir(&self.root)
            .stdout(File::create(&log)?)
            .stderr(Stdio::piped())
            .spawn()?
            .wait_with_output()?;
        let _ = std::fs::remove_file(&log);
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("{} failed: {said}", one.title()).into());
        }
        let told: Vec<(String, f64)> = said
            .lines()
            .filter_map(|line| {
                let (name, value) = line.split_once(' ')?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .collect();
        Ok(one.keyed(&told).map_err(|error| format!("{error}; it said: {said}"))?)
    }

    /// Cores, versions, date.
    pub(crate) fn machine(&self) -> String {
        let said = |command: &mut Command| {
            let output = command.current_dir(&self.root).output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
        };
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let redis = said(Command::new("redis-server").arg("--version"));
        let redis = redis.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or("?").to_owned();
        let ruby = said(self.ruby().args([
            "-e",
            "require 'sidekiq'; print \"Sidekiq #{Sidekiq::VERSION}, Ruby #{RUBY_VERSION}\"; \
             print((defined?(RubyVM::YJIT) && RubyVM::YJIT.enabled?) ? ' with YJIT' : ' without YJIT')",
        ]));
        let date = said(Command::new("date").args(["-u", "+%Y-%m-%d"]));
        let version = env!("CARGO_PKG_VERSION");
        format!("{date}, {cores} cores, Redis {redis}, {ruby}, rusty-sidekiq 0.15.2, ferrokiq {version}.")
    }
}
