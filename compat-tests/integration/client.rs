use std::time::Duration;

use ferrokiq::client::{Bulk, Next, Push};
use ferrokiq::time::{EpochSecs, StampForm};
use ferrokiq::{Client, Context, ErrorKind, Job, JobOptions, JobResult, Payload};

use crate::support::Redis;

struct Hard;

impl Job for Hard {
    const CLASS: &'static str = "HardJob";
    type Args = (i64, String);

    fn options() -> JobOptions {
        JobOptions::new().queue("critical").retry(5).backtrace(3).tags(["a", "b"])
    }

    async fn perform(&self, _cx: Context, _args: Self::Args) -> JobResult {
        Ok(())
    }
}

/// A payload without what differs from run to run.
fn shape(raw: &str) -> String {
    let mut payload = Payload::parse(raw).unwrap();
    for key in ["jid", "created_at", "enqueued_at"] {
        if payload.contains_key(key) {
            payload.insert(key, 0);
        }
    }
    payload.into_string()
}

async fn jobs(redis: &Redis, queue: &str) -> Vec<String> {
    redis.call("LRANGE", &[&format!("queue:{queue}"), "0", "-1"]).await
}

#[tokio::test]
async fn writes_what_ruby_writes() {
    let redis = Redis::start().await;
    let client = redis.client();
    let jid = Hard::perform_async(&client, (1, "two".into())).await.unwrap().unwrap();
    let raw = &jobs(&redis, "critical").await[0];
    assert!(raw.contains(jid.as_str()));
    assert_eq!(
        shape(raw),
        r#"{"retry":5,"queue":"critical","backtrace":3,"tags":["a","b"],"args":[1,"two"],"class":"HardJob","jid":0,"created_at":0,"enqueued_at":0}"#
    );
    assert_eq!(redis.call::<Vec<String>>("SMEMBERS", &["queues"]).await, ["critical"]);
}

#[tokio::test]
async fn overrules_options_for_one_push() {
    let redis = Redis::start().await;
    let options = JobOptions::new().queue("low").with("tenant", 7);
    Hard::set(options).perform_async(&redis.client(), (1, "x".into())).await.unwrap();
    let raw = &jobs(&redis, "low").await[0];
    assert!(
        shape(raw).starts_with(
            r#"{"retry":5,"queue":"low","backtrace":3,"tags":["a","b"],"tenant":7,"args":[1,"x"],"class":"HardJob""#
        ),
        "{raw}"
    );
}

#[tokio::test]
async fn schedules_without_touching_the_queue() {
    let redis = Redis::start().await;
    let before = EpochSecs::now().0;
    Hard::perform_in(&redis.client(), Duration::from_secs(3600), (1, "x".into())).await.unwrap();
    let entries: Vec<(String, f64)> = redis.call("ZRANGE", &["schedule", "0", "-1", "WITHSCORES"]).await;
    assert_eq!(
        shape(&entries[0].0),
        r#"{"retry":5,"queue":"critical","backtrace":3,"tags":["a","b"],"class":"HardJob","args":[1,"x"],"jid":0,"created_at":0}"#
    );
    assert!((3600.0..3610.0).contains(&(entries[0].1 - before)));
    assert_eq!(redis.call::<u8>("EXISTS", &["queues"]).await, 0);

    Hard::perform_at(&redis.client(), EpochSecs(5.0), (2, "past".into())).await.unwrap();
    assert_eq!(redis.size("queue:critical").await, 1);
}

#[tokio::test]
async fn keeps_digits_and_the_order_of_keys() {
    let redis = Redis::start().await;
    let raw = r#"{"class":"X","args":[123456789012345678901234,1.0e+20,"\u00e9\/"],"zzz":{"b":1,"a":2}}"#;
    redis.client().push(Payload::parse(raw).unwrap()).await.unwrap();
    let pushed = &jobs(&redis, "default").await[0];
    assert!(
        pushed.starts_with(
            r#"{"retry":true,"queue":"default","class":"X","args":[123456789012345678901234,1.0e+20,"\u00e9\/"],"zzz":{"b":1,"a":2},"jid":""#
        ),
        "{pushed}"
    );
}

