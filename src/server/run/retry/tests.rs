use rand::rngs::StdRng;
use std::collections::HashSet;

use super::*;
use crate::payload::unpack_backtrace;

struct Class {
    retry: Retry,
    retry_in: RetryIn,
    exhausted: OnExhausted,
}

const PLAIN: Class = Class { retry: Retry::Absent, retry_in: RetryIn::Default, exhausted: OnExhausted::Bury };

impl RetryHooks for Class {
    fn default_retry(&self) -> Retry {
        self.retry
    }
    fn retry_in(&self, _: u32, _: &JobError) -> RetryIn {
        self.retry_in
    }
    fn retries_exhausted(&self, _: &Payload, _: &JobError) -> OnExhausted {
        self.exhausted
    }
}

const NOW: EpochSecs = EpochSecs(1_795_408_404.25);

fn judge_with(raw: &str, class: Option<&Class>) -> Verdict {
    judge_error(raw, class, &JobError::new("ArgumentError", "boom é"))
}

fn judge_error(raw: &str, class: Option<&Class>, error: &JobError) -> Verdict {
    let context = RetryContext { queue: "fetched", max_retries: 25, now: NOW, stamps: StampForm::Millis };
    let mut rng = StdRng::seed_from_u64(1);
    judge(Payload::parse(raw).unwrap(), error, class.map(|class| class as &dyn RetryHooks), &context, &mut rng)
}

fn retried(raw: &str) -> (String, f64) {
    match judge_with(raw, Some(&PLAIN)) {
        Verdict::Retry { payload, delay } => (payload.into_string(), delay),
        other => panic!("{other:?}"),
    }
}

#[test]
fn writes_the_first_failure_as_sidekiq_8_does() {
    let raw = r#"{"retry":3,"queue":"default","args":["arg"],"class":"FailJob","jid":"a6","created_at":1795408384695,"enqueued_at":1795408384695}"#;
    let (stored, delay) = retried(raw);
    assert_eq!(
        stored,
        r#"{"retry":3,"queue":"fetched","args":["arg"],"class":"FailJob","jid":"a6","created_at":1795408384695,"enqueued_at":1795408384695,"error_message":"boom é","error_class":"ArgumentError","failed_at":1795408404250,"retry_count":0}"#
    );
    assert!((15.0..25.0).contains(&delay), "{delay}");
}

#[test]
fn writes_the_second_failure_as_sidekiq_8_does() {
    let raw = r#"{"retry":true,"queue":"default","class":"A","args":[1],"jid":"a2","created_at":1795408384696,"enqueued_at":1795408404219,"error_message":"old","error_class":"NameError","failed_at":1795408385534,"retry_count":0}"#;
    let (stored, delay) = retried(raw);
    assert!(stored.ends_with(
        r#""error_message":"boom é","error_class":"ArgumentError","failed_at":1795408385534,"retry_count":1,"retried_at":1795408404250}"#
    ));
    assert!((16.0..36.0).contains(&delay), "{delay}");
}

