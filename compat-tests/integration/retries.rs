use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferrokiq::job::RawArgs;
use ferrokiq::{Context, Job, JobError, JobResult, OnExhausted, Payload, RetryIn, Server};
use tokio::sync::Barrier;

use crate::support::{Redis, Running, eventually, nothing};

struct Fails {
    exhausted: Arc<Mutex<Vec<String>>>,
}

impl Job for Fails {
    const CLASS: &'static str = "Fails";
    type Args = (String,);

    async fn perform(&self, _cx: Context, (how,): Self::Args) -> JobResult {
        match how.as_str() {
            "slow" => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Ok(())
            }
            "io" => Err(std::io::Error::other("disk full"))?,
            how => Err(JobError::new("Custom::Error", how)),
        }
    }

    fn retry_in(&self, _count: u32, error: &JobError) -> RetryIn {
        match error.message() {
            "kill" => RetryIn::Kill,
            "discard" => RetryIn::Discard,
            "panic in hook" => panic!("hook"),
            "later" => RetryIn::After(Duration::from_secs(10_000)),
            _ => RetryIn::Default,
        }
    }

    fn retries_exhausted(&self, payload: &Payload, _error: &JobError) -> OnExhausted {
        self.exhausted.lock().unwrap().push(payload.jid().to_owned());
        OnExhausted::Bury
    }

    fn timeout(&self) -> Option<Duration> {
        Some(Duration::from_millis(200))
    }
}

