//! `claim_limited`, `hold_permits`, `free_permits`: jobs of queues that sidekiq-limit_fetch limits, and its lists.

use super::{Base, owned, refusal, refused};
use crate::error::Result;
use crate::store::claims::{Claimed, Private};

const PREFIX: &str = "ferrokiq:batch:me|1.0|";

impl Base {
    /// A registered process, and jobs in queue `a`, `1` the oldest.
    async fn with_jobs(jobs: usize) -> Self {
        let base = Self::start().await;
        base.run(&["SADD ferrokiq:processes me"]).await;
        base.push("queue:a", (1..=jobs).map(|job| job.to_string().into_bytes())).await;
        base
    }

    async fn try_claim_limited(&self, n: usize, queues: &[&str]) -> Result<Option<Claimed>> {
        let keys: Vec<String> = queues.iter().map(|queue| format!("queue:{queue}")).collect();
        let queues: Vec<(&str, &str)> = queues.iter().copied().zip(keys.iter().map(String::as_str)).collect();
        self.store.claim_limited(&Private::of("me"), 1, n, &queues).await
    }

    /// Claims, and returns how many jobs of each queue came.
    async fn claim_limited(&self, n: usize, queues: &[&str]) -> Vec<(String, usize)> {
        let claimed = self.try_claim_limited(n, queues).await.unwrap().unwrap();
        claimed.lists.into_iter().map(|list| (list.queue, list.jobs.len())).collect()
    }

    /// How many of the jobs of queue `a` come where these commands were run.
    async fn jobs_after(&self, commands: &[&str]) -> usize {
        self.run(&["DEL limit_fetch:probed:a limit_fetch:busy:a limit_fetch:limit:a limit_fetch:process_limit:a"])
            .await;
        self.run(commands).await;
        let jobs = self.claim_limited(5, &["a"]).await.first().map_or(0, |(_, jobs)| *jobs);
        self.run(&["DEL queue:a limit_fetch:pause:a", &format!("DEL {PREFIX}a"), "LPUSH queue:a 1 2 3 4 5 6"]).await;
        jobs
    }

    async fn permits(&self) -> [Vec<String>; 2] {
        [self.list("limit_fetch:probed:a").await, self.list("limit_fetch:busy:a").await]
    }

    async fn hold(&self, jobs: usize, lists: &[&str]) -> bool {
        self.store.hold_permits("me", "a", jobs, &owned(lists)).await.unwrap()
    }
}

#[tokio::test]
async fn a_limited_claim_takes_the_oldest_jobs_each_with_a_permit() {
    let base = Base::with_jobs(5).await;
    base.run(&["SET limit_fetch:limit:a 3", "RPUSH limit_fetch:probed:a ruby", "RPUSH limit_fetch:busy:a ruby"]).await;
    let claimed = base.try_claim_limited(10, &["a"]).await.unwrap().unwrap();
    assert_eq!(claimed.lists[0].jobs, [b"1", b"2"], "oldest first");
    assert_eq!(
        (claimed.lists[0].key.as_str(), claimed.is_full, claimed.suspects),
        (&*format!("{PREFIX}a"), false, false)
    );
    assert_eq!(base.list(&format!("{PREFIX}a")).await, ["2", "1"]);
    assert_eq!(base.list("queue:a").await, ["5", "4", "3"]);
    assert_eq!(base.set("ferrokiq:batches:me").await, [format!("{PREFIX}a")]);
    assert_eq!(base.permits().await, [owned(&["ruby", "me", "me"]), owned(&["ruby", "me", "me"])]);
    assert_eq!(base.set("limit:processes").await, ["me"]);
    assert_eq!(base.get::<String>("GET limit:heartbeat:me").await, "1");
    base.expires("limit:heartbeat:me", 19..=20).await;
    // Nothing is left of the limit.
    base.run(&["DEL limit:processes limit:heartbeat:me"]).await;
    assert_eq!(base.claim_limited(10, &["a"]).await, []);
    assert_eq!(base.permits().await.map(|list| list.len()), [3, 3]);
    assert!(!base.has("limit:processes").await && !base.has("limit:heartbeat:me").await, "it writes nothing");
    // A lost answer is asked for again as that of any claim.
    let again = base.store.claim(&Private::of("me"), (1, true), 10, &[("a", "queue:a")]).await.unwrap().unwrap();
    assert_eq!(again.lists[0].jobs, [b"1", b"2"]);
}

