use ferrokiq::api::JobRecord;

use super::finding::{Finding, Fix, Place, Severity, some_of};
use super::jobs::unknown_class;
use super::payload::{Damage, damages, repaired};

fn record(json: &str) -> JobRecord {
    JobRecord::of(json.as_bytes())
}

fn queue() -> Place {
    Place::Queue("default".to_owned())
}

const SOUND: &str = r#"{"class":"A","args":[1],"retry":true,"queue":"default","jid":"a1","created_at":1795408384695,"enqueued_at":1795408384.5}"#;

#[test]
fn finds_nothing_in_what_sidekiq_writes() {
    for place in [queue(), Place::Schedule, Place::Dead] {
        assert_eq!(damages(&record(SOUND), &place), [], "{place:?}");
    }
}

#[test]
fn names_each_kind_of_damage() {
    use Damage::*;
    let with = |from: &str, to: &str| {
        assert!(SOUND.contains(from));
        SOUND.replace(from, to)
    };
    for (json, damage) in [
        ("nonsense".to_owned(), NotJson),
        ("[1]".to_owned(), NotJson),
        (with(r#""class":"A","#, ""), NoClass),
        (with(r#""jid":"a1","#, ""), NoJid),
        (with(r#""jid":"a1""#, r#""jid":17"#), NoJid),
        (with(r#""queue":"default","#, ""), NoQueue),
        (with("[1]", "null"), NoArgs),
        (with(r#""args":[1],"#, ""), NoArgs),
        (with("[1]", r#"{"a":1}"#), BadArgs),
        (with(r#""retry":true,"#, ""), NoRetry),
        (with(r#""retry":true"#, r#""retry":true,"retry_count":"3""#), BadCount),
        (with("1795408384695", "1795408384695.0"), FloatMillis),
        (with("1795408384.5", "1795408384"), WholeSeconds),
        (with("1795408384.5", r#""2026-11-23T04:35:13Z""#), TextTimes),
        (with("[1]", &format!("[\"{}\"]", "x".repeat(300_000))), Huge),
    ] {
        assert_eq!(damages(&record(&json), &queue()), [damage], "{}", json.get(..200).unwrap_or(&json));
    }
    assert_eq!(damages(&record(SOUND), &Place::Retry), [NoFailure]);
    assert_eq!(damages(&record(&with(r#""retry":true,"#, "")), &Place::Schedule), [], "the poller adds it");
}

#[test]
fn a_job_that_fails_for_want_of_its_class_is_told_from_one_whose_code_fails() {
    let failed = |class: &str, error: &str, message: &str| {
        record(
            &serde_json::json!({"class": class, "args": [], "error_class": error, "error_message": message})
                .to_string(),
        )
    };
    let unknown = |class: &str, message: &str| unknown_class(&failed(class, "NameError", message));
    assert_eq!(unknown("Mail::Job", "uninitialized constant Mail::Job").as_deref(), Some("Mail::Job"));
    assert_eq!(unknown("Mail::Job", "uninitialized constant Mail").as_deref(), Some("Mail::Job"));
    assert_eq!(unknown("Jbo", "uninitialized constant Jbo\nDid you mean?  Job").as_deref(), Some("Jbo"));
    assert_eq!(unknown("Job", "uninitialized constant Job::Helper"), None);
    assert_eq!(unknown("Job", "undefined local variable or method 'x'"), None);
    assert_eq!(unknown_class(&failed("Job", "ArgumentError", "uninitialized constant Job")), None);
    assert_eq!(unknown_class(&record(SOUND)), None);
}

#[test]
fn repairs_times_and_arguments_and_nothing_else() {
    let mend = |json: &str| repaired(&record(json)).map(ferrokiq::Payload::into_string);
    assert_eq!(
        mend(r#"{"x" : 1.50,"args":null,"created_at":1795408384695.0,"enqueued_at":1795408384,"failed_at":1795408384.25}"#).as_deref(),
        Some(r#"{"x" : 1.50,"args":[],"created_at":1795408384.695,"enqueued_at":1795408384.0,"failed_at":1795408384.25}"#)
    );
    assert_eq!(mend(r#"{"class":"A"}"#).as_deref(), Some(r#"{"class":"A","args":[]}"#));
    for sound in [SOUND, r#"{"args":{"a":1},"created_at":"yesterday"}"#, "nonsense"] {
        assert_eq!(mend(sound), None, "{sound}");
    }
}

#[test]
fn says_what_and_what_to_do_on_one_line() {
    let finding =
        Finding::warning("ghost-process", "listed: a", "take it off").fixed_by(Fix::ForgetGhosts(vec!["a".to_owned()]));
    assert_eq!(finding.line(), "warning  ghost-process: listed: a; take it off (--fix does)");
    assert_eq!(finding.json()["fixable"], true);
    assert!(Severity::Error < Severity::Warning);
    let names: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
    assert_eq!((some_of(&names[..2]), some_of(&names)), ("a, b".to_owned(), "a, b, c and 2 more".to_owned()));
}