fn job(jid: &str, how: &str, rest: &str) -> String {
    format!(r#"{{"class":"Fails","args":["{how}"],"queue":"default","jid":"{jid}","created_at":1795408384695{rest}}}"#)
}

#[tokio::test]
async fn puts_every_failure_where_sidekiq_would() {
    let redis = Redis::start().await;
    for raw in [
        job("a", "plain", r#","retry":3"#),
        job("b", "kill", r#","retry":3"#),
        job("c", "discard", r#","retry":3"#),
        job("d", "plain", r#","retry":0"#),
        job("e", "plain", r#","retry":false"#),
        job("f", "plain", r#","retry":0,"dead":false"#),
        job("g", "later", r#","retry":3"#),
        job("h", "io", r#","retry":3,"backtrace":true"#),
        job("i", "panic in hook", r#","retry":3"#),
        job("j", "slow", r#","retry":3"#),
        job("k", "plain", r#","retry":3,"retry_count":2,"failed_at":1795408384700"#),
    ] {
        redis.call::<()>("LPUSH", &["queue:default", &raw]).await;
    }
    let (exhausted, died) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Vec<String>>>::default());
    let deaths = Arc::clone(&died);
    let running = Running::start(
        &redis,
        Server::builder()
            .register(Fails { exhausted: Arc::clone(&exhausted) })
            .on_death(move |job| {
                deaths.lock().unwrap().push(job.jid().to_owned());
                async {}
            })
            .on_death(async |_| panic!("a death hook must not hurt")),
    );
    eventually("all are settled", async || {
        redis.size("retry").await == 5 && redis.size("dead").await == 3 && redis.private_jobs().await == 0
    })
    .await;
    running.stop().await;

    let jids = |members: Vec<Vec<u8>>| {
        let mut jids: Vec<_> =
            members.into_iter().map(|raw| Payload::from_bytes(raw).unwrap().jid().to_owned()).collect();
        jids.sort();
        jids
    };
    assert_eq!(jids(redis.members("retry").await), ["a", "g", "h", "i", "j"]);
    assert_eq!(jids(redis.members("dead").await), ["b", "d", "k"]);
    let sorted = |names: &Mutex<Vec<String>>| {
        let mut names = names.lock().unwrap().clone();
        names.sort();
        names
    };
    assert_eq!(sorted(&died), ["b", "c", "d", "e", "f", "k"]);
    assert_eq!(sorted(&exhausted), ["b", "d", "f", "k"]);

    let retry = |jid: &str| {
        let jid = jid.to_owned();
        let redis = &redis;
        async move {
            let members = redis.members("retry").await;
            members
                .into_iter()
                .map(|raw| Payload::from_bytes(raw).unwrap())
                .find(|payload| payload.jid() == jid)
                .unwrap()
        }
    };
    assert_eq!(retry("j").await.decode::<String>("error_class").as_deref(), Some("Timeout::Error"));
    let io = retry("h").await;
    assert_eq!(io.decode::<String>("error_class").as_deref(), Some("std::io::error::Error"));
    let backtrace = ferrokiq::payload::unpack_backtrace(&io.decode::<String>("error_backtrace").unwrap()).unwrap();
    assert!(backtrace[0].contains("retries.rs:"), "{backtrace:?}");
    let late: f64 = redis.call("ZSCORE", &["retry", &*retry("g").await.into_string()]).await;
    assert!(late > ferrokiq::time::EpochSecs::now().0 + 9_900.0);
}

#[tokio::test]
async fn keeps_every_byte_through_failure_and_promotion() {
    let redis = Redis::start().await;
    let raw = r#"{"zzz":{"b":1,"a":[]},"class":"Fails","args":["x",123456789012345678901234],"retry":true,"n":1.0e+20,"queue":"default","jid":"a","created_at":1795408384.5}"#;
    redis.call::<()>("LPUSH", &["queue:default", raw]).await;
    let running = Running::start(&redis, Server::builder().register_fn("Other", nothing));
    eventually("it is in the retry set", async || redis.size("retry").await == 1).await;
    running.stop().await;
    let failed = redis.members("retry").await.remove(0);
    let kept = &raw[..raw.len() - 1];
    assert!(failed.starts_with(kept.as_bytes()), "{}", String::from_utf8_lossy(&failed));

    redis.call::<()>("ZADD", &[b"retry".as_slice(), b"1", &failed]).await;
    let running = Running::start(&redis, Server::builder().queues(["nobody"]));
    eventually("it is promoted", async || redis.size("queue:default").await == 1).await;
    running.stop().await;
    let promoted: Vec<String> = redis.call("LRANGE", &["queue:default", "0", "-1"]).await;
    assert!(promoted[0].starts_with(kept), "{}", promoted[0]);
    let stamp = Payload::parse(promoted[0].as_str()).unwrap().get("enqueued_at").unwrap().to_owned();
    assert!(stamp.contains('.'), "in the form of its created_at: {stamp}");
}

#[tokio::test]
async fn trims_the_dead_set() {
    let redis = Redis::start().await;
    for n in 0..20 {
        redis.call::<()>("ZADD", &["dead", &(1_795_408_384 + n).to_string(), &format!("old {n}")]).await;
    }
    redis.call::<()>("ZADD", &["dead", "5", "ancient"]).await;
    redis.call::<()>("LPUSH", &["queue:default", &*job("a", "kill", r#","retry":3"#)]).await;
    let running =
        Running::start(&redis, Server::builder().register(Fails { exhausted: Arc::default() }).dead_max_jobs(10));
    eventually("it is trimmed", async || redis.size("dead").await == 9).await;
    running.stop().await;
    assert!(redis.members("dead").await.iter().any(|raw| raw.starts_with(b"{\"class\":\"Fails\"")));
}

/// So many jobs, each alone in a queue, that fail once all of them run and the barrier has seen the test, too.
async fn fail_together(redis: &Redis, jobs: usize) -> (Running, Arc<Barrier>) {
    let (client, queues) = (redis.client(), (0..jobs).map(|n| format!("q{n}")).collect::<Vec<_>>());
    for queue in &queues {
        client.push(Payload::new("Together", []).with_queue(queue)).await.unwrap();
    }
    let barrier = Arc::new(Barrier::new(jobs + 1));
    let all = Arc::clone(&barrier);
    let builder = Server::builder().concurrency(jobs).queues(queues);
    let running = Running::start(
        redis,
        builder.register_fn("Together", move |_cx: Context, _: RawArgs| {
            let all = Arc::clone(&all);
            async move {
                all.wait().await;
                JobResult::Err(JobError::new("RuntimeError", "together"))
            }
        }),
    );
    eventually("all of them run", async || redis.private_jobs().await == jobs).await;
    (running, barrier)
}

#[tokio::test]
async fn those_that_fail_together_are_settled_together() {
    let redis = Redis::start().await;
    let (running, barrier) = fail_together(&redis, 100).await;
    let before = redis.calls("evalsha").await;
    barrier.wait().await;
    eventually("all are in the retry set", async || redis.size("retry").await == 100).await;
    let scripts = redis.calls("evalsha").await - before;
    assert!(scripts < 60, "{scripts} scripts for 100 jobs");
    eventually("no private list has them", async || redis.private_jobs().await == 0).await;
    running.stop().await;
    assert_eq!(redis.call::<usize>("GET", &["stat:failed"]).await, 100);
}

#[tokio::test]
async fn a_broken_private_list_costs_no_job() {
    let redis = Redis::start().await;
    let (running, barrier) = fail_together(&redis, 20).await;
    let broken: Vec<String> = redis.call("KEYS", &["ferrokiq:batch:*|q7"]).await;
    redis.call::<()>("SET", &[broken[0].as_str(), "no list"]).await;
    barrier.wait().await;
    eventually("all are in the retry set", async || redis.size("retry").await == 20).await;
    redis.call::<()>("DEL", &[broken[0].as_str()]).await;
    running.stop().await;
}
