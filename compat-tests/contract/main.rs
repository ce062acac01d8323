//! `contract check` of a worker, as a process of its own: this program is the worker if its first argument is `contract`, else the tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should end")]

#[path = "../by_name.rs"]
mod by_name;
mod fill;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ferrokiq::testing::Redis;
use ferrokiq::{Context, Job, JobResult, Server, ServerBuilder};
use fill::{Filling, call, connect};
use serde_json::Value;

#[derive(serde::Deserialize, serde::Serialize)]
struct Card {
    number: u64,
}

struct ChargeJob;

impl Job for ChargeJob {
    const CLASS: &'static str = "Billing::ChargeJob";
    type Args = (i64, String, Card);

    async fn perform(&self, _cx: Context, _args: Self::Args) -> JobResult {
        Ok(())
    }
}

#[cfg(feature = "active-job")]
struct GreetJob;

#[cfg(feature = "active-job")]
impl ferrokiq::active_job::ActiveJob for GreetJob {
    const CLASS: &'static str = "GreetJob";
    type Args = (i64,);

    async fn perform(&self, _cx: ferrokiq::active_job::ActiveJobContext, _args: Self::Args) -> JobResult {
        Ok(())
    }
}

fn worker() -> ServerBuilder {
    let worker =
        Server::builder().register(ChargeJob).register_fn("StrictJob", async |_: Context, _: (i64, String)| Ok(()));
    #[cfg(feature = "active-job")]
    let worker = worker.register_active_job(GreetJob);
    worker
}

/// Every test, by name.
const TESTS: [(&str, fn()); 8] = [
    ("names_what_goes_blind_of_gems_whose_keys_are_there", names_what_goes_blind_of_gems_whose_keys_are_there),
    ("names_every_bad_one_among_100_000", names_every_bad_one_among_100_000),
    ("raises_no_false_alarm_while_jobs_come_and_go", raises_no_false_alarm_while_jobs_come_and_go),
    ("says_that_all_is_well", says_that_all_is_well),
    ("counts_jobs_of_ruby_gems_by_class_and_gem", counts_jobs_of_ruby_gems_by_class_and_gem),
    ("says_what_keeps_it_from_reading", says_what_keeps_it_from_reading),
    ("says_that_nothing_could_be_written", says_that_nothing_could_be_written),
    ("reads_what_active_job_wraps", reads_what_active_job_wraps),
];

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|word| word == "contract") {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        return runtime.block_on(ferrokiq::cli::run(worker()));
    }
    by_name::run(&TESTS)
}

/// What a check said, line by line, and its exit code.
struct Said {
    lines: Vec<String>,
    complaint: String,
    code: Option<i32>,
}

fn check(url: &str, flags: &[&str]) -> Said {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["contract", "check", "--redis", url]).args(flags).env_remove("REDIS_URL");
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said {
        lines: text(output.stdout).lines().map(str::to_owned).collect(),
        complaint: text(output.stderr),
        code: output.status.code(),
    }
}

/// A user who may look and do nothing else.
fn reader(redis: &Redis) -> String {
    let rights = "on >secret ~* -@all +@read +hello +auth +select +ping +client|setname +client|id";
    let words: Vec<&str> = ["SETUSER", "reader"].into_iter().chain(rights.split(' ')).collect();
    call::<()>(redis, "ACL", &words);
    format!("{}?user=reader&pass=secret", redis.url())
}

fn names_every_bad_one_among_100_000() {
    let redis = Redis::start().unwrap();
    let filling = Filling::new(100_000, 37);
    filling.pour(&redis);
    let reader = reader(&redis);
    let began = Instant::now();
    let said = check(&reader, &[]);
    let took = began.elapsed();
    assert_eq!(said.code, Some(1), "{}", said.complaint);
    let mut refused: Vec<BTreeMap<String, redis::Value>> = call(&redis, "ACL", &["LOG"]);
    // How a connection introduces itself where it may.
    refused.retain(|entry| entry["object"] != redis::Value::BulkString(b"client|setinfo".to_vec()));
    assert!(refused.is_empty(), "it asks for more than to read: {refused:?}");
    assert!(!said.lines.iter().any(|line| line.contains("s3cret")), "values are never shown");

    let summary = said.lines.last().unwrap();
    let (fit, unknown) = (filling.fit(), filling.unknown());
    assert_eq!(
        *summary,
        format!("{fit} ok, 37 would fail, {unknown} of classes this worker does not know (RubysOwn {unknown})")
    );
    assert_eq!(said.lines.len(), 38);
    for bad in filling.bad() {
        let lines: Vec<&String> = said.lines.iter().filter(|line| line.contains(&bad.sign)).collect();
        assert_eq!(lines.len(), 1, "{bad:?}: {lines:?}");
        assert!(lines[0].contains(&format!("in {}: {}", bad.place, bad.why)), "{bad:?}: {}", lines[0]);
    }

    let json = check(&reader, &["--json"]);
    assert_eq!((json.code, json.lines.len()), (Some(1), 38));
    let lines: Vec<Value> = json.lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[37]["would_fail"], 37);
    let jids = |place: &str| lines.iter().filter(|line| line["in"] == place).count();
    let planted = |place: &str| filling.bad().iter().filter(|bad| bad.place == place).count();
    for place in ["schedule", "retry", "queue default", "queue low"] {
        assert!(planted(place) > 0 && jids(place) == planted(place), "{place}");
    }
    writeln!(std::io::stdout().lock(), "100,000 payloads in {} ms", took.as_millis()).unwrap();
}

