//! The lead of a group of servers, and ticks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ferrokiq::server::{FencedScript, TickContext, TickOptions};
use ferrokiq::{ErrorKind, Event, JobError, JobResult, Server, ServerBuilder};

#[expect(dead_code, reason = "its `main` is for the command line")]
#[path = "../../examples/backlog.rs"]
mod backlog;

use crate::support::{DEADLINE, Redis, Running, eventually, nothing};

const LEASE: &str = "ferrokiq:leader:default";
/// A key that the shipped users may write.
const LOG: &str = "it-log";
/// Long enough that a lease of it does not end within a test.
const LONG: Duration = Duration::from_secs(40);
const SHORT: Duration = Duration::from_secs(1);

/// Servers that count how often each got the lead, and whose leader writes its name and token every 10 ms.
struct Fleet {
    redis: Redis,
    gained: Arc<Mutex<Vec<&'static str>>>,
}

impl Fleet {
    async fn new() -> Self {
        Self { redis: Redis::start().await, gained: Arc::default() }
    }

    fn builder(&self, name: &'static str, liveness: Duration) -> ServerBuilder {
        let gained = Arc::clone(&self.gained);
        Server::builder().liveness(liveness).on(Event::Leader, move || {
            gained.lock().unwrap().push(name);
            async {}
        })
    }

    fn run(&self, builder: ServerBuilder) -> Running {
        as_anybody(&self.redis, builder)
    }

    fn start(&self, name: &'static str, liveness: Duration) -> Running {
        let write = FencedScript::new("redis.call('RPUSH', KEYS[1], ARGV[1])");
        let often = TickOptions::every(Duration::from_millis(10)).leader_only().name("write");
        let builder = self.builder(name, liveness).on_tick(often, move |cx: TickContext| {
            let write = write.clone();
            async move {
                let line = format!("{name} {}", cx.token().ok_or("it does not lead")?);
                cx.run_fenced(&write, &[LOG], &[line]).await?;
                Ok(())
            }
        });
        self.run(builder)
    }

    fn gained(&self) -> Vec<&'static str> {
        self.gained.lock().unwrap().clone()
    }

    /// The last line that a leader wrote: its name and token.
    async fn last(&self) -> (String, u64) {
        let line: Option<String> = self.redis.call("LINDEX", &[LOG, "-1"]).await;
        let line = line.unwrap_or_else(|| "nobody 0".to_owned());
        let (name, token) = line.split_once(' ').unwrap();
        (name.to_owned(), token.parse().unwrap())
    }

    /// Waits until a server writes as the leader under a greater token; returns the token.
    async fn until_written_by(&self, name: &str, after: u64) -> u64 {
        let mut token = 0;
        eventually(&format!("{name} writes"), async || {
            let (by, under) = self.last().await;
            token = under;
            by == name && under > after
        })
        .await;
        token
    }

    /// Fails if a line stands behind one of a greater token.
    async fn tokens_only_grow(&self) {
        let lines: Vec<String> = self.redis.call("LRANGE", &[LOG, "0", "-1"]).await;
        let tokens: Vec<u64> = lines.iter().map(|line| line.split_once(' ').unwrap().1.parse().unwrap()).collect();
        assert!(tokens.is_sorted(), "{lines:?}");
    }

    async fn token(&self) -> u64 {
        self.redis.call("HGET", &[LEASE, "token"]).await
    }
}

