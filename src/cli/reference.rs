//! The configuration reference of the guide, made from the code.

use std::collections::BTreeSet;
use std::fmt::Write;

use clap::CommandFactory;

use super::args::Flags;
use super::keys::KEYS as KEYS_THAT_ARE_READ;
use crate::server::{BOOT_TIMEOUT, Config, DEFAULT_HEALTH};

/// A key of `config/sidekiq.yml`: what it takes, what holds without it, what it does.
type Key = (&'static str, &'static str, fn(&Config) -> String, &'static str);

const NOTHING: fn(&Config) -> String = |_| String::new();

/// In the order they are shown.
const KEYS: &[Key] = &[
    ("concurrency", "number", |_| "5".to_owned(), "jobs that run at the same time"),
    (
        "queues",
        "list: `name`, `\"name,2\"`, `[name, 2]`; or map: name to weight",
        |_| "`[default]`".to_owned(),
        "queues, with weights or strictly in order",
    ),
    (
        "capsules",
        "map: name to `concurrency` and `queues`",
        NOTHING,
        "groups of queues with a concurrency of their own",
    ),
    ("timeout", "seconds", |config| secs(config.timeout), "how long running jobs may take to end at a stop"),
    (
        "environment",
        "word",
        |config| format!("`{}`", config.environment),
        "read and not used, as in Ruby: `-e`, `APP_ENV`, `RAILS_ENV` or `RACK_ENV` selects the section of the file",
    ),
    ("tag", "word", |_| "name of the directory".to_owned(), "shown behind the process on the Busy page"),
    ("labels", "list", NOTHING, "shown on the Busy page"),
    ("verbose", "bool", |_| "`false`".to_owned(), "log at level debug"),
    ("max_retries", "number", |config| config.max_retries.to_string(), "retries of a job that does not say itself"),
    (
        "dead_max_jobs",
        "number",
        |config| config.dead_max_jobs.to_string(),
        "the dead set keeps fewer entries than this, as in Sidekiq",
    ),
    (
        "dead_timeout_in_seconds",
        "seconds",
        |config| secs(config.dead_timeout),
        "age at which entries leave the dead set",
    ),
    (
        "poll_interval_average",
        "seconds",
        |_| "grows with the processes".to_owned(),
        "between two looks of this process at what is due",
    ),
    (
        "average_scheduled_poll_interval",
        "seconds",
        |config| secs(config.average_scheduled_poll_interval),
        "between two looks of all processes together",
    ),
    (
        "max_iteration_runtime",
        "seconds",
        |_| "no limit".to_owned(),
        "how long an iterable job runs before it makes way",
    ),
    (
        "promote",
        "`own`, `all`, `off`",
        |config| format!("`{:?}`", config.promote.unwrap_or_default()).to_lowercase(),
        "which due jobs this process promotes: see [below](#due-jobs-beside-ruby)",
    ),
    (
        "fetch",
        "`reliable`, `basic`",
        |config| format!("`{:?}`", config.fetch).to_lowercase(),
        "how jobs leave a queue: `basic` loses what runs when the process dies",
    ),
    (
        "unknown_classes",
        "`fail`, `requeue`, `{divert: QUEUE}`",
        |config| format!("`{:?}`", config.unknown_classes).to_lowercase(),
        "what becomes of jobs nobody here runs",
    ),
    (
        "foreign_jobs",
        "`requeue`, `{divert: QUEUE}`, `fail`, `run`",
        |config| format!("`{:?}`", config.foreign_jobs).to_lowercase(),
        "what becomes of jobs that hold something of a Ruby gem",
    ),
    (
        "foreign_classes",
        "list",
        NOTHING,
        "classes whose jobs belong to a Ruby gem though their payloads do not show it",
    ),
    (
        "wire_version",
        "6, 7, 8, `auto`",
        |config| format!("`{:?}`", config.wire_version).to_lowercase(),
        "the Sidekiq that reads what this process writes",
    ),
    (
        "health",
        "`true`, `false`, port, `address:port`",
        |config| config.health.map_or("off".to_owned(), |at| at.to_string()),
        "answer `/live`, `/ready` and `/metrics` there; `true` is `127.0.0.1:7433`, `false` is no address even if the program names one",
    ),
    (
        "max_rss",
        "bytes, `512M`, `2G`, `auto`",
        |config| config.max_rss.map_or("no limit".to_owned(), |max| format!("{max:?}")),
        "stop in good order above so much memory, exit code 75; `auto`: 4/5 of the control group's limit",
    ),
    (
        "max_payload",
        "bytes, `64M`, 0 for no limit",
        |config| format!("{}M", config.max_payload >> 20),
        "largest payload of a job; a larger one goes to the dead set unread",
    ),
    (
        "boot_timeout",
        "seconds, 0 to exit at once",
        |config| config.boot_timeout.unwrap_or(BOOT_TIMEOUT).as_secs().to_string(),
        "how long the worker waits for Redis when it starts",
    ),
];

/// Variables of the environment a worker reads.
const VARIABLES: &[(&str, &str)] = &[
    (
        "REDIS_URL",
        "where Redis is: `redis://`, `rediss://`, `unix://`, `redis+sentinel://`; `redis://127.0.0.1:6379/0` without it",
    ),
    ("REDIS_PROVIDER", "the name of the variable that holds the URL, instead of `REDIS_URL`"),
    ("REDIS_PASSWORD_FILE", "a file that holds the password; read for each connection, so that it may change"),
    ("REDIS_SSL_CA_FILE", "trust only the authorities and server certificates in this PEM file, with `rediss://`"),
    ("REDIS_SSL_FINGERPRINT", "trust only certificates with these SHA-256 fingerprints, separated by commas"),
    ("REDIS_SSL_VERIFY_MODE", "`none` accepts every certificate, and logs a warning; `peer` is the default"),
    ("REDIS_SSL_CERT", "a client certificate, with `REDIS_SSL_KEY`"),
    ("REDIS_SSL_KEY", "its key"),
    (
        "SSL_CERT_FILE",
        "a file with the certificate authorities to trust instead of those of the system; empty counts as unset",
    ),
    ("SSL_CERT_DIR", "a directory with such files"),
    ("RAILS_MAX_THREADS", "concurrency, if nobody else says"),
    ("FERROKIQ_PROMOTE", "`promote`, if neither the command line, the file nor the program sets it"),
    ("APP_ENV", "the environment, without `-e`"),
    ("RAILS_ENV", "the same, without `APP_ENV`"),
    ("RACK_ENV", "the same, without the others"),
    ("DYNO", "the name of the host on the Busy page; log lines have no time"),
    ("RUST_LOG", "levels of log lines, instead of `-v`: `info,ferrokiq=debug`"),
    (
        "DEBUG_INVOCATION",
        "`1`: log at level debug, as `-v`; systemd sets it with `RestartMode=debug`, as for Sidekiq 8.1",
    ),
    ("NO_COLOR", "log lines without colour"),
    ("NOTIFY_SOCKET", "set by systemd for `Type=notify`"),
    ("WATCHDOG_USEC", "set by systemd for `WatchdogSec=`"),
    ("WATCHDOG_PID", "set by systemd with it"),
];

/// Where variables are read.
const SOURCES: &[&str] = &[
    include_str!("args.rs"),
    include_str!("mod.rs"),
    include_str!("notify.rs"),
    include_str!("logging/mod.rs"),
    include_str!("../store/options.rs"),
    include_str!("../store/tls.rs"),
    include_str!("../store/handshake.rs"),
    include_str!("../server/settings/identity.rs"),
];

fn secs(span: std::time::Duration) -> String {
    span.as_secs().to_string()
}

/// A cell that ends where it should.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn flags() -> String {
    let mut made = "\n| flag | what |\n|---|---|\n".to_owned();
    for argument in Flags::command().get_arguments() {
        let long = argument.get_long().map(|long| format!("--{long}")).unwrap_or_default();
        let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
        let takes = argument.get_action().takes_values();
        let value = argument.get_value_names().filter(|_| takes).map(|names| format!(" {}", names.join(" ")));
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(made, "| `{short}{long}{}` | {} |", cell(&value.unwrap_or_default()), cell(&help));
    }
    made + "\n"
}

