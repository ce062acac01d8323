//! One queue for jobs of several programs, each of which knows classes the others do not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use ferrokiq::job::RawArgs;
use ferrokiq::server::{FetchMode, UnknownClasses};
use ferrokiq::{Context, Payload, Server, ServerBuilder};

use crate::support::{Redis, Running, eventually, nothing};

/// Jids by class, as they ran.
type Ran = Arc<Mutex<HashMap<&'static str, Vec<String>>>>;

/// A server that knows one class.
fn knows(class: &'static str, ran: &Ran) -> ServerBuilder {
    let ran = Arc::clone(ran);
    Server::builder().concurrency(10).register_fn(class, move |cx: Context, _: RawArgs| {
        ran.lock().unwrap().entry(class).or_default().push(cx.jid().to_owned());
        async { Ok(()) }
    })
}

/// Pushes so many jobs of each class to one queue, by turns. Returns their jids in order.
async fn push_mixed(
    redis: &Redis,
    queue: &str,
    classes: [&'static str; 2],
    each: usize,
) -> HashMap<&'static str, Vec<String>> {
    let (client, mut pushed) = (redis.client(), HashMap::<_, Vec<String>>::new());
    for n in 0..each * 2 {
        let class = classes[n % 2];
        let jid = client.push(Payload::new(class, []).with_queue(queue)).await.unwrap().unwrap();
        pushed.entry(class).or_default().push(jid.to_string());
    }
    pushed
}

