//! What the Data API does to many jobs, large ones, and long queues.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ferrokiq::Payload;
use ferrokiq::api::{Api, Departure, JobRecord, Return, SortedSet};
use ferrokiq::client::Next;
use ferrokiq::time::EpochSecs;

use crate::support::Redis;

fn job(number: usize, padding: usize) -> String {
    format!(
        r#"{{"class":"Nothing","args":["{}"],"queue":"q","jid":"{number:024x}","retry_count":1,"created_at":1795408384695}}"#,
        "x".repeat(padding)
    )
}

fn number(bytes: &[u8]) -> usize {
    usize::from_str_radix(Payload::from_bytes(bytes.to_vec()).unwrap().jid(), 16).unwrap()
}

/// So many small jobs in a queue; that of the highest number is the newest.
async fn fill(redis: &Redis, jobs: usize) {
    let script = "for n = ARGV[1] + 0, ARGV[2] - 1 do redis.call('LPUSH', KEYS[1], string.format(ARGV[3], n)) end";
    let form = job(0, 0).replace(&format!("{:024x}", 0), "%024x");
    for begin in (0..jobs).step_by(10_000) {
        let (begin, end) = (begin.to_string(), jobs.min(begin + 10_000).to_string());
        redis.call::<()>("EVAL", &[script, "1", "queue:q", &begin, &end, &form]).await;
    }
    redis.call::<()>("SADD", &["queues", "q"]).await;
}

/// The jobs of the queue, the newest first.
async fn queue(redis: &Redis) -> Vec<usize> {
    let jobs: Vec<Vec<u8>> = redis.call("LRANGE", &["queue:q", "0", "-1"]).await;
    jobs.iter().map(|job| number(job)).collect()
}

/// How often a server walked through a list: from its end to a job.
async fn walks(redis: &Redis) -> usize {
    redis.calls("lrem").await + redis.calls("linsert").await + redis.calls("lpos").await
}

#[tokio::test]
async fn a_job_is_deleted_or_replaced_where_it_was_seen_though_the_queue_moves() {
    let redis = Redis::start().await;
    fill(&redis, 1_000).await;
    let queue_q = Api::new(&redis.operator()).queue("q");
    let mut pages = queue_q.pages().of(1_000);
    let page = pages.next().await.unwrap().unwrap();
    let of = |wanted: usize| page.iter().find(|record| number(record.bytes()) == wanted).unwrap();
    // Meanwhile 50 jobs run, 30 are pushed and two come back.
    redis.call::<()>("RPOP", &["queue:q", "50"]).await;
    for new in 1_000..1_030 {
        redis.call::<()>("LPUSH", &["queue:q", &job(new, 0)]).await;
    }
    redis.call::<()>("RPUSH", &["queue:q", &job(49, 0), &job(48, 0)]).await;

    for wanted in [999, 998, 500, 51, 49] {
        assert!(queue_q.delete(of(wanted)).await.unwrap(), "{wanted}");
    }
    assert!(!queue_q.delete(of(500)).await.unwrap(), "it is gone");
    assert!(!queue_q.delete(of(7)).await.unwrap(), "it ran");
    let changed = Payload::parse(job(600, 3)).unwrap();
    assert!(queue_q.replace(of(600), changed).await.unwrap());
    let gone = [999, 998, 500, 51, 49];
    let expected: Vec<usize> = (50..1_030).rev().filter(|job| !gone.contains(job)).chain([48]).collect();
    assert_eq!(queue(&redis).await, expected);
    let changed: Vec<String> = redis.call("LRANGE", &["queue:q", "0", "-1"]).await;
    assert!(changed.contains(&job(600, 3)) && !changed.contains(&job(600, 0)));
    // A record from elsewhere is looked for.
    let record = JobRecord::of(job(700, 0).as_bytes());
    assert!(queue_q.delete(&record).await.unwrap());
    assert!(!queue(&redis).await.contains(&700));
}

