use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferrokiq::{Context, Payload, Server, ServerBuilder};

use crate::support::{Redis, Running, eventually, nothing};

/// A process that died: registered, its last sign of life ended long ago, jobs in one private list, older ones to the right.
pub(crate) async fn leave_a_dead_process(redis: &Redis, name: &str, jobs: &[&str]) {
    let (index, list) = (format!("ferrokiq:batches:{name}"), format!("ferrokiq:batch:{name}|7|low"));
    redis.call::<()>("SADD", &["ferrokiq:processes", name]).await;
    redis.call::<()>("SADD", &[&index, &list]).await;
    for job in jobs {
        redis.call::<()>("LPUSH", &[list.as_str(), job]).await;
    }
    redis.call::<()>("ZADD", &["ferrokiq:alive", "1", name]).await;
    // As if the grace had begun long ago.
    redis.call::<()>("SET", &[format!("ferrokiq:suspect:{name}").as_str(), "1 1", "EX", "30"]).await;
}

/// Serves nothing of interest and is quick to judge.
pub(crate) fn recoverer() -> ServerBuilder {
    Server::builder().queues(["default"]).liveness(Duration::from_millis(1_500))
}

#[tokio::test]
async fn puts_back_the_jobs_of_a_dead_process_and_leaves_a_living_one_alone() {
    let redis = Redis::start().await;
    leave_a_dead_process(&redis, "host:1:dead", &["first", "second"]).await;
    leave_a_dead_process(&redis, "host:2:alive", &["mine"]).await;
    redis.call::<()>("ZADD", &["ferrokiq:alive", "+inf", "host:2:alive"]).await;
    redis.call::<()>("LPUSH", &["queue:low", "newer"]).await;
    let server = Running::start(&redis, recoverer());
    eventually("they are back", async || redis.size("queue:low").await == 3).await;
    let queue: Vec<String> = redis.call("LRANGE", &["queue:low", "0", "-1"]).await;
    assert_eq!(queue, ["newer", "second", "first"], "the oldest is fetched next");
    eventually("nothing is left of it", async || {
        redis.call::<usize>("EXISTS", &["ferrokiq:batches:host:1:dead", "ferrokiq:batch:host:1:dead|7|low"]).await == 0
    })
    .await;
    assert_eq!(redis.call::<u8>("SISMEMBER", &["ferrokiq:processes", "host:1:dead"]).await, 0);
    assert_eq!(redis.call::<u8>("SISMEMBER", &["ferrokiq:processes", "host:2:alive"]).await, 1);
    server.stop().await;
    assert_eq!(redis.private_jobs().await, 1);
}

#[tokio::test]
async fn runs_every_job_once_over_two_servers_and_many_batches() {
    const JOBS: usize = 20_000;
    let redis = Redis::start().await;
    let client = redis.client();
    let ran = Arc::new(Mutex::new(vec![0_u8; JOBS]));
    let count = Arc::new(AtomicUsize::new(0));
    let builder = || {
        let (ran, count) = (Arc::clone(&ran), Arc::clone(&count));
        Server::builder().concurrency(7).queues(["a,3", "b,1"]).register_fn(
            "Once",
            move |_cx: Context, (n,): (usize,)| {
                let (ran, count) = (Arc::clone(&ran), Arc::clone(&count));
                async move {
                    // Every so often one outlasts its batch.
                    if n % 97 == 0 {
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    }
                    ran.lock().unwrap()[n] += 1;
                    count.fetch_add(1, Ordering::SeqCst);
                    if n % 89 == 0 { Err("now and then".into()) } else { Ok(()) }
                }
            },
        )
    };
    for (queue, parity) in [("a", 0), ("b", 1)] {
        let args = (0..JOBS).filter(|n| n % 2 == parity).map(|n| (n,));
        let template = Payload::new("Once", []).with_queue(queue);
        client.push_bulk(ferrokiq::client::Bulk::new(template, args).unwrap()).await.unwrap();
    }
    let servers = [Running::start(&redis, builder()), Running::start(&redis, builder())];
    eventually("all ran", async || count.load(Ordering::SeqCst) >= JOBS).await;
    for server in servers {
        server.stop().await;
    }
    assert!(ran.lock().unwrap().iter().all(|times| *times == 1), "each exactly once");
    assert_eq!(redis.private_jobs().await, 0);
    // On a slow machine the first of them may be due again already.
    let failed = redis.size("retry").await + redis.size("queue:a").await + redis.size("queue:b").await;
    assert_eq!(failed, JOBS.div_ceil(89));
    let processed: usize = redis.call("GET", &["stat:processed"]).await;
    assert_eq!(processed, JOBS);
}

