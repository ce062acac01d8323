//! `settle` with `lib/in_place`, `mend_settlements`: jobs that leave their private list for `retry`, `dead` or a queue.

use std::time::Duration;

use super::waiting::LIMITS;
use super::{Base, refusal};
use crate::store::claims::Moved;
use crate::store::in_place::InPlace;
use crate::store::registration::Registration;
use crate::store::settle::{Leaving, To};

impl Base {
    async fn registered(&self) -> Registration {
        let of = Registration::of("me");
        self.store.register(&of, Duration::from_secs(30), false).await.unwrap();
        of
    }
}

/// From `list`, as `[]`.
const JOB: Leaving<'static> = Leaving { number: 1, list: Some("list"), raw: b"{}", bytes: b"[]", delay: 0.0 };

#[tokio::test]
async fn a_job_that_dies_at_its_end_trims_the_dead() {
    let base = Base::start().await;
    let of = base.registered().await;
    base.buried(&[5_000, 1_010, 990, 40, 30]).await;
    base.run(&["LPUSH list {}"]).await;
    base.store.settle(&of, To::Retry, 0, &[JOB]).await.unwrap();
    assert_eq!(base.get::<usize>("ZCARD dead").await, 5, "only a death trims");
    base.run(&["LPUSH list {}"]).await;
    base.store.settle(&of, To::Dead(LIMITS), 0, &[Leaving { number: 2, ..JOB }]).await.unwrap();
    assert_eq!(base.members("dead").await, ["aged40", "aged30", "[]"]);
    base.run(&["DEL dead", "LPUSH list {}"]).await;
    base.buried(&[5_000, 990]).await;
    base.store.settle(&of, To::Dead(LIMITS), 0, &[Leaving { number: 3, ..JOB }]).await.unwrap();
    assert_eq!(base.members("dead").await, ["aged990", "[]"]);
}

#[tokio::test]
async fn a_settled_job_names_its_queue_and_goes_to_the_end_that_is_meant() {
    let base = Base::start().await;
    let of = base.registered().await;
    for (number, to, expected) in [(1, To::First("q"), ["there", "[]"]), (2, To::Last("q"), ["[]", "there"])] {
        base.run(&["DEL queue:q queues", "LPUSH queue:q there", "LPUSH list {}"]).await;
        base.store.settle(&of, to, 0, &[Leaving { number, ..JOB }]).await.unwrap();
        assert_eq!(base.list("queue:q").await, expected);
        assert_eq!(base.set("queues").await, ["q"]);
        assert!(!base.has("list").await);
        // The process was fenced and is registered again: what is not in the list may be somebody's.
        base.run(&["DEL queues"]).await;
        base.store.settle(&of, to, 7, &[Leaving { number: number + 10, ..JOB }]).await.unwrap();
        assert_eq!(base.list("queue:q").await, expected, "nothing came");
        assert!(!base.has("queues").await);
        base.run(&["DEL queue:q", "SET queue:q text", "LPUSH list {}"]).await;
        let refused = base.store.settle(&of, to, 0, &[Leaving { number: number + 20, ..JOB }]).await;
        assert!(refusal(refused).contains("queue:q is no list"));
        assert_eq!(base.list("list").await, ["{}"], "a key of another type takes no jobs");
        base.run(&["DEL queue:q list"]).await;
    }
    for (number, to, key) in [(31, To::Retry, "retry"), (32, To::Dead(LIMITS), "dead"), (33, To::Schedule, "schedule")]
    {
        base.run(&["LPUSH list {}", &format!("SET {key} text")]).await;
        let refused = base.store.settle(&of, to, 0, &[Leaving { number, ..JOB }]).await;
        assert!(refusal(refused).contains(&format!("{key} is no sorted set")));
        assert_eq!(base.list("list").await, ["{}"]);
        base.run(&["DEL list"]).await;
    }
    // In before out, and out again where it was not taken.
    for (number, to) in
        [(41, To::Retry), (42, To::First("q")), (43, To::Last("q")), (44, To::Dead(LIMITS)), (45, To::Schedule)]
    {
        base.run(&["FLUSHALL", "LPUSH list {}"]).await;
        base.store.register(&of, Duration::from_secs(30), false).await.unwrap();
        base.forbid(&["zadd", "rpush", "lpush"]).await;
        assert!(base.store.settle(&of, to, 0, &[Leaving { number, ..JOB }]).await.is_err());
        base.allow_all().await;
        assert_eq!(base.list("list").await, ["{}"], "{to:?}");
        base.forbid(&["lrem"]).await;
        assert!(base.store.settle(&of, to, 0, &[Leaving { number, ..JOB }]).await.is_err());
        base.allow_all().await;
        assert_eq!(base.list("list").await, ["{}"], "{to:?}");
        assert!(!base.has("retry").await && !base.has("dead").await && !base.has("queue:q").await, "{to:?}");
        assert!(!base.has("schedule").await, "{to:?}");
    }
}

