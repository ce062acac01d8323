use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use super::default_config;
use super::health::Health as HealthCheck;
use super::integer::parse_integer;
use super::logging::LogFormat;
use super::settings::{Health, Settings};
use super::size::{parse_max_payload, parse_max_rss};
use crate::error::{Error, Result};
use crate::probe::parse_health;
use crate::server::{FetchMode, MaxRss, Promote, WireVersion};

/// A worker: runs Sidekiq jobs from the Redis that REDIS_URL names.
#[derive(Debug, Parser)]
#[command(
    version,
    disable_version_flag = true,
    args_conflicts_with_subcommands = true,
    after_help = "Flags go before the configuration file, the file before the environment.\n\
                  Environment: REDIS_URL or REDIS_PROVIDER, REDIS_PASSWORD_FILE, REDIS_SSL_..., RAILS_MAX_THREADS, APP_ENV / RAILS_ENV / RACK_ENV, FERROKIQ_PROMOTE, DYNO, RUST_LOG.\n\
                  Signals: TERM, INT, HUP, QUIT stop; TSTP stops fetching; TTIN logs what runs; USR1, USR2 are ignored.\n\
                  With feature `contract`, `contract --help` tells what the jobs take.\n\
                  Exit codes: 0 after an orderly stop, 1 if it could not start, 75 if it stopped above --max-rss, 130 if told to stop three times."
)]
pub(super) struct Flags {
    /// Jobs to run at the same time [default: 5]
    #[arg(short, long, value_name = "INT", value_parser = parse_concurrency)]
    concurrency: Option<usize>,

    /// Application environment
    #[arg(short, long, value_name = "ENV")]
    environment: Option<String>,

    /// Process tag for the Web UI [default: the name of the application's directory]
    #[arg(short = 'g', long, value_name = "TAG")]
    tag: Option<String>,

    /// Queue to work, with an optional weight; may be given several times [default: default]
    #[arg(short, long = "queue", value_name = "QUEUE[,WEIGHT]")]
    queues: Vec<String>,

    /// Directory whose config/sidekiq.yml is read (Ruby files are not loaded)
    #[arg(short, long, value_name = "PATH|DIR")]
    require: Option<PathBuf>,

    /// Shutdown timeout in seconds [default: 25]
    #[arg(short, long, value_name = "NUM", value_parser = parse_integer)]
    timeout: Option<u64>,

    /// Log at level debug
    #[arg(short, long)]
    verbose: bool,

    /// Configuration file [default: config/sidekiq.yml if it exists]
    #[arg(short = 'C', long, value_name = "PATH")]
    config: Option<PathBuf>,

    /// How jobs leave a queue
    #[arg(long, value_enum, value_name = "HOW")]
    fetch: Option<Fetch>,

    /// The Sidekiq that reads what this process writes: 6, 7, 8 or auto
    #[arg(long, value_name = "MAJOR", value_parser = parse_wire_version)]
    wire_version: Option<WireVersion>,

    /// Which due jobs this process promotes [default: own]
    #[arg(long, value_enum, value_name = "WHICH")]
    promote: Option<Promoted>,

    /// How log lines look [default: pretty; bare under DYNO]
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,

    /// Answer GET /live, /ready and /metrics at this address [default: off; 127.0.0.1:7433 without one]
    #[arg(long, value_name = "[HOST:]PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:7433", value_parser = parse_health)]
    health: Option<SocketAddr>,

    /// Stop in good order, to be started again, above so much memory: 512M, 2G, or auto: 4/5 of the container's limit [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_max_rss)]
    max_rss: Option<MaxRss>,

    /// Largest payload of a job; a larger one goes to the dead set unread: 64M, 0 for no limit [default: 16M]
    #[arg(long, value_name = "SIZE", value_parser = parse_max_payload)]
    max_payload: Option<usize>,