#[test]
fn stamps_in_the_form_of_the_payload() {
    let (stored, _) = retried(r#"{"class":"A","args":[],"retry":true,"created_at":1795408466.838451}"#);
    assert!(stored.contains(r#""failed_at":1795408404.25,"#), "{stored}");
}

#[test]
fn knows_what_retry_means() {
    let verdict = |retry: &str, class| {
        match judge_with(&format!(r#"{{"class":"A","args":[],"retry":{retry}}}"#), class) {
            Verdict::Retry { .. } => "retry",
            Verdict::Bury { .. } => "bury",
            Verdict::Discard { .. } => "discard",
            Verdict::BuryUnchanged { .. } => "choke",
            Verdict::Snooze { .. } | Verdict::Requeue { .. } => "again",
        }
        .to_owned()
    };
    for (retry, known, unknown) in [
        ("true", "retry", "retry"),
        ("false", "discard", "discard"),
        ("0", "bury", "bury"),
        ("1", "retry", "retry"),
        ("\"0\"", "retry", "retry"),
        ("null", "retry", "choke"),
    ] {
        assert_eq!(verdict(retry, Some(&PLAIN)), known, "{retry}, class known");
        assert_eq!(verdict(retry, None), unknown, "{retry}, class unknown");
    }
}

#[test]
fn writes_the_option_of_the_class_where_the_payload_says_nothing() {
    let class = Class { retry: Retry::Times(2), ..PLAIN };
    let Verdict::Retry { payload, .. } = judge_with(r#"{"class":"A","args":[],"retry":null}"#, Some(&class)) else {
        panic!("should be retried")
    };
    assert_eq!(payload.get("retry"), Some("2"));
}

#[test]
fn counts_executions_as_limit_plus_one() {
    for (count, dead) in [("0", false), ("1", false), ("2", true), ("-1", false), ("9223372036854775807", true)] {
        let raw = format!(r#"{{"class":"A","args":[],"retry":3,"failed_at":1,"retry_count":{count}}}"#);
        assert_eq!(matches!(judge_with(&raw, Some(&PLAIN)), Verdict::Bury { .. }), dead, "{count}");
    }
}

#[test]
fn lets_retry_for_replace_the_limit() {
    let raw = |failed_at: &str| {
        format!(r#"{{"class":"A","args":[],"retry":0,"retry_for":3600,"failed_at":{failed_at},"retry_count":30}}"#)
    };
    assert!(matches!(judge_with(&raw("1795408400000"), Some(&PLAIN)), Verdict::Retry { .. }));
    assert!(matches!(judge_with(&raw("1795408400.5"), Some(&PLAIN)), Verdict::Retry { .. }));
    assert!(matches!(judge_with(&raw("1795400000000"), Some(&PLAIN)), Verdict::Bury { .. }));
}

#[test]
fn keeps_whole_what_ruby_would_choke_on() {
    for (extra, key) in [
        (r#""retry_count":"3""#, "retry_count"),
        (r#""retry_for":"soon""#, "retry_for"),
        (r#""retry_for":60,"retry_count":1"#, "failed_at"),
    ] {
        let raw = format!(r#"{{"class":"A","args":[],"retry":true,{extra}}}"#);
        assert_eq!(judge_with(&raw, Some(&PLAIN)), Verdict::BuryUnchanged { key });
    }
}

#[test]
fn counts_floats_as_ruby_does() {
    for (count, next, delay) in
        [("2.0", "3.0", 96.0), ("1.5", "2.5", 54.0625), ("-0", "1", 16.0), ("-0.0", "1.0", 16.0), ("-3", "-2", 31.0)]
    {
        let raw = format!(r#"{{"class":"A","args":[],"retry":true,"jid":"a","failed_at":1,"retry_count":{count}}}"#);
        let (stored, due) = retried(&raw);
        assert!(stored.contains(&format!(r#""retry_count":{next},"#)), "{count}: {stored}");
        assert!((delay..delay + 40.0).contains(&due), "{count}: {due}");
    }
    for count in ["25.0", "24.5", "24", "1e300"] {
        let raw = format!(r#"{{"class":"A","args":[],"retry":true,"failed_at":1,"retry_count":{count}}}"#);
        assert!(matches!(judge_with(&raw, Some(&PLAIN)), Verdict::Bury { .. }), "{count}");
        let raw = raw.replace(r#""failed_at":1,"#, r#""retry_for":1,"failed_at":1795408404250,"#);
        assert!(matches!(judge_with(&raw, Some(&PLAIN)), Verdict::Retry { .. }), "{count}");
    }
}

#[test]
fn reads_a_float_as_seconds_and_an_integer_as_milliseconds() {
    for (failed_at, over) in [
        ("1795408400.5", false),
        ("1795400000.5", true),
        ("1795408400000", false),
        ("1795400000000", true),
        // Seconds to Ruby, too: a time far ahead.
        ("1795400000000.0", false),
        ("1.7954e12", false),
    ] {
        let raw =
            format!(r#"{{"class":"A","args":[],"retry":true,"retry_for":60,"failed_at":{failed_at},"retry_count":1}}"#);
        assert_eq!(matches!(judge_with(&raw, Some(&PLAIN)), Verdict::Bury { .. }), over, "{failed_at}");
    }
}

#[test]
fn puts_nothing_into_the_retry_set_that_rubys_poller_cannot_move() {
    for (extra, key) in [
        (r#""args":{"a":1}"#, "args"),
        (r#""args":"x","retry":false"#, "args"),
        (r#""class":7"#, "class"),
        (r#""tags":"vip""#, "tags"),
        (r#""at":"soon""#, "at"),
        (r#""retry_for":1795408404"#, "retry_for"),
        (r#""x":1e400"#, "a number beyond all floats"),
    ] {
        let raw = format!(r#"{{"class":"A","args":[],"retry":true,"jid":"a",{extra}}}"#);
        assert_eq!(judge_with(&raw, Some(&PLAIN)), Verdict::BuryUnchanged { key }, "{raw}");
    }
    // Nobody here runs it; Ruby drops it at this failure, too.
    let unknown = r#"{"class":"A","args":{"a":1},"retry":false,"jid":"a"}"#;
    assert!(matches!(judge_with(unknown, None), Verdict::Discard { .. }));
}

#[test]
fn gives_a_job_what_rubys_api_and_poller_need() {
    for args in [r#""args":null,"#, ""] {
        let raw = format!(r#"{{"class":"A",{args}"retry":true,"at":null}}"#);
        let (one, _) = retried(&raw);
        let (other, _) = retried(&raw);
        assert_ne!(one, other, "equal payloads stay two entries");
        let job = Payload::parse(one).unwrap();
        assert_eq!((job.get("args"), job.jid().len(), job.contains_key("at")), (Some("[]"), 24, false));
    }
}

#[test]
fn asks_the_hooks() {
    let raw = r#"{"class":"A","args":[],"retry":true}"#;
    let with = |retry_in| judge_with(raw, Some(&Class { retry_in, ..PLAIN }));
    let Verdict::Retry { delay, .. } = with(RetryIn::After(Duration::from_secs(100))) else {
        panic!("should be retried")
    };
    assert!((100.0..110.0).contains(&delay));
    assert!(matches!(with(RetryIn::After(Duration::ZERO)), Verdict::Retry { .. }));
    assert!(matches!(with(RetryIn::Kill), Verdict::Bury { .. }));
    let Verdict::Discard { payload } = with(RetryIn::Discard) else { panic!("should be discarded") };
    assert_eq!(payload.get("discarded_at"), Some("1795408404250"));

    let spares = Class { exhausted: OnExhausted::Discard, retry_in: RetryIn::Kill, ..PLAIN };
    assert!(matches!(judge_with(raw, Some(&spares)), Verdict::Discard { .. }));
    let undead = r#"{"class":"A","args":[],"retry":0,"dead":false}"#;
    assert!(matches!(judge_with(undead, Some(&PLAIN)), Verdict::Discard { .. }));
}

#[test]
fn sends_retries_to_the_retry_queue_if_it_can_be_one() {
    for (named, queue) in [("slow", "slow"), ("über uns", "über uns"), ("x\\ny", "fetched"), ("", "fetched")] {
        let raw = format!(r#"{{"class":"A","args":[],"retry":true,"queue":"q","retry_queue":"{named}"}}"#);
        assert_eq!(Payload::parse(retried(&raw).0).unwrap().queue(), queue);
    }
}

#[test]
fn packs_as_many_frames_as_asked() {
    let context = RetryContext { queue: "q", max_retries: 25, now: NOW, stamps: StampForm::Millis };
    let error = JobError::new("E", "m").with_backtrace(["a", "b", "c"]);
    for (asked, frames) in [("true", Some(3)), ("2", Some(2)), ("\"1\"", Some(1)), ("false", None), ("null", None)] {
        let raw = format!(r#"{{"class":"A","args":[],"retry":true,"backtrace":{asked}}}"#);
        let verdict =
            judge(Payload::parse(raw).unwrap(), &error, Some(&PLAIN), &context, &mut StdRng::seed_from_u64(1));
        let Verdict::Retry { payload, .. } = verdict else { panic!("should be retried") };
        let packed: Option<String> = payload.decode("error_backtrace");
        assert_eq!(packed.map(|packed| unpack_backtrace(&packed).unwrap().len()), frames, "{asked}");
    }
}

#[test]
fn waits_whole_seconds_as_sidekiq() {
    let context = RetryContext { queue: "q", max_retries: 25, now: NOW, stamps: StampForm::Millis };
    let (error, mut rng) = (JobError::new("E", "m"), StdRng::seed_from_u64(3));
    let delays: HashSet<u64> = (0..1_000)
        .map(|_| {
            let payload = Payload::parse(r#"{"class":"A","args":[],"retry":true,"retry_count":1}"#).unwrap();
            match judge(payload, &error, Some(&PLAIN), &context, &mut rng) {
                Verdict::Retry { delay, .. } => delay.to_bits(),
                other => panic!("{other:?}"),
            }
        })
        .collect();
    let expected = (0..30).map(|jitter| f64::from(31 + jitter).to_bits()).collect();
    assert_eq!(delays, expected);
}

#[test]
fn jobs_that_fail_together_share_their_jitter_and_others_do_not() {
    let draw = |now: f64| jitter_at(EpochSecs(now)).random_range(0..10);
    let mut seen = [0; 10];
    for milli in 0..1_000 {
        let now = 1_795_408_404.0 + f64::from(milli) / 1_000.0;
        assert_eq!(draw(now + 0.000_2), draw(now + 0.000_7), "{milli}");
        seen[draw(now + 0.000_2)] += 1;
    }
    assert!(seen.iter().all(|times| (50..150).contains(times)), "{seen:?}");
}

/// What becomes of a job, by what it returned, its options, and what the hooks of its class say.
#[test]
fn the_ending_of_a_run_decides_before_the_options_of_the_job() {
    let fail = || JobError::new("E", "boom");
    let (kill, discard) = (|| JobError::kill(JobError::new("E", "boom")), || JobError::discard("boom"));
    let (snooze, requeue) = (|| JobError::snooze(Duration::from_millis(1_500)), JobError::requeue);
    let never_dead = Class { exhausted: OnExhausted::Discard, ..PLAIN };
    for (options, class, expected) in [
        //                                           fail       kill       discard    snooze    requeue
        ("", &PLAIN, ["retry", "dead", "discard", "snooze", "requeue"]),
        (r#","retry":true"#, &PLAIN, ["retry", "dead", "discard", "snooze", "requeue"]),
        (r#","retry":false"#, &PLAIN, ["discard", "dead", "discard", "snooze", "requeue"]),
        (r#","retry":0"#, &PLAIN, ["dead", "dead", "discard", "snooze", "requeue"]),
        (r#","dead":false"#, &PLAIN, ["retry", "discard", "discard", "snooze", "requeue"]),
        ("", &never_dead, ["retry", "discard", "discard", "snooze", "requeue"]),
        (r#","retry_for":60"#, &PLAIN, ["retry", "dead", "discard", "snooze", "requeue"]),
        (r#","retry":3,"retry_count":2"#, &PLAIN, ["dead", "dead", "discard", "snooze", "requeue"]),
        (r#","retry_count":"x""#, &PLAIN, ["unchanged", "unchanged", "unchanged", "snooze", "requeue"]),
        (r#","tags":"no array""#, &PLAIN, ["unchanged", "dead", "discard", "unchanged", "requeue"]),
    ] {
        let raw = format!(r#"{{"class":"A","args":[],"jid":"j","queue":"q"{options}}}"#);
        let became = [fail(), kill(), discard(), snooze(), requeue()].map(|error| {
            let (verdict, word) = match judge_error(&raw, Some(class), &error) {
                Verdict::Retry { payload, .. } => (payload, "retry"),
                Verdict::Bury { payload } => (payload, "dead"),
                Verdict::Discard { payload } => (payload, "discard"),
                Verdict::BuryUnchanged { .. } => return "unchanged",
                Verdict::Snooze { payload, delay } => {
                    assert!((delay - 1.5).abs() < 1e-9, "{delay}");
                    assert_eq!(payload.as_str(), raw, "not a byte changes");
                    return "snooze";
                }
                Verdict::Requeue { payload, queue } => {
                    assert!(payload.as_str().starts_with(raw.trim_end_matches('}')), "{}", payload.as_str());
                    assert!(payload.as_str().ends_with(r#","enqueued_at":1795408404250}"#), "{}", payload.as_str());
                    assert_eq!(queue, "q");
                    return "requeue";
                }
            };
            let has_error = verdict.decode::<String>("error_message").as_deref() == Some("boom");
            assert!(has_error || options.contains("false"), "{}", verdict.as_str());
            word
        });
        assert_eq!(became, expected, "{options}");
    }
}

#[test]
fn a_killed_job_has_the_fields_of_a_dead_one_and_counts_its_failure() {
    let raw = r#"{"class":"A","args":[],"jid":"j","queue":"q","retry":25,"retry_count":3,"failed_at":1795408385534}"#;
    let killed = judge_error(raw, Some(&PLAIN), &JobError::kill(JobError::new("Gone", "no account")));
    let by_hook =
        judge_error(raw, Some(&Class { retry_in: RetryIn::Kill, ..PLAIN }), &JobError::new("Gone", "no account"));
    assert_eq!(killed, by_hook, "as `sidekiq_retry_in` that returns :kill");
    let Verdict::Bury { payload } = killed else { panic!("it is dead") };
    for (key, value) in [("error_class", "\"Gone\""), ("retry_count", "4"), ("retried_at", "1795408404250")] {
        assert_eq!(payload.get(key), Some(value));
    }
    let discarded = judge_error(raw, Some(&PLAIN), &JobError::discard(JobError::new("Gone", "no account")));
    let Verdict::Discard { payload } = discarded else { panic!("it is dropped") };
    assert!(payload.contains_key("discarded_at") && payload.get("error_class") == Some("\"Gone\""));
}

#[test]
fn a_job_that_snoozes_keeps_a_queue_that_a_poller_can_push_to() {
    for (queue, expected) in [(r#""other""#, "other"), (r#""a\nb""#, "fetched")] {
        let raw = format!(r#"{{"class":"A","args":[],"jid":"j","queue":{queue}}}"#);
        for delay in [Duration::ZERO, Duration::MAX] {
            let Verdict::Snooze { payload, delay } = judge_error(&raw, Some(&PLAIN), &JobError::snooze(delay)) else {
                panic!("it snoozes")
            };
            assert_eq!(payload.queue(), expected);
            assert!(delay >= 0.0 && delay.is_finite());
        }
    }
}