#[tokio::test]
async fn jobs_that_snooze_share_no_score_and_wait_for_a_century_at_most() {
    let base = Base::start().await;
    let of = base.registered().await;
    base.run(&["LPUSH list a b c"]).await;
    let job = |number, raw, delay| Leaving { number, list: Some("list"), raw, bytes: raw, delay };
    let jobs = [job(1, b"a", 0.0), job(2, b"b", 0.0), job(3, b"c", std::time::Duration::MAX.as_secs_f64())];
    let before = base.now().await as f64 / 1_000.0;
    for _ in 0..2 {
        // Sent again after a lost answer, it changes nothing.
        assert_eq!(base.store.settle(&of, To::Schedule, 0, &jobs).await.unwrap(), [Moved::Yes; 3]);
        let waiting = base.scores("schedule").await;
        let names: Vec<&str> = waiting.iter().map(|(job, _)| job.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(waiting[0].1 < waiting[1].1 && (before - 0.001..before + 20.0).contains(&waiting[0].1), "{waiting:?}");
        let years = (waiting[2].1 - before) / (365.25 * 86_400.0);
        assert!((99.9..100.1).contains(&years), "{years} years");
    }
    assert!(!base.has("list").await);
}

#[tokio::test]
async fn a_settlement_that_cannot_be_recorded_moves_nothing() {
    let base = Base::start().await;
    let of = base.registered().await;
    for (number, to) in [(1, To::Retry), (2, To::First("q")), (3, To::Last("q")), (4, To::Dead(LIMITS))] {
        base.run(&["DEL list retry dead queue:q", "LPUSH list {}"]).await;
        base.forbid(&["hset"]).await;
        for _ in 0..3 {
            assert!(base.store.settle(&of, to, 0, &[Leaving { number, ..JOB }]).await.is_err(), "{to:?}");
        }
        base.allow_all().await;
        assert_eq!(base.list("list").await, ["{}"], "{to:?}");
        assert!(!base.has("retry").await && !base.has("dead").await && !base.has("queue:q").await, "{to:?}");
        assert_eq!(base.store.settle(&of, to, 0, &[Leaving { number, ..JOB }]).await.unwrap(), [Moved::Yes]);
    }
}

#[tokio::test]
async fn settlements_that_are_repeated_together_are_done_once_each() {
    let base = Base::start().await;
    let of = base.registered().await;
    base.run(&["LPUSH list a a b b c c"]).await;
    let jobs: Vec<Leaving<'_>> = [&b"a"[..], b"b", b"c"]
        .iter()
        .zip(1..)
        .map(|(raw, number)| Leaving { number, list: Some("list"), raw, bytes: raw, delay: 0.0 })
        .collect();
    for repeated in [false, true] {
        let moved = base.store.settle(&of, To::Last("q"), 0, &jobs).await.unwrap();
        assert!(moved.iter().all(|moved| *moved == Moved::Yes), "{moved:?}");
        of.take_answered();
        assert_eq!(base.list("queue:q").await, ["c", "b", "a"], "{repeated}");
        assert_eq!(base.list("list").await, ["c", "b", "a"], "{repeated}");
    }
}

#[tokio::test]
async fn an_entry_with_the_same_bytes_changes_only_for_a_job_that_came() {
    let base = Base::start().await;
    let of = base.registered().await;
    base.run(&["ZADD retry 5 []"]).await;
    assert_eq!(base.store.settle(&of, To::Retry, 7, &[JOB]).await.unwrap(), [Moved::NotOurs]);
    assert_eq!(base.scores("retry").await, [("[]".to_owned(), 5.0)], "another process's");
    // The other one of the call is not there before, and not afterwards.
    let other = Leaving { number: 3, bytes: b"other", ..JOB };
    for jobs in [[JOB, other], [other, JOB]] {
        assert_eq!(base.store.settle(&of, To::Retry, 7, &jobs).await.unwrap(), [Moved::NotOurs; 2]);
        assert_eq!(base.scores("retry").await, [("[]".to_owned(), 5.0)]);
    }
    base.run(&["LPUSH list {} {}"]).await;
    let late = Leaving { number: 2, delay: 100.0, ..JOB };
    assert_eq!(base.store.settle(&of, To::Retry, 0, &[late]).await.unwrap(), [Moved::Yes]);
    let (now, retry) = (base.seconds().await, base.scores("retry").await);
    assert!(retry.len() == 1 && (now + 95.0..=now + 100.1).contains(&retry[0].1), "{now} {retry:?}");
}

#[tokio::test]
async fn a_refusal_in_the_middle_leaves_the_other_jobs_where_they_are() {
    let base = Base::start().await;
    for to in [To::Retry, To::Dead(LIMITS), To::First("q"), To::Last("q")] {
        base.run(&["FLUSHALL", "LPUSH list 1 2 3", "ZADD retry 5 3", "ZADD dead 9999999999 3"]).await;
        base.run(&["LPUSH queue:q there"]).await;
        let of = base.registered().await;
        let jobs: Vec<Leaving<'_>> = [(1, &b"1"[..]), (2, b"2"), (3, b"3")]
            .map(|(number, raw)| Leaving { number, raw, bytes: raw, ..JOB })
            .to_vec();
        base.forbid(&["lrem"]).await;
        assert!(base.store.settle(&of, to, 0, &jobs).await.is_err());
        base.allow_all().await;
        assert_eq!(base.list("list").await, ["3", "2", "1"], "{to:?}");
        assert_eq!(base.scores("retry").await, [("3".to_owned(), 5.0)], "{to:?}: an entry that was there stays");
        assert_eq!(base.scores("dead").await, [("3".to_owned(), 9_999_999_999.0)], "{to:?}");
        assert_eq!(base.list("queue:q").await, ["there"], "{to:?}");
        let moved = base.store.settle(&of, to, 0, &jobs).await.unwrap();
        assert_eq!(moved, [Moved::Yes; 3], "{to:?}");
        assert!(!base.has("list").await, "{to:?}");
    }
}

#[tokio::test]
async fn a_settlement_that_was_refused_is_not_recorded_as_made() {
    let base = Base::start().await;
    for (to, key) in
        [(To::Retry, "retry"), (To::Dead(LIMITS), "dead"), (To::First("q"), "queue:q"), (To::Last("q"), "queue:q")]
    {
        for refused in [&["zadd", "rpush", "lpush"][..], &["lrem"]] {
            base.run(&["FLUSHALL", "LPUSH list {}"]).await;
            let of = base.registered().await;
            base.forbid(refused).await;
            assert!(base.store.settle(&of, to, 0, &[JOB]).await.is_err());
            base.allow_all().await;
            assert_eq!(base.get::<String>("HGET ferrokiq:settlements:me 1").await, "0", "{to:?}");
            // In place, and where the list is lost, it is made as well.
            let held = base.store.hold_again(&of, "other", &[(1, b"{}")]).await.unwrap();
            assert_eq!(held, 1, "{to:?}");
            let job = InPlace {
                number: 1,
                epoch: 0,
                list: "list",
                raw: b"{}",
                pieces: &[(0..1, "x}".to_owned())],
                delay: 1.0,
            };
            assert_eq!(base.store.settle_in_place(&of, to, &job).await.unwrap(), Some(Moved::Yes), "{to:?}");
            assert!(base.has(key).await && !base.has("list").await, "{to:?}");
            assert_eq!(base.store.settle_in_place(&of, to, &job).await.unwrap(), Some(Moved::Yes), "{to:?}: once");
            assert_eq!(base.store.hold_again(&of, "lost", &[(1, b"{}")]).await.unwrap(), 0, "{to:?}: it left");
        }
    }
}

#[tokio::test]
async fn a_settlement_whose_score_may_not_be_chosen_moves_nothing() {
    let base = Base::start().await;
    let of = base.registered().await;
    base.run(&["LPUSH list {}"]).await;
    for to in [To::Retry, To::Dead(LIMITS)] {
        base.forbid(&["zcount"]).await;
        let refused = base.store.settle(&of, to, 0, &[JOB]).await;
        base.allow_all().await;
        assert!(!refusal(refused).contains("is no sorted set"), "{to:?}");
        assert!(!base.has("retry").await && !base.has("dead").await, "{to:?}");
        assert_eq!(base.list("list").await, ["{}"], "{to:?}");
    }
}

#[tokio::test]
async fn answered_settlements_are_forgotten() {
    let base = Base::start().await;
    let of = base.registered().await;
    base.run(&["HSET ferrokiq:settlements:me 7 1 8 1 9 1 10 1", "LPUSH list {}"]).await;
    of.answered([7, 8, 9].into_iter().chain(100..113));
    base.store.settle(&of, To::Retry, 0, &[JOB]).await.unwrap();
    let mut left: Vec<String> = base.get("HKEYS ferrokiq:settlements:me").await;
    left.sort_unstable();
    assert_eq!(left, ["1", "10", "about", "epoch"]);
}

#[tokio::test]
async fn a_settlement_that_is_recorded_adds_nothing_to_a_set() {
    let base = Base::start().await;
    let of = base.registered().await;
    base.run(&["LPUSH list 1 2 3"]).await;
    let job = |number, raw| Leaving { number, raw, bytes: raw, ..JOB };
    let jobs = [job(1, b"1"), job(2, b"2"), job(3, b"3")];
    base.store.settle(&of, To::Retry, 0, &jobs[1..2]).await.unwrap();
    of.take_answered();
    // Promoted meanwhile.
    base.run(&["DEL retry"]).await;
    assert_eq!(base.store.settle(&of, To::Retry, 0, &jobs).await.unwrap(), [Moved::Yes; 3]);
    assert_eq!(base.members("retry").await, ["1", "3"]);
}

#[tokio::test]
async fn a_crowd_of_entries_shares_no_score_with_those_that_come() {
    let base = Base::start().await;
    let of = base.registered().await;
    // One in each microsecond of 50 ms, some seconds from now.
    let from = (base.now().await + 5_000) * 1_000;
    for some in (0..50_000).collect::<Vec<u64>>().chunks(5_000) {
        let mut zadd = redis::cmd("ZADD");
        zadd.arg("retry");
        for at in some {
            let score = from + at;
            zadd.arg(format!("{}.{:06}", score / 1_000_000, score % 1_000_000)).arg(format!("there{at}"));
        }
        base.store.link.query::<()>("test", &zadd).await.unwrap();
    }
    let names: Vec<String> = (0..20).map(|at: u64| at.to_string()).collect();
    let delay = (from as f64 / 1e6) + 0.001 - base.seconds().await;
    let jobs: Vec<Leaving<'_>> = names
        .iter()
        .zip(1..)
        .map(|(name, number)| Leaving { number, list: None, raw: name.as_bytes(), bytes: name.as_bytes(), delay })
        .collect();
    base.store.settle(&of, To::Retry, 0, &jobs).await.unwrap();
    let mut scores: Vec<u64> = base.scores("retry").await.iter().map(|(_, score)| score.to_bits()).collect();
    scores.sort_unstable();
    scores.dedup();
    assert_eq!(scores.len(), 50_020);
}

#[tokio::test]
async fn a_job_that_is_settled_in_place_is_settled_once() {
    let base = Base::start().await;
    let of = base.registered().await;
    for (number, to) in
        [(1, To::Retry), (2, To::Dead(LIMITS)), (3, To::First("q")), (4, To::Last("q")), (5, To::Schedule)]
    {
        base.run(&["DEL retry dead queue:q", "LPUSH list {}"]).await;
        let job =
            InPlace { number, epoch: 0, list: "list", raw: b"{}", pieces: &[(0..1, "x}".to_owned())], delay: 1.0 };
        for repeated in [false, true] {
            let moved = base.store.settle_in_place(&of, to, &job).await.unwrap();
            assert_eq!(moved, Some(Moved::Yes), "{to:?}, repeated: {repeated}");
            of.take_answered();
        }
        assert!(!base.has("list").await, "{to:?}");
        match to {
            To::Retry => assert_eq!(base.members("retry").await, ["{x}"]),
            To::Schedule => assert_eq!(base.members("schedule").await, ["{x}"]),
            To::Dead(_) => assert_eq!(base.members("dead").await, ["{x}"]),
            To::First(_) | To::Last(_) => assert_eq!(base.list("queue:q").await, ["{x}"]),
            To::Done => {}
        }
    }
}

#[tokio::test]
async fn settlements_of_another_type_are_replaced_where_they_stand_in_the_way() {
    let base = Base::start().await;
    let of = base.registered().await;
    base.run(&["SET ferrokiq:settlements:me text", "LPUSH list {}"]).await;
    assert_eq!(base.store.settle(&of, To::Retry, 0, &[JOB]).await.unwrap(), [Moved::Yes]);
    assert_eq!(base.get::<String>("HGET ferrokiq:settlements:me epoch").await, "0");
    // They do not where another key does.
    base.run(&["HSET ferrokiq:settlements:me 7 1", "DEL retry", "SET retry text", "LPUSH list {}"]).await;
    assert!(base.store.settle(&of, To::Retry, 0, &[Leaving { number: 2, ..JOB }]).await.is_err());
    assert!(base.get::<bool>("HEXISTS ferrokiq:settlements:me 7").await);
    // Of a process that is not registered none are written.
    base.run(&["DEL retry list ferrokiq:settlements:me ferrokiq:processes", "SET ferrokiq:settlements:me text"]).await;
    let job = Leaving { number: 9, ..JOB };
    assert_eq!(base.store.settle(&of, To::Retry, 0, &[job]).await.unwrap(), [Moved::Unknown]);
    assert!(!base.has("ferrokiq:settlements:me").await);
}