#[tokio::test]
async fn a_limited_claim_of_a_process_that_is_not_registered_changes_nothing() {
    let base = Base::with_jobs(2).await;
    base.run(&["DEL ferrokiq:processes"]).await;
    assert!(base.try_claim_limited(5, &["a"]).await.unwrap().is_none());
    assert_eq!(base.get::<usize>("LLEN queue:a").await, 2);
    assert_eq!(base.permits().await, [owned(&[]), owned(&[])]);
}

#[tokio::test]
async fn limits_count_as_the_gem_counts() {
    let base = Base::with_jobs(6).await;
    for (commands, jobs) in [
        (&[][..], 5),
        (&["SET limit_fetch:limit:a 2"], 2),
        (&["SET limit_fetch:limit:a 0"], 0),
        (&["SET limit_fetch:limit:a -1"], 0),
        (&["SET limit_fetch:limit:a 1.5"], 2),
        (&["SET limit_fetch:limit:a none"], 5),
        (&["SET limit_fetch:process_limit:a 3"], 3),
        (&["SET limit_fetch:process_limit:a 0"], 0),
        (&["SET limit_fetch:process_limit:a 1.5"], 2),
        (&["SET limit_fetch:limit:a 4", "SET limit_fetch:process_limit:a 3"], 3),
        (&["SET limit_fetch:limit:a 2", "SET limit_fetch:process_limit:a 3"], 2),
        (&["SET limit_fetch:limit:a 3", "RPUSH limit_fetch:probed:a ruby me"], 1),
        (&["SET limit_fetch:limit:a 1", "RPUSH limit_fetch:probed:a ruby ruby"], 0),
        (&["SET limit_fetch:process_limit:a 3", "RPUSH limit_fetch:probed:a ruby me ruby"], 2),
        (&["SET limit_fetch:process_limit:a 3", "RPUSH limit_fetch:busy:a me me"], 3),
        (&["SET limit_fetch:pause:a 1"], 0),
        (&["LPUSH limit_fetch:pause:a 1"], 5),
        (&["LPUSH limit_fetch:limit:a 1"], 5),
    ] {
        assert_eq!(base.jobs_after(commands).await, jobs, "{commands:?}");
    }
}

#[tokio::test]
async fn a_limited_claim_takes_from_the_queues_in_order_what_is_wanted() {
    let base = Base::with_jobs(3).await;
    base.run(&["LPUSH queue:b 4 5 6", "LPUSH queue:c 7", "SET limit_fetch:limit:a 2", "SET limit_fetch:limit:b 2"])
        .await;
    let of = |queue: &str, jobs| (queue.to_owned(), jobs);
    assert_eq!(base.claim_limited(3, &["none", "a", "b", "c"]).await, [of("a", 2), of("b", 1)]);
    assert_eq!(base.get::<usize>("LLEN queue:c").await, 1, "enough came before it");
    base.run(&["DEL limit_fetch:probed:b"]).await;
    let claimed = base.try_claim_limited(9, &["a", "b", "c"]).await.unwrap().unwrap();
    let seen: Vec<_> = claimed.lists.iter().map(|list| (list.queue.as_str(), list.jobs.len())).collect();
    assert_eq!((seen, claimed.is_full), (vec![("b", 3), ("c", 1)], false), "one lay in the list of b before");
    let many = Base::with_jobs(150).await;
    assert_eq!(many.claim_limited(150, &["a"]).await, [of("a", 100)]);
}

