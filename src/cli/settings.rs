use std::net::SocketAddr;
use std::time::Duration;

use super::config_file::ConfigFile;
use super::integer::parse_integer;
use super::keys::KEYS;
use super::passed_over::{remark, remarks_on_capsules};
use super::queues::queues;
use super::size::{parse_max_payload, parse_max_rss};
use super::yaml::Value;
use crate::error::{Error, Result};
use crate::probe::parse_health;
use crate::server::{
    DEFAULT_HEALTH, FetchMode, ForeignJobs, MaxRss, Promote, ServerBuilder, UnknownClasses, WireVersion,
};

/// What the command line or the configuration file says; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Settings {
    pub(super) concurrency: Option<usize>,
    /// The file has the key without a value. Sidekiq then needs a flag or `RAILS_MAX_THREADS`.
    pub(super) concurrency_is_empty: bool,
    pub(super) queues: Option<Vec<String>>,
    pub(super) capsules: Vec<CapsuleSettings>,
    pub(super) timeout: Option<Duration>,
    pub(super) tag: Option<String>,
    pub(super) labels: Option<Vec<String>>,
    pub(super) environment: Option<String>,
    pub(super) verbose: Option<bool>,
    pub(super) max_retries: Option<u64>,
    pub(super) dead_max_jobs: Option<u64>,
    pub(super) dead_timeout: Option<Duration>,
    pub(super) poll_interval_average: Option<Duration>,
    pub(super) average_scheduled_poll_interval: Option<Duration>,
    pub(super) max_iteration_runtime: Option<Duration>,
    pub(super) promote: Option<Promote>,
    pub(super) fetch: Option<FetchMode>,
    pub(super) unknown_classes: Option<UnknownClasses>,
    pub(super) foreign_jobs: Option<ForeignJobs>,
    pub(super) foreign_classes: Option<Vec<String>>,
    pub(super) wire_version: Option<WireVersion>,
    pub(super) health: Option<Health>,
    pub(super) max_rss: Option<MaxRss>,
    pub(super) max_payload: Option<usize>,
    pub(super) boot_timeout: Option<Duration>,
}

/// Environment variables, for settings that neither the command line, the file nor the program has.
#[derive(Debug, Default)]
pub(super) struct Variables {
    /// `RAILS_MAX_THREADS`.
    pub(super) max_threads: Option<String>,
    /// `FERROKIQ_PROMOTE`.
    pub(super) promote: Option<String>,
}

/// What becomes of the address for probes and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// No address, even if the program names one.
    Off,
    At(SocketAddr),
}

impl Health {
    pub(super) fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct CapsuleSettings {
    name: String,
    concurrency: Option<usize>,
    queues: Option<Vec<String>>,
}

/// Keys that may not be empty: Sidekiq does not start, or fails later.
const NEVER_EMPTY: [&str; 4] =
    ["timeout", "dead_max_jobs", "dead_timeout_in_seconds", "average_scheduled_poll_interval"];

impl Settings {
    /// Reads a configuration file; gives remarks on what was passed over.
    pub(super) fn from_file(file: &ConfigFile) -> Result<(Self, Vec<String>)> {
        let mut settings = Self::default();
        let mut remarks = Vec::new();
        let shown = file.path.display();
        for (key, value) in &file.entries {
            let known = settings.take(key, value).map_err(|expected| {
                Error::config(format!("{shown}: {key}: {} is not {expected}", String::from(value)))
            })?;
            let passed_over = if known { Vec::new() } else { remark(key, value).into_iter().collect() };
            let of_capsules = if key == "capsules" { remarks_on_capsules(value) } else { Vec::new() };
            remarks.extend(passed_over.into_iter().chain(of_capsules).map(|said| format!("{shown}: {said}")));
        }
        Ok((settings, remarks))
    }

