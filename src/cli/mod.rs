//! What a worker's `main` calls: Sidekiq's flags, its `config/sidekiq.yml`, its signals and its log lines.

mod args;
mod config_file;
#[cfg(feature = "contract")]
mod contract;
#[cfg(test)]
mod corpus;
mod erb;
mod health;
mod integer;
mod keys;
mod logging;
#[cfg(unix)]
mod notify;
#[cfg(all(test, unix))]
mod packaging;
mod passed_over;
mod queues;
#[cfg(test)]
mod reference;
mod settings;
mod signals;
mod size;
mod yaml;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

pub use logging::{LogFormat, Logging, init as init_logging};

use crate::error::{Error, Result};
use crate::limits;
use crate::server::{Server, ServerBuilder, Stopped};
use args::{Command, Flags};
use config_file::ConfigFile;
use health::Health;
use settings::{Settings, Variables};

/// Runs a worker process until it is told to stop, and returns its exit code: 0 after an orderly stop, 1 if it could not
/// start, 70 if parts of it kept failing or jobs were left in private lists, 75 if it stopped since it took more memory than `--max-rss`
/// allows and wants to be started again.
///
/// Reads the command line, the environment and `config/sidekiq.yml` as `sidekiq` does. What they say goes before what the
/// program said; a flag goes before the file, the file before the environment.
///
/// TERM, INT, HUP and QUIT stop: running jobs get the timeout to end, the rest goes back to its queue; a second one does not wait, a third ends the
/// process at once. Jobs that block every thread are put back and the process ends three seconds after the timeout.
/// TSTP quiets. TTIN logs what runs. USR1 and USR2 are ignored with a log line. A HUP that the parent process had ignored (`nohup`) stays
/// ignored. On Windows, Ctrl-C and Ctrl-Break stand for INT, the closing of the console and the shutdown of the system for TERM; Windows ends the
/// process about 5 s after the latter. Where systemd started the process with `Type=notify`, the worker reports its state, and feeds the watchdog
/// while the process moves. `health` instead of flags asks a worker that runs with `--health` whether it is well ([`Probe`](crate::probe::Probe)). Call it once, from `main`, on a multi-threaded runtime:
///
/// ```no_run
/// # struct Hard;
/// # impl ferrokiq::Job for Hard {
/// #     const CLASS: &'static str = "HardJob";
/// #     type Args = ();
/// #     async fn perform(&self, _: ferrokiq::Context, _: ()) -> ferrokiq::JobResult { Ok(()) }
/// # }
/// #[tokio::main]
/// async fn main() -> std::process::ExitCode {
///     ferrokiq::cli::run(ferrokiq::Server::builder().register(Hard)).await
/// }
/// ```
///
/// With feature `contract`, `contract` as the first word tells instead what the jobs take: `contract ruby` prints Ruby classes that enqueue
/// them, `contract rbs` signatures, `contract json-schema` a JSON Schema, and `contract check` reads every job that waits in Redis as this
/// worker would, to tell before a deploy which would fail. Each has `--help`.
pub async fn run(server: ServerBuilder) -> ExitCode {
    #[cfg(feature = "contract")]
    if let Some(arguments) = contract::asked_for(std::env::args_os()) {
        return contract::run(server, arguments).await;
    }
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => {
            // Help and version are no errors to clap; everything else ends as it does in Ruby.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    if let Some(Command::Health(health)) = flags.command {
        return ask(health);
    }
    match start(server, flags).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Runs a worker's program on a multi-threaded runtime, and returns its exit code: what `#[tokio::main]` does, but where the system refuses the
/// threads, this prints the limit and returns 1, and tokio panics. As many threads as there are cores, or `TOKIO_WORKER_THREADS`.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     ferrokiq::cli::main(ferrokiq::cli::run(ferrokiq::Server::builder()))
/// }
/// ```
pub fn main(program: impl Future<Output = ExitCode>) -> ExitCode {
    match limits::runtime() {
        Ok(runtime) => runtime.block_on(program),
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Asks a worker whether it is well, and says what it says.
fn ask(health: Health) -> ExitCode {
    match health.ask() {
        Ok(line) => {
            let _ = writeln!(std::io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// The exit code of a process that was stopped.
fn exit_code(stopped: &Stopped) -> u8 {
    match stopped {
        Stopped { over_memory: true, .. } => OVER_MEMORY,
        Stopped { left_for_recovery: 1.., .. } | Stopped { failed: true, .. } => FAULT,
        _ => 0,
    }
}

/// `EX_SOFTWARE`: the process failed, or could not end in good order.
const FAULT: u8 = 70;

/// `EX_TEMPFAIL`: whoever started the process is asked to start it again.
const OVER_MEMORY: u8 = 75;

async fn start(builder: ServerBuilder, flags: Flags) -> Result<u8> {
    // Before anything else: from here on no signal kills the process.
    let signals = signals::Signals::install()?;
    let (settings, remarks) = settings(&flags)?;
    let verbose = settings.verbose.unwrap_or(false) || asked_to_debug(std::env::var("DEBUG_INVOCATION").ok());
    let logging = init_logging(flags.log_format(), verbose);
    for remark in remarks {
        tracing::warn!("{remark}");
    }
    let server = build(&flags, settings, builder)?;
    let description = server.describe();
    tracing::info!("Booting ferrokiq {}: {description}", env!("CARGO_PKG_VERSION"));
    signals.obey(&server, logging.flusher())?;
    #[cfg(unix)]
    notify::Supervisor::from_env().map(|supervisor| supervisor.watch(server.vitals())).transpose()?;
    let booted = || {
        tracing::info!("Booted ferrokiq {}: {description}", env!("CARGO_PKG_VERSION"));
        tracing::info!("Starting processing, hit Ctrl-C to stop");
    };
    let stopped = server.run_from_boot(std::future::pending(), booted).await?;
    tracing::info!("Bye!");
    if stopped.cut_off > 0 {
        // A job that blocks its thread may go on, and would keep the runtime, and so the process, from ending.
        drop(logging);
        std::process::exit(exit_code(&stopped).into());
    }
    Ok(exit_code(&stopped))
}

/// Whether systemd starts the process again in order to find out why it failed (`RestartMode=debug`): log at level debug, as Sidekiq 8.1.
fn asked_to_debug(invocation: Option<String>) -> bool {
    invocation.as_deref() == Some("1")
}

/// What went wrong and why, on stderr.
fn complain(error: &Error) {
    let mut text = format!("error: {error}\n");
    for cause in error.causes() {
        text.push_str(&format!("  because: {}\n", logging::clean(&cause.to_string())));
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Where Sidekiq looks for its configuration when not told.
fn default_config(dir: &Path) -> Option<PathBuf> {
    ["config/sidekiq.yml", "config/sidekiq.yml.erb"].into_iter().map(|name| dir.join(name)).find(|path| path.exists())
}

/// Describes a server as the command line, the environment and the configuration file say; for a `main` that does more than
/// [`run`] does.
///
/// # Errors
///
/// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the culprit.
pub fn configure(builder: ServerBuilder, arguments: impl IntoIterator<Item = String>) -> Result<Server> {
    let flags = Flags::try_parse_from(arguments).map_err(|error| Error::config(error.to_string()))?;
    build(&flags, settings(&flags)?.0, builder)
}

/// What flags, environment and configuration file say together, and remarks on what was passed over.
fn settings(flags: &Flags) -> Result<(Settings, Vec<String>)> {
    flags.check()?;
    let environment = flags.environment();
    let (mut settings, mut remarks) = match flags.config_path() {
        Some(path) => Settings::from_file(&ConfigFile::read(&path, &environment)?)?,
        None => Default::default(),
    };
    settings.overrule(flags.settings()?);
    settings.environment.get_or_insert(environment);
    remarks.extend(flags.remarks());
    Ok((settings, remarks))
}

/// The capsules a configuration file asks for, for the fuzzer.
#[cfg(any(test, fuzzing))]
pub(crate) fn capsules_of(path: &Path, text: &str) -> Result<Vec<crate::server::Capsule>> {
    let (settings, _) = Settings::from_file(&ConfigFile::parse(path, text, "production", &|_| None)?)?;
    settings.apply(ServerBuilder::default(), Variables::default())?.config.build_capsules()
}

fn build(flags: &Flags, settings: Settings, builder: ServerBuilder) -> Result<Server> {
    let variables = Variables {
        max_threads: std::env::var("RAILS_MAX_THREADS").ok(),
        promote: std::env::var("FERROKIQ_PROMOTE").ok(),
    };
    // An empty tag is one, as in Ruby.
    let has_tag = settings.tag.is_some();
    let builder = settings.apply(builder, variables)?;
    builder.of_command_line(|| if has_tag { String::new() } else { default_tag(&flags.app_dir()) }).build()
}

/// The name of the application's directory; of the one above `releases` where Capistrano put it.
fn default_tag(dir: &Path) -> String {
    let name = |dir: &Path| dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let own = name(dir);
    let is_release = own.starts_with(|c: char| matches!(c, '1'..='9'));
    match dir.parent() {
        Some(releases) if is_release && name(releases) == "releases" => releases.parent().map(name).unwrap_or_default(),
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_at_level_debug_only_where_systemd_asks_for_it() {
        for (invocation, debug) in [(Some("1"), true), (Some("0"), false), (Some("true"), false), (None, false)] {
            assert_eq!(asked_to_debug(invocation.map(str::to_owned)), debug);
        }
    }

    #[test]
    fn an_empty_tag_of_the_file_stays_empty() {
        let tag = |text: &str| {
            let file = ConfigFile::parse(Path::new("x.yml"), text, "production", &|_| None).unwrap();
            let flags = Flags::try_parse_from(["worker"]).unwrap();
            let server = build(&flags, Settings::from_file(&file).unwrap().0, ServerBuilder::default()).unwrap();
            server.config_tag().to_owned()
        };
        assert_eq!(tag(":tag: ''"), "");
        assert_eq!(tag(":tag: shop"), "shop");
        assert_ne!(tag(":concurrency: 1"), "");
    }

    #[test]
    fn names_a_process_after_its_directory() {
        for (dir, tag) in [
            ("/srv/myapp", "myapp"),
            ("/srv/myapp/releases/20261123043513", "myapp"),
            ("/srv/myapp/20261123043513", "20261123043513"),
            ("/srv/myapp/releases/current", "current"),
            ("/", ""),
        ] {
            assert_eq!(default_tag(Path::new(dir)), tag, "{dir}");
        }
    }
}
