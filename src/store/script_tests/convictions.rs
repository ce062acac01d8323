//! `recover`, `fingerprints`, `suspects`: where the jobs of a dead process go, and what is held against them.

use super::{Base, refusal};
use crate::store::suspects::{Recovered, fingerprint};

/// Of its jobs the oldest two may have begun.
const LIST: &str = "ferrokiq:batch:dead|1.2|q";
const CONVICTS: &str = "ferrokiq:batch:dead|convicts|q";

impl Base {
    async fn recover(&self, list: &str) -> (usize, usize, usize) {
        let Recovered { back, convicted, left } = self.store.recover("dead", (list, "q"), 3).await.unwrap();
        (back, convicted, left)
    }

    /// Counts deaths of other processes.
    async fn died(&self, job: &str, processes: &[&str]) {
        self.run(&[&format!("SADD ferrokiq:poison:{} {}", fingerprint(job.as_bytes()), processes.join(" "))]).await;
    }

    async fn deaths(&self, job: &str) -> Vec<String> {
        self.set(&format!("ferrokiq:poison:{}", fingerprint(job.as_bytes()))).await
    }
}

#[tokio::test]
async fn jobs_of_a_dead_process_go_back_in_order_and_those_that_began_are_counted() {
    let base = Base::start().await;
    base.run(&["LPUSH queue:q newer", &format!("LPUSH {LIST} 1 2 3")]).await;
    assert_eq!(base.recover(LIST).await, (3, 0, 0));
    assert_eq!(base.list("queue:q").await, ["newer", "3", "2", "1"], "the oldest runs first");
    assert_eq!(base.set("queues").await, ["q"]);
    assert!(!base.has(LIST).await);
    for (job, deaths) in [("1", vec!["dead"]), ("2", vec!["dead"]), ("3", vec![])] {
        assert_eq!(base.deaths(job).await, deaths, "{job}");
    }
    base.expires(&format!("ferrokiq:poison:{}", fingerprint(b"1")), 259_100..=259_200).await;
    assert!(!base.has("ferrokiq:suspects").await, "one death makes no suspect");
    assert_eq!(base.recover(LIST).await, (0, 0, 0), "a second time nothing");
    base.run(&["FLUSHALL"]).await;
    assert_eq!(base.recover(LIST).await, (0, 0, 0));
    assert!(!base.has("queues").await, "no queue is named without a job");
    // A list whose name does not hold how many may have begun.
    base.run(&["LPUSH ferrokiq:batch:dead|1|q 1 2 3"]).await;
    base.recover("ferrokiq:batch:dead|1|q").await;
    assert_eq!(base.deaths("3").await, ["dead"]);
}

#[tokio::test]
async fn a_recovery_moves_only_the_jobs_that_it_saw() {
    let base = Base::start().await;
    base.run(&[&format!("LPUSH {LIST} 1 2 3")]).await;
    let recover = async |seen: &[&str]| -> (usize, usize, usize) {
        let seen: Vec<String> = seen.iter().map(|job| fingerprint(job.as_bytes())).collect();
        let Recovered { back, convicted, left } = base.store.recover_seen("dead", (LIST, "q"), 3, &seen).await.unwrap();
        (back, convicted, left)
    };
    assert_eq!(recover(&["2", "1"]).await, (0, 0, 3), "somebody moved the newest back here");
    assert_eq!(recover(&[]).await, (0, 0, 3));
    assert!(!base.has("queue:q").await);
    assert_eq!(recover(&["3", "1"]).await, (1, 0, 2), "up to the first that is another");
    assert_eq!(recover(&["2", "1", "0"]).await, (2, 0, 0), "the list has no more");
    assert_eq!(base.list("queue:q").await, ["3", "2", "1"]);
}

