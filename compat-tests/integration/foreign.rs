//! Jobs that hold something of a Ruby gem, beside ordinary ones: Rust leaves them to Ruby, byte for byte.

use std::sync::{Arc, Mutex};

use ferrokiq::server::{FetchMode, ForeignJobs, UnknownClasses};
use ferrokiq::{Context, Payload, Server, ServerBuilder};

use crate::health::get;
use crate::support::{Redis, Running, eventually, free};

/// As the gems' own client middleware wrote them (sidekiq-unique-jobs 8.1.0 and 6, sidekiq-batch 0.2.0), and as Enterprise documents it.
const OF_GEMS: [&str; 6] = [
    r#"{"retry":true,"queue":"mixed","lock":"until_executed","args":[1],"class":"HardJob","jid":"u8","created_at":1795780701876,"lock_timeout":0,"lock_ttl":null,"lock_prefix":"uniquejobs","lock_args":[1],"lock_digest":"uniquejobs:48655c62684bf846f597e291bccee43a","enqueued_at":1795780701876}"#,
    r#"{"class":"HardJob","args":[2],"queue":"mixed","jid":"u6","retry":true,"unique_digest":"uniquejobs:ebd9e0431136a0b24939df8768817519","unique_args":[2]}"#,
    r#"{"retry":false,"queue":"mixed","args":[1],"class":"HardJob","jid":"b1","created_at":1795780701876,"bid":"zRviBvBqbbkX3A","enqueued_at":1795780701876}"#,
    r#"{"retry":true,"queue":"mixed","class":"Sidekiq::Batch::Callback::Worker","args":["Cb#on_success","success",{"to":"x@y"},"zRviBvBqbbkX3A",null],"jid":"b2","bid":"Sj9JvBqbbkX3Aq"}"#,
    r#"{"retry":true,"queue":"mixed","class":"HardJob","args":[],"jid":"e1","unique_for":600,"unique_until":"success"}"#,
    r#"{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"HardJob","queue":"mixed","jid":"a1","retry":true,"bid":"zRviBvBqbbkX3A","args":[{"job_class":"HardJob","job_id":"j","queue_name":"mixed","arguments":[],"executions":0}]}"#,
];
const ORDINARY: &str = r#"{"class":"HardJob","args":[{"bid":"no key of the payload"}],"queue":"mixed","jid":"ordinary","retry":true,"bid":null,"lock":false,"unique_for":false}"#;

const COUNT: &str = "ferrokiq_jobs_foreign_total";
/// In the order of the jobs.
const GEMS: [&str; 3] = ["sidekiq-unique-jobs", "sidekiq-batch or Sidekiq Pro", "Sidekiq Enterprise"];

/// Jids in the order they ran.
type Ran = Arc<Mutex<Vec<String>>>;

/// A server that knows every class of these jobs, and runs whatever it runs.
fn knows_all(ran: &Ran) -> ServerBuilder {
    let mut builder = Server::builder().queues(["mixed"]).concurrency(3);
    for class in ["HardJob", "Sidekiq::Batch::Callback::Worker", "Sidekiq::ActiveJob::Wrapper", "TrackedJob"] {
        let ran = Arc::clone(ran);
        builder = builder.register_fn(class, move |cx: Context, _: ferrokiq::job::RawArgs| {
            ran.lock().unwrap().push(cx.jid().to_owned());
            async { Ok(()) }
        });
    }
    builder
}

async fn push(redis: &Redis, jobs: &[&str]) {
    redis.call::<()>("SADD", &["queues", "mixed"]).await;
    redis.call::<()>("LPUSH", &[&["queue:mixed"], jobs].concat()).await;
}

/// The jobs of a list, oldest first.
async fn list(redis: &Redis, key: &str) -> Vec<String> {
    let mut jobs: Vec<String> = redis.call("LRANGE", &[key, "0", "-1"]).await;
    jobs.reverse();
    jobs
}

async fn ran_one(ran: &Ran, redis: &Redis) {
    eventually("the ordinary job ran", async || !ran.lock().unwrap().is_empty()).await;
    eventually("it is acknowledged", async || redis.calls("rpush").await > 0 && redis.private_jobs().await == 0).await;
}