    /// Seconds to wait for Redis at the start; 0 exits at once if it is not there [default: 60]
    #[arg(long, value_name = "NUM")]
    boot_timeout: Option<u64>,

    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,

    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What a worker's program does instead of working.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Ask a worker on this machine whether it is well: exit code 0 if it is, 1 if it is not
    Health(HealthCheck),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Fetch {
    /// Into a private list: a crash loses nothing
    Reliable,
    /// Out of Redis, as open-source Sidekiq does: a crash loses what ran
    Basic,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Promoted {
    /// While a Ruby process polls: jobs registered here, jobs of queues no Ruby process serves, jobs overdue by 60 s; else all
    Own,
    /// All due jobs, always
    All,
    /// None
    Off,
}

fn parse_concurrency(text: &str) -> Result<usize, String> {
    usize::try_from(parse_integer(text)?).map_err(|_| format!("{text:?} is too large"))
}

fn parse_wire_version(text: &str) -> Result<WireVersion, String> {
    match text {
        "6" => Ok(WireVersion::V6),
        "7" => Ok(WireVersion::V7),
        "8" => Ok(WireVersion::V8),
        "auto" => Ok(WireVersion::Auto),
        _ => Err("it is 6, 7, 8 or auto".to_owned()),
    }
}

impl Flags {
    /// `-e`, else `APP_ENV`, `RAILS_ENV`, `RACK_ENV`, else `development`.
    pub(super) fn environment(&self) -> String {
        let var = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        self.environment
            .clone()
            .or_else(|| ["APP_ENV", "RAILS_ENV", "RACK_ENV"].into_iter().find_map(var))
            .unwrap_or_else(|| "development".to_owned())
    }

    pub(super) fn config_path(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| default_config(&self.app_dir()))
    }

    /// Where the application lives: the directory of `-r`, else the working directory.
    pub(super) fn app_dir(&self) -> PathBuf {
        let dir = self.require.as_deref().filter(|path| path.is_dir()).unwrap_or(Path::new("."));
        dir.canonicalize().unwrap_or_else(|_| dir.to_owned())
    }

    pub(super) fn log_format(&self) -> LogFormat {
        self.log_format.unwrap_or_default()
    }

    /// Refuses a path that does not exist, as Ruby does: the worker would serve other queues than those of the configuration there.
    pub(super) fn check(&self) -> Result<()> {
        match &self.require {
            Some(path) if !path.exists() => Err(Error::config(format!(
                "-r {}: there is no such file or directory; name the directory whose config/sidekiq.yml is to be read",
                path.display()
            ))),
            _ => Ok(()),
        }
    }

    /// What was given and has no meaning here.
    pub(super) fn remarks(&self) -> Option<String> {
        let path = self.require.as_ref()?;
        if !path.is_dir() {
            return Some(format!("-r {}: Ruby code is not loaded; jobs are registered in Rust", path.display()));
        }
        self.config_path()
            .is_none()
            .then(|| format!("-r {}: there is no config/sidekiq.yml; flags and defaults hold", path.display()))
    }

    pub(super) fn settings(&self) -> Result<Settings> {
        if self.timeout == Some(0) {
            return Err(Error::config("timeout: 0 is not a valid value"));
        }
        Ok(Settings {
            concurrency: self.concurrency,
            queues: (!self.queues.is_empty()).then(|| self.queues.clone()),
            timeout: self.timeout.map(Duration::from_secs),
            tag: self.tag.clone(),
            verbose: self.verbose.then_some(true),
            environment: self.environment.clone(),
            wire_version: self.wire_version,
            health: self.health.map(Health::At),
            max_rss: self.max_rss,
            max_payload: self.max_payload,
            boot_timeout: self.boot_timeout.map(Duration::from_secs),
            fetch: self.fetch.map(|fetch| match fetch {
                Fetch::Reliable => FetchMode::Reliable,
                Fetch::Basic => FetchMode::Basic,
            }),
            promote: self.promote.map(|promoted| match promoted {
                Promoted::Own => Promote::Own,
                Promoted::All => Promote::All,
                Promoted::Off => Promote::Off,
            }),
            ..Settings::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_sidekiqs_flags() {
        let flags = Flags::try_parse_from([
            "worker",
            "-c",
            "10",
            "-q",
            "critical,2",
            "-q",
            "default",
            "-t",
            "8",
            "-e",
            "staging",
            "-g",
            "myapp",
            "-v",
            "-r",
            ".",
            "--promote",
            "off",
        ])
        .unwrap();
        let settings = flags.settings().unwrap();
        assert_eq!(settings.concurrency, Some(10));
        assert_eq!(settings.queues.unwrap(), ["critical,2", "default"]);
        assert_eq!(settings.timeout, Some(Duration::from_secs(8)));
        assert_eq!((settings.tag.as_deref(), settings.verbose), (Some("myapp"), Some(true)));
        assert_eq!(settings.promote, Some(Promote::Off));
        assert_eq!(flags.environment(), "staging");
        assert!(flags.remarks().is_some_and(|said| said.contains("there is no config/sidekiq.yml")));
    }

    #[test]
    fn names_what_is_wrong() {
        for (arguments, culprit) in [
            (&["worker", "--bogus"][..], "--bogus"),
            (&["worker", "-c", "many"], "many"),
            (&["worker", "-t"], "--timeout"),
            (&["worker", "--promote", "mine"], "--promote"),
        ] {
            let error = Flags::try_parse_from(arguments).unwrap_err().to_string();
            assert!(error.contains(culprit), "{error}");
        }
        let nowhere = Flags::try_parse_from(["worker", "-r", "no/such"]).unwrap().check().unwrap_err();
        assert!(nowhere.to_string().starts_with("-r no/such: there is no such file"), "{nowhere}");
        let zero = Flags::try_parse_from(["worker", "-t", "0"]).unwrap().settings().unwrap_err();
        assert_eq!(zero.to_string(), "timeout: 0 is not a valid value");
    }
}
