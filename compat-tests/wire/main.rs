//! The golden corpus of `ruby-fixtures/`, recorded from real Sidekiq: the same `given` through ferrokiq must leave the same
//! `redis`. Where it must not, `compat-tests/accepted_differences.json` says so and why.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should end")]
#![expect(clippy::disallowed_methods, reason = "a test awaits what it spawns")]

mod floats;
#[path = "../jobs.rs"]
mod jobs;
mod json;
#[path = "../integration/support.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ferrokiq::client::Bulk;
use ferrokiq::server::{ForeignJobs, WireVersion};
use ferrokiq::time::{EpochSecs, StampForm};
use ferrokiq::{Client, Payload, Server};
use serde::Deserialize;
use serde_json::value::RawValue;

use jobs::Proof;
use json::{compact, same};
use support::{Redis, Running, eventually};

/// One file of the corpus.
#[derive(Deserialize)]
struct Case {
    given: Box<RawValue>,
    error: Option<String>,
    redis: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    value: Box<RawValue>,
    ttl: Option<i64>,
}

/// Sizes of the keys that a case leaves in Rust, and why they differ from Ruby's.
#[derive(Deserialize)]
struct Difference {
    reason: String,
    /// How many members each key has here.
    #[serde(default)]
    rust: BTreeMap<String, usize>,
}

/// When everything in the corpus happened.
const NOW: f64 = 1_795_408_404.25;
/// Major versions of Sidekiq the corpus was recorded from.
const MAJORS: [u32; 3] = [6, 7, 8];
const JID: &str = "\"00112233445566778899aabb\"";

fn cases(major: u32, kind: &str) -> Vec<(String, Case)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("ruby-fixtures/sidekiq-{major}")).join(kind);
    let mut cases: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let case = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (format!("{kind}/{}", path.file_stem().unwrap().to_string_lossy()), case)
        })
        .collect();
    cases.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(!cases.is_empty());
    cases
}