#[tokio::test]
async fn jobs_of_gems_stay_in_their_queue_while_others_run() {
    for fetch in [FetchMode::Reliable, FetchMode::Basic] {
        let (redis, ran, at) = (Redis::start().await, Ran::default(), free());
        push(&redis, &[&[ORDINARY], &OF_GEMS[..]].concat()).await;
        let server = Running::start(&redis, knows_all(&ran).concurrency(10).fetch(fetch).health(at));
        eventually("the ordinary job ran", async || !ran.lock().unwrap().is_empty()).await;
        // Basic fetch may find the same job of a gem again and again: they stay at the head of the queue.
        let gems = if fetch == FetchMode::Basic { &GEMS[..1] } else { &GEMS[..] };
        eventually("jobs of gems are counted", async || {
            let metrics = get(at, "/metrics").await.unwrap().1;
            let of = |gem: &str| {
                metrics
                    .lines()
                    .find_map(|line| line.strip_prefix(&format!("{COUNT}{{gem=\"{gem}\"}} ")).map(str::to_owned))
            };
            assert_eq!(of("foreign_classes").as_deref(), Some("0"));
            gems.iter().all(|gem| of(gem).unwrap() != "0")
        })
        .await;
        server.stop().await;
        assert_eq!(*ran.lock().unwrap(), ["ordinary"], "{fetch:?}");
        let mut left = list(&redis, "queue:mixed").await;
        left.sort();
        let mut pushed = OF_GEMS.map(str::to_owned);
        pushed.sort();
        assert_eq!(left, pushed, "{fetch:?}");
        assert_eq!(redis.size("retry").await + redis.size("dead").await, 0);
        assert_eq!(redis.call::<String>("GET", &["stat:processed"]).await, "1");
    }
}

#[tokio::test]
async fn jobs_of_gems_are_diverted_byte_for_byte() {
    let (redis, ran) = (Redis::start().await, Ran::default());
    push(&redis, &[&OF_GEMS[..], &[ORDINARY]].concat()).await;
    let builder = knows_all(&ran).concurrency(1).foreign_jobs(ForeignJobs::Divert("ruby".into()));
    let server = Running::start(&redis, builder);
    eventually("all are gone", async || redis.size("queue:mixed").await + redis.private_jobs().await == 0).await;
    server.stop().await;
    assert_eq!(list(&redis, "queue:ruby").await, OF_GEMS);
    assert_eq!(*ran.lock().unwrap(), ["ordinary"]);
    assert_eq!(redis.size("retry").await, 0);
}

#[tokio::test]
async fn jobs_of_gems_fail_or_run_where_that_is_set() {
    let (redis, ran) = (Redis::start().await, Ran::default());
    push(&redis, &OF_GEMS[..1]).await;
    let server = Running::start(&redis, knows_all(&ran).foreign_jobs(ForeignJobs::Fail));
    eventually("it failed", async || redis.size("retry").await == 1).await;
    server.stop().await;
    let failed = String::from_utf8(redis.members("retry").await.remove(0)).unwrap();
    for part in ["Ferrokiq::ForeignJob", "sidekiq-unique-jobs", r#""lock_digest":"uniquejobs:48655c"#] {
        assert!(failed.contains(part), "{failed}");
    }
    assert!(ran.lock().unwrap().is_empty());

    push(&redis, &OF_GEMS).await;
    let server = Running::start(&redis, knows_all(&ran).foreign_jobs(ForeignJobs::Run));
    eventually("all ran", async || ran.lock().unwrap().len() == OF_GEMS.len()).await;
    server.stop().await;
    assert_eq!(redis.size("queue:mixed").await, 0);
}

