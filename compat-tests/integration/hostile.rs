//! Every known key with every kind of value: through the worker, the poller and the Data API. Nothing panics, nothing is lost.

use std::collections::HashMap;

use ferrokiq::api::{Api, SortedSet};
use ferrokiq::server::ForeignJobs;
use ferrokiq::{Context, Payload, Server};

use crate::support::{Redis, Running, eventually, nothing};

/// Every known key, and every kind of value as JSON; the Ruby half of the suite reads the same.
#[derive(serde::Deserialize)]
struct Corpus {
    keys: Vec<String>,
    values: Vec<String>,
}

/// 416 payloads: one key wrong in each.
fn payloads(class: &str) -> Vec<String> {
    let Corpus { keys, values } = serde_json::from_str(include_str!("../../ruby-fixtures/hostile.json")).unwrap();
    let mut payloads = Vec::new();
    for (number, (key, value)) in keys.iter().flat_map(|key| values.iter().map(move |value| (key, value))).enumerate() {
        let base = [
            ("class", format!("\"{class}\"")),
            ("args", "[]".into()),
            ("jid", format!("\"j{number}\"")),
            ("queue", "\"default\"".into()),
            ("retry", "3".into()),
            ("number", number.to_string()),
        ];
        let mut members: Vec<String> =
            base.iter().filter(|(name, _)| name != key).map(|(name, value)| format!("\"{name}\":{value}")).collect();
        members.push(format!("\"{key}\":{value}"));
        payloads.push(format!("{{{}}}", members.join(",")));
    }
    payloads
}

/// The number of a payload, wherever it went.
fn number(bytes: &[u8]) -> u64 {
    let payload = Payload::from_bytes(bytes.to_vec()).expect("each is a payload");
    payload.decode("number").expect("unknown keys stay")
}

async fn read_all(set: SortedSet) -> Vec<u64> {
    let (mut pages, mut numbers) = (set.pages(), Vec::new());
    while let Some(page) = pages.next().await.unwrap() {
        for entry in &page {
            let _ = (entry.record.class(), entry.record.latency(), entry.record.error_backtrace());
            numbers.push(number(entry.record.bytes()));
        }
    }
    numbers
}

#[tokio::test]
async fn loses_no_job_that_fails() {
    let redis = Redis::start().await;
    let payloads = payloads("Fails");
    assert!(payloads.len() >= 300);
    for payload in &payloads {
        redis.call::<()>("LPUSH", &["queue:default", payload]).await;
    }
    let api = Api::new(&redis.operator());
    let mut pages = api.queue("default").pages();
    let mut seen = 0;
    while let Some(page) = pages.next().await.unwrap() {
        seen += page.len();
    }
    assert_eq!(seen, payloads.len());

    let died = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let deaths = std::sync::Arc::clone(&died);
    let builder = Server::builder()
        .foreign_jobs(ForeignJobs::Run)
        .register_fn("Fails", async |_cx: Context, _args: ferrokiq::job::RawArgs| Err("it fails".into()))
        .on_death(move |job| {
            deaths.lock().unwrap().push(job.payload().decode::<u64>("number").unwrap());
            async {}
        });
    let server = Running::start(&redis, builder.poll_interval_average(std::time::Duration::from_secs(600)));
    eventually("all are settled", async || redis.size("queue:default").await == 0 && redis.private_jobs().await == 0)
        .await;
    server.stop().await;

    let mut places: HashMap<u64, &str> = HashMap::new();
    for (place, numbers) in [
        ("retry", read_all(api.retries()).await),
        ("dead", read_all(api.dead()).await),
        ("told the death handlers", died.lock().unwrap().clone()),
    ] {
        for number in numbers {
            places.insert(number, place);
        }
    }
    // Retries whose delay is over already are back in a queue.
    for key in redis.call::<Vec<String>>("KEYS", &["queue:*"]).await {
        for job in redis.call::<Vec<Vec<u8>>>("LRANGE", &[key.as_str(), "0", "-1"]).await {
            places.insert(number(&job), "queue");
        }
    }
    let lost: Vec<&String> =
        payloads.iter().enumerate().filter(|(at, _)| !places.contains_key(&(*at as u64))).map(|(_, raw)| raw).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test]
async fn loses_no_job_that_becomes_due() {
    let redis = Redis::start().await;
    let payloads = payloads("Nothing");
    for payload in &payloads {
        redis.call::<()>("ZADD", &["schedule", "1", payload]).await;
    }
    let server = Running::start(&redis, Server::builder().register_fn("Nothing", nothing).queues(["nobody"]));
    eventually("all are moved", async || redis.call::<usize>("ZCOUNT", &["schedule", "-inf", "1"]).await == 0).await;
    server.stop().await;
    let mut numbers: Vec<u64> = redis.members("dead").await.iter().map(|raw| number(raw)).collect();
    numbers.extend(redis.members("schedule").await.iter().map(|raw| number(raw)));
    for key in redis.call::<Vec<String>>("KEYS", &["queue:*"]).await {
        let jobs: Vec<Vec<u8>> = redis.call("LRANGE", &[key.as_str(), "0", "-1"]).await;
        numbers.extend(jobs.iter().map(|raw| number(raw)));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..payloads.len() as u64).collect::<Vec<_>>(), "each is in one place");
}