#[tokio::test]
async fn a_limited_claim_is_bounded_in_bytes() {
    let base = Base::with_jobs(0).await;
    // One that is larger than a claim may be comes alone.
    base.push("queue:a", [vec![b'x'; 3_000_000], b"small".to_vec()]).await;
    base.push("queue:b", [vec![b'x'; 600_000], vec![b'y'; 600_000], b"small".to_vec()]).await;
    base.push("queue:c", [b"small".to_vec()]).await;
    let sizes = async || {
        let claimed = base.try_claim_limited(10, &["a", "b", "c"]).await.unwrap().unwrap();
        let lists = claimed.lists.iter().map(|list| (list.queue.clone(), list.jobs.iter().map(Vec::len).collect()));
        let sizes: Vec<(String, Vec<usize>)> = lists.collect();
        base.run(&[&format!("DEL {PREFIX}a {PREFIX}b {PREFIX}c")]).await;
        (sizes, claimed.is_full)
    };
    assert_eq!(sizes().await, (vec![("a".to_owned(), vec![3_000_000])], true));
    assert_eq!(sizes().await, (vec![("a".to_owned(), vec![5]), ("b".to_owned(), vec![600_000])], true));
    assert_eq!(base.get::<usize>("LLEN queue:c").await, 1, "the next claim begins in order");
    assert_eq!(base.list("limit_fetch:probed:b").await, ["me"], "no permit without a job");
    assert_eq!(sizes().await, (vec![("b".to_owned(), vec![600_000, 5]), ("c".to_owned(), vec![5])], false));
    // To the byte.
    base.push("queue:a", [vec![b'x'; 1_048_570], b"123456".to_vec(), b"1".to_vec()]).await;
    assert_eq!(sizes().await, (vec![("a".to_owned(), vec![1_048_570, 6])], true));
}

#[tokio::test]
async fn a_limited_claim_passes_over_keys_of_another_type() {
    let base = Base::with_jobs(1).await;
    base.run(&["SET queue:text 1", "LPUSH queue:b 1", "LPUSH queue:c 1"]).await;
    base.run(&["SET limit_fetch:probed:b 1", "SET limit_fetch:busy:c 1"]).await;
    let claimed = base.try_claim_limited(5, &["text", "b", "c", "a"]).await.unwrap().unwrap();
    assert_eq!(refused(&claimed), owned(&["queue:text", "limit_fetch:probed:b", "limit_fetch:busy:c"]));
    assert_eq!(claimed.lists.iter().map(|list| list.queue.as_str()).collect::<Vec<_>>(), ["a"]);
    assert!(!base.has("limit_fetch:probed:c").await);
}

#[tokio::test]
async fn a_limited_claim_that_is_refused_leaves_no_permit() {
    let base = Base::with_jobs(2).await;
    base.run(&["RPUSH limit_fetch:probed:a ruby", "RPUSH limit_fetch:busy:a ruby"]).await;
    base.forbid(&["lmove"]).await;
    let refused = refusal(base.try_claim_limited(5, &["a"]).await);
    assert!(refused.contains("run this command"), "{refused}");
    base.allow_all().await;
    assert_eq!(base.permits().await, [owned(&["ruby"]), owned(&["ruby"])]);
    assert_eq!(base.get::<usize>("LLEN queue:a").await, 2);
}

#[tokio::test]
async fn permits_are_made_as_many_as_the_jobs() {
    let base = Base::start().await;
    base.run(&["RPUSH limit_fetch:probed:a me ruby me me", "RPUSH limit_fetch:busy:a me ruby"]).await;
    assert!(base.hold(1, &[]).await, "two were too many");
    assert_eq!(base.permits().await, [owned(&["ruby", "me"]), owned(&["me", "ruby"])]);
    assert!(!base.hold(1, &[]).await, "the second call changes nothing");
    assert_eq!(base.permits().await, [owned(&["ruby", "me"]), owned(&["me", "ruby"])]);
    base.run(&["LPUSH one 1 2", "LPUSH two 3"]).await;
    assert!(!base.hold(1, &["one", "two", "none"]).await);
    let [probed, busy] = base.permits().await;
    assert_eq!(probed, ["ruby", "me", "me", "me", "me"]);
    assert_eq!(busy, ["me", "ruby", "me", "me", "me"]);
    assert_eq!(base.set("limit:processes").await, ["me"]);
    assert_eq!(base.get::<String>("GET limit:heartbeat:me").await, "1");
    base.expires("limit:heartbeat:me", 19..=20).await;
    assert!(base.hold(0, &[]).await);
    assert_eq!(base.permits().await, [owned(&["ruby"]), owned(&["ruby"])]);
    base.run(&["RPUSH limit_fetch:busy:a me"]).await;
    assert!(base.hold(0, &[]).await, "of the second list, too");
}

