//! What processes cost each other: who looks for dead ones, and how often; and the scripts that decide who is dead.

use std::time::Duration;

use ferrokiq::{Server, ServerBuilder};
use redis::FromRedisValue;

use crate::support::{Redis, Running, eventually};

/// Serves a queue without jobs. A sixth of a second is between two signs of life.
fn idle() -> ServerBuilder {
    Server::builder().queues(["default"]).concurrency(1).liveness(Duration::from_secs(1))
}

/// Processes that were fenced just now and have no private lists, `host:N:fenced`.
async fn leave_fenced_processes(redis: &Redis, processes: usize) {
    let (now, _): (u64, u64) = redis.call("TIME", &[""; 0]).await;
    let mut zadd = vec!["ferrokiq:fenced".to_owned()];
    for number in 0..processes {
        zadd.extend([(now - 1_000).to_string(), format!("host:{number:03}:fenced")]);
    }
    redis.call::<()>("ZADD", &zadd).await;
}

/// What a process leaves that claimed a job and died.
async fn leave_a_job(redis: &Redis, identity: &str) {
    let (index, list) = (format!("ferrokiq:batches:{identity}"), format!("ferrokiq:batch:{identity}|7|low"));
    redis.call::<()>("SADD", &[&index, &list]).await;
    redis.call::<()>("LPUSH", &[&list, identity]).await;
}

/// All at the same time: each waits for a blocking command to end.
async fn stop(servers: impl IntoIterator<Item = Running>) {
    let servers: Vec<Running> = servers.into_iter().collect();
    servers.iter().for_each(|server| server.handle.stop());
    for server in servers {
        server.stop().await;
    }
}