fn raises_no_false_alarm_while_jobs_come_and_go() {
    let redis = Redis::start().unwrap();
    let filling = Filling::new(40_000, 0);
    filling.pour(&redis);
    let planted = r#"{"class":"StrictJob","args":["s3cret"],"jid":"planted"}"#;
    call::<()>(&redis, "ZADD", &["schedule", "9999999999", planted]);
    let stop = AtomicBool::new(false);
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            // As workers, producers and a poller do.
            let (mut connection, mut number) = (connect(&redis), 1_000_000);
            while !stop.load(Ordering::Relaxed) {
                let mut pipeline = redis::pipe();
                pipeline.cmd("RPOP").arg("queue:default").arg(20).ignore();
                pipeline.cmd("ZPOPMIN").arg("retry").arg(5).ignore();
                for _ in 0..20 {
                    number += 1;
                    pipeline.cmd("LPUSH").arg("queue:default").arg(fill::good(number)).ignore();
                }
                pipeline.exec(&mut connection).unwrap();
            }
        });
        let said: Vec<Said> = (0..3).map(|_| check(&redis.url(), &[])).collect();
        stop.store(true, Ordering::Relaxed);
        said
    });
    for said in said {
        assert_eq!(said.code, Some(1), "{}", said.complaint);
        assert!(said.lines.len() == 2 && said.lines[0].contains("StrictJob planted in schedule"), "{:?}", said.lines);
    }
}

fn counts_jobs_of_ruby_gems_by_class_and_gem() {
    let redis = Redis::start().unwrap();
    call::<()>(&redis, "SADD", &["queues", "q"]);
    let jobs = [
        r#"{"class":"StrictJob","args":[1,"x"],"jid":"a","lock_digest":"uniquejobs:1"}"#,
        // Ruby runs it, so its arguments need not fit.
        r#"{"class":"StrictJob","args":["s3cret"],"jid":"b","lock":"until_executed"}"#,
        r#"{"class":"RubysOwn","args":[],"jid":"c","bid":"zRviBvBqbbkX3A"}"#,
        r#"{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"GreetJob","args":[{}],"jid":"d","unique_for":600}"#,
        r#"{"class":"StrictJob","args":[1,"x"],"jid":"e","unique_for":false}"#,
    ];
    call::<()>(&redis, "LPUSH", &[&["queue:q"], &jobs[..]].concat());
    let said = check(&redis.url(), &[]);
    assert_eq!(said.code, Some(0), "{}", said.complaint);
    let expected = [
        "4 hold something of a Ruby gem and are left to Ruby (StrictJob 2 of sidekiq-unique-jobs, GreetJob 1 of Sidekiq Enterprise, \
         RubysOwn 1 of sidekiq-batch or Sidekiq Pro)",
        "1 ok, 0 would fail, 0 of classes this worker does not know",
    ];
    assert_eq!(said.lines, expected);
    let json: Value = serde_json::from_str(&check(&redis.url(), &["--json"]).lines[0]).unwrap();
    assert_eq!((&json["foreign"], &json["gems"]), (&serde_json::json!(4), &serde_json::json!([])));
    assert_eq!(
        json["foreign_jobs"][2],
        serde_json::json!({"class": "StrictJob", "gem": "sidekiq-unique-jobs", "jobs": 2})
    );
}