#[tokio::test]
async fn a_job_of_a_gem_that_was_diverted_here_fails_instead_of_going_back() {
    let (redis, ran) = (Redis::start().await, Ran::default());
    push(&redis, &[r#"{"class":"HardJob","args":[],"queue":"ruby","jid":"a","retry":true,"bid":"b"}"#]).await;
    let server = Running::start(&redis, knows_all(&ran).foreign_jobs(ForeignJobs::Divert("ruby".into())));
    eventually("it failed", async || redis.size("retry").await == 1).await;
    server.stop().await;
    assert_eq!((redis.size("queue:ruby").await, ran.lock().unwrap().len()), (0, 0));
}

#[tokio::test]
async fn jobs_of_listed_classes_stay_in_their_queue_wrapped_or_not() {
    let (redis, ran) = (Redis::start().await, Ran::default());
    let tracked = [
        r#"{"class":"TrackedJob","args":[],"queue":"mixed","jid":"t1","retry":true}"#,
        r#"{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"TrackedJob","args":[{}],"queue":"mixed","jid":"t2","retry":true}"#,
    ];
    push(&redis, &[&tracked[..], &[ORDINARY]].concat()).await;
    let server = Running::start(&redis, knows_all(&ran).foreign_classes(["::TrackedJob"]));
    ran_one(&ran, &redis).await;
    server.stop().await;
    assert_eq!(*ran.lock().unwrap(), ["ordinary"]);
    let mut left = list(&redis, "queue:mixed").await;
    left.sort_by_key(|job| !job.contains("t1"));
    assert_eq!(left, tracked);
}

/// A class that Rust does not know would fail with `NameError`, and its lock would go to the dead set with it.
#[tokio::test]
async fn a_job_of_a_gem_is_left_to_ruby_though_its_class_is_unknown() {
    for (unknown, places) in [(UnknownClasses::Fail, (1, 0)), (UnknownClasses::Divert("ruby".into()), (0, 1))] {
        let (redis, ran) = (Redis::start().await, Ran::default());
        let job = r#"{"class":"RubysOwn","args":[],"queue":"mixed","jid":"a","retry":true,"lock_digest":"d"}"#;
        push(&redis, &[job, ORDINARY]).await;
        let server = Running::start(&redis, knows_all(&ran).unknown_classes(unknown));
        eventually("the ordinary job ran", async || ran.lock().unwrap().len() == 1).await;
        eventually("one waits for Ruby", async || {
            redis.private_jobs().await == 0 && redis.size("queue:mixed").await + redis.size("queue:ruby").await == 1
        })
        .await;
        server.stop().await;
        assert_eq!((redis.size("queue:mixed").await, redis.size("queue:ruby").await), places);
        assert_eq!(redis.size("retry").await, 0);
    }
}

#[tokio::test]
async fn a_queue_that_only_rust_serves_is_looked_at_ever_less_often() {
    let (redis, ran) = (Redis::start().await, Ran::default());
    push(&redis, &OF_GEMS).await;
    let server = Running::start(&redis, knows_all(&ran).queues(["mixed", "own"]));
    // The rests grow from 20 ms on.
    eventually("it tried", async || redis.calls("rpush").await >= 8).await;
    let before = redis.calls("rpush").await;
    redis.client().push(Payload::new("HardJob", []).with_queue("own")).await.unwrap();
    eventually("the job of the other queue ran", async || ran.lock().unwrap().len() == 1).await;
    server.stop().await;
    let moves = redis.calls("rpush").await - before;
    assert!(moves <= 40, "{moves} moves while one job of another queue ran");
    assert_eq!((redis.size("queue:mixed").await, redis.size("retry").await), (OF_GEMS.len(), 0));
}

#[tokio::test]
async fn retries_of_such_jobs_keep_their_count_and_wait_for_ruby() {
    let (redis, ran) = (Redis::start().await, Ran::default());
    let failed = r#"{"class":"HardJob","args":[1],"queue":"mixed","jid":"b1","bid":"b","retry":true,"retry_count":2,"failed_at":1795780701.5,"error_class":"X","error_message":"m"}"#;
    let later = r#"{"class":"HardJob","args":[1],"queue":"mixed","jid":"b2","bid":"b","retry":true}"#;
    redis.call::<()>("ZADD", &["retry", "1", failed]).await;
    redis.call::<()>("ZADD", &["schedule", "99999999999", later]).await;
    push(&redis, &[ORDINARY]).await;
    let builder = knows_all(&ran).poll_interval_average(std::time::Duration::from_millis(20));
    let server = Running::start(&redis, builder);
    eventually("it is due", async || redis.size("retry").await == 0).await;
    ran_one(&ran, &redis).await;
    server.stop().await;
    let left = list(&redis, "queue:mixed").await;
    assert!(left.len() == 1 && left[0].starts_with(failed.strip_suffix('}').unwrap()), "{left:?}");
    assert_eq!(redis.members("schedule").await, [later.as_bytes()]);
    assert_eq!(*ran.lock().unwrap(), ["ordinary"]);
}

#[tokio::test]
async fn refuses_to_divert_jobs_of_gems_to_where_it_fetches() {
    for (queue, culprit) in [("mixed", "foreign_jobs: divert: this process serves"), ("", "is no queue name")] {
        let builder = knows_all(&Ran::default()).foreign_jobs(ForeignJobs::Divert(queue.into()));
        let error = builder.build().unwrap_err();
        assert!(error.is_config() && error.to_string().contains(culprit), "{error}");
    }
}
