//! Which due jobs a worker promotes while a Ruby process polls: setting `promote`.

use std::collections::BTreeSet;

use ferrokiq::server::{FetchMode, Promote};
use ferrokiq::{Server, ServerBuilder};

use crate::support::{Redis, Running, eventually, nothing};

const RUBY: &str = "rails:7:0123456789ab";

/// Writes the heartbeat of a Ruby process that serves the queue `ruby`, with this many seconds to live.
async fn ruby_beats(redis: &Redis, quiet: bool, seconds: u32) {
    let info = r#"{"hostname":"rails","started_at":1795409574.17,"pid":7,"tag":"app","concurrency":5,"queues":["ruby"],"weights":[{"ruby":0}],"labels":[],"identity":"rails:7:0123456789ab","version":"8.1.7","embedded":false}"#;
    redis.call::<()>("SADD", &["processes", RUBY]).await;
    let quiet = quiet.to_string();
    let fields = [RUBY, "info", info, "busy", "0", "beat", "1795409574.17", "quiet", &quiet, "rtt_us", "90"];
    redis.call::<()>("HSET", &fields).await;
    redis.call::<()>("EXPIRE", &[RUBY, &seconds.to_string()]).await;
    forget_what_is_shared(redis).await;
}

/// The next poll reads the processes anew, and not up to five seconds later.
async fn forget_what_is_shared(redis: &Redis) {
    redis.call::<()>("DEL", &["ferrokiq:sidekiqs"]).await;
}