#[tokio::test]
async fn pushes_in_bulk_with_one_creation_time() {
    let redis = Redis::start().await;
    let jids = Hard::perform_bulk(&redis.client(), (0..2500).map(|id| (id, "x".into()))).await.unwrap();
    assert_eq!(jids.iter().flatten().collect::<std::collections::HashSet<_>>().len(), 2500);
    let jobs = jobs(&redis, "critical").await;
    assert_eq!(jobs.len(), 2500);
    let stamps: std::collections::HashSet<_> =
        jobs.iter().map(|raw| Payload::parse(raw.as_str()).unwrap().get("created_at").unwrap().to_owned()).collect();
    assert_eq!(stamps.len(), 1);
    assert_eq!(
        shape(&jobs[2499]),
        r#"{"retry":5,"queue":"critical","backtrace":3,"tags":["a","b"],"class":"HardJob","args":[0,"x"],"jid":0,"created_at":0,"enqueued_at":0}"#
    );
}

#[tokio::test]
async fn spreads_bulk_jobs_over_a_span() {
    let redis = Redis::start().await;
    let bulk = Bulk::new(Payload::new("A", []), (0..250).map(|id| (id,))).unwrap().spread(Duration::from_secs(60));
    redis.client().push_bulk(bulk).await.unwrap();
    assert_eq!(redis.size("schedule").await, 250);
    assert!(redis.client().push_bulk(Bulk::new(Payload::new("A", []), [[1]; 0]).unwrap()).await.unwrap().is_empty());
}

#[tokio::test]
async fn lets_middleware_change_stop_and_fail() {
    let redis = Redis::start().await;
    let client = Client::builder()
        .redis(redis.producer())
        .middleware(async |mut payload: Payload, next: Next| {
            payload.insert("outer", true);
            next.run(payload).await
        })
        .middleware(async |payload: Payload, next: Next| match payload.class() {
            "Stopped" => Ok(Push::Drop),
            "Refused" => Err(ferrokiq::Error::middleware("quota")),
            "Rerouted" => next.run(payload.with_queue("other")).await,
            "Broken" => next.run(payload.with_queue("")).await,
            _ => next.run(payload).await,
        })
        .build()
        .unwrap();
    assert!(client.push(Payload::new("Stopped", [])).await.unwrap().is_none());
    assert_eq!(client.push(Payload::new("Refused", [])).await.unwrap_err().kind(), ErrorKind::Middleware);
    assert_eq!(client.push(Payload::new("Broken", [])).await.unwrap_err().kind(), ErrorKind::Payload);
    assert_eq!(redis.call::<usize>("DBSIZE", &[""; 0]).await, 0);
    client.push(Payload::new("Rerouted", [])).await.unwrap();
    assert!(jobs(&redis, "other").await[0].contains(r#""outer":true"#));
}

#[tokio::test]
async fn pushes_to_several_queues_or_to_none() {
    let redis = Redis::start().await;
    let by_class = async |payload: Payload, next: Next| {
        let queue = if payload.args() == "[0]" { "even" } else { "odd" };
        next.run(payload.with_queue(queue)).await
    };
    let client = Client::builder().redis(redis.producer()).middleware(by_class).build().unwrap();
    let bulk = || Bulk::new(Payload::new("A", []), (0..4).map(|id| (id % 2,))).unwrap();

    redis.call::<()>("SET", &["queue:odd", "not a list"]).await;
    assert_eq!(client.push_bulk(bulk()).await.unwrap_err().kind(), ErrorKind::Redis);
    assert_eq!(redis.size("queue:even").await, 0, "all or none");

    redis.call::<()>("DEL", &["queue:odd"]).await;
    client.push_bulk(bulk()).await.unwrap();
    assert_eq!((redis.size("queue:even").await, redis.size("queue:odd").await), (2, 2));
}

#[tokio::test]
async fn names_the_job_when_redis_is_silent_and_pushes_it_once() {
    let redis = Redis::start().await;
    let client =
        Client::builder().redis(redis.producer().response_timeout(Duration::from_millis(200))).build().unwrap();
    client.push(Payload::new("Before", [])).await.unwrap();
    redis.call::<()>("CLIENT", &["PAUSE", "1000", "ALL"]).await;

    let error = client.push(Payload::new("Unsure", [])).await.unwrap_err();
    assert!(error.is_ambiguous(), "{error:?}");
    let jid = error.jid().expect("the error names the job").to_string();
    assert!(error.to_string().contains(&jid));
    // Answered when the pause is over. Whether the push got through is Redis's secret; it did not twice.
    let found = jobs(&redis, "default").await.iter().filter(|raw| raw.contains(&jid)).count();
    assert!(found <= 1, "{found}");
}

#[tokio::test]
async fn says_plainly_that_a_replica_refused() {
    let redis = Redis::start().await;
    let client = redis.client();
    redis.call::<()>("REPLICAOF", &["127.0.0.1", "1"]).await;
    let error = client.push(Payload::new("A", [])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Redis);
    assert!(!error.is_ambiguous());
    redis.call::<()>("REPLICAOF", &["NO", "ONE"]).await;
    client.push(Payload::new("A", [])).await.unwrap();
    assert_eq!(redis.size("queue:default").await, 1);
}

#[tokio::test]
async fn writes_seconds_where_older_sidekiqs_read() {
    let redis = Redis::start().await;
    let client = Client::builder().redis(redis.producer()).stamps(StampForm::Secs).build().unwrap();
    client.push(Payload::new("A", [])).await.unwrap();
    let payload = Payload::parse(jobs(&redis, "default").await[0].as_str()).unwrap();
    assert!(payload.get("created_at").unwrap().contains('.') && payload.get("enqueued_at").unwrap().contains('.'));
}

#[tokio::test]
async fn the_first_pushes_wait_for_the_look_at_the_fleet() {
    let redis = Redis::start().await;
    let process = "web-1:1:0123456789ab";
    redis.call::<()>("SADD", &["processes", process]).await;
    redis.call::<()>("HSET", &[process, "info", r#"{"version":"7.3.2"}"#]).await;
    let client = redis.client();
    let pushes: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.push(Payload::new("A", [])).await })
        })
        .collect();
    for push in pushes {
        push.await.unwrap().unwrap();
    }
    let jobs = jobs(&redis, "default").await;
    let stamps = jobs.iter().map(|raw| Payload::parse(raw.as_str()).unwrap().get("created_at").unwrap().to_owned());
    let wrong: Vec<String> = stamps.filter(|stamp| !stamp.contains('.')).collect();
    assert!(jobs.len() == 10 && wrong.is_empty(), "{} of 10 are not in seconds: {wrong:?}", wrong.len());
    assert_eq!(redis.calls("smembers").await, 1, "one look serves all");
}

