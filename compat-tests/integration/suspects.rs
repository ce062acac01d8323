//! Jobs of dead processes, and payloads that processes died with.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferrokiq::{Context, Payload, Server};

use crate::reliable::{leave_a_dead_process, recoverer};
use crate::support::{Redis, Running, eventually, nothing};

/// By the system: this crate has no SHA-1.
fn sha1(text: &str) -> String {
    let output =
        std::process::Command::new("sh").args(["-c", "printf %s \"$1\" | sha1sum", "-", text]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

/// Makes a payload one that two processes died with.
async fn suspect(redis: &Redis, payload: &str) -> String {
    let sha = sha1(payload);
    redis.call::<()>("ZADD", &["ferrokiq:suspects", "9999999999", &sha]).await;
    redis.call::<()>("SADD", &[format!("ferrokiq:poison:{sha}").as_str(), "host:8:dead", "host:9:dead"]).await;
    for key in ["ferrokiq:suspects".to_owned(), format!("ferrokiq:poison:{sha}")] {
        redis.call::<()>("EXPIRE", &[key.as_str(), "259200"]).await;
    }
    sha
}

/// Puts jobs into a private list, the oldest first, and names the list in the index of its process.
async fn fill(redis: &Redis, identity: &str, list: &str, jobs: &[&str]) {
    redis.call::<()>("SADD", &[&format!("ferrokiq:batches:{identity}"), list]).await;
    for job in jobs {
        redis.call::<()>("LPUSH", &[list, job]).await;
    }
}

#[tokio::test]
async fn one_bad_queue_stops_the_recovery_of_no_other() {
    let redis = Redis::start().await;
    redis.call::<()>("SET", &["queue:low", "no list"]).await;
    // Processes are looked through in the order of their names, or at random.
    leave_a_dead_process(&redis, "host:0:dead", &["stuck"]).await;
    for number in 1..=10 {
        let identity = format!("host:{number}:dead");
        fill(&redis, &identity, &format!("ferrokiq:batch:{identity}|1|low"), &["stuck"]).await;
        fill(&redis, &identity, &format!("ferrokiq:batch:{identity}|2|good"), &["job"]).await;
        redis.call::<()>("SADD", &["ferrokiq:processes", &identity]).await;
        redis.call::<()>("SET", &[format!("ferrokiq:suspect:{identity}").as_str(), "1", "EX", "30"]).await;
    }
    let server = Running::start(&redis, recoverer());
    eventually("the others are back", async || redis.size("queue:good").await == 10).await;
    assert_eq!(redis.private_jobs().await, 11);
    redis.call::<()>("DEL", &["queue:low"]).await;
    eventually("those of the mended queue, too", async || redis.size("queue:low").await == 11).await;
    server.stop().await;
}

#[tokio::test]
async fn one_bad_queue_stops_no_other_list_of_a_living_process() {
    let redis = Redis::start().await;
    let server = Running::start(&redis, recoverer());
    let mut identities: Vec<String> = Vec::new();
    eventually("it is registered", async || {
        identities = redis.call("SMEMBERS", &["ferrokiq:processes"]).await;
        !identities.is_empty()
    })
    .await;
    let identity = &identities[0];
    redis.call::<()>("SET", &["queue:low", "no list"]).await;
    // Jobs of claims whose answers were lost.
    let queues = ["low"; 20].into_iter().chain(["good"; 3]);
    for (number, queue) in queues.enumerate() {
        fill(&redis, identity, &format!("ferrokiq:batch:{identity}|{}.74|{queue}", 900 + number), &["job"]).await;
    }
    eventually("the others are back", async || redis.size("queue:good").await == 3).await;
    redis.call::<()>("DEL", &["queue:low"]).await;
    server.stop().await;
    assert_eq!(redis.size("queue:low").await, 20);
}

#[tokio::test]
async fn counts_the_processes_that_died_with_a_payload_not_its_copies() {
    let redis = Redis::start().await;
    let payload = r#"{"class":"Nothing","args":[],"queue":"low"}"#;
    for round in 1..=3 {
        let name = format!("host:{round}:dead");
        leave_a_dead_process(&redis, &name, &[payload; 60]).await;
        let server = Running::start(&redis, recoverer());
        eventually("they are back", async || redis.private_jobs().await == 0).await;
        server.stop().await;
        assert_eq!(redis.size("queue:low").await, 60, "round {round}");
        assert_eq!(redis.size("dead").await, 0, "none ran alone");
        let deaths: usize = redis.call("SCARD", &[format!("ferrokiq:poison:{}", sha1(payload))]).await;
        assert_eq!(deaths, round);
        redis.call::<()>("DEL", &["queue:low"]).await;
    }
}

#[tokio::test]
async fn buries_a_job_that_keeps_killing_processes_and_none_beside_it() {
    let redis = Redis::start().await;
    let poison = r#"{"class":"Kills","args":[],"queue":"low","jid":"p","retry":true,"created_at":1795408384695}"#;
    for round in 1..=3 {
        let name = format!("host:{round}:dead");
        leave_a_dead_process(&redis, &name, &[]).await;
        // A copy of it has not begun.
        fill(&redis, &name, &format!("ferrokiq:batch:{name}|7.69|low"), &[poison, "innocent", poison]).await;
        if round == 3 {
            let begun = format!("ferrokiq:begun:{name}");
            redis.call::<()>("SADD", &[begun, sha1(poison), format!("alone:{}", sha1(poison))]).await;
        }
        let server = Running::start(&redis, recoverer());
        eventually("they are gone from the list", async || redis.private_jobs().await == 0).await;
        server.stop().await;
        assert_eq!(redis.size("queue:low").await, if round == 3 { 2 } else { 3 }, "round {round}");
        redis.call::<()>("DEL", &["queue:low"]).await;
    }
    let dead = redis.members("dead").await;
    assert_eq!(dead.len(), 1);
    let payload = Payload::from_bytes(dead[0].clone()).unwrap();
    assert_eq!(payload.decode::<String>("error_class").as_deref(), Some("Ferrokiq::PoisonPill"));
    assert!(payload.into_string().starts_with(&poison[..poison.len() - 1]));
    let deaths: usize = redis.call("SCARD", &[format!("ferrokiq:poison:{}", sha1("innocent"))]).await;
    assert_eq!(deaths, 2, "it was a suspect when the third process died, and had not begun there");
}

#[tokio::test]
async fn convicted_jobs_of_the_same_bytes_stay_two() {
    let redis = Redis::start().await;
    let payload = r#"{"class":"Kills","args":[],"queue":"low"}"#;
    leave_a_dead_process(&redis, "host:1:dead", &[]).await;
    let convicts = "ferrokiq:batch:host:1:dead|convicts|low";
    fill(&redis, "host:1:dead", convicts, &[payload, payload, payload]).await;
    let server = Running::start(&redis, recoverer());
    eventually("they are buried", async || redis.private_jobs().await == 0).await;
    server.stop().await;
    assert_eq!(redis.size("dead").await, 3);
}

/// One step of a recovery, as the script does it.
async fn step(redis: &Redis, list: &str, begun_at_most: &str) -> (usize, usize, usize) {
    let look = include_str!("../../src/store/lua/fingerprints.lua");
    let seen: Vec<String> = redis.call("EVAL", &[look, "1", list, "100", "1048576"]).await;
    let script = include_str!("../../src/store/lua/recover.lua");
    let deaths: Vec<String> = seen.iter().map(|sha| format!("ferrokiq:poison:{sha}")).collect();
    let keys = ["queue:low", "queues", "convicts", "index", "ferrokiq:processes", "ferrokiq:suspects", "begun"];
    let keys = keys.into_iter().chain(deaths.iter().map(String::as_str));
    let arguments = ["low", "3", "259200", "host:1:dead", begun_at_most];
    let arguments = arguments.into_iter().chain(seen.iter().map(String::as_str));
    let count = (8 + seen.len()).to_string();
    let call: Vec<&str> = [script, &count, list].into_iter().chain(keys).chain(arguments).collect();
    redis.call("EVAL", &call).await
}

/// As the end of a recovery does: a step by itself leaves the index.
async fn forget(redis: &Redis) {
    redis.call::<()>("DEL", &["ferrokiq:batches:host:1:dead"]).await;
}

#[tokio::test]
async fn only_jobs_that_may_have_begun_count() {
    let redis = Redis::start().await;
    let jobs: Vec<String> = (0..10).map(|number| format!("job {number}")).collect();
    let oldest_first: Vec<&str> = jobs.iter().map(String::as_str).collect();
    let counted = async || {
        let mut counted = Vec::new();
        for job in &jobs {
            counted.push(redis.call::<usize>("SCARD", &[format!("ferrokiq:poison:{}", sha1(job))]).await);
        }
        counted
    };
    fill(&redis, "host:1:dead", "list", &oldest_first).await;
    assert_eq!(step(&redis, "list", "3").await, (10, 0, 0));
    assert_eq!(counted().await, [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
    // The same process once more, or a second answer: nothing changes.
    fill(&redis, "host:1:dead", "list", &oldest_first).await;
    step(&redis, "list", "3").await;
    assert_eq!(counted().await, [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
    // An older version left no word of how many.
    fill(&redis, "host:1:dead", "list", &oldest_first).await;
    step(&redis, "list", "").await;
    assert_eq!(counted().await, [1; 10]);
    forget(&redis).await;
}

#[tokio::test]
async fn one_step_of_a_recovery_is_bounded_in_jobs_and_in_bytes() {
    let redis = Redis::start().await;
    let large: Vec<String> = (0..5).map(|number| format!("{number}{}", "x".repeat(400_000))).collect();
    fill(&redis, "host:1:dead", "list", &large.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(step(&redis, "list", "64").await, (2, 0, 3));
    let huge = "x".repeat(3_000_000);
    redis.call::<()>("LPUSH", &["list", &huge]).await;
    assert_eq!(step(&redis, "list", "64").await, (1, 0, 3), "one job in any case");
    assert_eq!(step(&redis, "list", "64").await, (2, 0, 1));
    assert_eq!(step(&redis, "list", "64").await, (1, 0, 0));
    let order: Vec<String> = redis.call("LRANGE", &["queue:low", "0", "-1"]).await;
    assert_eq!(order.last().unwrap()[..2], *"0x", "the oldest is fetched next");
    for _ in 0..150 {
        redis.call::<()>("LPUSH", &["list", "small"]).await;
    }
    assert_eq!(step(&redis, "list", "64").await, (100, 0, 50));
    forget(&redis).await;
}

/// Jobs that run, and the most that did at a time.
#[derive(Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
    done: AtomicUsize,
}

impl Gauge {
    fn begin(&self) {
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    }

    fn end(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
        self.done.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs suspects in front of ordinary jobs, on eight processors, until all have ended. Returns the gauge of the suspects, as it stood when the
/// ordinary jobs were done, and how many ordinary jobs ran when a suspect did.
async fn run_beside(redis: &Redis, suspects: usize, ordinary: usize, ms: u64) -> (usize, usize, usize) {
    let mut shas = Vec::new();
    for number in 0..suspects {
        let payload = format!(r#"{{"class":"Suspect","args":[{number}],"jid":"s{number}","queue":"default"}}"#);
        shas.push(suspect(redis, &payload).await);
        redis.call::<()>("LPUSH", &["queue:default", &payload]).await;
    }
    for number in 0..ordinary {
        let payload = format!(r#"{{"class":"Ordinary","args":[{number}],"jid":"o{number}","queue":"default"}}"#);
        redis.call::<()>("LPUSH", &["queue:default", &payload]).await;
    }
    let (suspected, others) = (Arc::new(Gauge::default()), Arc::new(Gauge::default()));
    let at_the_end = Arc::new(Mutex::new(None));
    let beside = Arc::new(AtomicUsize::new(0));
    let url = redis.url();
    let of_suspects = {
        let (suspected, others, beside) = (Arc::clone(&suspected), Arc::clone(&others), Arc::clone(&beside));
        move |cx: Context, _args: (usize,)| {
            let (suspected, others, beside) = (Arc::clone(&suspected), Arc::clone(&others), Arc::clone(&beside));
            let url = url.clone();
            async move {
                suspected.begin();
                // It is named before it begins.
                let named = redis::Client::open(url)?;
                let mut named = named.get_multiplexed_async_connection().await?;
                let begun: Vec<String> = redis::cmd("KEYS").arg("ferrokiq:begun:*").query_async(&mut named).await?;
                let begun: Vec<String> = redis::cmd("SMEMBERS").arg(&begun[0]).query_async(&mut named).await?;
                assert!(begun.contains(&sha1(&cx.payload().as_str())), "{begun:?}");
                let until = tokio::time::Instant::now() + Duration::from_millis(ms);
                while tokio::time::Instant::now() < until {
                    beside.fetch_max(others.now.load(Ordering::SeqCst), Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                suspected.end();
                Ok(())
            }
        }
    };
    let of_others = {
        let (suspected, others, at_the_end) = (Arc::clone(&suspected), Arc::clone(&others), Arc::clone(&at_the_end));
        move |_cx: Context, _args: (usize,)| {
            let (suspected, others, at_the_end) =
                (Arc::clone(&suspected), Arc::clone(&others), Arc::clone(&at_the_end));
            async move {
                others.begin();
                tokio::time::sleep(Duration::from_millis(5)).await;
                others.end();
                if others.done.load(Ordering::SeqCst) == ordinary {
                    *at_the_end.lock().unwrap() = Some(suspected.most.load(Ordering::SeqCst));
                }
                Ok(())
            }
        }
    };
    let builder =
        Server::builder().concurrency(8).register_fn("Suspect", of_suspects).register_fn("Ordinary", of_others);
    let server = Running::start(redis, builder);
    eventually("all have ended", async || {
        suspected.done.load(Ordering::SeqCst) == suspects && others.done.load(Ordering::SeqCst) == ordinary
    })
    .await;
    eventually("all are acquitted", async || redis.call::<usize>("EXISTS", &["ferrokiq:suspects"]).await == 0).await;
    server.stop().await;
    for sha in shas {
        assert_eq!(redis.call::<usize>("EXISTS", &[format!("ferrokiq:poison:{sha}")]).await, 0);
    }
    assert!(redis.call::<Vec<String>>("KEYS", &["ferrokiq:begun:*"]).await.is_empty());
    let most = at_the_end.lock().unwrap().unwrap();
    (most, suspected.most.load(Ordering::SeqCst), beside.load(Ordering::SeqCst))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_suspects_leave_ordinary_jobs_three_quarters_of_the_processors() {
    let redis = Redis::start().await;
    let (beside_others, most, others) = run_beside(&redis, 14, 400, 300).await;
    assert_eq!(beside_others, 2, "of eight");
    assert!(most <= 4, "{most} at a time");
    assert!(others >= 5, "{others} ordinary jobs beside suspects");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_suspects_run_alone_one_after_the_other() {
    let redis = Redis::start().await;
    let (_, most, others) = run_beside(&redis, 3, 100, 50).await;
    assert_eq!((most, others), (1, 0));
}

#[tokio::test]
async fn looks_for_suspects_once_a_claim_and_only_while_there_are_some() {
    let redis = Redis::start().await;
    let server = Running::start(&redis, Server::builder().register_fn("Nothing", nothing));
    let client = redis.client();
    let push = async |jobs: usize| {
        for _ in 0..jobs {
            client.push(Payload::new("Nothing", [])).await.unwrap();
        }
        eventually("they ran", async || redis.size("queue:default").await + redis.private_jobs().await == 0).await;
    };
    // A sign of life every five seconds reads a score, too.
    const SIGNS: usize = 8;
    push(20).await;
    assert!(redis.calls("zscore").await <= SIGNS);
    suspect(&redis, "of another queue").await;
    let before = redis.calls("zscore").await;
    push(20).await;
    let lookups = redis.calls("zscore").await - before;
    assert!((20..=20 + SIGNS).contains(&lookups), "each job once: {lookups}");
    server.stop().await;
}