#[tokio::test]
async fn jobs_of_a_process_that_is_registered_again_are_its_own() {
    let base = Base::start().await;
    base.run(&["SADD ferrokiq:processes dead", &format!("LPUSH {LIST} 1")]).await;
    assert_eq!(base.recover(LIST).await, (0, 0, 0));
    assert!(!base.has("queue:q").await);
    base.run(&["DEL ferrokiq:processes", "SET queue:q text"]).await;
    assert!(refusal(base.store.recover("dead", (LIST, "q"), 3).await).contains("queue:q is no list"));
    assert_eq!(base.list(LIST).await, ["1"], "a key of another type takes no jobs");
    assert!(base.deaths("1").await.is_empty(), "and nothing is counted");
    base.run(&["DEL queue:q", "SET queues text"]).await;
    assert!(base.store.recover("dead", (LIST, "q"), 3).await.is_ok(), "a job counts more than the name of its queue");
    assert_eq!(base.list("queue:q").await, ["1"]);
}

#[tokio::test]
async fn a_second_death_makes_a_suspect_for_three_days() {
    let base = Base::start().await;
    base.died("1", &["p1"]).await;
    base.run(&[&format!("LPUSH {LIST} 1")]).await;
    assert_eq!(base.recover(LIST).await, (1, 0, 0));
    assert_eq!(base.deaths("1").await, ["dead", "p1"]);
    assert_eq!(base.set("queues").await, ["q"]);
    let (now, suspects) = (base.now().await as f64 / 1_000.0, base.scores("ferrokiq:suspects").await);
    assert!(suspects.len() == 1 && suspects[0].0 == fingerprint(b"1"), "{suspects:?}");
    assert!((now + 259_190.0..=now + 259_200.0).contains(&suspects[0].1), "{suspects:?}");
    base.expires("ferrokiq:suspects", 259_100..=259_200).await;
    base.expires(&format!("ferrokiq:poison:{}", fingerprint(b"1")), 259_100..=259_200).await;
}

#[tokio::test]
async fn a_suspect_counts_only_if_it_had_begun() {
    let base = Base::start().await;
    let sha = fingerprint(b"1");
    let (begun, now) = ("ferrokiq:begun:dead", base.now().await / 1_000);
    for (expiry, has_begun, counts) in
        [(now + 1_000, true, true), (now + 1_000, false, false), (now - 10, false, true), (now, false, true)]
    {
        base.run(&["FLUSHALL", &format!("ZADD ferrokiq:suspects {expiry} {sha}"), &format!("LPUSH {LIST} 1")]).await;
        if has_begun {
            base.run(&[&format!("SADD {begun} {sha}")]).await;
        }
        assert_eq!(base.recover(LIST).await, (1, 0, 0));
        assert_eq!(!base.deaths("1").await.is_empty(), counts, "{expiry} {has_begun}");
    }
    // A suspect that had begun counts wherever in the list it is.
    base.run(&["FLUSHALL", &format!("ZADD ferrokiq:suspects {} {sha}", now + 1_000), &format!("SADD {begun} {sha}")])
        .await;
    base.run(&[&format!("LPUSH {LIST} a b c d 1")]).await;
    base.recover(LIST).await;
    assert_eq!(base.deaths("1").await, ["dead"]);
}

