//! What Sidekiq checks and fills in before a job is written, in its order and with its words.

use crate::error::{Error, Result};
use crate::payload::{self, Jid, Payload};
use crate::time::{EpochSecs, StampForm};

/// Seconds `retry_for` may be at most; beyond it somebody passed a moment instead of a span.
pub(super) const MAX_RETRY_FOR: f64 = 1_000_000_000.0;

/// Checks a payload and fills in defaults: `retry` and `queue` in front, `jid` and `created_at` at the end.
pub(super) fn complete(payload: Payload, stamps: StampForm) -> Result<Payload> {
    let template = template(payload)?;
    check_args(&template)?;
    Ok(finish(template, &stamps.stamp(EpochSecs::now())))
}

/// As [`complete`], for a payload whose arguments come later.
pub(super) fn template(payload: Payload) -> Result<Payload> {
    let mut item = Payload::empty();
    item.append_raw("retry", payload.get("retry").unwrap_or("true"));
    item.append_raw("queue", payload.get("queue").unwrap_or("\"default\""));
    for (key, value) in payload.distinct() {
        if key != "retry" && key != "queue" {
            item.append_raw(key, value);
        }
    }
    check(&item)?;
    if let Some(queue) = item.get("queue").filter(|queue| is_number(queue)).map(number_text) {
        item.insert("queue", queue);
    }
    if let Some(raw) = item.get("retry_for")
        && let Ok(secs) = raw.parse::<f64>()
    {
        if secs > MAX_RETRY_FOR {
            return Err(Error::payload("retry_for must be a relative amount of time, e.g. 172800 for 48 hours"));
        }
        if !raw.bytes().all(|byte| byte.is_ascii_digit()) {
            item.insert("retry_for", secs as i64);
        }
    }
    Ok(item)
}

/// Fills in what a complete payload has besides.
pub(super) fn finish(mut payload: Payload, stamp: &str) -> Payload {
    if is_falsy(payload.get("jid")) {
        payload.insert("jid", Jid::generate());
    }
    if is_falsy(payload.get("created_at")) {
        payload.insert_raw("created_at", stamp);
    }
    payload
}

/// Top-level keys a payload may be pushed with: the worker adds up to 20 when the job fails, and reads no more than 1,024.
const MAX_KEYS: usize = 1_000;

/// Refuses a payload with so many keys that a worker could not read it.
pub(super) fn check_keys(item: &Payload) -> Result<()> {
    let keys = item.keys().count();
    if keys > MAX_KEYS {
        return Err(Error::payload(format!("Job must have at most {MAX_KEYS} keys: {} has {keys}", item.class())));
    }
    Ok(())
}

/// Bytes a payload may be pushed with where workers read so many: a failed job grows by its error.
pub(super) fn max_pushed(max_payload: usize) -> usize {
    max_payload - max_payload / 256
}

/// Refuses a payload that a worker would move to the dead set unread for its size.
pub(super) fn check_size(class: &str, bytes: usize, limit: usize) -> Result<()> {
    if bytes > limit {
        return Err(Error::payload(format!(
            "Job must have at most {limit} bytes: {class} has {bytes}; store the data elsewhere and pass its key, or raise max_payload \
             of the workers and of this client"
        )));
    }
    Ok(())
}