struct Any;

impl Job for Any {
    const CLASS: &'static str = "AnyJob";
    type Args = (serde_json::Value, f64);

    async fn perform(&self, _cx: Context, _args: Self::Args) -> JobResult {
        Ok(())
    }
}

#[tokio::test]
async fn refuses_what_ruby_could_not_read() {
    let redis = Redis::start().await;
    let client = redis.client();
    let mut deep = serde_json::Value::Null;
    for _ in 0..99 {
        deep = vec![deep].into();
    }
    let (good, bad) = ((serde_json::Value::Null, 1.0), (deep, 1.0));
    let refused = [
        Any::perform_async(&client, bad.clone()).await.map(drop),
        Any::perform_bulk(&client, [good.clone(), bad.clone()]).await.map(drop),
        Any::perform_in(&client, Duration::from_secs(9), bad).await.map(drop),
        Any::perform_async(&client, (serde_json::Value::Null, f64::NAN)).await.map(drop),
        Any::perform_bulk(&client, [good.clone(), (serde_json::Value::Null, f64::INFINITY)]).await.map(drop),
    ];
    for refusal in refused {
        assert_eq!(refusal.unwrap_err().kind(), ErrorKind::Args);
    }
    for at in [f64::NAN, f64::INFINITY] {
        let error = Any::perform_at(&client, EpochSecs(at), good.clone()).await.unwrap_err();
        assert_eq!(error.to_string(), "Job 'at' must be a Numeric timestamp: that of AnyJob is not finite");
    }
    assert_eq!(redis.call::<i64>("DBSIZE", &[""; 0]).await, 0);
}