#[tokio::test]
async fn no_script_walks_through_a_long_queue() {
    const JOBS: usize = 250_000;
    let redis = Redis::start().await;
    fill(&redis, JOBS).await;
    let api = Api::new(&redis.operator());
    let queue_q = api.queue("q");
    let middle = JobRecord::of(job(JOBS / 2, 0).as_bytes());
    redis.call::<()>("CONFIG", &["RESETSTAT"]).await;

    let changed = Payload::parse(job(JOBS / 2, 3)).unwrap();
    assert!(queue_q.replace(&middle, changed).await.unwrap());
    assert_eq!(walks(&redis).await, 0, "it is replaced by its index");
    let middle = JobRecord::of(job(JOBS / 2, 3).as_bytes());
    assert!(queue_q.delete(&middle).await.unwrap());
    assert_eq!(walks(&redis).await, 0, "it is more than 100,000 jobs from both ends");
    assert_eq!(redis.size("queue:q").await, JOBS - 1);
    let moved: Vec<u8> = redis.call("LINDEX", &["queue:q", &(JOBS / 2 - 2).to_string()]).await;
    assert_eq!(number(&moved), JOBS - 1, "the newest took its place");

    // A hundred jobs of a replay: half of them were taken, the others are near the newest end.
    let retries = api.retries();
    for number in 0..100 {
        redis.call::<()>("ZADD", &["retry", &format!("{number}.25"), &job(JOBS + number, 1)]).await;
    }
    let departures = depart_all(&retries).await;
    for departure in departures.iter().step_by(2) {
        redis.call::<()>("LREM", &["queue:q", "1", &departure.pushed]).await;
    }
    redis.call::<()>("CONFIG", &["RESETSTAT"]).await;
    let returns = retries.put_back(&departures).await.unwrap();
    assert!(walks(&redis).await <= 2, "one walk near each end of the queue: {}", walks(&redis).await);
    for (at, what) in returns.into_iter().enumerate() {
        assert_eq!(what, if at % 2 == 0 { Return::Taken } else { Return::Back }, "{at}");
    }
    assert_eq!((redis.size("retry").await, redis.size("queue:q").await), (50, JOBS - 1));
    assert_eq!(retries.put_back(&departures).await.unwrap()[1], Return::Stayed, "again does no harm");
}

/// Moves all jobs of a set to their queues; how.
async fn depart_all(set: &SortedSet) -> Vec<Departure> {
    let mut departures = Vec::new();
    for entry in set.from_lowest(0, 1_000).await.unwrap() {
        departures.push(set.retried(&entry).await.unwrap());
    }
    assert_eq!(set.depart(&departures).await.unwrap().done, departures.len());
    departures
}

