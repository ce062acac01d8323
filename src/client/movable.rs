//! What Ruby's poller needs to move an entry of `retry` or `schedule` to its queue.
//!
//! It removes the entry and calls `Sidekiq::Client#push`, which raises on a payload that breaks Sidekiq's rules: the job is lost. So no
//! such payload may be written into these sets, and what that push fills in is filled in when this crate moves an entry.

use super::normalize::{MAX_RETRY_FOR, is_falsy, is_number, number_text};
use crate::payload::{Jid, Payload};

/// Gives a job that goes to a sorted set what Ruby's push does not fill in, or what Ruby's API needs to find it: `args`, where they are
/// absent or `null`, and a `jid`. Removes an `at` of `null`, and all but the last value of a key that stands twice.
pub(crate) fn mend(payload: &mut Payload) {
    if matches!(payload.get("args"), None | Some("null")) {
        payload.insert_raw("args", "[]");
    }
    if is_falsy(payload.get("jid")) || payload.get("jid") == Some("\"\"") {
        payload.insert("jid", Jid::generate());
    }
    if payload.get("at") == Some("null") {
        payload.remove("at");
    }
    payload.drop_repeated_keys();
}

/// Returns the key that makes Ruby's push raise, or `None` if it moves the payload. Sidekiq 6 does not know some of the rules; they hold
/// for it, too.
#[cfg(feature = "server")]
pub(crate) fn unmovable(payload: &Payload) -> Option<&'static str> {
    if !payload.get("class").is_some_and(|class| class.starts_with('"')) {
        return Some("class");
    }
    if !payload.get("args").is_some_and(|args| args.starts_with('[')) {
        return Some("args");
    }
    if payload.get("queue").is_some_and(|queue| matches!(queue, "null" | "\"\"")) {
        return Some("queue");
    }
    if payload.get("tags").is_some_and(|tags| !is_falsy(Some(tags)) && !tags.starts_with('[')) {
        return Some("tags");
    }
    if payload.get("at").is_some_and(|at| !at.parse::<f64>().is_ok_and(f64::is_finite)) {
        return Some("at");
    }
    let retry_for = payload.get("retry_for").filter(|secs| !is_falsy(Some(secs)));
    if retry_for.is_some_and(|secs| !secs.parse::<f64>().is_ok_and(|secs| secs <= MAX_RETRY_FOR)) {
        return Some("retry_for");
    }
    payload.unwritable()
}

/// Fills in what Ruby's push fills in when it moves a due entry: `retry`, `queue`, `jid`, `created_at`, a `retry_for` in whole seconds.
/// Absent or `null` `args` are `[]`. Every other byte stays as it is.
pub(crate) fn fill_in(payload: &mut Payload, stamp: impl FnOnce() -> String) {
    mend(payload);
    if !payload.contains_key("retry") {
        payload.insert_raw("retry", "true");
    }
    match payload.get("queue") {
        None | Some("null" | "\"\"") => payload.insert("queue", "default"),
        Some(queue) if is_number(queue) || matches!(queue, "true" | "false") => {
            let queue = number_text(queue);
            payload.insert("queue", queue);
        }
        Some(_) => {}
    }
    if let Some(secs) = payload.get("retry_for").filter(|secs| !secs.bytes().all(|byte| byte.is_ascii_digit()))
        && let Ok(secs) = secs.parse::<f64>()
        && secs <= MAX_RETRY_FOR
    {
        payload.insert("retry_for", secs as i64);
    }
    if is_falsy(payload.get("created_at")) {
        payload.insert_raw("created_at", stamp());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(raw: &str) -> Payload {
        Payload::parse(raw).unwrap()
    }

    #[test]
    fn names_the_key_that_makes_rubys_push_raise() {
        for (extra, key) in [
            (r#""class":7"#, Some("class")),
            (r#""class":null"#, Some("class")),
            (r#""args":{"a":1}"#, Some("args")),
            (r#""args":"x""#, Some("args")),
            (r#""queue":null"#, Some("queue")),
            (r#""queue":"""#, Some("queue")),
            (r#""tags":"vip""#, Some("tags")),
            (r#""tags":false"#, None),
            (r#""at":"soon""#, Some("at")),
            (r#""at":1e400"#, Some("at")),
            (r#""at":1.5"#, None),
            (r#""retry_for":true"#, Some("retry_for")),
            (r#""retry_for":1000000001"#, Some("retry_for")),
            (r#""retry_for":3600.5"#, None),
            (r#""x":[{"y":-1e999}]"#, Some("a number beyond all floats")),
            (r#""x":"1e999 in text""#, None),
            (r#""x":[{"y":1,"y":2}]"#, Some("a key that stands twice")),
            (r#""jid":7,"backtrace":[],"retry_queue":{}"#, None),
        ] {
            let raw = format!(r#"{{"class":"A","args":[],"queue":"q","retry":true,{extra}}}"#);
            let mut job = payload(&raw);
            mend(&mut job);
            assert_eq!(unmovable(&job), key, "{raw}");
        }
    }

    #[test]
    fn mends_what_has_one_meaning_only() {
        let mut job = payload(r#"{"class":"A","args":null,"at":null,"jid":null}"#);
        mend(&mut job);
        assert_eq!((job.get("args"), job.contains_key("at"), job.jid().len()), (Some("[]"), false, 24));
        let mut job = payload(r#"{"jid":"x","class":"No","args":[1],"class":"A","args":null}"#);
        mend(&mut job);
        assert_eq!(job.as_str(), r#"{"jid":"x","class":"A","args":[]}"#);
        let raw = r#"{"class":"A","args":[ 1 ],"jid":7}"#;
        let mut job = payload(raw);
        mend(&mut job);
        assert_eq!(job.as_str(), raw);
    }

    #[test]
    fn fills_in_what_rubys_push_fills_in() {
        let mut job = payload(r#"{"class":"A","args":[],"jid":"x"}"#);
        fill_in(&mut job, || "5".to_owned());
        assert_eq!(job.as_str(), r#"{"class":"A","args":[],"jid":"x","retry":true,"queue":"default","created_at":5}"#);
        let mut job = payload(
            r#"{"class":"A","args":[],"jid":"x","retry":null,"queue":7,"created_at":false,"retry_for":3600.9}"#,
        );
        fill_in(&mut job, || "5".to_owned());
        assert_eq!(
            job.as_str(),
            r#"{"class":"A","args":[],"jid":"x","retry":null,"queue":"7","created_at":5,"retry_for":3600}"#
        );
    }
}