    /// Takes one entry; `false` if it is none of ours, an error that says what was expected.
    fn take(&mut self, key: &str, value: &Value) -> Result<bool, &'static str> {
        if matches!(value, Value::Null) && !NEVER_EMPTY.contains(&key) {
            self.concurrency_is_empty |= key == "concurrency";
            return Ok(KEYS.contains(&key));
        }
        match key {
            "concurrency" => self.concurrency = Some(number(value)?),
            "queues" => self.queues = Some(queues(value)?),
            "capsules" => self.capsules = capsules(value)?,
            "timeout" => self.timeout = Some(timeout(value)?),
            "tag" => self.tag = if matches!(value, Value::Bool(false)) { None } else { Some(text(value)?) },
            "labels" => self.labels = Some(texts(value)?),
            "environment" => self.environment = Some(text(value)?),
            // True in Ruby, as is everything else: `"false"`, 0.
            "verbose" => self.verbose = Some(!matches!(value, Value::Bool(false))),
            "max_retries" => self.max_retries = Some(number(value)?),
            "dead_max_jobs" => self.dead_max_jobs = Some(number(value)?),
            "dead_timeout_in_seconds" => self.dead_timeout = Some(span(value)?),
            "poll_interval_average" => self.poll_interval_average = Some(span(value)?),
            "average_scheduled_poll_interval" => self.average_scheduled_poll_interval = Some(span(value)?),
            "max_iteration_runtime" => self.max_iteration_runtime = Some(span(value)?),
            "boot_timeout" => self.boot_timeout = Some(span(value)?),
            "promote" => {
                // `off` without quotes is a boolean to YAML.
                let off = matches!(value, Value::Bool(false));
                let word = if off { "off".to_owned() } else { text(value).map_err(|_| PROMOTE)? };
                self.promote = Some(promote(&word)?);
            }
            "fetch" => {
                self.fetch = Some(match &*text(value)? {
                    "reliable" => FetchMode::Reliable,
                    "basic" => FetchMode::Basic,
                    _ => return Err("`reliable` or `basic`"),
                });
            }
            "unknown_classes" => self.unknown_classes = Some(unknown_classes(value)?),
            "foreign_jobs" => self.foreign_jobs = Some(foreign_jobs(value)?),
            "foreign_classes" => self.foreign_classes = Some(texts(value).map_err(|_| "a list of classes")?),
            "health" => {
                const EXPECTED: &str = "`true`, `false`, a port or `host:port`";
                self.health = Some(match value {
                    Value::Bool(false) => Health::Off,
                    Value::Bool(true) => Health::At(DEFAULT_HEALTH),
                    other => {
                        let text = text(other).map_err(|_| EXPECTED)?;
                        Health::At(parse_health(&text).map_err(|_| EXPECTED)?)
                    }
                });
            }
            "max_rss" => {
                const EXPECTED: &str = "a size: bytes, or a number with K, M or G; or `auto`";
                self.max_rss = Some(parse_max_rss(&text(value).map_err(|_| EXPECTED)?).map_err(|_| EXPECTED)?);
            }
            "max_payload" => {
                const EXPECTED: &str = "a size: bytes, or a number with K, M or G; 0 for no limit";
                self.max_payload = Some(parse_max_payload(&text(value).map_err(|_| EXPECTED)?).map_err(|_| EXPECTED)?);
            }
            "wire_version" => {
                self.wire_version = Some(match value {
                    Value::Int(6) => WireVersion::V6,
                    Value::Int(7) => WireVersion::V7,
                    Value::Int(8) => WireVersion::V8,
                    Value::Text(auto) | Value::Symbol(auto) if auto == "auto" => WireVersion::Auto,
                    _ => return Err("6, 7, 8 or `auto`"),
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What others say goes before what these say.
    pub(super) fn overrule(&mut self, others: Self) {
        macro_rules! overrule {
            ($($field:ident)+) => {$(
                if others.$field.is_some() {
                    self.$field = others.$field;
                }
            )+};
        }
        overrule!(concurrency queues timeout tag labels environment verbose max_retries dead_max_jobs dead_timeout);
        overrule!(poll_interval_average average_scheduled_poll_interval max_iteration_runtime promote fetch unknown_classes wire_version health max_rss);
        overrule!(foreign_jobs foreign_classes max_payload boot_timeout);
        if !others.capsules.is_empty() {
            self.capsules = others.capsules;
        }
    }

    /// Applies these settings to a builder; a variable only where the builder has no value then.
    pub(super) fn apply(self, mut builder: ServerBuilder, variables: Variables) -> Result<ServerBuilder> {
        if let Some(word) = variables.promote.filter(|word| !word.is_empty()) {
            let which = promote(&word)
                .map_err(|expected| Error::config(format!("FERROKIQ_PROMOTE: {word:?} is not {expected}")))?;
            builder.config.promote.get_or_insert(which);
        }
        let from_environment = match variables.max_threads.filter(|threads| !threads.is_empty()) {
            Some(threads) => Some(
                parse_integer(&threads)
                    .ok()
                    .and_then(|threads| usize::try_from(threads).ok())
                    .ok_or_else(|| Error::config(format!("RAILS_MAX_THREADS: \"{threads}\" is not a number")))?,
            ),
            None => None,
        };
        let of_program = builder.config.capsule("default").concurrency;
        if self.concurrency_is_empty && self.concurrency.or(of_program).or(from_environment).is_none() {
            return Err(Error::config(
                "concurrency is empty; give it a number, remove the key, or set RAILS_MAX_THREADS",
            ));
        }
        builder = builder.capsule("default", |mut capsule| {
            if let Some(jobs) = self.concurrency.or(capsule.concurrency).or(from_environment) {
                capsule = capsule.concurrency(jobs);
            }
            match self.queues {
                Some(queues) => capsule.queues(queues),
                None => capsule,
            }
        });
        for CapsuleSettings { name, concurrency, queues } in self.capsules {
            builder = builder.capsule(&name, |mut capsule| {
                if let Some(jobs) = concurrency {
                    capsule = capsule.concurrency(jobs);
                }
                match queues {
                    Some(queues) => capsule.queues(queues),
                    None => capsule,
                }
            });
        }
        macro_rules! apply {
            ($($field:ident)+) => {$(
                if let Some(value) = self.$field {
                    builder = builder.$field(value);
                }
            )+};
        }
        apply!(timeout tag labels environment max_retries dead_max_jobs dead_timeout poll_interval_average);
        apply!(average_scheduled_poll_interval max_iteration_runtime promote fetch unknown_classes wire_version);
        builder.config.max_rss = self.max_rss.or(builder.config.max_rss);
        apply!(foreign_jobs foreign_classes max_payload boot_timeout);
        if let Some(health) = self.health {
            builder.config.health = health.address();
        }
        Ok(builder)
    }
}

/// `fail`, `requeue`, `divert(QUEUE)` or `divert: QUEUE`.
fn unknown_classes(value: &Value) -> Result<UnknownClasses, &'static str> {
    match diverted(value) {
        Some(queue) => Ok(UnknownClasses::Divert(queue)),
        None => match text(value).as_deref().map(str::trim) {
            Ok("fail") => Ok(UnknownClasses::Fail),
            Ok("requeue") => Ok(UnknownClasses::Requeue),
            _ => Err("`fail`, `requeue` or `divert(QUEUE)`"),
        },
    }
}

/// `requeue`, `divert(QUEUE)`, `divert: QUEUE`, `fail` or `run`.
fn foreign_jobs(value: &Value) -> Result<ForeignJobs, &'static str> {
    match diverted(value) {
        Some(queue) => Ok(ForeignJobs::Divert(queue)),
        None => match text(value).as_deref().map(str::trim) {
            Ok("requeue") => Ok(ForeignJobs::Requeue),
            Ok("fail") => Ok(ForeignJobs::Fail),
            Ok("run") => Ok(ForeignJobs::Run),
            _ => Err("`requeue`, `divert(QUEUE)`, `fail` or `run`"),
        },
    }
}

/// The queue of `divert(QUEUE)` or `divert: QUEUE`; `None` for anything else.
fn diverted(value: &Value) -> Option<String> {
    match value {
        Value::Map(entries) => match &entries[..] {
            [(key, queue)] if key.name() == "divert" => text(queue).ok(),
            _ => None,
        },
        word => Some(text(word).ok()?.trim().strip_prefix("divert(")?.strip_suffix(')')?.trim().to_owned()),
    }
}

const PROMOTE: &str = "`own`, `all` or `off`";

fn promote(word: &str) -> Result<Promote, &'static str> {
    match word {
        "own" => Ok(Promote::Own),
        "all" => Ok(Promote::All),
        "off" => Ok(Promote::Off),
        _ => Err(PROMOTE),
    }
}

fn number<T: TryFrom<i64>>(value: &Value) -> Result<T, &'static str> {
    match value {
        Value::Int(number) => T::try_from(*number).map_err(|_| "a whole number, 0 or more"),
        _ => Err("a whole number"),
    }
}

fn span(value: &Value) -> Result<Duration, &'static str> {
    let secs = match value {
        Value::Int(secs) => *secs as f64,
        Value::Float(secs) => *secs,
        _ => return Err("a number of seconds"),
    };
    Duration::try_from_secs_f64(secs).map_err(|_| "a number of seconds")
}