/// Redis closes a connection whose answer or request exceeds these bytes.
#[tokio::test]
async fn large_jobs_are_read_and_moved_a_few_at_a_time() {
    const JOBS: usize = 30;
    let redis = Redis::start_with(&["--client-output-buffer-limit", "normal 12mb 0 0"]).await;
    redis.call::<()>("CONFIG", &["SET", "client-query-buffer-limit", "12mb"]).await;
    let script = "for n = 1, ARGV[1] + 0 do
        local job = string.format(ARGV[2], n, string.rep('x', 1048576))
        redis.call('ZADD', 'retry', n, job) redis.call('LPUSH', 'queue:other', job)
      end redis.call('SADD', 'queues', 'other')";
    let form = r#"{"class":"Nothing","jid":"%024x","args":["%s"],"queue":"q"}"#;
    let client = redis.client();
    client.push(Payload::new("Nothing", []).with_queue("empty")).await.unwrap();
    redis.call::<()>("EVAL", &[script, "0", &JOBS.to_string(), form]).await;
    let api = Api::new(&redis.operator());
    assert_eq!(api.queues().await.unwrap().len(), 2);

    let (mut pages, mut seen) = (api.queue("other").pages().of(500), 0);
    while let Some(page) = pages.next().await.unwrap() {
        assert!(page.len() <= 1);
        seen += page.len();
    }
    assert_eq!(seen, JOBS);
    let (retries, dead) = (api.retries(), api.dead());
    let (mut pages, mut entries) = (retries.pages().of(500), Vec::new());
    while let Some(page) = pages.next().await.unwrap() {
        entries.extend(page);
    }
    assert_eq!(entries.len(), JOBS);
    assert_eq!(retries.fetch(EpochSecs(2.0), EpochSecs(21.0)).await.unwrap().len(), 20);
    assert_eq!(retries.kill_many(&entries[..15]).await.unwrap().done, 15);
    assert_eq!(retries.kill_all().await.unwrap(), JOBS - 15);
    assert_eq!(dead.delete_many(&entries[..15]).await.unwrap().done, 15);
    let mut left = Vec::new();
    dead.scan("Nothing", |entry| left.push(entry)).await.unwrap();
    let mut departures = Vec::new();
    for entry in &left[..3] {
        departures.push(dead.retried(entry).await.unwrap());
    }
    assert_eq!(dead.depart(&departures).await.unwrap().done, 3);
    assert_eq!(dead.put_back(&departures).await.unwrap(), [Return::Back; 3]);
    assert_eq!(dead.retry_all().await.unwrap(), JOBS - 15);
    assert_eq!((redis.size("dead").await, redis.size("queue:q").await), (0, JOBS - 15));
}

