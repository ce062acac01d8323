//! The corpus of `ruby-fixtures/sidekiq-*/active_job`, recorded from real Rails: every payload decodes, means here what it means in Ruby, and
//! encodes to the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};

use super::data::JobData;
use super::*;
use crate::payload::Payload;

#[cfg(feature = "testing")]
mod continuable;

const MAJORS: [u32; 3] = [6, 7, 8];

fn corpus<T: for<'de> Deserialize<'de>>(major: u32, kind: &str) -> Vec<T> {
    let path = format!("ruby-fixtures/sidekiq-{major}/active_job/{kind}.json");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What an argument is, in terms both languages have: `ActiveJobs.describe` of `ruby-fixtures/active_job.rb`.
fn describe(argument: &Argument) -> Value {
    let all = |items: &[Argument]| items.iter().map(describe).collect::<Vec<_>>();
    match argument {
        Argument::Nil => json!(["nil"]),
        Argument::Bool(value) => json!(["bool", value]),
        Argument::Number(number) if number.is_float() => {
            json!(["float", format!("{:016x}", number.to_f64().to_bits())])
        }
        Argument::Number(number) => json!(["integer", number.as_str()]),
        Argument::String(text) => json!(["string", text]),
        Argument::Symbol(symbol) => json!(["symbol", symbol.as_str()]),
        Argument::Array(items) => json!(["array", all(items)]),
        Argument::Hash(hash) if *hash.keys() == Keys::Indifferent => {
            json!(["indifferent", hash.iter().map(|(key, value)| json!([key, describe(value)])).collect::<Vec<_>>()])
        }
        Argument::Hash(hash) => {
            let key = |key| if hash.is_symbol(key) { json!(["symbol", key]) } else { json!(["string", key]) };
            let entries: Vec<_> = hash.iter().map(|(name, value)| json!([key(name), describe(value)])).collect();
            json!([if hash.is_keywords() { "keywords" } else { "hash" }, entries])
        }
        Argument::GlobalId(id) => json!(["model", id.model(), id.id()]),
        Argument::Date(date) => json!(["date", date.year(), date.month(), date.day()]),
        Argument::Time(time) => json!(["time", time.secs(), time.nanos(), time.offset()]),
        Argument::DateTime(DateTime(time)) => json!(["date_time", time.secs(), time.nanos(), time.offset()]),
        Argument::TimeWithZone(TimeWithZone { time, zone }) => json!(["zoned", time.secs(), time.nanos(), zone]),
        Argument::Duration(duration) => {
            let amount = |amount: &Amount, decimal| match amount {
                Amount::Number(number) => describe(&Argument::Number(number.clone())),
                Amount::Decimal(text) => json!([decimal, text.as_str()]),
            };
            let parts: Vec<_> = duration.parts().map(|(unit, part)| json!([unit, amount(part, "decimal")])).collect();
            // Ruby reads back the text that JSON made of a decimal.
            json!(["duration", amount(duration.value(), "string"), parts])
        }
        Argument::BigDecimal(decimal) => json!(["decimal", decimal.as_str()]),
        Argument::Range(range) => json!(["range", describe(&range.begin), describe(&range.end), range.exclude_end]),
        Argument::Module(module) => json!(["module", module.name()]),
        Argument::Custom(custom) => json!(["custom", custom.serializer()]),
    }
}

#[derive(Deserialize)]
struct Recorded {
    name: String,
    payload: String,
    #[serde(default)]
    means: Value,
}

#[test]
fn arguments_mean_what_they_mean_in_ruby_and_come_back_byte_for_byte() {
    let (mut payloads, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for major in MAJORS {
        for Recorded { name, payload, means } in corpus(major, "arguments") {
            let name = format!("{name} of {major}");
            let payload = Payload::parse(payload).unwrap();
            let data = JobData::of(&payload).unwrap_or_else(|error| panic!("{name}: {error}"));
            let arguments = Argument::parse_all(data.arguments()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(Argument::write_all(&arguments).unwrap(), data.arguments(), "{name}");
            let mut ours = json!(arguments.iter().map(describe).collect::<Vec<_>>());
            if major == 6 {
                // Ruby takes the zone of the job for a time whose own was not written.
                give_zones(&mut ours);
            }
            assert_eq!(ours, means, "{name}");
            kinds.extend(arguments.iter().map(Argument::kind));
            payloads.insert(name);
        }
    }
    assert!(payloads.len() >= 180, "{} payloads", payloads.len());
    assert_eq!(kinds.len(), 17, "each kind but that of a serializer of its own: {kinds:?}");
}

fn give_zones(described: &mut Value) {
    let Value::Array(items) = described else { return };
    if items.first().is_some_and(|kind| kind == "zoned") && items[3].is_null() {
        items[3] = json!("America/New_York");
    }
    items.iter_mut().for_each(give_zones);
}

#[test]
fn a_range_holds_what_its_serializer_wrote() {
    let raw = r#"{"_aj_serialized":"ActiveJob::Serializers::RangeSerializer","begin":1,"end":null,"exclude_end":true}"#;
    let range = Range { begin: 1.into_argument(), end: Argument::Nil, exclude_end: true };
    assert_eq!(Argument::parse(raw).unwrap(), range.clone().into_argument());
    assert_eq!(range.into_argument().write().unwrap(), raw);
}

#[test]
fn a_job_tells_what_rails_wrote_about_it() {
    for major in MAJORS {
        for Recorded { name, payload, .. } in corpus(major, "others") {
            let payload = Payload::parse(payload).unwrap();
            let data = JobData::of(&payload).unwrap();
            assert_eq!(data.job_class, payload.display_class(), "{name}");
            assert_eq!(data.job_id, "09899bde-380c-4610-81ee-95b04a06b5a5");
            assert_eq!((data.executions, data.queue_name.as_deref()), (0, Some(payload.queue())));
            assert_eq!((data.locale.as_deref(), data.timezone.as_deref()), (Some("en"), Some("America/New_York")));
            assert_eq!(data.enqueued_at.unwrap().secs(), 1_795_408_404);
            let at = data.scheduled_at.map(|at| (at.secs(), at.nanos()));
            let scheduled = match name.as_str() {
                _ if major == 6 => None,
                "wait" | "mail_later" => Some((1_795_408_464, 250_000_000)),
                "wait_until" => Some((1_895_408_404, 500_000_000)),
                _ => None,
            };
            assert_eq!(at, scheduled, "{name} of {major}");
            assert_eq!(
                data.priority,
                match name.as_str() {
                    "options" => Some(7),
                    "set" => Some(3),
                    _ => None,
                }
            );
        }
    }
}

#[derive(Deserialize)]
struct Retried {
    name: String,
    payload: String,
    left: Vec<(String, Option<f64>, String)>,
}

/// As `RetryActiveJob` in `ruby-fixtures/active_job.rb`.
fn rules() -> Rules {
    let secs = Duration::from_secs;
    Rules::new()
        .retry_on(["Flaky", "Timeout::Error"], RetryOn::new().wait(secs(30)).attempts(3).jitter(0.0))
        .retry_on(["ZeroDivisionError"], RetryOn::new().polynomially_longer().queue("slow").priority(4).jitter(0.0))
        .retry_on(["KeyError"], RetryOn::new().wait_by(move |n| secs(60 * n)).attempts(2).exhausted(|_| {}))
        .discard_on(["Gone", "ActiveJob::DeserializationError"])
}

#[cfg(feature = "server")]
#[test]
fn a_failed_job_is_enqueued_again_as_rails_does_it() {
    use super::rules::Decision;
    use crate::job::JobError;

    let now = UNIX_EPOCH + Duration::from_millis(1_795_408_404_250);
    for major in MAJORS {
        for Retried { name, payload, left } in corpus(major, "retries") {
            let name = format!("{name} of {major}");
            let payload = Payload::parse(payload).unwrap();
            let mut data = JobData::of(&payload).unwrap();
            data.executions += 1;
            let error = match Argument::parse_all(data.arguments()).unwrap().as_slice() {
                [Argument::String(error)] if error == "fine" => None,
                [Argument::String(error)] => Some(JobError::new(error.clone(), "boom")),
                other => {
                    let read = <(String, i64)>::from_arguments(other.to_vec());
                    Some(JobError::from(read.unwrap_err()))
                }
            };
            let keys: Vec<&str> = left.iter().map(|(key, ..)| key.as_str()).collect();
            let Some(error) = error else {
                assert!(keys.is_empty(), "{name}");
                continue;
            };
            match rules().decide(&mut data, &error, &mut rand::rng()) {
                Decision::Retry { wait, queue, priority } => {
                    assert_eq!(keys, ["schedule"], "{name}");
                    let again = running::again(&payload, data, wait, queue.as_deref(), priority, now);
                    let (_, score, recorded) = &left[0];
                    let at: f64 = again.decode("at").unwrap();
                    assert!((at - score.unwrap()).abs() < 1e-3, "{name}: {at} {score:?}");
                    let recorded = Payload::parse(recorded.as_str()).unwrap();
                    let mut again = again;
                    again.remove("at");
                    // What the client adds.
                    for key in ["jid", "created_at"] {
                        again.insert_raw(key, recorded.get(key).unwrap());
                    }
                    assert_eq!(again.as_str(), recorded.as_str(), "{name}");
                }
                Decision::Discard | Decision::Exhausted(_) => assert!(keys.is_empty(), "{name}"),
                Decision::Raise => assert_eq!(keys, ["retry"], "{name}"),
            }
        }
    }
}

/// What Rails 7.2 wrote, byte for byte, but for what is drawn or not known here.
#[test]
fn a_payload_enqueued_from_rust_is_what_rails_writes() {
    let (user, now) = (GlobalId::new("shop", "User", 1), UNIX_EPOCH + Duration::from_millis(1_795_408_404_250));
    let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
    let echo = || Later::<Vec<Argument>>::of("EchoActiveJob");
    let mail = MailDelivery::new("NoticeMailer", "hello");
    crate::keywords! {
        struct Times { times: i64 }
    }
    let options = crate::JobOptions::new().queue("low").retry(3).backtrace(5).tags(["vip"]);
    let on = |mail: MailDelivery, queue: &str| mail.set(|later| later.queue(queue)).into_call();
    for Recorded { name, payload, .. } in corpus(8, "others") {
        let recorded = Payload::parse(payload).unwrap();
        let saying = |later, text: &str| (later, vec![text.into_argument()]);
        let (later, arguments) = match name.as_str() {
            "options" => (Later::new("OptionsActiveJob", options.clone()).priority(7), vec![1.into_argument()]),
            "set" => saying(echo().queue("high").priority(3), "x"),
            "wait" => saying(echo().wait_until(at(1_795_408_464_250)), "later"),
            "wait_until" => saying(echo().wait_until(at(1_895_408_404_500)), "at"),
            "mail" => on(mail.clone().args(("bob".to_owned(), Times { times: 2 })), "mailers"),
            "mail_later" => {
                let (later, arguments) = on(mail.clone().args(("bob".to_owned(),)), "post");
                (later.wait_until(at(1_795_408_464_250)), arguments)
            }
            "mail_with_params" => {
                let params = [("user", user.clone().into_argument()), ("plan", "pro".into_argument())];
                on(mail.clone().params(params).args(("bob".to_owned(),)), "mailers")
            }
            other => panic!("{other}"),
        };
        let later = later.locale("en").timezone("America/New_York");
        let arguments = Argument::write_all(&arguments).unwrap();
        let mut ours = later.payload("Sidekiq::ActiveJob::Wrapper", arguments, now).unwrap();
        assert_eq!(ours.remove("at").is_some(), name.contains("wait") || name == "mail_later", "{name}");
        for key in ["jid", "created_at", "enqueued_at"].into_iter().filter(|key| recorded.contains_key(key)) {
            ours.insert_raw(key, recorded.get(key).unwrap());
        }
        let job_id = JobData::of(&ours).unwrap().job_id;
        let ours = ours.into_string().replace(&job_id, "09899bde-380c-4610-81ee-95b04a06b5a5");
        assert_eq!(ours, recorded.as_str(), "{name}");
    }
}

/// Neither panics nor says what was in it.
fn refused(raw: &str) -> crate::job::ArgsError {
    let error = Argument::parse_all(raw).expect_err(raw);
    assert_eq!(error.class(), "ActiveJob::DeserializationError", "{raw}");
    assert!(error.to_string().starts_with("Error while trying to deserialize arguments: "), "{error}");
    assert!(!error.to_string().contains("s3cr3t"), "{error}");
    error
}

#[test]
fn refuses_what_rails_could_not_read_either() {
    for raw in [
        "",
        "[",
        "[1,",
        "null",
        "{}",
        "7",
        r#"[{"_aj_globalid":7}]"#,
        r#"[{"_aj_globalid":"s3cr3t"}]"#,
        r#"[{"_aj_globalid":"gid://app/User"}]"#,
        r#"[{"_aj_serialized":null}]"#,
        r#"[{"_aj_serialized":{}}]"#,
        r#"[{"a":1,"_aj_symbol_keys":5}]"#,
        r#"[{"a":{"_aj_globalid":"gid://"}}]"#,
        r#"["\ud800"]"#,
    ] {
        refused(raw);
    }
    for (serializer, rest) in [
        ("Symbol", ""),
        ("Symbol", r#","value":1"#),
        ("Date", r#","value":"s3cr3t""#),
        ("Date", r#","value":"2026-02-30""#),
        ("Time", r#","value":"2026-01-02""#),
        ("Time", r#","value":1795408404"#),
        ("DateTime", r#","value":null"#),
        ("TimeWithZone", r#","value":"2026-01-02T03:04:05Z","time_zone":5"#),
        ("Duration", r#","value":"s3cr3t","parts":[]"#),
        ("Duration", r#","value":5"#),
        ("Duration", r#","value":5,"parts":{"days":1}"#),
        ("Duration", r#","value":5,"parts":[["days",1]]"#),
        ("Duration", r#","value":5,"parts":[[]]"#),
        ("BigDecimal", r#","value":"s3cr3t""#),
        ("BigDecimal", r#","value":1.5"#),
        ("Module", r#","value":[]"#),
        ("Range", r#","begin":1,"end":{"_aj_globalid":1},"exclude_end":false"#),
    ] {
        refused(&format!(r#"[{{"_aj_serialized":"ActiveJob::Serializers::{serializer}Serializer"{rest}}}]"#));
    }
    refused(&format!("{}1{}", "[".repeat(200), "]".repeat(200)));
    refused(&format!("{}1{}", r#"{"a":"#.repeat(50_000), "}".repeat(50_000)));
}

#[test]
fn takes_what_only_looks_strange() {
    for raw in [
        r#"[{"a":1,"_aj_symbol_keys":["a","gone"],"b":2}]"#,
        r#"[{"_aj_symbol_keys":[],"z":1}]"#,
        r#"[{"_aj_globalids":"x"}]"#,
        r#"[{"plain":1}]"#,
        r#"[{"_aj_serialized":"Money::Serializer","cents":5,"all":[{"a":1,"_aj_symbol_keys":["a"]}]}]"#,
        r#"[{"cents":5,"_aj_serialized":"Money::Serializer"}]"#,
        r#"[1e400,-0,1E5,0.10]"#,
    ] {
        assert_eq!(Argument::write_all(&Argument::parse_all(raw).unwrap()).unwrap(), raw);
    }
    // Of keys that stand twice the last counts, as in Ruby.
    let twice = Argument::parse_all(r#"[{"a":1,"b":2,"a":3}]"#).unwrap();
    assert_eq!(Argument::write_all(&twice).unwrap(), r#"[{"a":3,"b":2}]"#);
    let spaced = Argument::parse_all(" [ 1 , { \"a\" : [ ] } ] ").unwrap();
    assert_eq!(Argument::write_all(&spaced).unwrap(), r#"[1,{"a":[]}]"#);
}

#[test]
fn reads_only_what_fits_and_says_where_it_does_not() {
    crate::keywords! {
        #[derive(Debug)]
        struct Named { name: String, r#type: Option<i64> }
    }
    type Args = (i64, Option<Vec<u8>>, Named);
    let keywords = r#"{"name":"x","_aj_ruby2_keywords":["name"]}"#;
    for (raw, message) in [
        ("[]".to_owned(), "wrong number of arguments (given 0, expected 1..3)"),
        (format!("[1,null,{keywords},4]"), "wrong number of arguments (given 4, expected 1..3)"),
        (format!(r#"["s3cr3t",null,{keywords}]"#), "argument 1 is a String, expected i64"),
        (format!("[9223372036854775808,null,{keywords}]"), "argument 1 is an Integer, expected one that fits i64"),
        (format!("[1.5,null,{keywords}]"), "argument 1 is a Float, expected one that fits i64"),
        (format!("[1,[256],{keywords}]"), "argument 2 is an Integer, expected one that fits u8"),
        ("[1,[1]]".to_owned(), "missing keyword: :name"),
        (
            r#"[1,null,{"name":1,"_aj_ruby2_keywords":["name"]}]"#.to_owned(),
            "argument 3: keyword name is an Integer, expected a String",
        ),
        (r#"[1,null,{"name":"x","age":1,"_aj_ruby2_keywords":["name","age"]}]"#.to_owned(), "unknown keyword: :age"),
        (r#"[1,null,"x"]"#.to_owned(), "argument 3 is a String, expected keyword arguments"),
    ] {
        let error = Args::from_json(&raw).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.class()), (message, "ArgumentError"), "{raw}");
    }
    let (id, bytes, named) =
        Args::from_json(r#"[1,null,{"type":5,"name":"x","_aj_symbol_keys":["type","name"]}]"#).unwrap();
    assert_eq!((id, bytes, named.name.as_str(), named.r#type), (1, None, "x", Some(5)));
    let unknown = <(String,)>::from_json(r#"[{"_aj_serialized":"Money::Serializer","cents":5}]"#).unwrap_err();
    assert_eq!(unknown.class(), "ActiveJob::DeserializationError");
    assert!(unknown.to_string().ends_with("Serializer Money::Serializer is not known"), "{unknown}");
    let money = <(Custom,)>::from_json(r#"[{"_aj_serialized":"Money::Serializer","cents":5}]"#).unwrap().0;
    assert_eq!(money.get("cents").map(Argument::kind), Some("an Integer"));
}

#[test]
fn writes_only_what_rails_would() {
    for argument in [
        f64::NAN.into_argument(),
        f64::INFINITY.into_argument(),
        Argument::Hash(Hash::of_strings([("_aj_symbol_keys", Argument::Nil)])),
        (0..97).fold(Argument::Nil, |inner, _| Argument::Array(vec![inner])),
    ] {
        let error = Argument::write_all(&[argument]).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Args, "{error}");
    }
}

#[test]
fn refuses_data_that_is_none() {
    for (args, class) in [
        ("[]", "ArgumentError"),
        ("[1,2]", "ArgumentError"),
        ("{}", "ActiveJob::DeserializationError"),
        ("[7]", "ActiveJob::DeserializationError"),
        ("[null]", "ActiveJob::DeserializationError"),
        (r#"["{}"]"#, "ActiveJob::DeserializationError"),
        ("[{}]", "ActiveJob::DeserializationError"),
        (r#"[{"job_class":7}]"#, "ActiveJob::DeserializationError"),
        (r#"[{"job_class":"A","executions":"many"}]"#, "ActiveJob::DeserializationError"),
        (r#"[{"job_class":"A","executions":-1}]"#, "ActiveJob::DeserializationError"),
    ] {
        let payload = Payload::parse(format!(r#"{{"class":"W","args":{args}}}"#)).unwrap();
        assert_eq!(JobData::of(&payload).expect_err(args).class(), class, "{args}");
    }
    let least =
        Payload::parse(r#"{"args":[{"job_class":"A","executions":18446744073709551615,"exception_executions":[]}]}"#);
    let mut data = JobData::of(&least.unwrap()).unwrap();
    assert_eq!((data.arguments(), data.exception_executions("[A]")), ("[]", None));
    data.count_exception("[A]", 1);
    assert_eq!(data.raw.get("exception_executions"), Some("[]"));
}

#[test]
fn a_wait_that_never_ends_is_an_error_and_no_job_that_runs_now() {
    let payload = |later: Later<()>| later.payload("W", "[]".to_owned(), SystemTime::now());
    assert!(payload(Later::of("A").wait(Duration::MAX)).is_err());
    assert!(payload(Later::of("A").wait(Duration::from_secs(60))).unwrap().contains_key("at"));
    assert!(payload(Later::of("A").wait(Duration::MAX).wait(Duration::ZERO)).is_ok());
}

#[test]
fn a_hash_keeps_the_last_value_of_a_key_in_the_place_of_the_first() {
    let entries = [("a", 1), ("b", 2), ("a", 3)].map(|(key, value)| (key, Argument::Number(value.into())));
    let hash = Hash::of_strings(entries);
    assert_eq!(hash.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(hash.get("a"), Some(&Argument::Number(3.into())));
}

#[derive(Deserialize)]
struct Odd {
    raw: String,
    reads: bool,
    #[serde(default)]
    means: Value,
}

/// What Rails reads of things that no Rails writes, we read, and as the same; what it refuses, we refuse. What we read, we write so that we
/// read the same again. `ruby-fixtures/odd_active_job_differences.json` has what differs, by the reason.
#[test]
fn odd_arguments_are_read_as_rails_reads_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ruby-fixtures/odd_active_job_differences.json");
    let reasons: BTreeMap<String, Vec<String>> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let accepted: BTreeSet<String> = reasons.into_values().flatten().collect();
    let (mut differing, mut read) = (BTreeSet::new(), 0);
    let corpus: Vec<Odd> = corpus(8, "odd");
    assert!(corpus.len() > 450, "{}", corpus.len());
    for Odd { raw, reads, means } in corpus {
        let ours = Argument::parse_all(&raw).ok();
        let described = ours.as_ref().map(|ours| {
            let mut ours = json!(ours.iter().map(describe).collect::<Vec<_>>());
            give_zones(&mut ours);
            by_value(ours)
        });
        if described != reads.then(|| by_value(means)) {
            differing.insert(raw.clone());
        }
        // Rails cannot write a hash with its own keys either.
        let written =
            ours.filter(|_| !raw.contains(r#"_aj_ruby2_keywords":"#)).map(|ours| (Argument::write_all(&ours), ours));
        if let Some((Ok(written), ours)) = written {
            assert_eq!(Argument::parse_all(&written).unwrap(), ours, "{raw}");
            read += 1;
        }
    }
    assert_eq!(differing, accepted);
    assert!(read >= 150, "{read}");
}

/// Decimals by their value, which has many spellings.
fn by_value(described: Value) -> Value {
    match described {
        Value::Array(items) if items.first().is_some_and(|kind| kind == "decimal") => {
            json!(["decimal", BigDecimal::parse(items[1].as_str().unwrap()).unwrap().to_f64().to_string()])
        }
        Value::Array(items) => Value::Array(items.into_iter().map(by_value).collect()),
        other => other,
    }
}

#[test]
fn a_keyword_that_is_nil_is_passed_and_one_that_is_left_out_is_not() {
    crate::keywords! {
        #[derive(Debug, PartialEq)]
        struct Report { note: Argument, to: Nilable<String>, style: Option<Symbol>, limit: Option<Nilable<u8>> }
    }
    for raw in [
        r#"[{"note":null,"to":null,"_aj_ruby2_keywords":["note","to"]}]"#,
        r#"[{"note":null,"to":"x","limit":null,"_aj_ruby2_keywords":["note","to","limit"]}]"#,
        r#"[{"note":1,"to":"x","limit":5,"_aj_ruby2_keywords":["note","to","limit"]}]"#,
    ] {
        let (report,) = <(Report,)>::from_json(raw).unwrap();
        assert_eq!((report,).into_json().unwrap(), raw);
    }
    let mut given = Keywords::default();
    given.put("note", Argument::Nil);
    assert_eq!(given.into_argument().write().unwrap(), r#"{"note":null,"_aj_ruby2_keywords":["note"]}"#);
    for (raw, missing) in [("[]", "note"), (r#"[{"note":null,"_aj_ruby2_keywords":["note"]}]"#, "to")] {
        assert_eq!(<(Report,)>::from_json(raw).unwrap_err().to_string(), format!("missing keyword: :{missing}"));
    }
}

/// What the jobs of real gems hold, `perform_all_later` and a transaction of Rails: recorded by `active_job_gems.rb`.
#[test]
fn jobs_of_gems_come_back_byte_for_byte() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ruby-fixtures/active_job_gems.json");
    let recorded: Vec<Recorded> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut classes = BTreeSet::new();
    for Recorded { name, payload, .. } in recorded {
        let payload = Payload::parse(payload).unwrap();
        let data = JobData::of(&payload).unwrap();
        assert_eq!(data.job_class, payload.display_class(), "{name}");
        let arguments = Argument::parse_all(data.arguments()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(Argument::write_all(&arguments).unwrap(), data.arguments(), "{name}");
        classes.insert(data.job_class);
    }
    assert_eq!(classes.len(), 11, "{classes:?}");
}

#[test]
fn the_class_that_activejob_names_counts_whatever_wrapped_says() {
    use super::registering::inner;

    let data = r#"{"job_class":"GreetJob","job_id":"x","queue_name":"default","arguments":[]}"#;
    for (wrapped, args, expected) in [
        (r#","wrapped":"GreetJob""#, format!("[{data}]"), Some("GreetJob")),
        (r#","wrapped":"""#, format!("[{data}]"), Some("GreetJob")),
        (r#","wrapped":"OtherJob""#, format!("[{data}]"), Some("GreetJob")),
        (r#","wrapped":null"#, format!("[{data}]"), Some("GreetJob")),
        ("", format!("[{data}]"), Some("GreetJob")),
        (r#","wrapped":"GreetJob""#, "[]".to_owned(), Some("GreetJob")),
        ("", "[]".to_owned(), None),
    ] {
        let raw = format!(r#"{{"class":"Sidekiq::ActiveJob::Wrapper","args":{args},"jid":"x"{wrapped}}}"#);
        assert_eq!(inner(&Payload::parse(&raw).unwrap()).as_deref(), expected, "{raw}");
    }
}