/// Runs a server as a user who may end its blocking commands: it stops at once. `bin/chaos` has leaders with the rights of a worker.
fn as_anybody(redis: &Redis, builder: ServerBuilder) -> Running {
    Running::start_as_it_is(builder.redis(redis.url().parse().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_leads_and_another_follows_at_once_when_it_stops() {
    let fleet = Fleet::new().await;
    let first = fleet.start("first", LONG);
    let token = fleet.until_written_by("first", 0).await;
    let second = fleet.start("second", LONG);
    let turns = async || fleet.redis.call::<Option<u64>>("HGET", &[LEASE, "turn"]).await.is_some();
    eventually("the second one is a candidate", turns).await;
    assert_eq!(fleet.gained(), ["first"]);
    assert_eq!(fleet.last().await, ("first".to_owned(), token));
    let began = Instant::now();
    first.stop().await;
    let next = fleet.until_written_by("second", token).await;
    assert!(began.elapsed() < LONG / 4, "the lease was given back: it would have lasted 20 s");
    assert_eq!((fleet.gained(), fleet.token().await), (vec!["first", "second"], next));
    fleet.tokens_only_grow().await;
    second.handle.quiet();
    let lines = fleet.redis.size(LOG).await;
    eventually("ticks go on while the server is quiet", async || fleet.redis.size(LOG).await > lines + 2).await;
    second.stop().await;
    assert!(!fleet.redis.call::<bool>("HEXISTS", &[LEASE, "holder"]).await);
    assert_eq!(fleet.token().await, next, "the token stays, so that the next one is greater");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_replaced_can_write_nothing_more() {
    let fleet = Fleet::new().await;
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let old = fleet.builder("old", LONG).on_tick(TickOptions::every(LONG).leader_only(), move |cx: TickContext| {
        *keep.lock().unwrap() = Some((cx.clone(), Arc::new(())));
        let runs = keep.lock().unwrap().as_ref().map(|(_, runs)| Arc::clone(runs));
        async move {
            let _runs = runs;
            std::future::pending().await
        }
    });
    let old = fleet.run(old);
    eventually("the old one leads", async || kept.lock().unwrap().is_some()).await;
    let (context, runs) = kept.lock().unwrap().take().unwrap();
    let token = context.token().unwrap();
    let write = FencedScript::new("return redis.call('RPUSH', KEYS[1], ARGV[1])");
    let line = format!("old {token}");
    assert_eq!(context.run_fenced(&write, &[LOG], &[&line]).await.unwrap().as_deref(), Some(&b"1"[..]));
    assert!(context.is_leader());
    // As after a pause that is longer than the lease: another one took it, and the old one does not know.
    let _: usize = fleet.redis.call("HSET", &[LEASE, "until", "1"]).await;
    let new = fleet.start("new", LONG);
    fleet.until_written_by("new", token).await;
    assert!(context.is_leader(), "as far as it knows");
    let refused = context.run_fenced(&write, &[LOG], &[&line]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotLeader, "{refused}");
    assert!(!context.is_leader());
    fleet.tokens_only_grow().await;
    eventually("its run is cancelled", async || Arc::strong_count(&runs) == 1).await;
    old.stop().await;
    new.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_not_renewed_ends_and_tokens_grow_over_restarts_and_losses_of_redis() {
    let mut fleet = Fleet::new().await;
    let leader = fleet.start("leader", SHORT);
    let first = fleet.until_written_by("leader", 0).await;
    fleet.redis.kill();
    fleet.redis.revive().await;
    let lines = fleet.redis.size(LOG).await;
    eventually("it leads again", async || fleet.redis.size(LOG).await > lines).await;
    let second = fleet.token().await;
    assert!(second >= first, "{second} {first}");
    // Redis forgets the lease, and its clock goes back: nothing but the leader knows how far tokens went.
    let ahead = second + 3_600_000_000;
    let _: usize = fleet.redis.call("HSET", &[LEASE, "token", &ahead.to_string()]).await;
    let third = fleet.until_written_by("leader", second).await;
    assert_eq!(third, ahead);
    let _: String = fleet.redis.call("FLUSHALL", &[] as &[&str]).await;
    let last = fleet.until_written_by("leader", ahead).await;
    assert_eq!(last, ahead + 1);
    fleet.tokens_only_grow().await;
    assert!(fleet.gained().len() >= 3, "the hook is called for each new lease: {:?}", fleet.gained());
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_need_of_a_leader_sends_nothing_for_it() {
    let redis = Redis::start().await;
    let runs = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&runs);
    let every = TickOptions::every(Duration::from_millis(5));
    let ticks = |name: &'static str| {
        let seen = Arc::clone(&seen);
        Server::builder().on_tick(every.clone(), move |cx: TickContext| {
            let seen = Arc::clone(&seen);
            async move {
                let write = FencedScript::new("redis.call('RPUSH', KEYS[1], 1)");
                let refused = cx.run_fenced(&write, &[LOG], &[""; 0]).await.unwrap_err();
                seen.lock().unwrap().push((name, cx.is_leader(), cx.token(), refused.kind()));
                Ok(())
            }
        })
    };
    let servers = ["one", "two"].map(|name| as_anybody(&redis, ticks(name)));
    let of = |name| runs.lock().unwrap().iter().filter(|run| run.0 == name).count();
    eventually("each runs its own", async || of("one") > 3 && of("two") > 3).await;
    let unled = |run: &(&str, bool, Option<u64>, ErrorKind)| !run.1 && run.2.is_none() && run.3 == ErrorKind::NotLeader;
    assert!(runs.lock().unwrap().iter().all(unled));
    let keys: Vec<String> = redis.call("KEYS", &["ferrokiq:leader:*"]).await;
    assert_eq!((keys, redis.size(LOG).await), (Vec::new(), 0));
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_have_a_leader_each() {
    let fleet = Fleet::new().await;
    let servers = ["a", "b"].map(|group| fleet.run(fleet.builder(group, LONG).leader_group(group)));
    eventually("both lead", async || fleet.gained().len() == 2).await;
    for server in servers {
        server.stop().await;
    }
    let mut keys: Vec<String> = fleet.redis.call("KEYS", &["ferrokiq:leader:*"]).await;
    keys.sort();
    assert_eq!(keys, ["ferrokiq:leader:a", "ferrokiq:leader:b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_leads_while_the_lease_has_another_type_and_jobs_run_all_the_same() {
    let fleet = Fleet::new().await;
    let _: String = fleet.redis.call("SET", &[LEASE, "text"]).await;
    let server = fleet.run(fleet.builder("it", SHORT).register_fn("Nothing", nothing));
    let payload = ferrokiq::Payload::new("Nothing", [0; 0].map(serde_json::Value::from));
    fleet.redis.client().push(payload).await.unwrap();
    let done = async || fleet.redis.call::<Option<u64>>("GET", &["stat:processed"]).await;
    eventually("the job runs", async || fleet.redis.size("queue:default").await == 0).await;
    assert_eq!(fleet.gained(), [] as [&str; 0]);
    let _: usize = fleet.redis.call("DEL", &[LEASE]).await;
    eventually("it leads", async || fleet.gained() == ["it"]).await;
    server.stop().await;
    assert_eq!(done().await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_samples_the_queues_once_for_all_workers() {
    let redis = Redis::start().await;
    for _ in 0..3 {
        let payload = ferrokiq::Payload::new("Odd", [0; 0].map(serde_json::Value::from)).with_queue("other");
        redis.client().push(payload).await.unwrap();
    }
    let sampling = || backlog::sample_every(Duration::from_millis(20), Server::builder());
    let servers = [(); 2].map(|()| as_anybody(&redis, sampling()));
    eventually("samples are taken", async || redis.size("app:backlog").await > 5).await;
    let lines: Vec<String> = redis.call("LRANGE", &["app:backlog", "0", "-1"]).await;
    let lines: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["by"] == lines[0]["by"] && line["queues"]["other"]["size"] == 3), "{lines:?}");
    for server in servers {
        server.stop().await;
    }
}

/// What a run of a tick does, by its number.
async fn misbehave(run: usize) -> JobResult {
    match run {
        0 => panic!("this run panics"),
        1 => Err(JobError::new("RuntimeError", "this run fails")),
        // Longer than its limit.
        2 => std::future::pending().await,
        // Longer than its limit, and it cannot be cancelled.
        3 => {
            std::thread::sleep(Duration::from_millis(150));
            tokio::task::yield_now().await;
            Ok(())
        }
        // Longer than its interval.
        4 => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// One of the runs that are going on at a time.
struct Going(Arc<AtomicUsize>);

impl Drop for Going {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_panics_fails_hangs_or_blocks_is_contained() {
    let redis = Redis::start().await;
    let (runs, going, most) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, now, at_once) = (Arc::clone(&runs), Arc::clone(&going), Arc::clone(&most));
    let often = TickOptions::every(Duration::from_millis(10)).timeout(Duration::from_millis(100)).name("odd");
    let builder = Server::builder().on_tick(often, move |_| {
        at_once.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let (going, run) = (Going(Arc::clone(&now)), count.fetch_add(1, Ordering::SeqCst));
        async move {
            let _going = going;
            misbehave(run).await
        }
    });
    let builder = builder
        .on_tick(TickOptions::every(Duration::from_millis(10)), |_| -> std::future::Ready<JobResult> {
            panic!("a tick that has no future")
        });
    let server = as_anybody(&redis, builder);
    eventually("it runs on", async || runs.load(Ordering::SeqCst) > 8).await;
    assert_eq!(most.load(Ordering::SeqCst), 1, "never twice at a time");
    assert!(!server.stop().await.failed);
    assert_eq!(going.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_a_run_up_to_its_timeout_and_gives_the_lease_back_then() {
    let fleet = Fleet::new().await;
    let (began, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let start = |timeout, ends: bool| {
        let (begins, ends_well) = (Arc::clone(&began), Arc::clone(&ended));
        let builder = fleet.builder("it", LONG).timeout(timeout);
        fleet.run(builder.on_tick(TickOptions::every(LONG).leader_only(), move |cx: TickContext| {
            let (begins, ends_well) = (Arc::clone(&begins), Arc::clone(&ends_well));
            async move {
                begins.fetch_add(1, Ordering::SeqCst);
                cx.stopping().await;
                assert!(cx.is_stopping() && cx.is_leader());
                if !ends {
                    std::future::pending::<()>().await;
                }
                let write = FencedScript::new("redis.call('RPUSH', KEYS[1], ARGV[1])");
                cx.run_fenced(&write, &[LOG], &["at the end"]).await?;
                ends_well.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        }))
    };
    for (timeout, ends, well) in [(DEADLINE, true, 1), (Duration::from_millis(100), false, 1)] {
        let before = began.load(Ordering::SeqCst);
        let server = start(timeout, ends);
        eventually("it runs", async || began.load(Ordering::SeqCst) > before).await;
        server.stop().await;
        assert_eq!((ended.load(Ordering::SeqCst), fleet.redis.size(LOG).await), (well, well));
        assert!(!fleet.redis.call::<bool>("HEXISTS", &[LEASE, "holder"]).await, "given back");
    }
}