fn check(item: &Payload) -> Result<()> {
    check_keys(item)?;
    if let Some(key) = item.key_too_deep() {
        let (class, most) = (item.class(), payload::MAX_DEPTH - 1);
        return Err(Error::payload(format!(
            "Job must be nested at most {most} levels deep: '{key}' of {class} is deeper"
        )));
    }
    let Some(class) = item.get("class") else {
        return Err(Error::payload("Job must be a Hash with 'class' and 'args' keys: there is no 'class'"));
    };
    if !class.starts_with('"') {
        return Err(Error::payload(
            "Job class must be either a Class or String representation of the class name: it is something else",
        ));
    }
    let class = item.class();
    if item.get("at").is_some_and(|at| !is_number(at)) {
        return Err(Error::payload(format!("Job 'at' must be a Numeric timestamp: that of {class} is not")));
    }
    if item.get("at").and_then(|at| at.parse::<f64>().ok()).is_some_and(f64::is_infinite) {
        return Err(Error::payload(format!(
            "Job 'at' must be a Numeric timestamp: that of {class} is beyond all floats"
        )));
    }
    if item.get("tags").is_some_and(|tags| !is_falsy(Some(tags)) && !tags.starts_with('[')) {
        return Err(Error::payload(format!("Job tags must be an Array: those of {class} are not")));
    }
    let queue = item.get("queue").unwrap_or("null");
    if (queue.starts_with('"') && item.queue().is_empty()) || !(queue.starts_with('"') || is_number(queue)) {
        return Err(Error::payload(format!("Job must include a valid queue name: that of {class} is not")));
    }
    Ok(())
}

/// The arguments: not those of a bulk template, which has none.
fn check_args(item: &Payload) -> Result<()> {
    match item.get("args") {
        None => Err(Error::payload("Job must be a Hash with 'class' and 'args' keys: there are no 'args'")),
        Some(args) if !args.starts_with('[') => {
            Err(Error::payload(format!("Job args must be an Array: those of {} are not", item.class())))
        }
        Some(args) => payload::check_args(item.class(), args),
    }
}

/// A payload that went through middleware: still something that can be written.
pub(super) fn checked(payload: Payload) -> Result<Payload> {
    check(&payload)?;
    check_args(&payload)?;
    Ok(payload)
}

/// The id to tell the caller; an id that is no string is told as its JSON.
pub(super) fn jid(payload: &Payload) -> Option<Jid> {
    match payload.jid() {
        "" => payload.get("jid").map(Jid::from),
        jid => Some(jid.into()),
    }
}

/// Score and bytes of a job for the schedule, which does not hold `at`.
pub(super) fn scheduled(mut payload: Payload) -> Result<(String, String)> {
    match payload.remove("at") {
        Some(at) => Ok((at, payload.into_string())),
        None => Err(Error::payload("Job 'at' must be a Numeric timestamp: of several jobs some have none")),
    }
}

/// A JSON number as Ruby's `to_s` writes it.
pub(super) fn number_text(raw: &str) -> String {
    match raw.parse::<f64>() {
        Ok(number) if number.is_infinite() && raw.contains(['.', 'e', 'E']) => {
            if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
        }
        Ok(number) if raw.contains(['.', 'e', 'E']) => EpochSecs(number).to_string(),
        _ if raw == "-0" => "0".to_owned(),
        _ => raw.to_owned(),
    }
}

pub(super) fn is_number(raw: &str) -> bool {
    raw.starts_with(|first: char| first.is_ascii_digit() || first == '-')
}