fn keys() -> String {
    let config = Config::default();
    let mut made = "\n| key | takes | default | what |\n|---|---|---|---|\n".to_owned();
    for (key, takes, default, what) in KEYS {
        let _ = writeln!(made, "| `{key}` | {takes} | {} | {what} |", default(&config));
    }
    made + "\n"
}

fn variables() -> String {
    let mut made = "\n| variable | what |\n|---|---|\n".to_owned();
    for (name, what) in VARIABLES {
        let _ = writeln!(made, "| `{name}` | {what} |");
    }
    made + "\n"
}

/// Words of capitals in quotes.
fn capitals(source: &str) -> impl Iterator<Item = &str> {
    let is_name = |word: &&str| {
        word.len() > 3 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') && !word.starts_with('_')
    };
    source.split('"').filter(is_name)
}

#[test]
fn generated_reference_is_current() {
    for (name, made) in [("flags", flags()), ("keys", keys()), ("variables", variables())] {
        crate::generated::assert_current("configuration.md", name, &made);
    }
}

#[test]
fn the_reference_has_every_key_that_is_read() {
    let source = include_str!("settings.rs");
    let (_, take) = source.split_once("fn take(").expect("it is there");
    let (take, _) = take.split_once("_ => return Ok(false)").expect("it ends");
    let read: BTreeSet<&str> = take
        .lines()
        .filter_map(|line| line.strip_prefix("            \"")?.split_once("\" =>"))
        .map(|(key, _)| key)
        .collect();
    let known: BTreeSet<&str> = KEYS.iter().map(|(key, ..)| *key).collect();
    assert!(read.len() > 15, "{read:?}");
    assert_eq!(read, known);
    assert_eq!(read, KEYS_THAT_ARE_READ.into_iter().collect());
}