async fn all_are_registered(redis: &Redis, processes: usize) {
    eventually("all are registered", async || redis.call::<usize>("SCARD", &["ferrokiq:processes"]).await == processes)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_process_costs_the_same_however_many_there_are() {
    const PROCESSES: usize = 12;
    const PERIODS: usize = 6;
    let redis = Redis::start().await;
    leave_fenced_processes(&redis, 300).await;
    let servers: Vec<_> = (0..PROCESSES).map(|_| Running::start(&redis, idle())).collect();
    all_are_registered(&redis, PROCESSES).await;
    // Commands that ask for processes, their keys or their hashes.
    let asked = async || {
        let mut calls = 0;
        for command in ["exists", "smembers", "hget", "zscore"] {
            calls += redis.calls(command).await;
        }
        calls
    };
    // They may judge others two periods after their start.
    eventually("a look", async || redis.calls("exists").await > PROCESSES).await;
    let before = asked().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let each = (asked().await - before) as f64 / (PROCESSES * PERIODS) as f64;
    stop(servers).await;
    assert!(each <= 4.0, "{each:.1} commands of each process in each period");
}

#[tokio::test]
async fn one_process_reads_the_versions_for_all() {
    const PROCESSES: usize = 12;
    let redis = Redis::start().await;
    let old = "ruby:1:0123456789ab";
    redis.call::<()>("SADD", &["processes", old]).await;
    redis.call::<()>("HSET", &[old, "info", r#"{"version":"7.3.2"}"#]).await;
    let servers: Vec<_> = (0..PROCESSES).map(|_| Running::start(&redis, idle())).collect();
    all_are_registered(&redis, PROCESSES).await;
    let everyone = async || redis.call::<usize>("SCARD", &["processes"]).await == PROCESSES + 1;
    eventually("all have beaten", everyone).await;
    let shared = redis.call::<String>("GET", &["ferrokiq:sidekiqs"]).await;
    assert_eq!(shared, r#"{"majors":[7],"polled":[]}"#);
    let read = redis.calls("pttl").await;
    stop(servers).await;
    // Each reads at its start only if another one is reading just then.
    assert!(read <= PROCESSES * 2, "{read} process infos were read");
}

#[tokio::test]
async fn another_process_looks_if_the_one_whose_turn_it_is_died() {
    let redis = Redis::start().await;
    for identity in ["host:1:dead", "host:2:dead"] {
        redis.call::<()>("SADD", &["ferrokiq:processes", identity]).await;
        redis.call::<()>("ZADD", &["ferrokiq:alive", "1", identity]).await;
        leave_a_job(&redis, identity).await;
    }
    redis.call::<()>("SET", &["ferrokiq:lookout", "host:1:dead", "PX", "500"]).await;
    let servers = [Running::start(&redis, idle()), Running::start(&redis, idle())];
    eventually("their jobs are back", async || redis.size("queue:low").await == 2).await;
    stop(servers).await;
    assert_eq!(redis.size("ferrokiq:alive").await, 0);
}

#[tokio::test]
async fn the_late_job_of_a_fenced_process_comes_back_though_hundreds_are_fenced() {
    let redis = Redis::start().await;
    leave_fenced_processes(&redis, 600).await;
    let server = Running::start(&redis, idle());
    all_are_registered(&redis, 1).await;
    for number in [0, 300, 599] {
        let identity = format!("host:{number:03}:fenced");
        leave_a_job(&redis, &identity).await;
        eventually("its job is back", async || redis.size("queue:low").await == 1).await;
        redis.call::<()>("DEL", &["queue:low"]).await;
        let index = format!("ferrokiq:batches:{identity}");
        eventually("nothing is left of it", async || redis.call::<u8>("EXISTS", &[&index]).await == 0).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn finds_a_process_whose_sign_of_life_was_deleted() {
    let redis = Redis::start().await;
    redis.call::<()>("SADD", &["ferrokiq:processes", "host:1:dead"]).await;
    leave_a_job(&redis, "host:1:dead").await;
    let server = Running::start(&redis, idle());
    eventually("its job is back", async || redis.size("queue:low").await == 1).await;
    server.stop().await;
    assert_eq!(redis.call::<Vec<String>>("SMEMBERS", &["ferrokiq:processes"]).await, [""; 0]);
}

const ALIVE: &str = "ferrokiq:alive";
const REGISTRY: &str = "ferrokiq:processes";
const FENCED: &str = "ferrokiq:fenced";
const ID: &str = "host:1:abc";
const SUSPECT: &str = "ferrokiq:suspect:host:1:abc";
const SETTLEMENTS: &str = "ferrokiq:settlements:host:1:abc";

/// Calls a script of the store.
async fn script<T: FromRedisValue>(redis: &Redis, text: &str, keys: &[&str], arguments: &[&str]) -> T {
    let count = keys.len().to_string();
    let words: Vec<&str> = [text, &count].iter().chain(keys).chain(arguments).copied().collect();
    redis.call("EVAL", &words).await
}

async fn register(redis: &Redis) -> (bool, u64) {
    let text = include_str!("../../src/store/lua/register.lua");
    let keys = [REGISTRY, FENCED, ALIVE, SETTLEMENTS];
    let (was_fenced, _epoch, until): (bool, u64, u64) = script(redis, text, &keys, &[ID, "30000", "0", "0"]).await;
    (was_fenced, until)
}

async fn stay_alive(redis: &Redis) -> (bool, Option<u64>, u64) {
    script(redis, include_str!("../../src/store/lua/stay_alive.lua"), &[ALIVE, REGISTRY], &[ID, "30000"]).await
}

async fn fence(redis: &Redis, grace_ms: &str) -> bool {
    let text = include_str!("../../src/store/lua/fence.lua");
    let keys = [ALIVE, SUSPECT, REGISTRY, FENCED, SETTLEMENTS, &format!("ferrokiq:batches:{ID}")];
    script(redis, text, &keys, &[ID, grace_ms, "30000", "86400"]).await
}

async fn look(redis: &Redis) -> (Vec<String>, Vec<String>) {
    let text = include_str!("../../src/store/lua/look.lua");
    let keys = [REGISTRY, ALIVE, FENCED, "ferrokiq:checked"];
    let (missing, fenced): (_, Vec<String>) = script(redis, text, &keys, &["100", "86400", "2", "3", "1"]).await;
    if fenced.is_empty() {
        return (missing, fenced);
    }
    let indexes: Vec<String> = fenced.iter().map(|identity| format!("ferrokiq:batches:{identity}")).collect();
    let keys: Vec<&str> = std::iter::once(FENCED).chain(indexes.iter().map(String::as_str)).collect();
    let arguments: Vec<&str> = fenced.iter().map(String::as_str).collect();
    (missing, script(redis, include_str!("../../src/store/lua/left_behind.lua"), &keys, &arguments).await)
}

#[tokio::test]
async fn a_sign_of_life_returns_what_the_one_before_wrote() {
    let redis = Redis::start().await;
    let (registered, previous, before) = stay_alive(&redis).await;
    assert_eq!((registered, previous, redis.size(ALIVE).await), (false, None, 0), "a sign registers nobody");
    let (was_fenced, until) = register(&redis).await;
    assert!(!was_fenced && until >= before + 30_000);
    let (registered, previous, first) = stay_alive(&redis).await;
    assert_eq!((registered, previous), (true, Some(until)));
    assert_eq!(stay_alive(&redis).await.1, Some(first + 30_000));
    redis.call::<()>("DEL", &[ALIVE]).await;
    let (registered, previous, _) = stay_alive(&redis).await;
    assert_eq!((registered, previous), (true, None), "somebody deleted it");
    redis.call::<()>("ZADD", &[FENCED, "1", ID]).await;
    assert!(register(&redis).await.0);
    assert!(!register(&redis).await.0);
}

#[tokio::test]
async fn fences_only_who_is_missing_since_a_mark_of_this_absence() {
    let redis = Redis::start().await;
    register(&redis).await;
    redis.call::<()>("SET", &[SUSPECT, "1 1"]).await;
    assert!(!fence(&redis, "0").await, "it is alive");
    redis.call::<()>("ZADD", &[ALIVE, "2", ID]).await;
    for mark in ["1 1", "1", "garbage", "99999999999999 2"] {
        redis.call::<()>("SET", &[SUSPECT, mark]).await;
        assert!(!fence(&redis, "0").await, "{mark}: not made for this absence");
        assert!(redis.call::<String>("GET", &[SUSPECT]).await.ends_with(" 2"), "{mark}: it is marked anew");
        assert!(redis.call::<i64>("PTTL", &[SUSPECT]).await > 0);
    }
    assert!(!fence(&redis, "60000").await, "the mark is not old enough");
    assert!(fence(&redis, "0").await);
    assert!(fence(&redis, "0").await, "the answer before was lost");
    assert_eq!(redis.call::<Vec<String>>("KEYS", &["*"]).await, [FENCED]);
    redis.call::<()>("DEL", &[FENCED]).await;
    assert!(!fence(&redis, "0").await, "it left by itself");
}

#[tokio::test]
async fn one_whose_sign_of_life_was_deleted_is_missing_from_the_first_look_on() {
    let redis = Redis::start().await;
    register(&redis).await;
    for _ in 0..3 {
        redis.call::<()>("DEL", &[ALIVE]).await;
        assert_eq!(look(&redis).await.0, [ID]);
        assert!(!fence(&redis, "0").await, "each absence has a grace of its own");
        // The clock of the mark must not stand still between two of them.
        let (now, micros): (u64, u64) = redis.call("TIME", &[""; 0]).await;
        eventually("a millisecond", async || redis.call::<(u64, u64)>("TIME", &[""; 0]).await > (now, micros + 1_000))
            .await;
    }
    assert_eq!(look(&redis).await.0, [ID], "now by its score");
    assert!(fence(&redis, "0").await);
    assert_eq!(look(&redis).await, (vec![], vec![]));
    // One that is in the sorted set alone goes when its time is over, so that both sets are as large again.
    redis.call::<()>("ZADD", &[ALIVE, "1", ID]).await;
    redis.call::<()>("DEL", &[FENCED]).await;
    assert_eq!(look(&redis).await.0, [ID]);
    assert!(!fence(&redis, "0").await);
    assert_eq!(redis.size(ALIVE).await, 0);
}

#[tokio::test]
async fn a_look_checks_the_last_fenced_always_and_the_others_by_turns() {
    let redis = Redis::start().await;
    let (now, _): (u64, u64) = redis.call("TIME", &[""; 0]).await;
    for number in 0..10 {
        let fenced_at = (now - 100 + number).to_string();
        redis.call::<()>("ZADD", &[FENCED, &fenced_at, &format!("host:{number}:x")]).await;
    }
    redis.call::<()>("ZADD", &[FENCED, "1", "host:old:x"]).await;
    let mut found = Vec::new();
    for (number, identity) in ["host:2:x", "host:5:x"].into_iter().enumerate() {
        leave_a_job(&redis, identity).await;
        let mut looks = 0;
        while found.len() == number {
            found = look(&redis).await.1;
            found.sort();
            found.dedup();
            looks += 1;
            assert!(looks <= 4, "ten of them, three in each look");
        }
        assert!(found.contains(&identity.to_owned()), "{found:?}");
        // As long as it has private lists it is among the last fenced.
        for _ in 0..6 {
            assert!(look(&redis).await.1.contains(&identity.to_owned()));
        }
    }
    assert_eq!(redis.size(FENCED).await, 10, "who was fenced a day ago is forgotten");
}