/// What Ruby's `||=` replaces.
pub(super) fn is_falsy(raw: Option<&str>) -> bool {
    matches!(raw, None | Some("null" | "false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(raw: &str) -> Result<String> {
        let payload = complete(Payload::parse(raw).unwrap(), StampForm::Millis)?;
        let stamp = payload.get("created_at").unwrap().to_owned();
        Ok(payload.into_string().replace(&stamp, "NOW"))
    }

    #[test]
    fn orders_keys_as_ruby_merges_them() {
        assert_eq!(
            completed(r#"{"jid":"abc","zzz":1,"args":[],"class":"X","queue":"sym","created_at":1.25}"#).unwrap(),
            r#"{"retry":true,"queue":"sym","jid":"abc","zzz":1,"args":[],"class":"X","created_at":NOW}"#
        );
        let filled = completed(r#"{"class":"X","args":[1],"jid":null}"#).unwrap();
        assert!(filled.starts_with(r#"{"retry":true,"queue":"default","class":"X","args":[1],"jid":""#), "{filled}");
        assert!(filled.ends_with(r#""created_at":NOW}"#), "{filled}");
    }

    #[test]
    fn rejects_what_sidekiq_rejects() {
        for (raw, message) in [
            (r#"{"args":[]}"#, "Job must be a Hash with 'class' and 'args' keys:"),
            (r#"{"class":"X"}"#, "Job must be a Hash with 'class' and 'args' keys:"),
            (r#"{"class":"X","args":{}}"#, "Job args must be an Array:"),
            (r#"{"class":1,"args":[]}"#, "Job class must be either a Class or String"),
            (r#"{"class":"X","args":[],"at":null}"#, "Job 'at' must be a Numeric timestamp:"),
            (r#"{"class":"X","args":[],"at":"5"}"#, "Job 'at' must be a Numeric timestamp:"),
            (r#"{"class":"X","args":[],"tags":"a"}"#, "Job tags must be an Array:"),
            (r#"{"class":"X","args":[],"queue":""}"#, "Job must include a valid queue name"),
            (r#"{"class":"X","args":[],"queue":null}"#, "Job must include a valid queue name"),
            (r#"{"class":"X","args":[],"retry_for":1000000001}"#, "retry_for must be a relative amount of time"),
        ] {
            let error = completed(raw).unwrap_err();
            assert!(error.to_string().starts_with(message), "{raw}: {error}");
        }
    }

    #[test]
    fn accepts_what_sidekiq_accepts() {
        for raw in [
            r#"{"class":"","args":[]}"#,
            r#"{"class":"X","args":[],"tags":null}"#,
            r#"{"class":"X","args":[],"queue":"mit Leerzeichen é"}"#,
            r#"{"class":"X","args":[],"at":1}"#,
            r#"{"class":"X","args":[],"jid":7}"#,
        ] {
            assert!(completed(raw).is_ok(), "{raw}");
        }
        let cut = completed(r#"{"class":"X","args":[],"retry_for":3600.9,"queue":7}"#).unwrap();
        assert!(cut.contains(r#""queue":"7""#) && cut.contains(r#""retry_for":3600,"#), "{cut}");
    }

    #[test]
    fn writes_numbers_as_ruby_does() {
        for (raw, text) in
            [("7", "7"), ("-0", "0"), ("-0.0", "-0.0"), ("1e5", "100000.0"), ("1.50", "1.5"), ("-1e400", "-Infinity")]
        {
            assert_eq!(number_text(raw), text);
        }
        assert_eq!(number_text(&"9".repeat(400)), "9".repeat(400));
    }

    fn wide(keys: usize) -> Payload {
        let more: String = (0..keys).map(|key| format!(r#","k{key}":{key}"#)).collect();
        Payload::parse(format!(r#"{{"class":"A","args":[]{more}}}"#)).unwrap()
    }

    #[test]
    fn completes_in_linear_time() {
        let keys = 990;
        let wide = wide(keys);
        let (steps, completed) = payload::steps::of(|| complete(wide, StampForm::Millis).unwrap());
        assert!(completed.as_str().ends_with('}') && steps < 30 * keys, "{steps}");
    }

    #[test]
    fn refuses_so_many_keys_that_no_worker_could_read_the_job_once_it_failed() {
        assert!(complete(wide(MAX_KEYS - 4), StampForm::Millis).is_ok());
        let error = complete(wide(MAX_KEYS - 3), StampForm::Millis).unwrap_err();
        assert_eq!(error.to_string(), "Job must have at most 1000 keys: A has 1001");
    }

    #[test]
    fn refuses_times_beyond_all_floats() {
        for at in ["1e400", "-1e400"] {
            let error = completed(&format!(r#"{{"class":"X","args":[],"at":{at}}}"#)).unwrap_err();
            assert!(error.to_string().starts_with("Job 'at' must be a Numeric timestamp:"), "{error}");
        }
    }
}
