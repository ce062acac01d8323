use std::sync::{Arc, Mutex};

use ferrokiq::server::ErrorReport;
use ferrokiq::{Context, Payload, Server, ServerBuilder};

use crate::support::{Redis, Running, eventually, nothing};

/// A server that knows `Nothing`, `Strict` (an integer and a string) and `Panics`, and notes what is reported.
fn builder(reports: &Arc<Mutex<Vec<String>>>) -> ServerBuilder {
    let reports = Arc::clone(reports);
    Server::builder()
        .register_fn("Nothing", nothing)
        .register_fn("Strict", async |_cx: Context, _args: (i64, String)| Ok(()))
        .register_fn("Panics", async |_cx: Context, (): ()| panic!("at the disco"))
        .on_error(move |report: &ErrorReport<'_>| {
            reports.lock().unwrap().push(format!("{}: {}", report.context, report.error));
        })
}

async fn push_raw(redis: &Redis, bytes: &[u8]) {
    redis.call::<()>("LPUSH", &[b"queue:default", bytes]).await;
}

/// Runs a server until this many jobs lie in `set`; returns them and what was reported.
async fn settle(redis: &Redis, set: &str, jobs: usize) -> (Vec<Vec<u8>>, Vec<String>) {
    let reports = Arc::default();
    let running = Running::start(redis, builder(&reports));
    eventually(&format!("{jobs} jobs in {set}"), async || redis.size(set).await == jobs).await;
    running.stop().await;
    assert_eq!(redis.private_jobs().await, 0);
    let reports = reports.lock().unwrap().clone();
    (redis.members(set).await, reports)
}