#[tokio::test]
async fn keys_of_another_type_stop_no_correction() {
    let base = Base::with_jobs(1).await;
    base.run(&["SET limit:processes 1", "SET limit_fetch:probed:a 1", "RPUSH limit_fetch:busy:a me me ruby"]).await;
    assert!(base.hold(1, &[]).await);
    assert_eq!(base.list("limit_fetch:busy:a").await, ["me", "ruby"]);
    base.run(&["DEL limit_fetch:probed:a"]).await;
    assert_eq!(base.claim_limited(1, &["a"]).await, [("a".to_owned(), 1)]);
    assert_eq!(base.permits().await, [owned(&["me"]), owned(&["me", "ruby", "me"])]);
    base.run(&["DEL limit:processes", "SET limit_fetch:probed:b 1", "SET limit_fetch:busy:c 1"]).await;
    base.run(&["RPUSH limit_fetch:probed:c dead", "RPUSH limit_fetch:probed:d dead"]).await;
    assert_eq!(base.store.free_permits(&owned(&["b", "c", "d"])).await.unwrap(), 2);
}

#[tokio::test]
async fn permits_of_processes_without_a_heartbeat_or_an_entry_are_removed() {
    let base = Base::start().await;
    base.run(&[
        "SADD limit:processes alive old dead",
        "SET limit:heartbeat:alive 1",
        // As 3.4 of the gem writes it.
        "SET limit:heartbeat:old true",
        "RPUSH limit_fetch:probed:a dead alive dead stranger old",
        "RPUSH limit_fetch:busy:a dead alive stranger dead dead",
        "RPUSH limit_fetch:probed:b alive dead",
        "RPUSH limit_fetch:busy:b dead",
        "RPUSH limit_fetch:busy:c dead",
    ])
    .await;
    assert_eq!(base.store.free_permits(&owned(&["a", "b", "c"])).await.unwrap(), 4);
    assert_eq!(base.set("limit:processes").await, ["alive", "old"]);
    assert_eq!(base.permits().await, [owned(&["alive", "old"]), owned(&["alive"])]);
    assert_eq!(base.list("limit_fetch:probed:b").await, ["alive"]);
    assert!(!base.has("limit_fetch:busy:b").await);
    assert_eq!(base.list("limit_fetch:busy:c").await, ["dead"], "the gem looks at the first list alone, too");
    assert_eq!(base.store.free_permits(&owned(&["a", "b", "c"])).await.unwrap(), 0);
}

#[tokio::test]
async fn every_process_is_checked_before_the_lists() {
    let base = Base::start().await;
    let dead: Vec<String> = (0..1_200).map(|n| format!("dead{n}")).collect();
    base.run(&[&format!("SADD limit:processes alive {}", dead.join(" ")), "SET limit:heartbeat:alive 1"]).await;
    base.run(&[&format!("RPUSH limit_fetch:probed:a alive {}", dead.join(" "))]).await;
    assert_eq!(base.store.free_permits(&owned(&["a"])).await.unwrap(), 1_200);
    assert_eq!(
        (base.set("limit:processes").await, base.permits().await[0].clone()),
        (owned(&["alive"]), owned(&["alive"]))
    );
    base.run(&["DEL limit:processes"]).await;
    assert_eq!(base.store.free_permits(&owned(&["a"])).await.unwrap(), 1, "in an empty set is no process");
}

#[tokio::test]
async fn a_process_shows_itself_and_leaves() {
    let base = Base::start().await;
    base.store.show_to_limit_fetch("me").await.unwrap();
    assert_eq!(base.set("limit:processes").await, ["me"]);
    assert_eq!(base.get::<String>("GET limit:heartbeat:me").await, "1");
    base.expires("limit:heartbeat:me", 19..=20).await;
    base.store.leave_limit_fetch("me").await.unwrap();
    assert!(!base.has("limit:processes").await && !base.has("limit:heartbeat:me").await);
}
