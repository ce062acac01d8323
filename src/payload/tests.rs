use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

const JOB: &str = r#"{"retry":true,"queue":"default","args":[1,"two",{"k":[1.5,null,true]}],"class":"Plain","jid":"6fac50c1db3c621b388a7e46","created_at":1795408228294,"enqueued_at":1795408228294}"#;

#[test]
fn reads_the_known_keys() {
    let payload = Payload::parse(JOB).unwrap();
    assert_eq!(payload.class(), "Plain");
    assert_eq!(payload.queue(), "default");
    assert_eq!(payload.jid(), "6fac50c1db3c621b388a7e46");
    assert_eq!(payload.args(), r#"[1,"two",{"k":[1.5,null,true]}]"#);
    assert_eq!(payload.retry(), Retry::Default);
    assert_eq!(payload.retry_count(), None);
    assert_eq!(payload.stamp_form(), Some(StampForm::Millis));
}

#[test]
fn splices_and_leaves_every_other_byte_alone() {
    let raw =
        r#"{ "class" : "Odd", "f":1.10, "big":123456789012345678901234, "args":["\u00e9\/", 1.0e+20], "queue" :"a" }"#;
    let mut payload = Payload::parse(raw).unwrap();
    payload.insert("queue", "b");
    payload.insert("retry_count", 0);
    assert_eq!(
        payload.as_str(),
        r#"{ "class" : "Odd", "f":1.10, "big":123456789012345678901234, "args":["\u00e9\/", 1.0e+20], "queue" :"b" ,"retry_count":0}"#
    );
}

#[test]
fn grows_from_nothing() {
    let mut payload = Payload::parse(" {} ").unwrap();
    assert_eq!(payload.as_str(), " {} ");
    payload.insert("a", 1);
    payload.insert("b\"", "é\n");
    assert_eq!(payload.as_str(), " {\"a\":1,\"b\\\"\":\"é\\n\"} ");
}

#[test]
fn removes_keys_wherever_they_stand() {
    for (raw, rest) in [
        (r#"{"at":1,"x":2}"#, r#"{"x":2}"#),
        (r#"{"x":2,"at":1}"#, r#"{"x":2}"#),
        (r#"{"at":1}"#, "{}"),
        (r#"{"x":{"at":3},"at":1,"y":[]}"#, r#"{"x":{"at":3},"y":[]}"#),
        (r#"{"at":0,"x":2,"at":1}"#, r#"{"x":2}"#),
    ] {
        let mut payload = Payload::parse(raw).unwrap();
        assert_eq!(payload.remove("at").as_deref(), Some("1"));
        assert_eq!(payload.remove("at"), None);
        assert_eq!(payload.as_str(), rest);
    }
}

#[test]
fn removes_a_key_and_leaves_every_other_byte_alone() {
    for (raw, rest) in [
        (r#" { "at" : 1 , "x" :2.50 ,"\u0079": [ ] } "#, r#" { "x" :2.50 ,"\u0079": [ ] } "#),
        (r#" { "x" :2.50 , "at" : 1 ,"\u0079": [ ] } "#, r#" { "x" :2.50 ,"\u0079": [ ] } "#),
        (r#" { "x" :2.50 ,"\u0079": [ ] , "at" : 1 } "#, r#" { "x" :2.50 ,"\u0079": [ ] } "#),
        (r#"{"at":0, "x":1,"at":{"at":[","]},"x":2,"at":3}"#, r#"{ "x":1,"x":2}"#),
        (r#"{ "at":1,"\u0061t":2 }"#, "{ }"),
    ] {
        let mut payload = Payload::parse(raw).unwrap();
        assert!(payload.remove("at").is_some() && payload.remove("at").is_none());
        assert_eq!(payload.as_str(), rest);
    }
}

#[test]
fn a_key_that_was_removed_comes_back_at_the_end() {
    let mut payload = Payload::parse(r#"{"at":1,"queue":"a","x":2}"#).unwrap();
    payload.remove("at");
    payload.insert("x", 3);
    payload.remove("queue");
    payload.insert("queue", "é");
    payload.insert("at", 4);
    payload.insert("y", 5);
    payload.remove("y");
    assert_eq!(payload.as_str(), r#"{"x":3,"queue":"é","at":4}"#);
    assert_eq!(payload.keys().collect::<Vec<_>>(), ["x", "queue", "at"]);
    for key in ["x", "queue", "at"] {
        payload.remove(key);
    }
    assert_eq!((payload.as_str().as_ref(), payload.queue(), payload.get("x")), ("{}", "", None));
    payload.insert("z", 1);
    assert_eq!(payload.as_str(), r#"{"z":1}"#);
}

/// A payload with so many keys besides those of a job.
fn wide(keys: usize) -> Payload {
    let more: String = (0..keys).map(|key| format!(r#","k{key}":{key}"#)).collect();
    Payload::parse(format!(r#"{{"class":"A","args":[]{more}}}"#)).unwrap()
}

#[test]
fn edits_look_at_each_key_a_few_times_and_no_more() {
    let keys = 1_000;
    let mut payload = wide(keys);
    for key in ["k0", "k500", "k999"] {
        let (steps, removed) = steps::of(|| payload.remove(key));
        assert!(removed.is_some() && steps <= 2 * (keys + 2), "{steps} to remove one");
    }
    let (steps, ()) = steps::of(|| payload.insert("k7", 0));
    assert!(steps <= keys + 2, "{steps} to set one");
    let (steps, text) = steps::of(|| payload.into_string());
    assert!(steps == 0 && text.contains(r#""k7":0,"#), "{steps} to write it");
    let wide = wide(keys);
    let (steps, distinct) = steps::of(|| wide.distinct().len());
    assert_eq!((steps, distinct), (keys + 2, keys + 2));
}

#[test]
fn stops_reading_at_too_many_keys() {
    let payload = |keys: usize| format!("{{{}\"\":1}}", "\"\":1,".repeat(keys - 1));
    assert!(Payload::parse(payload(scan::MAX_KEYS)).is_ok());
    let refused = payload(scan::MAX_KEYS + 1).into_bytes();
    let malformed = Payload::from_bytes(refused.clone()).unwrap_err();
    assert_eq!((malformed.reason.as_str(), malformed.bytes == refused), ("has more than 1024 keys", true));
    let mut seen = 0;
    assert!(scan::top_level(&payload(1_000_000), |_, _| seen += 1).is_err());
    assert_eq!(seen, scan::MAX_KEYS);
}

#[test]
fn refuses_values_that_ruby_cannot_read() {
    let mut payload = Payload::parse(r#"{"x":1}"#).unwrap();
    let half = serde_json::value::RawValue::from_string(r#""\ud83d""#.to_owned()).unwrap();
    assert_eq!(payload.try_insert("x", f64::NAN).unwrap_err().to_string(), "NaN not allowed in JSON");
    assert_eq!(payload.try_insert("x", half).unwrap_err().to_string(), "holds half of a surrogate pair");
    assert_eq!(payload.as_str(), r#"{"x":1}"#);
    assert!(std::panic::catch_unwind(move || payload.insert("x", f64::INFINITY)).is_err());
}

#[test]
fn takes_the_last_of_duplicate_keys_as_ruby_does() {
    let mut payload = Payload::parse(r#"{"class":"A","class":"B","args":[]}"#).unwrap();
    assert_eq!(payload.class(), "B");
    payload.insert("class", "C");
    assert_eq!(payload.as_str(), r#"{"class":"A","class":"C","args":[]}"#);
}

#[test]
fn reads_escaped_keys_and_values() {
    let payload = Payload::parse(r#"{"cl\u0061ss":"A\u00e9\"","queue":"q\/r","jid":"plain"}"#).unwrap();
    assert_eq!(payload.class(), "Aé\"");
    assert_eq!(payload.queue(), "q/r");
    assert_eq!(payload.jid(), "plain");
}

#[test]
fn does_not_mistake_other_types_for_strings() {
    let payload = Payload::parse(r#"{"class":7,"queue":null,"jid":["a"],"retry_count":"3","tags":"x"}"#).unwrap();
    assert_eq!((payload.class(), payload.queue(), payload.jid()), ("", "", ""));
    assert_eq!(payload.retry_count(), None);
    assert!(payload.tags().is_empty());
}

#[test]
fn refuses_what_ruby_cannot_read_and_gives_the_bytes_back() {
    let deep = format!(r#"{{"args":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    for (bytes, reason) in [
        (&b"\xff{}"[..], "not UTF-8"),
        (b"", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"\"x\"", "not a JSON object"),
        (b"{\"class\":\"A\",\"args\":[}", "not JSON at line 1 column 22"),
        (b"{} {}", "not JSON at line 1 column 4"),
        (b"{\"a\":NaN}", "not JSON at line 1 column 6"),
        (b"{\"a\":01}", "not JSON at line 1 column 7"),
        (b"{\"a\":\"\n\"}", "not JSON at line 1 column 6"),
        (br#"{"a":"\ud83d"}"#, "holds half of a surrogate pair"),
        (br#"{"a":"\ud83dx\ude00"}"#, "holds half of a surrogate pair"),
        (deep.as_bytes(), "nested deeper than 100 levels"),
    ] {
        let malformed = Payload::from_bytes(bytes.to_vec()).unwrap_err();
        assert_eq!(malformed.reason, reason);
        assert_eq!(malformed.bytes, bytes);
    }
}

#[test]
fn accepts_what_ruby_accepts() {
    let deepest = format!(r#"{{"args":{}{}}}"#, "[".repeat(99), "]".repeat(99));
    let brackets = format!(r#"{{"a":"{}"}}"#, "[".repeat(500));
    for raw in
        [deepest.as_str(), &brackets, r#"{"a":1e400}"#, r#"{"a":"\ud83d\ude00"}"#, r#"{"a":"\\ud83d"}"#, "\t{}\n"]
    {
        assert_eq!(Payload::parse(raw).unwrap().as_str(), raw);
    }
}

#[test]
fn tells_how_stamps_are_written() {
    for (created, form) in [
        ("1795408228294", Some(StampForm::Millis)),
        ("1795408228.5", Some(StampForm::Secs)),
        ("1795408228.0", Some(StampForm::Secs)),
        ("1795408228", Some(StampForm::Secs)),
        ("1795788676221.0", Some(StampForm::Millis)),
        ("1.795788676221e12", Some(StampForm::Millis)),
        ("\"soon\"", None),
        ("null", None),
    ] {
        let payload = Payload::parse(format!(r#"{{"created_at":{created}}}"#)).unwrap();
        assert_eq!(payload.stamp_form(), form, "{created}");
    }
    assert_eq!(Payload::parse("{}").unwrap().stamp_form(), None);
}

#[test]
fn reads_moments_in_every_form() {
    for (raw, secs) in [
        ("1795788676221", 1_795_788_676.221),
        ("1795788676.221", 1_795_788_676.221),
        ("1795788676221.0", 1_795_788_676.221),
        ("5", 0.005),
    ] {
        let payload = Payload::parse(format!(r#"{{"at":{raw}}}"#)).unwrap();
        assert_eq!(payload.moment("at"), Some(EpochSecs(secs)), "{raw}");
    }
}

#[test]
fn refuses_arguments_ruby_would_not_take() {
    assert!(Payload::try_new("A", &serde_json::json!({"a": 1})).is_err());
    assert!(Payload::try_new("A", &f64::NAN).is_err());
    let error = Payload::try_new("A", &[Some(f64::NAN)]).unwrap_err();
    assert_eq!(error.to_string(), "arguments of A cannot be written as JSON: NaN not allowed in JSON");
    let half = [serde_json::value::RawValue::from_string(r#""x\ude00""#.to_owned()).unwrap()];
    assert!(Payload::try_new("A", &half).unwrap_err().to_string().ends_with("holds half of a surrogate pair"));
    let mut nested = Value::Null;
    for _ in 0..99 {
        nested = Value::Array(vec![nested]);
    }
    assert!(Payload::try_new("A", &nested).is_ok());
    assert!(Payload::try_new("A", &Value::Array(vec![nested])).is_err());
}

#[test]
fn never_prints_arguments() {
    let payload = Payload::parse(r#"{"class":"Login","args":["s3cr3t"],"jid":"1","queue":"q"}"#).unwrap();
    assert_eq!(format!("{payload:?}"), r#"Payload { class: "Login", jid: "1", queue: "q", .. }"#);
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn any_object_survives_and_edits_touch_only_their_key(
        map in prop::collection::btree_map(any::<String>(), json(), 0..8),
        pretty in any::<bool>(),
        message in any::<String>(),
    ) {
        let value = Value::Object(map.into_iter().collect::<Map<_, _>>());
        let raw = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let mut payload = Payload::parse(raw.clone()).unwrap();
        prop_assert_eq!(payload.as_str(), raw.as_str());
        let mut value: Value = serde_json::from_str(&raw).unwrap();

        for (key, new) in [("error_message", Value::from(message)), ("queue", "elsewhere".into()), ("retry_count", 0.into())] {
            payload.insert(key, &new);
            value[key] = new;
        }
        let text = payload.into_string();
        let reread: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&reread, &value);
        let again = Payload::parse(text.clone()).unwrap();
        prop_assert_eq!(again.as_str(), text.as_str());
        prop_assert_eq!(again.queue(), "elsewhere");
    }

    #[test]
    fn any_bytes_are_a_payload_or_come_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        match Payload::from_bytes(bytes.clone()) {
            Ok(payload) => prop_assert_eq!(payload.into_string().into_bytes(), bytes),
            Err(malformed) => prop_assert_eq!(malformed.bytes, bytes),
        }
    }
}

#[test]
fn a_job_of_active_job_without_wrapped_is_known_by_its_class() {
    for (raw, class) in [
        (r#"{"class":"Sidekiq::ActiveJob::Wrapper","args":[{"job_id":"1","job_class":"Report"}]}"#, "Report"),
        (r#"{"class":"ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper","args":[{"job_class":"A::B"}]}"#, "A::B"),
        (r#"{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"Said","args":[{"job_class":"Report"}]}"#, "Said"),
        (r#"{"class":"Sidekiq::ActiveJob::Wrapper","args":[{"job_class":7}]}"#, "Sidekiq::ActiveJob::Wrapper"),
        (r#"{"class":"Sidekiq::ActiveJob::Wrapper","args":["Report"]}"#, "Sidekiq::ActiveJob::Wrapper"),
        (r#"{"class":"Sidekiq::ActiveJob::Wrapper"}"#, "Sidekiq::ActiveJob::Wrapper"),
        (r#"{"class":"Other","args":[{"job_class":"Report"}]}"#, "Other"),
    ] {
        assert_eq!(Payload::parse(raw).unwrap().display_class(), class, "{raw}");
    }
}