fn differences() -> BTreeMap<String, Difference> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("compat-tests/accepted_differences.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every case of a kind with its major version, and the difference that is accepted there.
fn all_cases(kind: &str) -> Vec<(u32, String, Case, Option<Difference>)> {
    MAJORS
        .into_iter()
        .flat_map(|major| {
            let mut differences = differences();
            cases(major, kind).into_iter().map(move |(name, case)| {
                let difference = differences.remove(&format!("{name}@{major}")).or_else(|| differences.remove(&name));
                (major, name, case, difference)
            })
        })
        .collect()
}

/// Whether a recorded value is the moment everything happened at, as this number of text says it.
fn is_then(recorded: &str) -> bool {
    recorded == "1795408404250"
        || recorded.contains('.') && recorded.parse().is_ok_and(|secs: f64| (secs - NOW).abs() < 1e-3)
}

/// A score and the bytes of a member, or the bytes of a list element.
type Member = (Option<f64>, String);

impl Case {
    fn members(&self, key: &str) -> Vec<Member> {
        #[derive(Deserialize)]
        struct Scored {
            score: f64,
            member: Box<RawValue>,
        }
        let Some(entry) = self.redis.get(key) else { return Vec::new() };
        match serde_json::from_str::<Vec<Scored>>(entry.value.get()) {
            Ok(scored) => scored.into_iter().map(|scored| (Some(scored.score), bytes(&scored.member))).collect(),
            Err(_) => serde_json::from_str::<Vec<Box<RawValue>>>(entry.value.get())
                .unwrap()
                .into_iter()
                .map(|value| (None, bytes(&value)))
                .collect(),
        }
    }

    fn count(&self, key: &str) -> u64 {
        let text = self.redis.get(key).map_or("\"0\"", |entry| entry.value.get());
        text.trim_matches('"').parse().unwrap()
    }
}

/// What lay in Redis: an object as recorded, or text that was none.
fn bytes(recorded: &RawValue) -> String {
    serde_json::from_str(recorded.get()).unwrap_or_else(|_| compact(recorded.get()))
}

async fn lists_and_sets(redis: &Redis) -> BTreeMap<String, Vec<Member>> {
    let mut found = BTreeMap::new();
    for key in redis.call::<Vec<String>>("KEYS", &["*"]).await {
        if key.starts_with("proof:") || key.starts_with("ferrokiq:") {
            continue;
        }
        let members: Vec<Member> = match redis.call::<String>("TYPE", &[&key]).await.as_str() {
            "list" => {
                let jobs: Vec<String> = redis.call("LRANGE", &[&key, "0", "-1"]).await;
                jobs.into_iter().map(|job| (None, job)).collect()
            }
            "zset" => {
                let scored: Vec<(String, f64)> = redis.call("ZRANGE", &[&*key, "0", "-1", "WITHSCORES"]).await;
                scored.into_iter().map(|(job, score)| (Some(score), job)).collect()
            }
            _ => continue,
        };
        found.insert(key, members);
    }
    found
}

/// Compares a payload with the recorded one. Times that were frozen there are only of the same kind here.
fn assert_same_payload(name: &str, ours: &str, recorded: &str, in_order: bool) {
    let (Ok(ours), Ok(theirs)) = (Payload::parse(ours), Payload::parse(recorded)) else {
        assert_eq!(ours, recorded, "{name}");
        return;
    };
    let keys = |payload: &Payload| {
        let mut keys: Vec<String> = payload.keys().map(str::to_owned).collect();
        if !in_order {
            keys.sort();
        }
        keys
    };
    assert_eq!(keys(&ours), keys(&theirs), "{name}: keys");
    for key in theirs.keys() {
        let (our, their) = (ours.get(key).unwrap(), compact(theirs.get(key).unwrap()));
        match key {
            "jid" if their == JID => assert_eq!(our.len(), JID.len(), "{name}: jid"),
            "error_backtrace" => {
                let frames = ferrokiq::payload::unpack_backtrace(&ours.decode::<String>(key).unwrap()).unwrap();
                assert!(!frames.is_empty(), "{name}: a backtrace");
            }
            _ if is_then(&their) => {
                assert_eq!(our.contains('.'), their.contains('.'), "{name}: {key} should be as {their}: {our}");
                let at: f64 = our.parse().unwrap_or_else(|_| panic!("{name}: {key} should be a moment: {our}"));
                let (at, now) = (if our.contains('.') { at } else { at / 1e3 }, EpochSecs::now().0);
                assert!((now - 60.0..=now).contains(&at), "{name}: {key} should be now: {our}");
            }
            _ => assert!(same(our, &their), "{name}: {key}: {our} should be {their}"),
        }
    }
}

/// One soon after the recorded moment is drawn by lot: half of the span there.
fn assert_same_score(name: &str, ours: Option<f64>, recorded: Option<f64>) {
    let drawn = recorded.map(|score| score - NOW).filter(|ahead| (0.0..3_600.0).contains(ahead));
    match (ours, drawn) {
        (Some(ours), Some(half)) => {
            let ahead = ours - EpochSecs::now().0;
            assert!((-10.0..=half * 2.0).contains(&ahead), "{name}: {ahead} s ahead, recorded {half} s");
        }
        _ => assert_eq!(ours, recorded, "{name}: score"),
    }
}

fn wire_version(major: u32) -> WireVersion {
    match major {
        6 => WireVersion::V6,
        7 => WireVersion::V7,
        _ => WireVersion::V8,
    }
}

#[tokio::test]
async fn enqueues_as_ruby_does() {
    #[derive(Deserialize)]
    struct Call {
        call: String,
        item: Box<RawValue>,
    }
    let redis = Redis::start().await;
    for (major, name, case, difference) in all_cases("enqueue") {
        let name = format!("{name} of {major}");
        redis.call::<()>("FLUSHALL", &[""; 0]).await;
        let form = if major < 8 { StampForm::Secs } else { StampForm::Millis };
        let client = Client::builder().redis(redis.producer()).stamps(form).build().unwrap();
        let Call { call, item } = serde_json::from_str(case.given.get()).unwrap();
        let mut item = Payload::parse(compact(item.get())).unwrap();
        let outcome = if call == "push" {
            client.push(item).await.map(|_| ())
        } else {
            let args: Vec<Box<RawValue>> = item.decode("args").unwrap();
            let at = item.remove("at");
            // Before Sidekiq 8 this is a key like any other.
            let span = (major >= 8).then(|| item.remove("spread_interval")).flatten();
            let mut bulk = Bulk::new(item, args).unwrap();
            if let Some(span) = span {
                bulk = bulk.spread(Duration::from_secs(span.parse().unwrap()));
            }
            if let Some(at) = at {
                bulk = match at.parse() {
                    Ok(at) => bulk.all_at(EpochSecs(at)),
                    Err(_) => bulk.at(serde_json::from_str::<Vec<f64>>(&at).unwrap().into_iter().map(EpochSecs)),
                };
            }
            client.push_bulk(bulk).await.map(|_| ())
        };
        if difference.is_some() {
            continue;
        }
        match (&case.error, outcome) {
            (Some(message), Err(error)) => assert!(error.to_string().starts_with(message), "{name}: {error}"),
            (None, Ok(())) => {}
            (expected, outcome) => panic!("{name}: {outcome:?} should be {expected:?}"),
        }
        let found = lists_and_sets(&redis).await;
        let recorded: Vec<&String> = case.redis.keys().filter(|key| *key != "queues").collect();
        assert_eq!(found.keys().collect::<Vec<_>>(), recorded, "{name}: keys");
        for (key, members) in &found {
            let expected = case.members(key);
            assert_eq!(members.len(), expected.len(), "{name}: {key}");
            for (ours, theirs) in members.iter().zip(&expected) {
                assert_same_payload(&name, &ours.1, &theirs.1, true);
                assert_same_score(&name, ours.0, theirs.0);
            }
        }
        let queues: Vec<String> = redis.call("SMEMBERS", &["queues"]).await;
        let expected: Vec<String> =
            case.redis.get("queues").map(|entry| serde_json::from_str(entry.value.get()).unwrap()).unwrap_or_default();
        assert_eq!(queues, expected, "{name}: queues");
    }
}

/// Holds all cases of a kind against what Ruby left. Each has a Redis and a server of its own: mostly waiting, so several at a time.
async fn all_alike<F: Future<Output = ()> + 'static>(
    kind: &str,
    assert_alike: impl Fn(u32, String, Case, Option<Difference>) -> F,
) {
    tokio::task::LocalSet::new()
        .run_until(async {
            let (mut running, mut failed) = (tokio::task::JoinSet::new(), 0);
            for (major, name, case, difference) in all_cases(kind) {
                running.spawn_local(assert_alike(major, format!("{name} of {major}"), case, difference));
                if running.len() >= 16 {
                    failed += usize::from(running.join_next().await.is_some_and(|ended| ended.is_err()));
                }
            }
            while let Some(ended) = running.join_next().await {
                failed += usize::from(ended.is_err());
            }
            assert_eq!(failed, 0, "cases that differ; each says how above");
        })
        .await;
}

