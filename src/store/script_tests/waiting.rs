//! `due`, `promote`, `bury_larger` with `lib/dead`: jobs that wait in `retry`, `schedule` and `dead`.

use super::{Base, owned};
use crate::store::in_place::DueInPlace;
use crate::store::sets::{DeadLimits, Due, Look, Promotion, WaitingSet};

pub(super) const LIMITS: DeadLimits = DeadLimits { age: 1_000.0, keep: 4 };

impl Base {
    async fn due(&self, from: usize, sizes: std::ops::RangeInclusive<usize>, max_payload: usize) -> Due {
        self.store.due(WaitingSet::Retry, &Look { from, sizes, max_payload, overdue: 0 }).await.unwrap()
    }

    async fn promote(&self, promotions: &[(&[u8], Promotion<'_>)]) -> (usize, usize) {
        self.store.promote(WaitingSet::Retry, promotions, Some(LIMITS)).await.unwrap()
    }

    /// Epoch seconds by the clock of Redis.
    pub(super) async fn seconds(&self) -> f64 {
        self.now().await as f64 / 1_000.0
    }

    /// Adds dead jobs of such ages in seconds, named by their age.
    pub(super) async fn buried(&self, ages: &[u64]) {
        let now = self.now().await / 1_000;
        for age in ages {
            self.run(&[&format!("ZADD dead {} aged{age}", now - age)]).await;
        }
    }
}

fn push(bytes: &'static str) -> Promotion<'static> {
    Promotion::Push { queue: "q", bytes }
}

#[tokio::test]
async fn due_members_are_read_up_to_a_number_and_to_some_bytes() {
    let base = Base::start().await;
    let now = base.now().await / 1_000;
    let read = |due: &Due| due.members.iter().map(Vec::len).collect::<Vec<_>>();
    let add = async |sizes: &[usize]| {
        base.run(&["DEL retry"]).await;
        for (at, size) in sizes.iter().enumerate() {
            let mut zadd = redis::cmd("ZADD");
            zadd.arg("retry").arg(1_000 + at).arg(vec![b'a' + at as u8; *size]);
            base.store.link.query::<()>("test", &zadd).await.unwrap();
        }
    };
    add(&[3, 4, 5]).await;
    base.run(&[&format!("ZADD retry {} later", now + 100)]).await;
    let due = base.due(0, 0..=100, 100).await;
    assert_eq!(
        (read(&due), due.passed, due.oversized, due.more, due.first),
        (vec![3, 4, 5], 0, 0, false, Some(1_000.0))
    );
    let clock = base.seconds().await;
    assert!((clock - 2.0..=clock + 0.001).contains(&due.now), "{} {clock}", due.now);
    let due = base.due(1, 4..=4, 4).await;
    assert_eq!((read(&due), due.passed, due.oversized, due.more, due.first), (vec![4], 1, 1, false, Some(1_001.0)));
    let due = base.due(3, 0..=100, 100).await;
    assert_eq!((read(&due), due.more, due.first), (vec![], false, None));
    let due = base.due(0, 5..=100, 4).await;
    assert_eq!((read(&due), due.passed, due.oversized), (vec![5], 2, 0));
    // A quarter of a megabyte.
    add(&[200_000, 62_144, 1]).await;
    let due = base.due(0, 0..=1 << 20, 1 << 20).await;
    assert_eq!((read(&due), due.more), (vec![200_000, 62_144], true));
    add(&[200_000, 62_145, 1]).await;
    let due = base.due(0, 0..=1 << 20, 1 << 20).await;
    assert_eq!((read(&due), due.more), (vec![200_000], true));
    add(&[200_000, 62_140, 1, 1, 1, 1, 1]).await;
    let due = base.due(0, 0..=1 << 20, 1 << 20).await;
    assert_eq!((read(&due), due.more), (vec![200_000, 62_140, 1, 1, 1, 1], true));
    add(&[300_000, 5]).await;
    let due = base.due(0, 0..=10, 1 << 20).await;
    assert_eq!((read(&due), due.passed, due.more), (vec![], 1, true), "what is passed over was read, too");
    add(&[900_000, 1]).await;
    let due = base.due(0, 0..=1 << 20, 1 << 20).await;
    assert_eq!((read(&due), due.more), (vec![900_000], true), "one in any case");
}

#[tokio::test]
async fn a_look_for_due_members_is_bounded_by_their_number() {
    let base = Base::start().await;
    for at in 0..1_205 {
        base.run(&[&format!("ZADD retry 1 {at:04}")]).await;
    }
    let due = base.due(0, 0..=100, 100).await;
    assert_eq!((due.members.len(), due.more), (100, true));
    let due = base.due(1_200, 0..=100, 100).await;
    assert_eq!((due.members.len(), due.more), (5, false));
    base.run(&["CONFIG RESETSTAT"]).await;
    let due = base.due(0, 50..=100, 100).await;
    assert!(due.members.is_empty() && due.more && (1_000..1_016).contains(&due.passed), "{due:?}");
    assert!(base.calls("zrange").await <= 70, "they are read sixteen at a time");
}

#[tokio::test]
async fn promoted_jobs_go_to_their_queue_in_order_and_leave_the_set() {
    let base = Base::start().await;
    base.run(&["ZADD retry 1 a 2 b 3 c 4 d 5 e 6 stays", "LPUSH queue:q there"]).await;
    let promotions: [(&[u8], Promotion<'_>); 6] = [
        (b"a", push("A")),
        (b"b", push("B")),
        (b"gone", push("G")),
        (b"c", push("C")),
        (b"d", Promotion::Push { queue: "other", bytes: "D" }),
        (b"e", Promotion::Push { queue: "other", bytes: "E" }),
    ];
    assert_eq!(base.promote(&promotions).await, (5, 0));
    assert_eq!(base.list("queue:q").await, ["C", "B", "A", "there"], "the first due runs first");
    assert_eq!(base.list("queue:other").await, ["E", "D"]);
    assert_eq!(base.set("queues").await, ["other", "q"]);
    assert_eq!(base.members("retry").await, ["stays"]);
    assert_eq!(base.promote(&promotions).await, (0, 0), "another poller was faster");
    assert_eq!(base.list("queue:q").await.len(), 4);
    base.run(&["DEL queues queue:q"]).await;
    assert_eq!(base.promote(&promotions[2..3]).await, (0, 0));
    assert!(!base.has("queues").await, "no queue is named without a job");
}

#[tokio::test]
async fn a_member_whose_queue_takes_no_jobs_stays() {
    let base = Base::start().await;
    base.run(&["ZADD retry 1 a 2 b 3 c", "SET queue:q text"]).await;
    let promotions: [(&[u8], Promotion<'_>); 3] =
        [(b"a", push("A")), (b"b", push("B")), (b"c", Promotion::Push { queue: "other", bytes: "C" })];
    assert_eq!(base.promote(&promotions).await, (1, 2));
    assert_eq!(base.members("retry").await, ["a", "b"]);
    assert_eq!(base.set("queues").await, ["other"]);
    base.run(&["FLUSHALL", "ZADD retry 1 a", "SET queues text"]).await;
    assert_eq!(base.promote(&promotions[..1]).await, (1, 0), "a job counts more than the name of its queue");
    base.run(&["FLUSHALL", "ZADD retry 1 a"]).await;
    base.forbid(&["zrem"]).await;
    assert!(base.store.promote(WaitingSet::Retry, &promotions[..1], None).await.is_err());
    base.allow_all().await;
    assert!(!base.has("queue:q").await, "who may not take it out puts nothing in");
}

#[tokio::test]
async fn a_delayed_member_gets_a_later_score_in_its_set_and_a_dropped_one_leaves_it() {
    let base = Base::start().await;
    let delay = |score: &str, bytes: &'static str| Promotion::Delay { score: score.to_owned(), bytes };
    base.run(&["ZADD retry 1 a 2 b 3 c 90.5 there", "ZADD schedule 1 x"]).await;
    let promotions: [(&[u8], Promotion<'_>); 5] = [
        (b"a", delay("80", "a")),
        (b"b", delay("90.5", "B")),
        (b"c", Promotion::Drop),
        (b"gone", delay("80", "gone")),
        (b"gone", Promotion::Drop),
    ];
    assert_eq!(base.promote(&promotions).await, (3, 0));
    let scores = base.scores("retry").await;
    assert_eq!(scores.iter().map(|(job, _)| job.as_str()).collect::<Vec<_>>(), ["a", "there", "B"]);
    assert!((scores[0].1 - 80.0).abs() < 1e-9 && scores[2].1 > 90.5 && scores[2].1 < 91.0, "{scores:?}");
    assert_eq!(base.scores("schedule").await, [("x".to_owned(), 1.0)], "the other set has nothing to do with it");
    assert!(!base.has("dead").await && !base.has("queues").await);
    // Another poller read them at the same time: one is dropped once, and a delay is as the last one wants it.
    assert_eq!(
        base.promote(&[(b"a", delay("85", "a")), (b"b", delay("95", "B")), (b"c", Promotion::Drop)]).await,
        (1, 0)
    );
    assert_eq!(base.get::<f64>("ZSCORE retry a").await, 85.0);
    assert_eq!(base.get::<usize>("ZCARD retry").await, 3);
    // In before out.
    base.forbid(&["zadd"]).await;
    assert_eq!(base.promote(&[(b"a", delay("99", "A"))]).await, (0, 1));
    base.allow_all().await;
    assert_eq!(base.members("retry").await, ["a", "there", "B"]);
}

#[tokio::test]
async fn redis_makes_the_bytes_of_a_promoted_job_from_those_it_holds() {
    let base = Base::start().await;
    let promote = async |member: &str, to| {
        let pieces = [(0..1, "X".to_owned()), (2..3, "Y".to_owned())];
        let pieces = if matches!(to, Promotion::Bury | Promotion::Drop) { &[][..] } else { &pieces };
        let due = DueInPlace { score: "1.5", member: member.as_bytes(), to, pieces };
        base.store.promote_in_place(WaitingSet::Retry, &due, Some(LIMITS)).await
    };
    let later = || Promotion::Later { score: "9".to_owned(), bytes: "" };
    base.run(&["ZADD retry 1.5 abc 1.5 later 1.5 dead 2 abd"]).await;
    assert_eq!(base.due(0, 0..=9, 9).await.score, "1.5");
    assert_eq!(promote("abd", push("")).await.unwrap(), Some((0, 0)), "another score: it was moved");
    assert_eq!(promote("abc", push("")).await.unwrap(), Some((1, 0)));
    assert_eq!(promote("abc", push("")).await.unwrap(), Some((0, 0)), "another poller was faster");
    assert_eq!(promote("later", later()).await.unwrap(), Some((1, 0)));
    assert_eq!(promote("dead", Promotion::Bury).await.unwrap(), Some((1, 0)));
    base.run(&["ZADD retry 1.5 drop 1.5 delay"]).await;
    let delay = Promotion::Delay { score: "1".to_owned(), bytes: "" };
    assert_eq!(promote("drop", Promotion::Drop).await.unwrap(), Some((1, 0)));
    assert_eq!(promote("delay", delay).await.unwrap(), Some((1, 0)));
    assert_eq!(base.members("retry").await, ["dXlY", "abd"]);
    base.run(&["ZREM retry dXlY"]).await;
    assert_eq!((base.list("queue:q").await, base.members("retry").await), (owned(&["aXcY"]), owned(&["abd"])));
    assert_eq!((base.members("schedule").await, base.members("dead").await), (owned(&["lXtY"]), owned(&["dead"])));
    base.run(&["ZADD retry 1.5 abc", "SET queue:q text"]).await;
    assert_eq!(promote("abc", push("")).await.unwrap(), Some((0, 1)), "its queue takes no jobs");
    for tie in 0..16 {
        base.run(&[&format!("ZADD retry 1.5 aa{tie:02}")]).await;
    }
    assert_eq!(promote("abc", push("")).await.unwrap(), None, "too many share its score");
}

#[tokio::test]
async fn a_member_may_go_back_to_the_schedule() {
    let base = Base::start().await;
    let later = |bytes| Promotion::Later { score: "7.5".to_owned(), bytes };
    base.run(&["ZADD retry 1 a 2 b", "ZADD schedule 7.5 there"]).await;
    let promotions: [(&[u8], Promotion<'_>); 2] = [(b"a", later("A")), (b"gone", later("G"))];
    assert_eq!(base.promote(&promotions).await, (1, 0));
    let schedule = base.scores("schedule").await;
    assert_eq!(schedule.iter().map(|(job, _)| job.as_str()).collect::<Vec<_>>(), ["there", "A"]);
    assert!(schedule[1].1 > 7.5 && schedule[1].1 < 7.51, "no two jobs share a score: {schedule:?}");
    assert_eq!(base.members("retry").await, ["b"]);
    base.run(&["DEL schedule", "SET schedule text"]).await;
    assert_eq!(base.promote(&[(b"b", later("B"))]).await, (0, 1));
    assert_eq!(base.members("retry").await, ["b"]);
    // The same bytes at another time: it must not be taken out again.
    base.run(&["DEL schedule", "ZADD schedule 1 x"]).await;
    assert_eq!(base.store.promote(WaitingSet::Schedule, &[(b"x", later("x"))], None).await.unwrap(), (1, 0));
    assert_eq!(base.scores("schedule").await, [("x".to_owned(), 7.5)]);
    assert_eq!(base.store.promote(WaitingSet::Schedule, &[(b"x", later("y"))], None).await.unwrap(), (1, 0));
    assert_eq!(base.members("schedule").await, ["y"]);
}

#[tokio::test]
async fn a_burial_trims_the_dead_by_age_and_by_number() {
    let base = Base::start().await;
    let bury: &[(&[u8], Promotion<'_>)] = &[(b"a", Promotion::Bury), (b"b", Promotion::Bury)];
    // By age: all that are older than 1,000 s.
    base.run(&["ZADD retry 1 a 2 b"]).await;
    base.buried(&[5_000, 1_010, 990]).await;
    assert_eq!(base.promote(bury).await, (2, 0));
    assert_eq!(base.members("dead").await, ["aged990", "a", "b"]);
    assert!(!base.has("retry").await);
    let (now, dead) = (base.seconds().await, base.scores("dead").await);
    assert!((now - 2.0..=now + 0.1).contains(&dead[1].1) && dead[1].1 < dead[2].1, "{now} {dead:?}");
    // By number: Sidekiq's own arithmetic keeps one less.
    base.run(&["FLUSHALL", "ZADD retry 1 a 2 b"]).await;
    base.buried(&[50, 40, 30]).await;
    assert_eq!(base.promote(bury).await, (2, 0));
    assert_eq!(base.members("dead").await, ["aged30", "a", "b"]);
    // `dead_max_jobs: 0`: Sidekiq's arithmetic removes the oldest alone.
    base.run(&["FLUSHALL", "ZADD retry 1 a"]).await;
    base.buried(&[50, 40]).await;
    let none = DeadLimits { keep: 0, ..LIMITS };
    assert_eq!(base.store.promote(WaitingSet::Retry, &bury[..1], Some(none)).await.unwrap(), (1, 0));
    assert_eq!(base.members("dead").await, ["aged40", "a"]);
    // Nothing to trim.
    base.run(&["FLUSHALL", "ZADD retry 1 a"]).await;
    base.buried(&[50, 40]).await;
    assert_eq!(base.promote(&bury[..1]).await, (1, 0));
    assert_eq!(base.members("dead").await, ["aged50", "aged40", "a"]);
    // Without limits, and without a burial, nothing is trimmed.
    base.run(&["FLUSHALL", "ZADD retry 1 a 2 b"]).await;
    base.buried(&[5_000, 4_000, 3_000, 2_000, 1_500]).await;
    assert_eq!(base.store.promote(WaitingSet::Retry, &bury[..1], None).await.unwrap(), (1, 0));
    assert_eq!(base.promote(&[(b"b", push("B"))]).await, (1, 0));
    assert_eq!(base.members("dead").await.len(), 6);
    // A thousand at once.
    base.run(&["FLUSHALL", "ZADD retry 1 a"]).await;
    for at in 0..1_010 {
        base.run(&[&format!("ZADD dead {at} old{at}")]).await;
    }
    assert_eq!(base.promote(&bury[..1]).await, (1, 0));
    assert_eq!(base.get::<usize>("ZCARD dead").await, 11);
}

#[tokio::test]
async fn what_cannot_be_buried_stays_and_a_dead_job_keeps_its_entry() {
    let base = Base::start().await;
    base.run(&["ZADD retry 1 a", "SET dead text"]).await;
    assert_eq!(base.promote(&[(b"a", Promotion::Bury)]).await, (0, 1));
    assert_eq!(base.members("retry").await, ["a"]);
    base.run(&["DEL dead"]).await;
    assert_eq!(base.promote(&[(b"gone", Promotion::Bury)]).await, (0, 0));
    assert!(!base.has("dead").await);
    base.buried(&[10]).await;
    let moved = base.store.promote(WaitingSet::Dead, &[(b"aged10", Promotion::Bury)], None).await.unwrap();
    assert_eq!(moved, (1, 0));
    let (now, dead) = (base.seconds().await, base.scores("dead").await);
    assert!(dead.len() == 1 && dead[0].1 > now - 2.0, "{dead:?}");
    base.run(&["FLUSHALL", "ZADD retry 1 a"]).await;
    base.forbid(&["zadd"]).await;
    assert_eq!(base.promote(&[(b"a", Promotion::Bury)]).await, (0, 1));
    base.allow_all().await;
    assert_eq!(base.members("retry").await, ["a"], "in before out");
}

#[tokio::test]
async fn members_larger_than_a_payload_are_buried() {
    let base = Base::start().await;
    let fill = async || {
        base.run(&["FLUSHALL", "ZADD retry 1 aaaaaa 2 b 3 cccccc 4 dddddd 5 eeeee"]).await;
        let later = base.now().await / 1_000 + 100;
        base.run(&[&format!("ZADD retry {later} ffffff")]).await;
    };
    let bury = async |from, covered| {
        let look = Look { from, sizes: 0..=5, max_payload: 5, overdue: 0 };
        base.store.bury_larger(WaitingSet::Retry, &look, covered, LIMITS).await.unwrap()
    };
    fill().await;
    assert_eq!(bury(1, 2).await, 1, "of ranks 1 and 2");
    assert_eq!(base.members("dead").await, ["cccccc"]);
    assert_eq!(base.members("retry").await, ["aaaaaa", "b", "dddddd", "eeeee", "ffffff"]);
    fill().await;
    assert_eq!(bury(0, 100).await, 3);
    assert_eq!(base.members("dead").await, ["aaaaaa", "cccccc", "dddddd"], "it is trimmed to three");
    assert_eq!(base.members("retry").await, ["b", "eeeee", "ffffff"]);
    fill().await;
    base.buried(&[5_000]).await;
    assert_eq!(bury(1, 1).await, 0);
    assert_eq!(base.members("dead").await, ["aged5000"], "nothing is trimmed without a burial");
    assert_eq!(bury(0, 1).await, 1);
    assert_eq!(base.members("dead").await, ["aaaaaa"]);
    fill().await;
    base.run(&["SET dead text"]).await;
    assert_eq!(bury(0, 100).await, 0);
    assert_eq!(base.get::<usize>("ZCARD retry").await, 6);
}
