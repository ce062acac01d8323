//! What the poller does with due jobs that are large, odd or many, and with sets that are broken.

use std::sync::{Arc, LazyLock, Mutex};
use std::thread::ThreadId;

use ferrokiq::Server;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{self, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

use crate::support::{Redis, Running, eventually};

const MB: usize = 1 << 20;

fn job(number: usize, padding: usize) -> String {
    format!(r#"{{"class":"Nothing","args":[{number},"{}"],"queue":"q"}}"#, "x".repeat(padding))
}

/// A server that works no queue the jobs go to.
fn poller() -> ferrokiq::ServerBuilder {
    Server::builder().queues(["nobody"])
}

/// All messages that tests log, each with its thread. For the whole process: the tracing crate caches what a thread without a subscriber said.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(ThreadId, String)>>>);

impl Log {
    fn start() -> Self {
        static LOG: LazyLock<Log> = LazyLock::new(|| {
            let log = Log::default();
            let subscriber = Registry::default().with(log.clone().with_filter(LevelFilter::INFO));
            tracing::subscriber::set_global_default(subscriber).unwrap();
            log
        });
        LOG.clone()
    }

    /// Messages of this thread that hold a text.
    fn lines(&self, text: &str) -> usize {
        let mine = std::thread::current().id();
        self.0.lock().unwrap().iter().filter(|(thread, line)| *thread == mine && line.contains(text)).count()
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push((std::thread::current().id(), message.0));
    }
}

/// Redis closes a connection whose answer or request exceeds these bytes: a batch of large jobs must be smaller.
#[tokio::test]
async fn large_jobs_go_one_by_one_and_small_ones_before_them() {
    let redis = Redis::start_with(&["--client-output-buffer-limit", "normal 10mb 0 0"]).await;
    redis.call::<()>("CONFIG", &["SET", "client-query-buffer-limit", "20mb"]).await;
    for number in 0..6 {
        redis.call::<()>("ZADD", &["schedule", &number.to_string(), &job(number, 7 * MB)]).await;
    }
    for number in 6..206 {
        redis.call::<()>("ZADD", &["schedule", &number.to_string(), &job(number, 0)]).await;
    }
    let running = Running::start(&redis, poller());
    eventually("all are promoted", async || redis.size("queue:q").await == 206).await;
    running.stop().await;
    assert_eq!(redis.size("schedule").await, 0);
    let script =
        "local sizes = {} for at = 0, 5 do sizes[at + 1] = #redis.call('LINDEX', KEYS[1], at) end return sizes";
    let sizes: Vec<usize> = redis.call("EVAL", &[script, "1", "queue:q"]).await;
    assert!(sizes.iter().all(|size| *size > 7 * MB), "the small ones were not kept waiting: {sizes:?}");
}

/// A job that is too large for its connection holds up no other.
#[tokio::test]
async fn a_job_that_cannot_be_read_holds_up_no_other() {
    let redis = Redis::start_with(&["--client-output-buffer-limit", "normal 5mb 0 0"]).await;
    for (number, padding) in [7 * MB, 3 * MB, 0, 7 * MB, 3 * MB, 0].into_iter().enumerate() {
        redis.call::<()>("ZADD", &["schedule", &number.to_string(), &job(number, padding)]).await;
    }
    let running = Running::start(&redis, poller());
    eventually("all others are promoted", async || redis.size("queue:q").await == 4).await;
    running.stop().await;
    assert_eq!(redis.size("schedule").await, 2);
}

#[tokio::test]
async fn entries_above_the_limit_are_buried_unchanged_and_unread() {
    let redis = Redis::start().await;
    let (fits, too_large) = (job(1, 1_000), job(2, 1_001));
    redis.call::<()>("ZADD", &["schedule", "1", &too_large, "2", &fits, "3", "no payload"]).await;
    redis.call::<()>("ZADD", &["retry", "1", &job(3, 3 * MB)]).await;
    let running = Running::start(&redis, poller().max_payload(fits.len()));
    eventually("the others are buried", async || redis.size("dead").await == 3).await;
    running.stop().await;
    assert_eq!((redis.size("queue:q").await, redis.size("schedule").await, redis.size("retry").await), (1, 0, 0));
    let dead = redis.members("dead").await;
    assert!(dead.contains(&too_large.into_bytes()) && dead.contains(&job(3, 3 * MB).into_bytes()));
    let (now, _): (f64, f64) = redis.call("TIME", &[] as &[&str]).await;
    assert_eq!(redis.call::<usize>("ZCOUNT", &["dead", &(now - 60.0).to_string(), &(now + 1.0).to_string()]).await, 3);
}

/// The Web UI deletes by score.
#[tokio::test]
async fn no_two_entries_get_one_score() {
    let redis = Redis::start().await;
    for number in 0..150 {
        redis.call::<()>("ZADD", &["schedule", "1", &format!("no payload {number}")]).await;
        let later = format!(r#"{{"class":"Nothing","args":[{number}],"queue":"q","at":4000000000.25}}"#);
        redis.call::<()>("ZADD", &["retry", "1", &later]).await;
    }
    let running = Running::start(&redis, poller());
    eventually("all are moved", async || redis.size("dead").await == 150 && redis.size("schedule").await == 150).await;
    running.stop().await;
    for set in ["dead", "schedule"] {
        let scored: Vec<String> = redis.call("ZRANGE", &[set, "0", "-1", "WITHSCORES"]).await;
        let scores: std::collections::BTreeSet<&String> = scored.iter().skip(1).step_by(2).collect();
        assert_eq!(scores.len(), 150, "{set}");
    }
}

#[tokio::test]
async fn the_dead_set_is_trimmed_by_the_clock_of_redis_and_in_steps() {
    let redis = Redis::start().await;
    let (now, _): (u64, u64) = redis.call("TIME", &[] as &[&str]).await;
    let script = "for n = 1, 2500 do redis.call('ZADD', KEYS[1], ARGV[1] - n, n) end";
    redis.call::<()>("EVAL", &[script, "1", "dead", &(now - 3_700).to_string()]).await;
    redis.call::<()>("ZADD", &["dead", &(now - 3_000).to_string(), "young"]).await;
    redis.call::<()>("ZADD", &["schedule", "1", "no payload"]).await;
    let running = Running::start(&redis, poller().dead_timeout(std::time::Duration::from_secs(3_600)));
    eventually("it is buried", async || redis.size("schedule").await == 0).await;
    assert_eq!(redis.size("dead").await, 1_502, "a thousand at once");
    for _ in 0..2 {
        redis.call::<()>("ZADD", &["schedule", "1", "no payload either"]).await;
        eventually("it is buried", async || redis.size("schedule").await == 0).await;
    }
    running.stop().await;
    let left = redis.members("dead").await;
    assert_eq!(left, [b"young".to_vec(), b"no payload".to_vec(), b"no payload either".to_vec()]);
}

#[tokio::test]
async fn a_broken_set_concerns_that_set_alone_and_is_logged_once() {
    let redis = Redis::start().await;
    let log = Log::start();
    redis.call::<()>("SET", &["retry", "a string"]).await;
    redis.call::<()>("SET", &["queue:stuck", "a string"]).await;
    for number in 0..250 {
        let stuck = format!(r#"{{"class":"Nothing","args":[{number}],"queue":"stuck"}}"#);
        redis.call::<()>("ZADD", &["schedule", "1", &stuck]).await;
    }
    redis.call::<()>("ZADD", &["schedule", "2", &job(1, 0)]).await;
    let running = Running::start(&redis, poller());
    eventually("the good one is promoted", async || redis.size("queue:q").await == 1).await;
    // The poller looks at the broken set before the other one, again and again.
    for number in 2..7 {
        redis.call::<()>("ZADD", &["schedule", "2", &job(number, 0)]).await;
        eventually("the next one, too", async || redis.size("queue:q").await == number).await;
    }
    let seen = (
        log.lines("enqueueing due jobs failed"),
        log.lines("due jobs stay where they are"),
        log.lines("Redis is online"),
    );
    assert_eq!(seen, (1, 1, 0));
    redis.call::<()>("DEL", &["retry"]).await;
    redis.call::<()>("ZADD", &["retry", "1", &job(7, 0)]).await;
    eventually("it goes on", async || redis.size("queue:q").await == 7).await;
    running.stop().await;
    assert_eq!(redis.size("schedule").await, 250);
}

#[tokio::test]
async fn an_interval_of_zero_does_not_keep_redis_busy() {
    let redis = Redis::start().await;
    let server = poller().redis(redis.options()).poll_interval_average(std::time::Duration::ZERO).build().unwrap();
    let handle = server.handle();
    let running = tokio::spawn(server.run(std::future::pending()));
    let looks = async || redis.calls("zcount").await;
    eventually("the first look", async || looks().await > 0).await;
    let (began, before) = (std::time::Instant::now(), looks().await);
    eventually("more looks", async || looks().await >= before + 40).await;
    let seen = looks().await - before;
    // Both sets are looked at every 10 ms at most.
    let most = 2 * (began.elapsed().as_millis() as usize / 10 + 2);
    handle.stop();
    running.await.unwrap().unwrap();
    assert!(seen <= most, "{seen} looks, {most} at most");
}
