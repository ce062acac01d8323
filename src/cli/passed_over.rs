//! What a worker logs about entries of a configuration file that it does not use.

use super::keys::KEYS;
use super::yaml::Value;
use crate::distance::distance;

/// Keys Sidekiq knows that mean nothing to a Rust worker.
const RUBYS_OWN: [&str; 6] =
    ["strict", "require", "skip_default_job_logging", "logged_job_attributes", "pidfile", "logfile"];

/// Names that are environments whatever their section holds.
const ENVIRONMENTS: [&str; 5] = ["development", "test", "staging", "production", "qa"];

const LIMITS: &str = "belongs to the gem sidekiq-limit_fetch and is ignored in this file: this worker heeds the limits in Redis, which a Ruby \
                      process of the gem writes there when it starts";
const SCHEDULES: &str = "belongs to the gems sidekiq-scheduler and sidekiq-cron and is ignored: this worker enqueues nothing on a \
                         schedule; keep one Ruby process that does, or enqueue these jobs from the system's cron";

/// Keys of widespread gems, what becomes of them and what to do.
const GEMS: [(&str, &str); 12] = [
    ("limits", LIMITS),
    ("process_limits", LIMITS),
    (
        "blocking",
        "belongs to the gem sidekiq-limit_fetch and is ignored: no queue blocks others here; serve these queues in a capsule \
         or a process of their own",
    ),
    (
        "dynamic",
        "belongs to the gems sidekiq-limit_fetch and sidekiq-scheduler and is ignored: this worker serves the queues that \
         `queues` lists, and enqueues nothing on a schedule",
    ),
    ("schedule", SCHEDULES),
    ("scheduler", SCHEDULES),
    ("cron", SCHEDULES),
    ("cron_schedule_file", SCHEDULES),
    ("cron_poll_interval", SCHEDULES),
    ("rufus_scheduler_options", SCHEDULES),
    ("redis", "is ignored, as by Sidekiq; set REDIS_URL"),
    ("namespace", "is ignored, as by Sidekiq: the keys in Redis have no prefix"),
];

/// Returns the remark on an entry that is no setting; `None` if it needs none: Ruby's own keys, sections of other environments, and
/// anchors under names that begin with `x-`, `_` or a dot.
pub(super) fn remark(key: &str, value: &Value) -> Option<String> {
    if RUBYS_OWN.contains(&key) || key.starts_with("x-") || key.starts_with(['_', '.']) {
        return None;
    }
    if let Some((_, sentence)) = GEMS.iter().find(|(name, _)| *name == key) {
        return (!matches!(value, Value::Null | Value::Bool(false))).then(|| format!("{key} {sentence}"));
    }
    if ENVIRONMENTS.contains(&key) && matches!(value, Value::Map(_) | Value::Null) {
        return None;
    }
    if let Some(meant) = near_miss(key) {
        return Some(format!("{key} is no setting of ferrokiq and is ignored; did you mean {meant}?"));
    }
    match value {
        Value::Map(entries) if entries.iter().any(|(key, _)| is_known(key.name())) => None,
        Value::Map(_) => Some(format!(
            "{key} is no setting of ferrokiq and holds none, as the section of an environment would; it is ignored"
        )),
        _ => Some(format!("{key} is no setting of ferrokiq; it is ignored")),
    }
}

/// Returns the remarks on keys of capsules, which have two settings.
pub(super) fn remarks_on_capsules(capsules: &Value) -> Vec<String> {
    let Value::Map(capsules) = capsules else { return Vec::new() };
    let mut remarks = Vec::new();
    for (name, settings) in capsules {
        let Value::Map(settings) = settings else { continue };
        for (key, _) in settings.iter().filter(|(key, _)| !["concurrency", "queues"].contains(&key.name())) {
            remarks.push(format!(
                "{} of capsule {} is no setting of a capsule; it is ignored",
                key.name(),
                name.name()
            ));
        }
    }
    remarks
}

fn is_known(key: &str) -> bool {
    KEYS.contains(&key) || RUBYS_OWN.contains(&key) || GEMS.iter().any(|(name, _)| *name == key)
}

/// The setting that this key differs from by a letter or two, by case or by punctuation.
fn near_miss(key: &str) -> Option<&'static str> {
    let plain = key.trim_matches(':').to_lowercase().replace(['-', ' '], "_");
    let edits = |known: &str| if known.len() < 6 { 1 } else { 2 };
    KEYS.into_iter()
        .filter_map(|known| Some((distance(&plain, known)?, known)))
        .filter(|(distance, known)| *distance <= edits(known))
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::super::yaml::Key;
    use super::*;

    fn map(keys: &[&str]) -> Value {
        Value::Map(keys.iter().map(|key| (Key::Symbol((*key).to_owned()), Value::Int(1))).collect())
    }

    #[test]
    fn is_silent_about_what_needs_no_remark() {
        for (key, value) in [
            ("strict", Value::Bool(true)),
            ("staging", map(&[])),
            ("staging", Value::Null),
            ("production", map(&["anything"])),
            ("defaults", map(&["concurrency"])),
            ("review", map(&["redis", "queues"])),
            ("beta", map(&["timeout"])),
            ("x-queues", Value::List(Vec::new())),
            ("dynamic", Value::Bool(false)),
        ] {
            assert_eq!(remark(key, &value), None);
        }
    }

    #[test]
    fn says_what_becomes_of_the_sections_of_gems() {
        for (key, part) in [
            ("limits", "limits in Redis"),
            ("process_limits", "limits in Redis"),
            ("blocking", "no queue blocks"),
            ("dynamic", "`queues` lists"),
            ("redis", "set REDIS_URL"),
            ("scheduler", "enqueues nothing"),
            ("schedule", "enqueues nothing"),
            ("cron", "enqueues nothing"),
        ] {
            // A queue may have the name of a setting.
            let said = remark(key, &map(&["queues"])).unwrap();
            assert!(said.starts_with(key) && said.contains("ignored") && said.contains(part), "{said}");
        }
    }

    #[test]
    fn names_the_setting_that_was_meant() {
        for (key, meant) in [
            ("capsule", "capsules"),
            ("capsulse", "capsules"),
            ("queue", "queues"),
            ("concurency", "concurrency"),
            ("Timeout", "timeout"),
            (":concurrency", "concurrency"),
            ("max-retries", "max_retries"),
        ] {
            for value in [map(&["serial"]), map(&["concurrency"]), Value::Int(1), Value::Null] {
                let said = remark(key, &value).unwrap();
                assert!(said.contains(&format!("did you mean {meant}?")), "{said}");
            }
        }
        for key in ["beta", "stage", "demo", "latest", "web", &"é".repeat(1_000)] {
            assert!(!remark(key, &Value::Int(1)).unwrap().contains("did you mean"), "{key}");
        }
    }

    #[test]
    fn remarks_on_a_map_that_holds_no_setting() {
        assert!(remark("throttles", &map(&["reports"])).unwrap().contains("holds none"));
    }
}