#[tokio::test]
async fn leaves_a_failed_job_as_ruby_does() {
    all_alike("run", async |major, name, case, difference| {
        assert_runs_alike(major, &name, &case, difference.as_ref()).await;
    })
    .await;
}

async fn assert_runs_alike(major: u32, name: &str, case: &Case, difference: Option<&Difference>) {
    let redis = Redis::start().await;
    let proof = Proof::open(&redis.url()).await.unwrap();
    let raw: String = serde_json::from_str(case.given.get()).unwrap();
    redis.call::<()>("LPUSH", &["queue:default", &raw]).await;
    // Cases carry keys of Ruby gems.
    let builder = Server::builder().wire_version(wire_version(major)).foreign_jobs(ForeignJobs::Run);
    let server = Running::start(&redis, jobs::register(builder, &proof));
    eventually(name, async || redis.size("queue:default").await == 0 && redis.private_jobs().await == 0).await;
    let now = EpochSecs::now().0;
    server.stop().await;

    let found = lists_and_sets(&redis).await;
    if let Some(difference) = difference {
        assert!(!difference.reason.is_empty());
        let sizes: BTreeMap<String, usize> = found.iter().map(|(key, members)| (key.clone(), members.len())).collect();
        assert_eq!(sizes, difference.rust, "{name}");
        for (_, job) in found.values().flatten() {
            assert_keeps(name, &raw, job);
        }
        return;
    }
    for set in ["retry", "dead"] {
        let (ours, theirs) = (found.get(set).cloned().unwrap_or_default(), case.members(set));
        assert_eq!(ours.len(), theirs.len(), "{name}: {set}");
        for ((our_score, ours), (their_score, theirs)) in ours.iter().zip(&theirs) {
            assert_same_payload(name, ours, theirs, true);
            let count = Payload::parse(ours.as_str()).ok().and_then(|payload| payload.retry_count()).unwrap_or(0);
            let (delay, expected) = (our_score.unwrap() - now, their_score.unwrap() - NOW);
            let jitter = if set == "retry" { 10.0 * (count.max(0) + 1) as f64 } else { 0.0 };
            assert!(
                (expected - 20.0..=expected + jitter).contains(&delay),
                "{name}: due in {delay} s, recorded {expected} s and up to {jitter} s more"
            );
        }
    }
    for (stat, count) in [("stat:processed", case.count("stat:processed")), ("stat:failed", case.count("stat:failed"))]
    {
        assert_eq!(redis.call::<Option<u64>>("GET", &[stat]).await.unwrap_or(0), count, "{name}: {stat}");
    }
    for (key, entry) in &case.redis {
        if let (Some(_), Some(stat)) = (entry.ttl, key.rsplit_once(':').map(|(stat, _day)| stat)) {
            let day = redis.call::<Vec<String>>("KEYS", &[format!("{stat}:*")]).await;
            let ttl: i64 = redis.call("TTL", &[&day[0]]).await;
            assert!((entry.ttl.unwrap() - 60..=entry.ttl.unwrap()).contains(&ttl), "{name}: lifetime of {key}");
        }
    }
}