#[tokio::test]
async fn takes_identical_payloads_for_two_jobs() {
    let redis = Redis::start().await;
    for _ in 0..50 {
        redis.call::<()>("LPUSH", &["queue:default", r#"{"class":"Nothing","args":[]}"#]).await;
    }
    let server = Running::start(&redis, Server::builder().register_fn("Nothing", nothing));
    eventually("all ran", async || redis.size("queue:default").await == 0 && redis.private_jobs().await == 0).await;
    server.stop().await;
    let processed: usize = redis.call("GET", &["stat:processed"]).await;
    assert_eq!(processed, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn runs_a_queue_in_order_where_there_is_one_slot() {
    in_order(&["default", "other"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn runs_a_queue_without_a_waiter_in_order_where_there_is_one_slot() {
    in_order(&["a", "b", "c", "d", "e", "f", "g", "h", "default", "other"]).await;
}

async fn in_order(queues: &[&str]) {
    let redis = Redis::start().await;
    let ran = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&ran);
    let builder = Server::builder().concurrency(1).queues(queues.iter().copied()).register_fn(
        "Numbered",
        move |_cx: Context, (number, slow): (usize, bool)| {
            told.lock().unwrap().push(number);
            // Longer than a job that was fetched ahead may lie: what lies goes back, in its order.
            let pause = std::time::Duration::from_millis(if slow { 8 } else { 0 });
            async move {
                tokio::time::sleep(pause).await;
                Ok(())
            }
        },
    );
    let server = Running::start(&redis, builder);
    let client = redis.client();
    for number in 0..800_usize {
        client.push(Payload::new("Numbered", [number.into(), (number % 97 == 0).into()])).await.unwrap();
        // Now and then the server has just caught up: it asks what else there is, and begins to wait.
        let caught_up = std::time::Instant::now() + crate::support::DEADLINE;
        while number % 3 == 0 && ran.lock().unwrap().len() <= number && std::time::Instant::now() < caught_up {
            tokio::task::yield_now().await;
        }
    }
    eventually("all ran", async || ran.lock().unwrap().len() >= 800).await;
    server.stop().await;
    assert_eq!(*ran.lock().unwrap(), (0..800).collect::<Vec<_>>());
}

#[tokio::test]
async fn asks_many_queues_in_their_order() {
    let redis = Redis::start().await;
    let (client, queues) = (redis.client(), (0..40).map(|n| format!("q{n}")).collect::<Vec<_>>());
    // Two in each but the first few: a claim has to go on to those behind.
    for (number, queue) in queues.iter().enumerate().skip(10) {
        for _ in 0..2 {
            client.push(Payload::new("Numbered", [number.into()]).with_queue(queue)).await.unwrap();
        }
    }
    let ran = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&ran);
    let builder = Server::builder().concurrency(1).queues(queues).register_fn(
        "Numbered",
        move |_cx: Context, (number,): (usize,)| {
            told.lock().unwrap().push(number);
            async { Ok(()) }
        },
    );
    let server = Running::start(&redis, builder);
    eventually("all ran", async || ran.lock().unwrap().len() == 60).await;
    server.stop().await;
    assert_eq!(*ran.lock().unwrap(), (10..40).flat_map(|number| [number, number]).collect::<Vec<_>>());
}
