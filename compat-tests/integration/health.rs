use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferrokiq::{Context, Event, Job, JobResult, Server};

use crate::support::{Redis, Running, eventually, free, nothing};

/// What is answered to these bytes: status and body.
async fn send(to: SocketAddr, bytes: Vec<u8>) -> std::io::Result<(u16, String)> {
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(&bytes)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        status.zip(body).ok_or_else(|| std::io::Error::other(answer))
    })
    .await
    .unwrap()
}

pub(crate) async fn get(to: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    send(to, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()).await
}

/// Waits until this is answered.
pub(crate) async fn until(to: SocketAddr, path: &str, status: u16, body: &str) {
    let expected = (status, format!("{body}\n"));
    eventually(&format!("{path} is {status} {body}"), async || get(to, path).await.is_ok_and(|said| said == expected))
        .await;
}

/// Runs until it may end, or fails at once.
struct Picky(Arc<tokio::sync::Semaphore>);

impl Job for Picky {
    const CLASS: &'static str = "Picky";
    type Args = (bool,);

    async fn perform(&self, _cx: Context, (well,): Self::Args) -> JobResult {
        if !well {
            return Err("no".into());
        }
        self.0.acquire().await.map(drop).map_err(|_| "closed".into())
    }
}

#[tokio::test]
async fn tells_probes_how_it_is_until_the_end() {
    let (mut redis, at) = (Redis::start().await, free());
    let room = Arc::new(tokio::sync::Semaphore::new(0));
    let server = Running::start(&redis, Server::builder().register(Picky(Arc::clone(&room))).health(at));
    until(at, "/ready", 200, "ok").await;
    until(at, "/live", 200, "ok").await;

    redis.kill();
    until(at, "/ready", 503, "Redis does not answer").await;
    until(at, "/live", 200, "ok").await;
    redis.revive().await;
    until(at, "/ready", 200, "ok").await;

    Picky::perform_async(&redis.client(), (true,)).await.unwrap();
    eventually("it runs", async || get(at, "/metrics").await.unwrap().1.contains("\nferrokiq_busy 1\n")).await;
    server.handle.quiet();
    until(at, "/ready", 503, "quiet").await;
    server.handle.stop();
    until(at, "/ready", 503, "stopping").await;
    until(at, "/live", 200, "ok").await;
    room.add_permits(1);
    assert_eq!(server.stop().await.cut_off, 0);
    assert!(get(at, "/live").await.is_err(), "it has ended");
}