fn sorted(jobs: &HashMap<&'static str, Vec<String>>) -> HashMap<&'static str, Vec<String>> {
    let sort = |jids: &Vec<String>| {
        let mut jids = jids.clone();
        jids.sort();
        jids
    };
    jobs.iter().map(|(class, jids)| (*class, sort(jids))).collect()
}

async fn settled(redis: &Redis, ran: &Ran, jobs: usize) {
    eventually("every job ran", async || ran.lock().unwrap().values().map(Vec::len).sum::<usize>() >= jobs).await;
    eventually("they are acknowledged", async || redis.private_jobs().await == 0).await;
}

#[tokio::test]
async fn diverts_what_it_does_not_know_byte_for_byte_and_in_order() {
    for fetch in [FetchMode::Reliable, FetchMode::Basic] {
        let (redis, ran) = (Redis::start().await, Ran::default());
        let mut pushed = push_mixed(&redis, "mixed", ["Ours", "RubysOwn"], 200).await;
        let before: Vec<String> = redis.call("LRANGE", &["queue:mixed", "0", "-1"]).await;
        let builder = knows("Ours", &ran).queues(["mixed"]).fetch(fetch).concurrency(1);
        let server = Running::start(&redis, builder.unknown_classes(UnknownClasses::Divert("ruby".into())));
        settled(&redis, &ran, 200).await;
        eventually("the rest is diverted", async || redis.size("queue:ruby").await == 200).await;
        server.stop().await;
        let diverted: Vec<String> = redis.call("LRANGE", &["queue:ruby", "0", "-1"]).await;
        let foreign: Vec<String> = before.into_iter().filter(|job| job.contains("RubysOwn")).collect();
        assert_eq!(diverted, foreign);
        pushed.remove("RubysOwn");
        assert_eq!(sorted(&ran.lock().unwrap()), sorted(&pushed));
        assert_eq!(redis.size("retry").await + redis.size("queue:mixed").await, 0);
        assert!(redis.call::<bool>("SISMEMBER", &["queues", "ruby"]).await);
        assert_eq!(redis.call::<String>("GET", &["stat:processed"]).await, "200", "a diverted job is no run");
    }
}

#[tokio::test]
async fn two_programs_divert_to_each_other() {
    let (redis, ran) = (Redis::start().await, Ran::default());
    let pushed = push_mixed(&redis, "mixed", ["Alpha", "Beta"], 300).await;
    let before = redis.calls("lpush").await;
    let servers: Vec<_> = [("Alpha", "alpha", "beta"), ("Beta", "beta", "alpha")]
        .into_iter()
        .map(|(class, own, other)| {
            let builder = knows(class, &ran).queues(["mixed", own]);
            Running::start(&redis, builder.unknown_classes(UnknownClasses::Divert(other.into())))
        })
        .collect();
    settled(&redis, &ran, 600).await;
    for server in servers {
        server.stop().await;
    }
    assert_eq!(sorted(&ran.lock().unwrap()), sorted(&pushed), "each ran once, where it is known");
    assert_eq!(redis.size("retry").await, 0);
    // A claim that cannot rename or sort pushes to its private list, too; nothing else does.
    let moves = redis.calls("lpush").await - before;
    assert!(moves <= 600, "{moves} moves of 600 jobs");
}

#[tokio::test]
async fn two_programs_leave_jobs_to_each_other() {
    let (redis, ran) = (Redis::start().await, Ran::default());
    let pushed = push_mixed(&redis, "mixed", ["Alpha", "Beta"], 200).await;
    let servers: Vec<_> = ["Alpha", "Beta"]
        .into_iter()
        .map(|class| {
            let builder = knows(class, &ran).queues(["mixed"]).unknown_classes(UnknownClasses::Requeue);
            Running::start(&redis, builder)
        })
        .collect();
    settled(&redis, &ran, 400).await;
    for server in servers {
        server.stop().await;
    }
    assert_eq!(sorted(&ran.lock().unwrap()), sorted(&pushed), "each ran once, where it is known");
    assert_eq!(redis.size("retry").await + redis.size("queue:mixed").await, 0);
    let moves = redis.calls("rpush").await;
    assert!(moves <= 4_000, "{moves} moves of 400 jobs");
}

#[tokio::test]
async fn a_queue_nobody_else_serves_is_looked_at_ever_less_often() {
    let (redis, ran) = (Redis::start().await, Ran::default());
    push_mixed(&redis, "mixed", ["RubysOwn", "RubysOther"], 100).await;
    let builder = knows("Ours", &ran).queues(["mixed", "own"]).unknown_classes(UnknownClasses::Requeue);
    let server = Running::start(&redis, builder);
    // The rests grow from 20 ms on.
    eventually("it tried", async || redis.calls("rpush").await >= 8).await;
    let before = redis.calls("rpush").await;
    redis.client().push(Payload::new("Ours", []).with_queue("own")).await.unwrap();
    settled(&redis, &ran, 1).await;
    server.stop().await;
    let moves = redis.calls("rpush").await - before;
    assert!(moves <= 40, "{moves} moves while one job of another queue ran");
    assert_eq!((redis.size("queue:mixed").await, redis.size("retry").await), (200, 0));
}

#[tokio::test]
async fn a_job_that_was_diverted_here_fails_instead_of_going_back() {
    let redis = Redis::start().await;
    redis
        .call::<()>("LPUSH", &["queue:mixed", r#"{"class":"Nobodys","args":[],"queue":"ruby","jid":"a","retry":true}"#])
        .await;
    let builder = Server::builder().register_fn("Ours", nothing).queues(["mixed"]);
    let server = Running::start(&redis, builder.unknown_classes(UnknownClasses::Divert("ruby".into())));
    eventually("it failed", async || redis.size("retry").await == 1).await;
    server.stop().await;
    let failed = String::from_utf8(redis.members("retry").await.remove(0)).unwrap();
    assert!(failed.contains("NameError") && failed.contains(r#""queue":"mixed""#), "{failed}");
    assert_eq!(redis.size("queue:ruby").await, 0);
}

/// What counts is the class inside, once any class of ActiveJob is registered, and before.
#[cfg(feature = "active-job")]
#[tokio::test]
async fn diverts_what_active_job_wraps_by_the_class_inside() {
    use ferrokiq::JobResult;
    use ferrokiq::active_job::{ActiveJob, ActiveJobContext};

    struct Ours;
    impl ActiveJob for Ours {
        const CLASS: &'static str = "OursJob";
        type Args = ();
        async fn perform(&self, _cx: ActiveJobContext, (): ()) -> JobResult {
            Ok(())
        }
    }
    let wrapped = |class: &str| {
        format!(
            r#"{{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"{class}","queue":"mixed","jid":"{class}","retry":true,"args":[{{"job_class":"{class}","job_id":"j","queue_name":"mixed","arguments":[],"executions":0}}]}}"#
        )
    };
    let redis = Redis::start().await;
    let builder = Server::builder().register_active_job(Ours).queues(["mixed"]);
    let server = Running::start(&redis, builder.unknown_classes(UnknownClasses::Divert("ruby".into())));
    redis.call::<()>("LPUSH", &["queue:mixed", &wrapped("RubysJob"), &wrapped("OursJob")]).await;
    eventually("one is diverted", async || redis.size("queue:ruby").await == 1).await;
    eventually("the other ran", async || redis.size("queue:mixed").await + redis.private_jobs().await == 0).await;
    server.stop().await;
    assert_eq!(redis.call::<Vec<String>>("LRANGE", &["queue:ruby", "0", "-1"]).await, [wrapped("RubysJob")]);
    assert_eq!(redis.size("retry").await, 0);
    assert_eq!(redis.call::<String>("GET", &["stat:processed"]).await, "1");
}

#[tokio::test]
async fn a_job_stays_ours_while_it_cannot_be_diverted() {
    let redis = Redis::start().await;
    redis.call::<()>("SET", &["queue:ruby", "no list"]).await;
    redis.client().push(Payload::new("RubysOwn", []).with_queue("mixed")).await.unwrap();
    let builder = Server::builder().register_fn("Ours", nothing).queues(["mixed"]);
    let server = Running::start(&redis, builder.unknown_classes(UnknownClasses::Divert("ruby".into())));
    eventually("it was fetched", async || redis.size("queue:mixed").await == 0).await;
    // Another job, run and acknowledged: by then the first one was refused, and is still there.
    redis.client().push(Payload::new("Ours", []).with_queue("mixed")).await.unwrap();
    eventually("another one ran", async || redis.size("queue:mixed").await == 0 && redis.private_jobs().await == 1)
        .await;
    drop(server);
}

#[tokio::test]
async fn refuses_to_divert_to_where_it_fetches() {
    for (queue, culprit) in
        [("mixed", "serves the queue mixed itself"), ("", "is no queue name"), ("a\nb", "is no queue name")]
    {
        let builder =
            Server::builder().register_fn("Ours", nothing).capsule("second", |capsule| capsule.queues(["mixed"]));
        let error = builder.unknown_classes(UnknownClasses::Divert(queue.into())).build().unwrap_err();
        assert!(error.to_string().contains(culprit), "{error}");
    }
}