#[tokio::test]
async fn buries_what_is_no_payload_byte_for_byte() {
    let deep = format!(r#"{{"class":"Nothing","args":{}1{}}}"#, "[".repeat(101), "]".repeat(101)).into_bytes();
    let cases: [&[u8]; 13] = [
        br#"{"class":"Nothing","args":["#,
        b"",
        b"[]",
        b"\"text\"",
        b"7",
        b"null",
        b"\xff\xfe\x00",
        b"{\"class\":\"Nothing\",\"args\":[\"\xff\"]}",
        br#"{"class":"Nothing","args":["\ud83d"]}"#,
        br#"{"class":"Nothing","args":[NaN]}"#,
        br#"{"class":"Nothing","args":[],}"#,
        br#"{"class":"Nothing","args":[]} trailing"#,
        &deep,
    ];
    let redis = Redis::start().await;
    for case in cases {
        push_raw(&redis, case).await;
    }
    let (dead, reports) = settle(&redis, "dead", cases.len()).await;
    for case in cases {
        let remark: &[u8] =
            if [&b"[]"[..], b"\"text\"", b"7", b"null"].contains(&case) { b" (not a job)" } else { b"" };
        let stored = [case, remark].concat();
        assert!(dead.contains(&stored), "{:?} should be dead", String::from_utf8_lossy(case));
    }
    assert_eq!(reports.len(), cases.len());
    assert!(
        reports.iter().all(|report| report.starts_with("Invalid JSON for job: JSON::ParserError: ")),
        "{reports:?}"
    );
    assert_eq!(redis.size("retry").await, 0);
    let processed: Option<u64> = redis.call("GET", &["stat:processed"]).await;
    assert_eq!(processed.unwrap_or(0), 0, "Ruby does not count them");
}

#[tokio::test]
async fn buries_a_payload_of_50_mb_unread() {
    let redis = Redis::start().await;
    let huge = format!(r#"{{"class":"Nothing","args":["{}"]}}"#, "x".repeat(50 << 20)).into_bytes();
    push_raw(&redis, &huge).await;
    push_raw(&redis, br#"{"class":"Strict","args":[],"retry":true}"#).await;
    let (dead, reports) = settle(&redis, "dead", 1).await;
    assert!(dead[0] == huge);
    assert!(reports.iter().any(|report| report.contains("larger than 16777216 bytes")), "{reports:?}");
}

#[tokio::test]
async fn runs_what_is_just_small_enough() {
    let redis = Redis::start().await;
    let job = |padding: usize| format!(r#"{{"class":"Nothing","args":["{}"]}}"#, "x".repeat(padding)).into_bytes();
    let (fits, too_large) = (job(100), job(101));
    push_raw(&redis, &fits).await;
    push_raw(&redis, &too_large).await;
    let running = Running::start(&redis, builder(&Arc::default()).max_payload(fits.len()));
    eventually("one is dead", async || redis.size("dead").await == 1 && redis.private_jobs().await == 0).await;
    running.stop().await;
    assert_eq!(redis.members("dead").await, [too_large]);
    assert_eq!(redis.call::<u64>("GET", &["stat:processed"]).await, 1);
}

#[tokio::test]
async fn retries_what_cannot_run() {
    let redis = Redis::start().await;
    for (raw, _, _) in CANNOT_RUN {
        push_raw(&redis, raw.as_bytes()).await;
    }
    let (retries, _) = settle(&redis, "retry", CANNOT_RUN.len()).await;
    for (raw, class, message) in CANNOT_RUN {
        let kept = &raw[..raw.len() - 1].replace("null", "[]");
        let retry = retries
            .iter()
            .map(|bytes| String::from_utf8(bytes.clone()).unwrap())
            .find(|bytes| bytes.starts_with(kept))
            .unwrap_or_else(|| panic!("{raw} should be retried"));
        let payload = Payload::parse(retry).unwrap();
        assert_eq!(payload.decode::<String>("error_class").as_deref(), Some(class), "{raw}");
        assert_eq!(payload.decode::<String>("error_message").as_deref(), Some(message), "{raw}");
        assert_eq!(payload.retry_count(), Some(0), "{raw}");
    }
}

const CANNOT_RUN: [(&str, &str, &str); 6] = [
    (r#"{"class":"Panics","args":[],"retry":true,"queue":"default"}"#, "RuntimeError", "panicked: at the disco"),
    (
        r#"{"class":"NoSuch::Class","args":[],"retry":true,"queue":"default"}"#,
        "NameError",
        "uninitialized constant NoSuch::Class",
    ),
    (
        r#"{"class":"Strict","args":[1],"retry":true,"queue":"default"}"#,
        "ArgumentError",
        "wrong number of arguments (given 1, expected 2)",
    ),
    (
        r#"{"class":"Strict","args":["1","x"],"retry":true,"queue":"default"}"#,
        "ArgumentError",
        "argument 1 is a string: expected i64",
    ),
    (
        r#"{"class":"Strict","args":[99999999999999999999,"x"],"retry":true,"queue":"default"}"#,
        "ArgumentError",
        "argument 1 is a number: expected i64",
    ),
    (
        r#"{"class":"Strict","queue":"default","retry":true,"args":null}"#,
        "ArgumentError",
        "wrong number of arguments (given 0, expected 2)",
    ),
];

#[tokio::test]
async fn runs_what_only_looks_odd() {
    let redis = Redis::start().await;
    let odd = [
        r#"{"class":"Nothing"}"#,
        r#"{"class":"Nothing","args":null}"#,
        r#"{"class":"Object::Nothing"}"#,
        r#"{"class":"::Object::Nothing"}"#,
        r#"{"class":"::Nothing","args":[1e400]}"#,
        r#" { "class" : "Nothing" , "args" : [ ] , "jid" : 7 , "retry" : "yes" , "tags" : "a" } "#,
        r#"{"class":"Wrong","class":"Nothing","args":[]}"#,
        r#"{"\u0063lass":"Noth\u0069ng","args":[],"log_level":"loud"}"#,
    ];
    for raw in odd {
        push_raw(&redis, raw.as_bytes()).await;
    }
    let reports = Arc::default();
    let running = Running::start(&redis, builder(&reports));
    eventually("all ran", async || redis.size("queue:default").await == 0 && redis.private_jobs().await == 0).await;
    running.stop().await;
    assert!(reports.lock().unwrap().is_empty(), "{reports:?}");
    assert_eq!((redis.size("retry").await, redis.size("dead").await), (0, 0));
    let processed: u64 = redis.call("GET", &["stat:processed"]).await;
    assert_eq!(processed, odd.len() as u64);
}

#[tokio::test]
async fn keeps_what_ruby_would_lose() {
    let redis = Redis::start().await;
    let lost = [
        // Ruby retries these, and its poller loses them.
        r#"{"args":[],"retry":true,"queue":"default"}"#,
        r#"{"class":7,"args":[],"retry":true,"queue":"default"}"#,
        r#"{"class":"Strict","args":[],"tags":"a","retry":true}"#,
        r#"{"class":"Strict","args":[],"at":"soon","retry":true}"#,
        r#"{"class":"Strict","args":[],"x":1e400,"retry":true}"#,
        // Ruby runs these with what it makes of the value.
        r#"{"class":"Strict","args":{"a":1},"retry":true,"queue":"default"}"#,
        r#"{"class":"Strict","args":"x","retry":false,"queue":"default"}"#,
        r#"{"class":"Strict","args":[],"retry":true,"retry_count":"3"}"#,
        r#"{"class":"Strict","args":[],"retry":true,"retry_for":60,"retry_count":1}"#,
        r#"{"class":"NoSuch","args":[]}"#,
    ];
    for raw in lost {
        push_raw(&redis, raw.as_bytes()).await;
    }
    let (dead, _) = settle(&redis, "dead", lost.len()).await;
    for raw in lost {
        assert!(dead.iter().any(|bytes| bytes == raw.as_bytes()), "{raw}");
    }
}

#[tokio::test]
async fn goes_on_beside_a_queue_that_is_no_list() {
    let redis = Redis::start().await;
    redis.call::<()>("SET", &["queue:broken", "a string"]).await;
    push_raw(&redis, br#"{"class":"Nothing","args":[]}"#).await;
    let reports = Arc::default();
    let running = Running::start(&redis, builder(&reports).queues(["broken", "default"]));
    eventually("the other queue is served", async || redis.size("queue:default").await == 0).await;
    running.stop().await;
    assert_eq!(redis.call::<String>("GET", &["queue:broken"]).await, "a string");
}

#[tokio::test]
async fn keeps_a_failed_job_in_its_private_list_while_the_retry_set_is_no_set() {
    let redis = Redis::start().await;
    redis.call::<()>("SET", &["retry", "a string"]).await;
    push_raw(&redis, br#"{"class":"Strict","args":[],"retry":true}"#).await;
    let reports = Arc::<Mutex<Vec<String>>>::default();
    let running = Running::start(&redis, builder(&reports));
    eventually("it failed", async || !reports.lock().unwrap().is_empty()).await;
    eventually("it stays", async || redis.private_jobs().await == 1).await;
    let stopped = running.stop().await;
    assert_eq!(stopped.left_for_recovery, 0);
    assert_eq!((redis.private_jobs().await, redis.size("queue:default").await), (0, 1), "it runs again");
}

#[tokio::test]
async fn promotes_and_keeps_odd_entries_of_the_schedule() {
    let redis = Redis::start().await;
    let due = r#"{"retry":true,"queue":"elsewhere","class":"Nothing","args":[123456789012345678901234,1.0e+20],"jid":"a","zzz":{"b":1}}"#;
    for raw in [due, "no json", r#"{"args":[]}"#] {
        redis.call::<()>("ZADD", &["schedule", "1", raw]).await;
    }
    redis.call::<()>("SET", &["queue:stuck", "a string"]).await;
    redis.call::<()>("ZADD", &["schedule", "1", r#"{"queue":"stuck","class":"Nothing","args":[]}"#]).await;
    let running = Running::start(&redis, builder(&Arc::default()));
    eventually("it is promoted", async || redis.size("queue:elsewhere").await == 1).await;
    eventually("the odd ones are dead", async || redis.size("dead").await == 2).await;
    running.stop().await;
    let promoted: Vec<String> = redis.call("LRANGE", &["queue:elsewhere", "0", "-1"]).await;
    assert!(promoted[0].starts_with(&due[..due.len() - 1]), "{}", promoted[0]);
    assert_eq!(redis.size("schedule").await, 1, "an entry whose queue is no list stays");
    let dead = redis.members("dead").await;
    assert!(dead.contains(&b"no json".to_vec()) && dead.contains(&br#"{"args":[]}"#.to_vec()));
}
