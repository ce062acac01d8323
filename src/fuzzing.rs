//! What the targets in `compat-tests/fuzz` feed with bytes nobody wrote by hand, and the test at the foot with their seeds. Each must take
//! anything. Not there in a build of the library.

#![allow(missing_docs, clippy::missing_panics_doc, reason = "a panic is what is looked for")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::api::JobRecord;
use crate::cli;
use crate::job::{JobError, OnExhausted, RetryIn};
use crate::payload::{Payload, Retry, is_too_deep, pack_backtrace, unpack_backtrace};
use crate::server::run::retry::{RetryContext, RetryHooks, Verdict, judge};
use crate::store::Store;
use crate::store::claims::Private;
use crate::time::{EpochSecs, StampForm};

/// Reads a job, asks it everything, and lets it fail.
pub fn payload(data: &[u8]) {
    let payload = match Payload::from_bytes(data.to_vec()) {
        Ok(payload) => payload,
        Err(malformed) => {
            assert_eq!(malformed.bytes, data, "what is no payload keeps its bytes");
            assert!(malformed.reason.len() < 80, "it is not quoted: {}", malformed.reason);
            // Everything that serde takes for an object, Ruby's limits aside, is one.
            let taken = serde_json::from_slice::<BTreeMap<String, Value>>(data).is_ok();
            let is_limit = ["deep", "keys"].iter().any(|limit| malformed.reason.contains(limit));
            assert!(!taken || is_limit, "{}", malformed.reason);
            return;
        }
    };
    assert_eq!(payload.as_str().as_bytes(), data);
    for key in payload.keys() {
        let raw = payload.get(key).expect("a key that is told is there");
        serde_json::from_str::<&serde_json::value::RawValue>(raw).expect("a value is JSON");
    }
    let _ = (payload.display_class(), payload.queue(), payload.jid(), payload.bid(), payload.retry_queue());
    let _ = (payload.args(), payload.tags(), payload.retry_count(), payload.stamp_form(), format!("{payload:?}"));
    let record = JobRecord::new(data.to_vec());
    let _ = (record.display_class(), record.display_args(), record.latency(), record.error_backtrace());
    fails(&payload);
}

struct Plain;

impl RetryHooks for Plain {
    fn default_retry(&self) -> Retry {
        Retry::Default
    }
    fn retry_in(&self, _: u32, _: &JobError) -> RetryIn {
        RetryIn::Default
    }
    fn retries_exhausted(&self, _: &Payload, _: &JobError) -> OnExhausted {
        OnExhausted::Bury
    }
}

fn fails(payload: &Payload) {
    let context =
        RetryContext { queue: "q", max_retries: 25, now: EpochSecs(1_795_408_404.25), stamps: StampForm::Millis };
    let boom = || JobError::new("ArgumentError", "boom");
    let errors = [
        boom(),
        JobError::kill(boom()),
        JobError::discard(boom()),
        JobError::snooze(Duration::from_secs(5)),
        JobError::requeue(),
    ];
    for (error, hooks) in errors.iter().flat_map(|error| [(error, None), (error, Some(&Plain as &dyn RetryHooks))]) {
        match judge(payload.clone(), error, hooks, &context, &mut rand::rng()) {
            Verdict::Retry { payload, delay } => {
                assert!(delay > 0.0 && delay < 4e7, "{delay}");
                read_again(&payload);
            }
            Verdict::Bury { payload }
            | Verdict::Discard { payload }
            | Verdict::Snooze { payload, .. }
            | Verdict::Requeue { payload, .. } => {
                read_again(&payload);
            }
            Verdict::BuryUnchanged { .. } => {}
        }
    }
}

fn read_again(payload: &Payload) -> Payload {
    Payload::parse(payload.as_str()).expect("what was written can be read")
}

/// The first line is a job; each other sets a key to a value, or takes one away, and serde's own map is the model.
pub fn splice(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let Ok(mut payload) = Payload::from_bytes(lines.next().unwrap_or_default().to_vec()) else { return };
    // A number serde cannot hold is beyond the model, not beyond us.
    let Ok(mut model) = serde_json::from_str::<BTreeMap<String, Value>>(&payload.as_str()) else { return };
    let original = payload.clone();
    let mut touched = Vec::new();
    for line in lines.take(64) {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        if let Some(key) = line.strip_prefix('-') {
            assert_eq!(payload.remove(key).is_some(), model.remove(key).is_some(), "{key}");
            assert!(!payload.contains_key(key));
            touched.push(key);
        } else if let Some((key, value)) = line.split_once(' ')
            && let Ok(value) = serde_json::from_str::<Value>(value)
            && !is_too_deep(&value.to_string())
        {
            payload.insert(key, &value);
            model.insert(key.to_owned(), value);
            touched.push(key);
        }
    }
    let again = read_again(&payload);
    assert_eq!(again.as_str(), payload.as_str());
    assert_eq!(Value::from(&again), Value::Object(model.into_iter().collect()));
    for key in original.keys().filter(|key| !touched.contains(key)) {
        assert_eq!(original.get(key), payload.get(key), "nobody touched {key}");
        assert_eq!(original.get(key), again.get(key), "nobody touched {key}");
    }
    assert_eq!((again.class(), again.queue(), again.jid()), (payload.class(), payload.queue(), payload.jid()));
}