#[test]
fn every_key_but_one_has_a_method_of_the_builder() {
    let builder = include_str!("../server/builder.rs");
    let missing: Vec<&str> = KEYS_THAT_ARE_READ
        .into_iter()
        .filter(|key| {
            let method = match *key {
                "capsules" => "capsule",
                "dead_timeout_in_seconds" => "dead_timeout",
                key => key,
            };
            !builder.contains(&format!("pub fn {method}(")) && !builder.contains(&format!("pub fn {method}<"))
        })
        .collect();
    assert_eq!(missing, ["verbose"], "docs/guide/configuration.md names those that have none");
}

#[test]
fn the_reference_has_every_variable_that_is_read() {
    let tests = |source: &'static str| source.split("\nmod tests {").next().unwrap_or_default();
    let read: BTreeSet<&str> = SOURCES.iter().flat_map(|source| capitals(tests(source))).collect();
    // Values of flags, signals, and what the compiler is told; `RUST_LOG` is read by tracing-subscriber.
    let values =
        ["PATH", "QUEUE", "SIZE", "FORMAT", "MAJOR", "WHICH", "SECS", "TERM", "TTIN", "TSTP", "CARGO_PKG_VERSION"];
    let mut read: BTreeSet<&str> = read.into_iter().filter(|name| !values.contains(name)).collect();
    read.insert("RUST_LOG");
    assert_eq!(read, VARIABLES.iter().map(|(name, _)| *name).collect());
}

#[test]
fn the_default_of_health_is_what_help_says() {
    let help = Flags::command().render_long_help().to_string();
    assert!(help.contains(&DEFAULT_HEALTH.to_string()), "{help}");
}