#[tokio::test]
async fn a_deploy_whose_mark_was_refused_can_be_marked_at_once() {
    let redis = Redis::start().await;
    let operator = redis.operator();
    let now = EpochSecs::now().0;
    // It may be tomorrow by the time the mark is made.
    let days = [now, now + 60.0].map(|secs| format!("{}-marks", EpochSecs(secs).to_utc()[..10].replace('-', "")));
    for day in &days {
        redis.call::<()>("SET", &[day, "no hash"]).await;
    }
    let error = operator.mark_deploy("v1").await.unwrap_err();
    assert_eq!(error.redis_fault(), Some(ferrokiq::RedisFault::WrongType), "{error:?}");
    redis.call::<()>("DEL", &days).await;
    assert!(operator.mark_deploy("v1").await.unwrap());
    assert!(!operator.mark_deploy("v1").await.unwrap(), "once a minute");
    assert_eq!(redis.call::<usize>("EXISTS", &["deploylock-v1"]).await, 1);
}

async fn scores(redis: &Redis) -> Vec<String> {
    let entries: Vec<String> = redis.call("ZRANGE", &["schedule", "0", "-1", "WITHSCORES"]).await;
    entries.into_iter().skip(1).step_by(2).collect()
}

#[tokio::test]
async fn no_two_scheduled_jobs_share_a_score() {
    let redis = Redis::start().await;
    let client = redis.client();
    let bulk = || Bulk::new(Payload::new("A", []), (0..10_000).map(|id| (id,))).unwrap();
    client.push_bulk(bulk().all_at(EpochSecs(2e9))).await.unwrap();
    let mut distinct = scores(&redis).await;
    distinct.dedup();
    assert_eq!(distinct.len(), 10_000);
    // Once more at the same time, in batches of all sizes, and one by one.
    client.push_bulk(bulk().all_at(EpochSecs(2e9)).batch_size(10_000)).await.unwrap();
    client.idempotent().push_bulk(bulk().without_first(9_000).all_at(EpochSecs(2e9))).await.unwrap();
    for id in 0..10 {
        let mut job = Payload::new("A", [id.into()]);
        job.insert("at", 2_000_000_000);
        client.push(job).await.unwrap();
    }
    let mut all = scores(&redis).await;
    assert_eq!(all.len(), 21_010);
    all.dedup();
    assert_eq!(all.len(), 21_010);
    let last: f64 = all.last().unwrap().parse().unwrap();
    assert!(last < 2e9 + 1.0, "{last}");
}

#[tokio::test]
async fn schedules_without_the_right_to_run_scripts() {
    let redis = Redis::start().await;
    let rights = ["SETUSER", "plain", "on", ">secret", "~*", "-@all", "+hello", "+auth", "+select", "+client", "+zadd"];
    redis.call::<()>("ACL", &rights).await;
    let url = format!("{}&pass=secret", redis.url_of("plain"));
    let client = Client::builder().redis(url.parse().unwrap()).stamps(StampForm::Millis).build().unwrap();
    let bulk = Bulk::new(Payload::new("A", []), (0..3).map(|id| (id,))).unwrap();
    client.push_bulk(bulk.all_at(EpochSecs(2e9))).await.unwrap();
    let mut distinct = scores(&redis).await;
    distinct.dedup();
    assert_eq!(distinct.len(), 3);
}

#[tokio::test]
async fn refuses_what_a_worker_would_move_to_the_dead_set_unread() {
    let redis = Redis::start().await;
    let client = redis.client();
    let large = || "x".repeat(16 << 20);
    let error = client.push(Payload::new("Report", [large().into()])).await.unwrap_err();
    let message = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Payload);
    assert!(message.starts_with("Job must have at most 16711680 bytes: Report has 167773"), "{message}");
    assert!(message.ends_with("raise max_payload of the workers and of this client"), "{message}");
    let bulk = Bulk::new(Payload::new("Report", []), [("small".to_owned(),), (large(),)]).unwrap();
    assert_eq!(client.push_bulk(&bulk).await.unwrap_err().kind(), ErrorKind::Payload);

    let mut deep = Payload::new("Report", []);
    let nested = (0..99).fold(serde_json::json!([]), |inner, _| serde_json::json!([inner]));
    deep.insert("note", nested);
    let error = client.push(deep.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), "Job must be nested at most 99 levels deep: 'note' of Report is deeper");
    assert!(client.check(&deep).is_err());
    assert_eq!(redis.call::<u64>("DBSIZE", &[""; 0]).await, 0, "nothing was written");

    let unlimited = Client::builder().redis(redis.producer()).max_payload(0).build().unwrap();
    unlimited.push_bulk(&bulk).await.unwrap();
    assert_eq!(redis.size("queue:default").await, 2);
}