#[tokio::test]
async fn a_third_death_alone_convicts_one_job() {
    let base = Base::start().await;
    let (sha, now) = (fingerprint(b"1"), base.now().await / 1_000);
    let prepare = async |deaths: &[&str], alone: bool| {
        base.run(&["FLUSHALL", &format!("ZADD ferrokiq:suspects {} {sha} {} other", now + 1_000, now + 1_000)]).await;
        base.died("1", deaths).await;
        base.run(&[&format!("SADD ferrokiq:begun:dead {sha} kept")]).await;
        if alone {
            base.run(&[&format!("SADD ferrokiq:begun:dead alone:{sha}")]).await;
        }
        base.run(&[&format!("LPUSH {LIST} 1 x 1")]).await;
    };
    prepare(&["p1", "p2"], false).await;
    assert_eq!(base.recover(LIST).await, (3, 0, 0), "others ran beside it");
    assert!(!base.has(CONVICTS).await && base.members("ferrokiq:suspects").await.contains(&sha));
    prepare(&["p1"], true).await;
    assert_eq!(base.recover(LIST).await, (3, 0, 0), "two deaths");
    prepare(&["p1", "p2"], true).await;
    assert_eq!(base.recover(LIST).await, (2, 1, 0));
    assert_eq!(base.list(CONVICTS).await, ["1"], "of two jobs with the same bytes one ran alone");
    assert_eq!(base.list("queue:q").await, ["x", "1"]);
    assert_eq!(base.set("ferrokiq:batches:dead").await, [CONVICTS], "a recovery finds the convicts");
    assert_eq!(base.set("ferrokiq:begun:dead").await, ["kept"]);
    prepare(&["p1", "p2"], true).await;
    base.run(&[&format!("RPUSH {LIST} 1"), &format!("LTRIM {LIST} -1 -1")]).await;
    assert_eq!(base.recover(LIST).await, (0, 1, 0));
    assert_eq!(base.members("ferrokiq:suspects").await, ["other"]);
    assert!(!base.has("queues").await, "no queue is named without a job");
    // On the index before it is there, and marked until it is.
    for refusing in ["ferrokiq:batches:dead", CONVICTS] {
        prepare(&["p1", "p2"], true).await;
        base.run(&[&format!("SET {refusing} text")]).await;
        assert!(base.store.recover("dead", (LIST, "q"), 3).await.is_err());
        assert_eq!(base.list(LIST).await, ["1", "x", "1"]);
        assert!(refusing == CONVICTS || !base.has(CONVICTS).await);
        assert!(base.set("ferrokiq:begun:dead").await.contains(&format!("alone:{sha}")));
    }
}

#[tokio::test]
async fn convicts_keep_their_order() {
    let base = Base::start().await;
    for job in ["1", "2"] {
        base.died(job, &["p1", "p2"]).await;
        let sha = fingerprint(job.as_bytes());
        base.run(&[&format!("SADD ferrokiq:begun:dead {sha} alone:{sha}")]).await;
    }
    base.run(&[&format!("LPUSH {LIST} 1 2")]).await;
    assert_eq!(base.recover(LIST).await, (0, 2, 0));
    assert_eq!(base.list(CONVICTS).await, ["2", "1"]);
}

#[tokio::test]
async fn a_recovery_is_bounded_by_jobs_and_by_bytes() {
    let base = Base::start().await;
    base.push(LIST, (0..250).map(|at| at.to_string().into_bytes())).await;
    for expected in [(100, 0, 150), (100, 0, 50), (50, 0, 0)] {
        assert_eq!(base.recover(LIST).await, expected);
    }
    base.run(&["DEL queue:q"]).await;
    base.push(LIST, [2_000_000, 448_577, 600_000, 448_576, 600_000].map(|size| vec![b'x'; size])).await;
    for expected in [(2, 0, 3), (1, 0, 2), (1, 0, 1), (1, 0, 0)] {
        assert_eq!(base.recover(LIST).await, expected, "a megabyte, or one job");
    }
}

#[tokio::test]
async fn a_lookup_names_the_suspects_and_drops_those_whose_time_is_over() {
    let base = Base::start().await;
    let now = base.now().await / 1_000;
    base.run(&[&format!("ZADD ferrokiq:suspects {} a {} b {} c {} old", now + 9, now + 9, now + 9, now - 1)]).await;
    base.run(&["SADD ferrokiq:poison:a p1 p2", "SADD ferrokiq:poison:b p1 p2 p3", "SADD ferrokiq:poison:d p1"]).await;
    let wanted = ["b", "old", "d", "a"].map(str::to_owned);
    let suspects = base.store.suspects(&wanted, 10).await.unwrap();
    assert_eq!((suspects.count, suspects.found), (3, vec![("b".to_owned(), 3), ("a".to_owned(), 2)]));
    assert_eq!(base.members("ferrokiq:suspects").await, ["a", "b", "c"]);
    assert_eq!(base.store.suspects(&wanted, 2).await.unwrap().count, 2, "counted up to two");
}