fn job(class: &str, queue: &str, number: usize) -> String {
    format!(r#"{{"class":"{class}","args":[{number}],"queue":"{queue}","jid":"{number:024}"}}"#)
}

async fn now(redis: &Redis) -> f64 {
    let (seconds, micros): (f64, f64) = redis.call("TIME", &[] as &[&str]).await;
    seconds + micros / 1e6
}

/// Adds a member that has been due for so many seconds.
async fn add(redis: &Redis, set: &str, seconds: f64, member: &str) {
    redis.call::<()>("ZADD", &[set, &(now(redis).await - seconds).to_string(), member]).await;
}

/// A worker that knows the class `Ours`, serves a queue without jobs, and looks for no dead processes.
fn worker() -> ServerBuilder {
    Server::builder().queues(["nobody"]).fetch(FetchMode::Basic).register_fn("Ours", nothing)
}

/// Waits until two polls have read everything that is due now.
async fn polls(redis: &Redis) {
    for number in [0, 1] {
        let fence = format!("fence{number}");
        add(redis, "schedule", 0.0, &job("Ours", &fence, 0)).await;
        eventually("a poll", async || redis.size(&format!("queue:{fence}")).await == 1).await;
        redis.call::<()>("DEL", &[format!("queue:{fence}")]).await;
    }
}

async fn waiting(redis: &Redis, set: &str) -> BTreeSet<String> {
    redis.members(set).await.into_iter().map(|member| String::from_utf8(member).unwrap()).collect()
}

#[tokio::test]
async fn jobs_of_ruby_are_left_to_its_poller_for_a_minute() {
    let redis = Redis::start().await;
    ruby_beats(&redis, false, 60).await;
    let wrapped = r#"{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"Ours","args":[{}],"queue":"ruby","jid":"w"}"#;
    let left = [
        job("Theirs", "ruby", 1),
        r#"{"class":7,"args":[],"queue":"q"}"#.to_owned(),
        "no job".to_owned(),
        wrapped.to_owned(),
    ];
    for set in ["retry", "schedule"] {
        for member in &left {
            add(&redis, set, 50.0, member).await;
        }
        add(&redis, set, 5.0, &job("Ours", "ruby", 2)).await;
        add(&redis, set, 5.0, &job("Theirs", "rust", 3)).await;
        add(&redis, set, 61.0, &job("Theirs", "ruby", 4)).await;
        add(&redis, set, 61.0, r#"{"class":8,"args":[],"queue":"q"}"#).await;
    }
    let running = Running::start(&redis, worker());
    let is_moved = async || {
        (redis.size("queue:ruby").await, redis.size("queue:rust").await, redis.size("dead").await) == (4, 2, 1)
    };
    eventually("ours, those of no queue of Ruby, and those that are overdue", is_moved).await;
    polls(&redis).await;
    assert!(is_moved().await);
    for set in ["retry", "schedule"] {
        assert_eq!(waiting(&redis, set).await, left.clone().into());
    }
    running.stop().await;
}

#[cfg(feature = "active-job")]
#[tokio::test]
async fn a_wrapped_job_is_promoted_where_its_class_is_registered() {
    use ferrokiq::active_job::{ActiveJob, ActiveJobContext};
    struct Inside;
    impl ActiveJob for Inside {
        const CLASS: &'static str = "Inside";
        type Args = ();
        async fn perform(&self, _: ActiveJobContext, (): ()) -> ferrokiq::JobResult {
            Ok(())
        }
    }
    let redis = Redis::start().await;
    ruby_beats(&redis, false, 60).await;
    let payload = |wrapper: &str, class: &str| {
        format!(r#"{{"class":"{wrapper}","wrapped":"{class}","args":[{{"job_class":"{class}"}}],"queue":"ruby"}}"#)
    };
    for wrapper in ["ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper", "Sidekiq::ActiveJob::Wrapper"] {
        add(&redis, "schedule", 5.0, &payload(wrapper, "Inside")).await;
        add(&redis, "schedule", 5.0, &payload(wrapper, "Theirs")).await;
    }
    let running = Running::start(&redis, worker().register_active_job(Inside));
    eventually("ours", async || redis.size("queue:ruby").await == 2).await;
    polls(&redis).await;
    assert!(waiting(&redis, "schedule").await.iter().all(|member| member.contains(r#""wrapped":"Theirs""#)));
    assert_eq!((redis.size("queue:ruby").await, redis.size("schedule").await), (2, 2));
    running.stop().await;
}

#[tokio::test]
async fn the_decision_follows_ruby_processes_that_come_quiet_die_and_leave() {
    let redis = Redis::start().await;
    let running = Running::start(&redis, worker());
    let mut promoted = 0;
    let mut are_promoted = async |what: &str, expected: bool| {
        for number in 0..3 {
            add(&redis, "schedule", 5.0, &job("Theirs", "ruby", promoted + number)).await;
        }
        if expected {
            promoted += 3;
            eventually(what, async || redis.size("queue:ruby").await == promoted).await;
        } else {
            polls(&redis).await;
            assert_eq!((redis.size("queue:ruby").await, redis.size("schedule").await), (promoted, 3), "{what}");
            redis.call::<()>("DEL", &["schedule"]).await;
        }
    };
    are_promoted("no Ruby process", true).await;
    ruby_beats(&redis, false, 60).await;
    are_promoted("a Ruby process came", false).await;
    ruby_beats(&redis, true, 60).await;
    are_promoted("it is quiet", true).await;
    ruby_beats(&redis, false, 60).await;
    are_promoted("it was started again", false).await;
    ruby_beats(&redis, false, 29).await;
    are_promoted("it missed three heartbeats", true).await;
    ruby_beats(&redis, false, 60).await;
    are_promoted("it beats again", false).await;
    redis.call::<()>("DEL", &[RUBY]).await;
    forget_what_is_shared(&redis).await;
    are_promoted("its hash expired", true).await;
    running.stop().await;
}

#[tokio::test]
async fn all_promotes_all_and_off_promotes_none() {
    let redis = Redis::start().await;
    ruby_beats(&redis, false, 60).await;
    for set in ["retry", "schedule"] {
        add(&redis, set, 5.0, &job("Theirs", "ruby", 1)).await;
        add(&redis, set, 100.0, &job("Ours", "ruby", 2)).await;
    }
    let running = Running::start(&redis, worker().promote(Promote::Off));
    // Each poll counts the processes.
    eventually("some polls", async || redis.calls("scard").await > 5).await;
    running.stop().await;
    assert_eq!((redis.size("retry").await, redis.size("schedule").await, redis.calls("zcount").await), (2, 2, 0));
    let running = Running::start(&redis, worker().promote(Promote::All));
    eventually("all", async || redis.size("queue:ruby").await == 4).await;
    running.stop().await;
}

/// Bytes that Redis sent since its start, without the answers to the test's own commands.
async fn sent(redis: &Redis) -> usize {
    let stats: String = redis.call("INFO", &["stats"]).await;
    let line = stats.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    line.unwrap().parse().unwrap()
}

/// Adds jobs for Ruby that became due one after the other up to ten seconds ago; every other thousand of them at the same time.
async fn fill(redis: &Redis, count: usize) -> usize {
    let now = now(redis).await;
    let script = r"
        local bytes = 0
        for n = 1, tonumber(ARGV[1]) do
          local thousand = math.floor(n / 1000)
          local at = thousand + (thousand % 2 == 0 and n % 1000 / 1000 or 0)
          local member = string.format(ARGV[3], n)
          bytes = bytes + #member
          redis.call('ZADD', 'schedule', ARGV[2] - 10 - ARGV[1] / 1000 + at, member)
        end
        return bytes";
    let format = job("Theirs", "ruby", 0).replace(&format!("{:024}", 0), "%024d");
    redis.call("EVAL", &[script, "0", &count.to_string(), &now.to_string(), &format]).await
}

#[tokio::test]
async fn thousands_of_jobs_of_ruby_hide_none_of_ours_and_are_read_once() {
    const JOBS: usize = 20_000;
    let redis = Redis::start().await;
    ruby_beats(&redis, false, 60).await;
    let bytes = fill(&redis, JOBS).await;
    add(&redis, "schedule", 5.0, &job("Ours", "ruby", 0)).await;
    redis.call::<()>("CONFIG", &["RESETSTAT"]).await;
    let running = Running::start(&redis, worker());
    eventually("ours", async || redis.size("queue:ruby").await == 1).await;
    let (first, zrange) = (sent(&redis).await, redis.calls("zrange").await);
    assert!(first > bytes && first < bytes * 2, "{first} bytes for {bytes} of jobs");
    assert!(zrange < JOBS / 8, "{zrange} reads");
    // From now on each poll reads one page again.
    redis.call::<()>("CONFIG", &["RESETSTAT"]).await;
    eventually("ten polls", async || redis.calls("scard").await >= 10).await;
    let (polls, sent, zrange) = (redis.calls("scard").await, sent(&redis).await, redis.calls("zrange").await);
    running.stop().await;
    // Statistics of the test's own, with every look, too.
    assert!(sent < (polls + 2) * (bytes / 20 + 20_000) + 2_000_000, "{sent} bytes in {polls} polls");
    assert!(zrange <= (polls + 1) * 80, "{zrange} reads in {polls} polls");
    assert_eq!(redis.size("schedule").await, JOBS);
}

#[tokio::test]
async fn ours_are_found_among_many_of_the_same_time() {
    const JOBS: usize = 3_000;
    let redis = Redis::start().await;
    ruby_beats(&redis, false, 60).await;
    let now = now(&redis).await;
    let mut arguments = vec!["schedule".to_owned()];
    for number in 0..JOBS {
        let class = if number % 3 == 0 { "Ours" } else { "Theirs" };
        // The class comes last, so that both are mixed in the set, too.
        let member = format!(r#"{{"args":[{number}],"queue":"ruby","class":"{class}"}}"#);
        arguments.extend([(now - 5.0).to_string(), member]);
    }
    redis.call::<()>("ZADD", &arguments).await;
    let running = Running::start(&redis, worker());
    eventually("all of ours", async || redis.size("queue:ruby").await == JOBS / 3).await;
    polls(&redis).await;
    assert!(waiting(&redis, "schedule").await.iter().all(|member| member.contains("Theirs")));
    assert_eq!((redis.size("queue:ruby").await, redis.size("schedule").await), (JOBS / 3, JOBS / 3 * 2));
    running.stop().await;
}

#[tokio::test]
async fn a_job_that_is_added_before_those_that_were_read_is_found() {
    let redis = Redis::start().await;
    ruby_beats(&redis, false, 60).await;
    fill(&redis, 2_500).await;
    let running = Running::start(&redis, worker());
    polls(&redis).await;
    for seconds in [55.0, 11.5, 0.5] {
        redis.call::<()>("DEL", &["queue:ruby"]).await;
        add(&redis, "schedule", seconds, &job("Ours", "ruby", 0)).await;
        eventually("ours", async || redis.size("queue:ruby").await == 1).await;
    }
    running.stop().await;
    assert_eq!(redis.size("schedule").await, 2_500);
}

#[tokio::test]
async fn large_jobs_of_ruby_stay_and_large_ones_of_ours_go() {
    let redis = Redis::start_with(&["--client-output-buffer-limit", "normal 5mb 0 0"]).await;
    ruby_beats(&redis, false, 60).await;
    let large = |class: &str, number: usize, bytes: usize| {
        format!(r#"{{"class":"{class}","args":[{number},"{}"],"queue":"ruby"}}"#, "x".repeat(bytes))
    };
    for number in 0..20 {
        add(&redis, "schedule", 30.0 - number as f64, &large("Theirs", number, 300_000)).await;
    }
    add(&redis, "schedule", 5.0, &large("Ours", 20, 300_000)).await;
    add(&redis, "schedule", 4.0, &job("Ours", "ruby", 21)).await;
    let running = Running::start(&redis, worker());
    eventually("both of ours", async || redis.size("queue:ruby").await == 2).await;
    // One that is too large for the connection is in the way of no other.
    add(&redis, "schedule", 3.0, &large("Theirs", 22, 7 << 20)).await;
    polls(&redis).await;
    add(&redis, "schedule", 0.0, &large("Ours", 23, 300_000)).await;
    eventually("the next of ours", async || redis.size("queue:ruby").await == 3).await;
    running.stop().await;
    assert_eq!(redis.size("schedule").await, 21);
}