#[tokio::test]
async fn jobs_that_fail_at_once_are_retried_once() {
    const JOBS: usize = 300;
    let redis = Redis::start().await;
    for number in 0..JOBS {
        redis.call::<()>("ZADD", &["retry", &number.to_string(), &job(number, 0)]).await;
    }
    // A worker that has each job fail before the next is retried.
    let connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let (connection, failures) = (Arc::new(Mutex::new(connection)), Arc::new(AtomicUsize::new(0)));
    let worker = move |payload: Payload, next: Next| {
        let failed = failures.fetch_add(1, Ordering::Relaxed);
        // An endless loop of retries ends.
        if failed < 10 * JOBS {
            let again = payload.clone().into_string().replace("}", &format!(r#","retried_at":{failed}}}"#));
            let mut zadd = redis::cmd("ZADD");
            zadd.arg("retry").arg(4_000_000_000_usize + failed).arg(again);
            zadd.exec(&mut *connection.lock().unwrap()).unwrap();
        }
        async { next.run(payload).await }
    };
    let client = redis.operator_builder().middleware(worker).build().unwrap();
    assert_eq!(Api::new(&client).retries().retry_all().await.unwrap(), JOBS);
    assert_eq!((redis.size("queue:q").await, redis.size("retry").await), (JOBS, JOBS));
}

#[tokio::test]
async fn a_queue_is_cleared_of_what_was_counted() {
    let redis = Redis::start().await;
    fill(&redis, 25_000).await;
    let queue_q = Api::new(&redis.operator()).queue("q");
    let counted = queue_q.count().await.unwrap();
    for new in 25_000..25_100 {
        redis.call::<()>("LPUSH", &["queue:q", &job(new, 0)]).await;
    }
    redis.call::<()>("RPOP", &["queue:q", "10"]).await;
    let cleared = queue_q.clear_counted(&counted).await.unwrap();
    assert_eq!((counted.size, cleared.deleted, cleared.left), (25_000, 24_990, 100));
    assert_eq!(queue(&redis).await, (25_000..25_100).rev().collect::<Vec<_>>());
    assert_eq!(queue_q.clear_counted(&counted).await.unwrap().deleted, 0, "all of them are gone");
    assert_eq!(redis.call::<usize>("SCARD", &["queues"]).await, 1);
    let counted = queue_q.count().await.unwrap();
    assert_eq!(queue_q.clear_counted(&counted).await.unwrap().deleted, 100);
    let cleared = queue_q.clear_counted(&queue_q.count().await.unwrap()).await.unwrap();
    assert_eq!((cleared.deleted, cleared.left), (0, 0));
    assert_eq!(redis.call::<usize>("EXISTS", &["queue:q", "queues"]).await, 0);
}

#[tokio::test]
async fn a_queue_is_cleared_of_no_job_that_was_put_back_after_the_count() {
    let redis = Redis::start().await;
    fill(&redis, 12_000).await;
    let queue_q = Api::new(&redis.operator()).queue("q");
    let counted = queue_q.count().await.unwrap();
    redis.call::<()>("LPUSH", &["queue:q", &job(12_000, 0)]).await;
    for back in 12_001..12_801 {
        redis.call::<()>("RPUSH", &["queue:q", &job(back, 0)]).await;
    }
    let cleared = queue_q.clear_counted(&counted).await.unwrap();
    assert_eq!((counted.size, cleared.deleted, cleared.left), (12_000, 12_000, 801));
    assert_eq!(queue(&redis).await, (12_000..12_801).collect::<Vec<_>>());
}

#[tokio::test]
async fn killing_a_job_deletes_no_dead_one() {
    let redis = Redis::start().await;
    let script = "for n = 1, 12000 do redis.call('ZADD', KEYS[1], n, n) end";
    redis.call::<()>("EVAL", &[script, "1", "dead"]).await;
    redis.call::<()>("ZADD", &["retry", "1", &job(1, 0)]).await;
    let api = Api::new(&redis.operator());
    let entry = api.retries().find_job(&format!("{:024x}", 1)).await.unwrap().unwrap();
    assert!(api.retries().kill(&entry).await.unwrap());
    assert_eq!(redis.size("dead").await, 12_001);
    // One that is dead already stays.
    let entry = api.dead().find_job(&format!("{:024x}", 1)).await.unwrap().unwrap();
    assert!(api.dead().kill(&entry).await.unwrap());
    assert_eq!(redis.size("dead").await, 12_001);
}

#[tokio::test]
async fn a_job_with_the_least_of_counts_is_retried() {
    let redis = Redis::start().await;
    let raw = job(1, 0).replace(r#""retry_count":1"#, &format!(r#""retry_count":{}"#, i64::MIN));
    redis.call::<()>("ZADD", &["retry", "1", &raw]).await;
    let retries = Api::new(&redis.operator()).retries();
    assert_eq!(retries.retry_all().await.unwrap(), 1);
    assert_eq!(queue(&redis).await, [1]);
}

#[tokio::test]
async fn a_job_that_names_no_queue_stays_in_its_set() {
    let redis = Redis::start().await;
    let queues = [r#""""#, r#"["q"]"#, r#"{"q":1}"#, r#""a\u0000b""#, r#""q""#];
    for (score, queue) in queues.iter().enumerate() {
        let job = format!(r#"{{"class":"A","args":[],"jid":"j{score}","queue":{queue},"retry":true}}"#);
        redis.call::<()>("ZADD", &["dead".to_owned(), score.to_string(), job]).await;
    }
    let dead = Api::new(&redis.operator()).dead();
    let mut moved = Vec::new();
    for entry in dead.from_lowest(0, 10).await.unwrap() {
        moved.push(match dead.retry(&entry).await {
            Ok(moved) => moved.then(|| String::from("moved")),
            Err(error) => Some(error.to_string()),
        });
    }
    assert_eq!(moved[0].as_deref(), Some("moved"), "Ruby's push takes an empty name for none");
    for refused in &moved[1..4] {
        assert!(refused.as_deref().is_some_and(|why| why.contains("names no queue")), "{refused:?}");
    }
    assert_eq!(moved[4].as_deref(), Some("moved"));
    let queues: Vec<String> = redis.call("SORT", &["queues", "ALPHA"]).await;
    assert_eq!((redis.size("dead").await, queues), (3, vec!["default".to_owned(), "q".to_owned()]));
}