#[tokio::test]
async fn counts_what_becomes_of_jobs() {
    let (redis, at) = (Redis::start().await, free());
    let client = redis.client();
    let room = Arc::new(tokio::sync::Semaphore::new(100));
    Picky::perform_bulk(&client, [(true,), (true,), (false,)]).await.unwrap();
    let stranger = "Stranger\"} 1\n".repeat(50);
    client.push(ferrokiq::Payload::new(&stranger, [])).await.unwrap();
    let give_up = ferrokiq::Payload::parse(r#"{"class":"Picky","args":[false],"retry":0}"#).unwrap();
    client.push(give_up).await.unwrap();
    redis.call::<i64>("LPUSH", &["queue:default", "no payload"]).await;
    let server = Running::start(&redis, Server::builder().register(Picky(room)).health(at));
    let text = || async move { get(at, "/metrics").await.map(|(_, text)| text).unwrap_or_default() };
    eventually("all are through", async || {
        let text = text().await;
        [
            "ferrokiq_jobs_fetched_total{queue=\"default\"} 6",
            "ferrokiq_jobs_done_total{class=\"Picky\"} 2",
            "ferrokiq_jobs_failed_total{class=\"Picky\"} 2",
            "ferrokiq_jobs_retried_total{class=\"Picky\"} 1",
            "ferrokiq_jobs_dead_total{class=\"Picky\"} 1",
            "ferrokiq_jobs_failed_total{class=\"other\"} 1",
            "ferrokiq_jobs_retried_total{class=\"other\"} 1",
            "ferrokiq_job_duration_seconds_count{class=\"Picky\"} 2",
            "ferrokiq_jobs_unreadable_total 1",
            "ferrokiq_queue_size{queue=\"default\"} 0",
            "ferrokiq_redis_up 1",
            "ferrokiq_redis_outages_total 0",
        ]
        .iter()
        .all(|line| text.lines().any(|said| said == *line))
    })
    .await;
    let text = text().await;
    assert!(!text.contains("Stranger"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
    }
    // The Metrics page of Sidekiq gets the same, once.
    server.stop().await;
    assert_eq!(redis.call::<String>("GET", &["stat:processed"]).await, "5");
    assert_eq!(redis.call::<String>("GET", &["stat:failed"]).await, "3");
}

#[tokio::test]
async fn stands_whatever_is_sent_to_it() {
    let (redis, at) = (Redis::start().await, free());
    let server = Running::start(&redis, Server::builder().register_fn("Nothing", nothing).health(at));
    until(at, "/ready", 200, "ok").await;
    let status = |bytes: &[u8]| {
        let bytes = bytes.to_vec();
        async move { send(at, bytes).await.map(|(status, _)| status) }
    };
    for (bytes, expected) in [
        (&b"POST /live HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"[..], 405),
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"GET /live HTTP/9.9\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /live HTTP/1.1\r\nbad header\r\n\r\n", 400),
    ] {
        assert_eq!(status(bytes).await.unwrap(), expected, "{bytes:?}");
    }
    let mut long = b"GET /live HTTP/1.1\r\n".to_vec();
    long.extend((0..2_000).flat_map(|n| format!("x-{n}: y\r\n").into_bytes()));
    assert_eq!(status(&long).await.unwrap(), 431);
    server.stop().await;
}

#[tokio::test]
async fn answers_probes_whoever_is_silent() {
    let (redis, at) = (Redis::start().await, free());
    let server = Running::start(&redis, Server::builder().register_fn("Nothing", nothing).health(at));
    until(at, "/ready", 200, "ok").await;
    for silent in [64, 200] {
        let mut idle = Vec::new();
        for _ in 0..silent {
            let mut stream = TcpStream::connect(at).unwrap();
            // Half of them begin a request and never end it.
            if idle.len() % 2 == 0 {
                stream.write_all(b"GET /live HT").unwrap();
            }
            idle.push(stream);
        }
        for probe in 0..10 {
            let answered = tokio::time::timeout(Duration::from_secs(3), get(at, "/live")).await;
            assert!(answered.is_ok_and(|said| said.is_ok_and(|(status, _)| status == 200)), "{probe} beside {silent}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn says_at_boot_that_the_address_is_taken() {
    let redis = Redis::start().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let server = Server::builder().redis(redis.options()).health(at).build().unwrap();
    let error = server.run(std::future::pending()).await.unwrap_err();
    assert!(error.is_config() && error.to_string() == format!("health: cannot listen on {at}"), "{error}");
}

/// Bytes of this process in memory.
fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kb = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    kb.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

#[tokio::test]
async fn stops_in_good_order_above_its_memory() {
    let redis = Redis::start().await;
    Picky::perform_async(&redis.client(), (true,)).await.unwrap();
    let room = Arc::new(tokio::sync::Semaphore::new(1));
    // More than other tests of this process may free meanwhile. A limit below the size at the start would be refused.
    let (leaked, limit) = (Arc::new(Mutex::new(Vec::new())), rss() + (64 << 20));
    let leak = Arc::clone(&leaked);
    let leak = move || {
        let leak = Arc::clone(&leak);
        async move { *leak.lock().unwrap() = vec![1_u8; 256 << 20] }
    };
    let server = Server::builder().redis(redis.options()).register(Picky(room)).on(Event::Startup, leak);
    let server = server.max_rss(limit).build().unwrap();
    let stopped = tokio::time::timeout(Duration::from_secs(20), server.run(std::future::pending())).await;
    let stopped = stopped.unwrap().unwrap();
    assert!(stopped.over_memory && stopped.cut_off == 0, "{stopped:?}");
    assert!(!leaked.lock().unwrap().is_empty());
    assert_eq!(redis.private_jobs().await, 0);
}
