use super::*;

#[test]
fn says_what_is_expected() {
    for (text, expected) in [
        ("", "a filter is empty; expected such as class=HardJob,age>1h"),
        ("clas=A", "\"clas\" in \"clas=A\" is no field; expected class, error,"),
        ("class", "\"class\" compares nothing; expected one of = != ~ !~ after class"),
        ("class>A", "class does not know >; expected one of = != ~ !~"),
        ("age=1h", "age does not know =; expected one of > >= < <="),
        ("age>1", "age>: \"1\" is no time span; expected a number with its unit, such as 90s"),
        ("retries>many", "retries>: \"many\" is no whole number; expected such as 5"),
        ("class=A,,queue=b", "\"\" in \"\" is no field"),
        ("message~\"open", "has an open \"; expected another"),
    ] {
        let error = Filter::parse(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn reads_values_with_and_without_quotes() {
    let values = |text: &str| match &Filter::parse(text).unwrap().0[0] {
        Term::Text { values, .. } => values.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(values("class=A|B"), ["A", "B"]);
    assert_eq!(values("message~\"a, b|c\"|d"), ["a, b|c", "d"]);
    assert_eq!(values("message~can't"), ["can't"]);
    assert_eq!(values("message='it, is'"), ["it, is"]);
    assert_eq!(values("error="), [""]);
    assert_eq!(Filter::parse("class=A, age>1h").unwrap().0.len(), 2);
}

#[test]
fn takes_what_all_terms_hold_for() {
    let now = EpochSecs(1_000_000.0);
    let payload = r#"{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"HardJob","queue":"low","jid":"j1","args":[1,"x y"],"retry_count":2,
        "tags":["red","blue"],"error_class":"ArgumentError","error_message":"it's broken, badly","created_at":900000.0,"failed_at":990000.0,
        "retried_at":996400.5}"#;
    let entry = SortedEntry::new(payload.as_bytes().to_vec(), EpochSecs(1_000_600.0));
    for (text, takes) in [
        ("class=HardJob", true),
        ("class=Sidekiq::ActiveJob::Wrapper", true),
        ("class=Hard", false),
        ("class~Hard", true),
        ("class!=HardJob", false),
        ("class!=Other", true),
        ("class=Other|HardJob,queue=low", true),
        ("class=HardJob,queue=high", false),
        ("error~Argument,message~\"broken, badly\"", true),
        ("error!~Argument", false),
        ("tag=blue", true),
        ("tag!=green", true),
        ("args~x y", true),
        ("jid=j1", true),
        ("retries=2", true),
        ("retries>2", false),
        ("retries>=2,retries<3", true),
        ("age>59m", true),
        ("age>61m", false),
        ("age<=1h", true),
        ("due<11m", true),
        ("due>10m", false),
    ] {
        assert_eq!(Filter::parse(text).unwrap().takes(&entry, false, now), takes, "{text}");
    }
    // The dead are as old as their death; what is no payload is of no class.
    assert!(Filter::parse("age<0s").unwrap().takes(&entry, true, now));
    let nonsense = SortedEntry::new(b"nonsense".to_vec(), EpochSecs(0.0));
    assert!(!Filter::parse("class~n").unwrap().takes(&nonsense, true, now));
    for text in ["class!=A", "queue!=x", "error!=E", "retries=0", "retries<5", "retries!=1", "class!=A,age>1d"] {
        assert!(!Filter::parse(text).unwrap().takes(&nonsense, true, now), "{text}");
    }
    assert!(Filter::parse("age>1d").unwrap().takes(&nonsense, true, now));
}