fn names_what_goes_blind_of_gems_whose_keys_are_there() {
    let redis = Redis::start().unwrap();
    call::<()>(&redis, "ZADD", &["failed", "1", "{}"]);
    call::<()>(&redis, "HSET", &["subjob:6fac50c1db3c621b388a7e46", "status", "x"]);
    let said = check(&redis.url(), &[]);
    assert_eq!((said.code, said.lines.len()), (Some(0), 3), "{:?}", said.lines);
    assert!(said.lines[0].starts_with("sidekiq-failures is in use: its tab does not show"), "{:?}", said.lines);
    assert!(said.lines[1].starts_with("sidekiq-superworker is in use: the step after one"), "{:?}", said.lines);
    let json: Value = serde_json::from_str(&check(&redis.url(), &["--json"]).lines[0]).unwrap();
    assert_eq!(json["gems"][1]["gem"], "sidekiq-superworker");
    let rights = "on >secret ~* -@all +@read -scan +hello +auth +select +ping +client|setname +client|id";
    let words: Vec<&str> = ["SETUSER", "worker"].into_iter().chain(rights.split(' ')).collect();
    call::<()>(&redis, "ACL", &words);
    let said = check(&format!("{}?user=worker&pass=secret", redis.url()), &[]);
    assert_eq!(
        (said.code, &*said.lines[0]),
        (Some(0), "which gems are in use is not known: SCAN is refused to this user")
    );
}

fn says_that_nothing_could_be_written() {
    let redis = Redis::start().unwrap();
    for what in [&["ruby"][..], &["rbs"], &["json-schema"], &["check", "--redis", &redis.url()]] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command.arg("contract").args(what).env_remove("REDIS_URL").stdout(full).output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{what:?}: {complaint}");
        assert!(complaint.contains("cannot write to standard output"), "{what:?}: {complaint}");
    }
}

fn says_that_all_is_well() {
    let redis = Redis::start().unwrap();
    let said = check(&redis.url(), &[]);
    assert_eq!((said.code, &*said.lines[0]), (Some(0), "0 ok, 0 would fail, 0 of classes this worker does not know"));

    let twice = r#"{"class":"StrictJob","args":[1,"x"],"jid":"same"}"#;
    call::<()>(&redis, "SADD", &["queues", "q"]);
    call::<()>(&redis, "LPUSH", &["queue:q", twice, twice, r#"{"class":"\u001b[31mEvil","args":[],"jid":"c"}"#]);
    let said = check(&redis.url(), &[]);
    assert_eq!(said.code, Some(0));
    // What lies there twice counts once; what would steer a terminal is spelt out.
    assert_eq!(said.lines, [r"1 ok, 0 would fail, 1 of classes this worker does not know (\u{1b}[31mEvil 1)"]);
}

fn says_what_keeps_it_from_reading() {
    let nowhere = check("redis://:s3cret@127.0.0.1:1/0", &[]);
    assert!(nowhere.code == Some(2) && nowhere.complaint.starts_with("error: cannot reach"), "{}", nowhere.complaint);
    let nonsense = check("s3cret", &[]);
    assert_eq!(nonsense.code, Some(2));
    for said in [nowhere, nonsense] {
        assert!(!said.complaint.contains("s3cret"), "{}", said.complaint);
    }
    let redis = Redis::start().unwrap();
    call::<()>(&redis, "ACL", &["SETUSER", "blind", "on", "nopass", "-@all", "+hello", "+auth", "+ping"]);
    let refused = check(&format!("{}?user=blind&pass=x", redis.url()), &[]);
    assert!(refused.code == Some(2) && refused.lines.is_empty(), "{:?}", refused.lines);
    call::<()>(&redis, "SET", &["schedule", "no set"]);
    assert_eq!(check(&redis.url(), &[]).code, Some(2));
}

fn reads_what_active_job_wraps() {
    let redis = Redis::start().unwrap();
    call::<()>(&redis, "SADD", &["queues", "q"]);
    for (jid, arguments) in [("good", "[7]"), ("bad", r#"["s3cret"]"#), ("alien", r#"[{"_aj_serialized":"Alien"}]"#)] {
        let data = format!(
            r#"{{"job_class":"GreetJob","job_id":"j","queue_name":"q","arguments":{arguments},"executions":0}}"#
        );
        let job = format!(
            r#"{{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"GreetJob","args":[{data}],"queue":"q","jid":"{jid}"}}"#
        );
        call::<()>(&redis, "LPUSH", &["queue:q", &job]);
    }
    let said = check(&redis.url(), &[]);
    if cfg!(feature = "active-job") {
        assert_eq!((said.code, said.lines.len()), (Some(1), 3), "{:?}", said.lines);
        for (line, jid) in said.lines.iter().zip(["alien", "bad"]) {
            assert!(
                line.starts_with(&format!("would fail: GreetJob {jid} in queue q: ")) && !line.contains("s3cret"),
                "{line}"
            );
        }
        assert!(said.lines[2].starts_with("1 ok, 2 would fail, 0 of"), "{}", said.lines[2]);
    } else {
        assert_eq!(said.lines, ["0 ok, 0 would fail, 3 of classes this worker does not know (GreetJob 3)"]);
    }
}