/// Seconds, of which Sidekiq wants one at least.
fn timeout(value: &Value) -> Result<Duration, &'static str> {
    let secs = match value {
        Value::Int(secs) => *secs as f64,
        Value::Float(secs) => *secs,
        Value::Text(text) => text.parse::<u32>().map_err(|_| "a number of seconds")?.into(),
        _ => return Err("a number of seconds"),
    };
    Duration::try_from_secs_f64(secs).ok().filter(|span| span.as_secs() > 0).ok_or("a valid value")
}

fn text(value: &Value) -> Result<String, &'static str> {
    value.to_text().ok_or("a word")
}

fn texts(value: &Value) -> Result<Vec<String>, &'static str> {
    match value {
        Value::List(items) => items.iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

fn capsules(value: &Value) -> Result<Vec<CapsuleSettings>, &'static str> {
    const EXPECTED: &str = "a map of capsules, each with `concurrency` and `queues`";
    let Value::Map(entries) = value else { return Err(EXPECTED) };
    entries
        .iter()
        .map(|(name, settings)| {
            let Value::Map(settings) = settings else { return Err(EXPECTED) };
            let mut capsule = CapsuleSettings { name: name.name().to_owned(), ..CapsuleSettings::default() };
            for (key, value) in settings {
                match key.name() {
                    "concurrency" => capsule.concurrency = Some(number(value)?),
                    "queues" if !matches!(value, Value::Null) => capsule.queues = Some(queues(value)?),
                    _ => {}
                }
            }
            Ok(capsule)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::yaml::Key;
    use super::*;

    fn settings(entries: &[(&str, Value)]) -> Result<(Settings, Vec<String>)> {
        let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Settings::from_file(&ConfigFile { path: "sidekiq.yml".into(), entries })
    }

    fn key(name: &str) -> Key {
        Key::Symbol(name.to_owned())
    }

    fn list(items: &[&str]) -> Value {
        Value::List(items.iter().map(|item| Value::Text((*item).to_owned())).collect())
    }

    #[test]
    fn lets_a_flag_go_before_the_file_and_the_file_before_the_environment() {
        let (mut settings, _) = settings(&[("concurrency", Value::Int(7)), ("queues", list(&["a", "b"]))]).unwrap();
        settings.overrule(Settings { queues: Some(vec!["c".into()]), ..Settings::default() });
        let variables = || Variables { max_threads: Some("99".into()), promote: Some("all".into()) };
        let builder = settings.clone().apply(ServerBuilder::default(), variables()).unwrap();
        let capsules = builder.config.build_capsules().unwrap();
        assert_eq!(capsules[0].concurrency(), 7);
        assert_eq!(capsules[0].weights(), [("c".to_owned(), 0)]);

        let builder = Settings::default().apply(ServerBuilder::default(), variables()).unwrap();
        assert_eq!(builder.config.promote, Some(Promote::All));
        assert_eq!(builder.config.build_capsules().unwrap()[0].concurrency(), 99);
        let said = ServerBuilder::default().concurrency(3).promote(Promote::Off);
        let builder = Settings::default().apply(said, variables()).unwrap();
        assert_eq!(builder.config.build_capsules().unwrap()[0].concurrency(), 3);
        assert_eq!(builder.config.promote, Some(Promote::Off));
    }

    #[test]
    fn health_false_of_the_file_goes_before_the_program_and_a_flag_before_the_file() {
        let of_program = || ServerBuilder::default().health(DEFAULT_HEALTH);
        let (mut settings, _) = settings(&[("health", Value::Bool(false))]).unwrap();
        let builder = settings.clone().apply(of_program(), Variables::default()).unwrap();
        assert_eq!(builder.config.health, None);
        let other = "127.0.0.1:1".parse().unwrap();
        settings.overrule(Settings { health: Some(Health::At(other)), ..Settings::default() });
        let builder = settings.apply(of_program(), Variables::default()).unwrap();
        assert_eq!(builder.config.health, Some(other));
        let builder = Settings::default().apply(of_program(), Variables::default()).unwrap();
        assert_eq!(builder.config.health, Some(DEFAULT_HEALTH));
    }

    #[test]
    fn reads_capsules() {
        let serial = Value::Map(vec![(key("concurrency"), Value::Int(1)), (key("queues"), list(&["invoices"]))]);
        let (settings, _) = settings(&[("capsules", Value::Map(vec![(key("serial"), serial)]))]).unwrap();
        let builder = settings.apply(ServerBuilder::default(), Variables::default()).unwrap();
        let capsules = builder.config.build_capsules().unwrap();
        assert_eq!((capsules[1].name(), capsules[1].concurrency()), ("serial", 1));
    }

    #[test]
    fn reads_what_becomes_of_unknown_classes() {
        let text = |word: &str| Value::Text(word.to_owned());
        for (value, policy) in [
            (text("fail"), UnknownClasses::Fail),
            (text("requeue"), UnknownClasses::Requeue),
            (text("divert(ruby)"), UnknownClasses::Divert("ruby".into())),
            (Value::Map(vec![(key("divert"), text("ruby"))]), UnknownClasses::Divert("ruby".into())),
        ] {
            let (settings, _) = settings(&[("unknown_classes", value)]).unwrap();
            assert_eq!(settings.unknown_classes, Some(policy));
        }
    }

    #[test]
    fn reads_which_due_jobs_are_promoted() {
        for (value, which) in [
            (Value::Text("own".into()), Promote::Own),
            (Value::Text("all".into()), Promote::All),
            (Value::Text("off".into()), Promote::Off),
            (Value::Bool(false), Promote::Off),
        ] {
            assert_eq!(settings(&[("promote", value)]).unwrap().0.promote, Some(which));
        }
        let variables = Variables { promote: Some("mine".into()), ..Variables::default() };
        let error = Settings::default().apply(ServerBuilder::default(), variables).unwrap_err().to_string();
        assert_eq!(error, "FERROKIQ_PROMOTE: \"mine\" is not `own`, `all` or `off`");
    }

    #[test]
    fn reads_what_becomes_of_jobs_of_ruby_gems() {
        let text = |word: &str| Value::Text(word.to_owned());
        for (value, policy) in [
            (text("requeue"), ForeignJobs::Requeue),
            (text("divert( ruby )"), ForeignJobs::Divert("ruby".into())),
            (Value::Map(vec![(key("divert"), text("ruby"))]), ForeignJobs::Divert("ruby".into())),
            (text("fail"), ForeignJobs::Fail),
            (text("run"), ForeignJobs::Run),
        ] {
            let entries = [("foreign_jobs", value), ("foreign_classes", list(&["Tracked", "Throttled"]))];
            let (settings, remarks) = settings(&entries).unwrap();
            assert!(remarks.is_empty(), "{remarks:?}");
            let config = settings.apply(ServerBuilder::default(), Variables::default()).unwrap().config;
            assert_eq!(
                (config.foreign_jobs, config.foreign_classes.join(" ")),
                (policy, "Tracked Throttled".to_owned())
            );
        }
    }

    #[test]
    fn names_the_key_that_is_wrong() {
        for (key, value) in [
            ("concurrency", Value::Text("6".into())),
            ("concurrency", Value::Int(-1)),
            ("timeout", Value::Int(0)),
            ("queues", Value::List(vec![])),
            ("queues", Value::List(vec![Value::Map(vec![])])),
            ("queues", Value::List(vec![Value::Symbol("a,2".into())])),
            ("queues", Value::List(vec![Value::List(vec![Value::Text("a".into()), Value::Int(-1)])])),
            ("capsules", Value::Int(1)),
            ("fetch", Value::Text("fast".into())),
            ("promote", Value::Bool(true)),
            ("unknown_classes", Value::Text("divert".into())),
            ("foreign_jobs", Value::Text("leave".into())),
            ("foreign_jobs", Value::Bool(false)),
            ("foreign_classes", Value::Map(vec![])),
            ("unknown_classes", Value::Map(vec![(key("requeue"), Value::Text("q".into()))])),
        ] {
            let error = settings(&[(key, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("sidekiq.yml: {key}: ")), "{error}");
        }
    }

    #[test]
    fn remarks_on_what_it_passes_over() {
        let entries = [
            ("redis", Value::Text("x".into())),
            ("concurrencyy", Value::Int(1)),
            ("strict", Value::Bool(true)),
            ("staging", Value::Map(vec![])),
        ];
        let (_, remarks) = settings(&entries).unwrap();
        assert_eq!(remarks.len(), 2, "{remarks:?}");
        assert!(remarks[0].contains("REDIS_URL") && remarks[1].contains("concurrencyy"), "{remarks:?}");
    }
}