/// Inflates, whatever it is; packs and unpacks.
pub fn backtrace(data: &[u8]) {
    use base64::Engine;
    use std::io::Write;
    let text = String::from_utf8_lossy(data);
    let bounded = |packed: &str| {
        if let Ok(frames) = unpack_backtrace(packed) {
            assert!(frames.iter().map(String::len).sum::<usize>() <= 1024 * 1024);
        }
    };
    let base64 = base64::engine::general_purpose::STANDARD;
    bounded(&text);
    bounded(&base64.encode(data));
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(data).expect("a Vec takes every byte");
    bounded(&base64.encode(zlib.finish().expect("a Vec takes every byte")));
    let frames: Vec<&str> = text.lines().collect();
    let kept = unpack_backtrace(&pack_backtrace(frames.iter().copied())).expect("what was packed can be unpacked");
    assert!(kept.len() <= 200 && frames.starts_with(&kept.iter().map(String::as_str).collect::<Vec<_>>()));
}

/// Reads a `config/sidekiq.yml` and builds a server of it.
pub fn config_file(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = cli::capsules_of(Path::new("config/sidekiq.yml"), text);
    }
}

/// Names of keys: what a private list is called tells the queue it was filled from, whatever that is called.
pub fn key_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let queue_of = Store::queue_of_batch;
    let _ = queue_of(text);
    let (identity, queue) = text.split_once('\n').unwrap_or(("host:1:0123456789ab", text));
    if !identity.contains('|') {
        let list = Private::of(identity).list(7, queue);
        assert_eq!(queue_of(&list), Some(queue));
        assert_eq!(queue_of(&Store::convicts(identity, queue)), Some(queue));
    }
    if crate::payload::is_routable_queue(queue) {
        assert!(!queue.is_empty() && queue.len() <= 512 && !queue.contains(char::is_control));
    }
}

/// Reads the arguments of a job of ActiveJob; what was written of them is read as the same, and written the same again.
#[cfg(feature = "active-job")]
pub fn active_job(data: &[u8]) {
    use crate::active_job::{Argument, BigDecimal, CurrentAttributes, Date, GlobalId, Time};

    let text = String::from_utf8_lossy(data);
    let _ = (BigDecimal::parse(&text), Date::parse(&text));
    if let Ok(time) = Time::parse(&text) {
        let _ = time.to_system_time();
    }
    if let Ok(id) = GlobalId::parse(&text) {
        assert_eq!(id.as_str(), text);
        assert!(!id.id().is_empty() || id.ids().count() > 0);
    }
    if let Ok(payload) = Payload::parse(format!("{{\"cattr\":{text}}}")) {
        let _ = CurrentAttributes::of(&payload, 0);
    }
    let arguments = match Argument::parse_all(&text) {
        Ok(arguments) => arguments,
        Err(error) => return assert_eq!(error.class(), "ActiveJob::DeserializationError"),
    };
    // What nobody may write can be read: a key that begins as Rails's own.
    let Ok(written) = Argument::write_all(&arguments) else { return };
    let again = Argument::parse_all(&written).expect("what was written can be read");
    assert_eq!(again, arguments);
    assert_eq!(Argument::write_all(&again).expect("what was written once"), written);
}

#[cfg(test)]
mod tests {
    use super::*;

    type Target = (&'static str, fn(&[u8]));

    const TARGETS: &[Target] = &[
        ("payload", payload),
        ("splice", splice),
        ("backtrace", backtrace),
        ("config_file", config_file),
        ("key_name", key_name),
        #[cfg(feature = "active-job")]
        ("active_job", active_job),
    ];

    #[test]
    fn every_target_takes_every_seed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (name, target) in TARGETS.iter().copied() {
            let seeds = std::fs::read_dir(root.join("compat-tests/fuzz/seeds").join(name)).unwrap();
            let seeds: Vec<_> = seeds.map(|seed| std::fs::read(seed.unwrap().path()).unwrap()).collect();
            assert!(seeds.len() >= 5, "{name}");
            for (_, target_of_another) in TARGETS.iter().copied() {
                seeds.iter().for_each(|seed| target_of_another(seed));
            }
            // And what is left when a byte is missing.
            for seed in &seeds {
                for end in (0..seed.len()).rev().take(300) {
                    target(&seed[..end]);
                }
            }
        }
    }

    /// Every known key with every kind of value.
    #[test]
    fn a_payload_takes_the_hostile_corpus() {
        #[derive(serde::Deserialize)]
        struct Corpus {
            keys: Vec<String>,
            values: Vec<String>,
        }
        let Corpus { keys, values } = serde_json::from_str(include_str!("../ruby-fixtures/hostile.json")).unwrap();
        for (key, value) in keys.iter().flat_map(|key| values.iter().map(move |value| (key, value))) {
            payload(format!(r#"{{"class":"A","args":[],"retry":3,"{key}":{value}}}"#).as_bytes());
            splice(
                format!("{{\"class\":\"A\",\"args\":[],\"{key}\":{value}}}\n{key} 1\n-{key}\nretry_count 0").as_bytes(),
            );
        }
    }
}