/// Every byte that a failure does not change is the same.
fn assert_keeps(name: &str, raw: &str, job: &str) {
    let (Ok(before), Ok(after)) = (Payload::parse(raw), Payload::parse(job)) else {
        // Ruby's Web UI raises on JSON in the dead set that is no object, and shows what is no JSON.
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(raw).is_ok();
        let expected = if is_json { format!("{raw} (not a job)") } else { raw.to_owned() };
        assert_eq!(expected, job, "{name}: the bytes should be kept");
        return;
    };
    for key in before.keys().filter(|key| !["retry_count", "retried_at"].contains(key)) {
        assert_eq!(before.get(key), after.get(key), "{name}: {key} should be kept");
    }
}

#[tokio::test]
async fn promotes_as_ruby_does() {
    all_alike("due", async |major, name, case, difference| {
        assert_promotes_alike(major, &name, &case, difference.as_ref()).await;
    })
    .await;
}

async fn assert_promotes_alike(major: u32, name: &str, case: &Case, difference: Option<&Difference>) {
    let redis = Redis::start().await;
    let (set, member): (String, String) = serde_json::from_str(case.given.get()).unwrap();
    redis.call::<()>("ZADD", &[set.as_str(), "5", &member]).await;
    let server = Running::start(&redis, Server::builder().wire_version(wire_version(major)).queues(["nobody"]));
    eventually(name, async || redis.call::<Option<f64>>("ZSCORE", &[&set, &member]).await.is_none()).await;
    server.stop().await;
    let found = lists_and_sets(&redis).await;
    if let Some(difference) = difference {
        let sizes: BTreeMap<String, usize> = found.iter().map(|(key, members)| (key.clone(), members.len())).collect();
        assert_eq!(sizes, difference.rust, "{name}");
        return;
    }
    let recorded: Vec<&String> = case.redis.keys().filter(|key| *key != "queues").collect();
    assert_eq!(found.keys().collect::<Vec<_>>(), recorded, "{name}: keys");
    for (key, members) in &found {
        for (ours, theirs) in members.iter().zip(&case.members(key)) {
            // Ruby's push brings `retry` and `queue` to the front; no reader minds.
            assert_same_payload(name, &ours.1, &theirs.1, false);
            assert_eq!(ours.0, theirs.0, "{name}: score");
        }
    }
}

#[test]
fn names_only_cases_that_exist_among_the_differences() {
    let names: Vec<String> =
        ["enqueue", "run", "due"].into_iter().flat_map(all_cases).map(|(_, name, ..)| name).collect();
    // What is no case of the corpus stands under `other/`.
    for name in differences().keys().filter(|name| !name.starts_with("other/")) {
        let name = name.split('@').next().unwrap();
        assert!(names.iter().any(|known| known == name), "{name}");
    }
}

#[test]
fn reads_and_writes_every_recorded_payload_unchanged() {
    let mut seen = 0;
    for (_, name, case, _) in ["enqueue", "run", "due"].into_iter().flat_map(all_cases) {
        for key in case.redis.keys().filter(|key| !key.starts_with("stat:") && *key != "queues") {
            for (_, raw) in case.members(key) {
                if let Ok(payload) = Payload::parse(raw.as_str()) {
                    assert_eq!(payload.into_string(), raw, "{name}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 50, "{seen}");
}
