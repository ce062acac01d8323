//! `delete_from_list`, `replace_in_list`, `put_back` with `lib/list`; `replace_in_set`: changes of jobs that were seen somewhere.

use super::{Base, owned};
use crate::store::pages::Returning;
use crate::store::sets::WaitingSet;

impl Base {
    /// Deletes a job that had so many behind it.
    async fn delete(&self, place: usize, job: &str) -> bool {
        self.store.delete_from_queue("q", place, job.as_bytes()).await.unwrap()
    }
}

fn numbered(count: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(|at| at.to_string().into_bytes())
}

#[tokio::test]
async fn the_job_that_was_seen_is_deleted_and_no_other_of_the_same_bytes() {
    let base = Base::start().await;
    for (place, left) in [(0, ["a", "x", "b", "x"]), (2, ["a", "x", "b", "x"]), (4, ["a", "b", "x", "x"])] {
        base.run(&["DEL queue:q", "LPUSH queue:q x x b x a"]).await;
        let mut expected = owned(&["a", "x", "b", "x", "x"]);
        // Counted from the end.
        let at = expected.len() - 1 - place;
        let deleted = base
            .delete(
                place,
                if place == 4 {
                    "a"
                } else if place == 2 {
                    "b"
                } else {
                    "x"
                },
            )
            .await;
        expected.remove(at);
        assert!(deleted);
        assert_eq!(base.list("queue:q").await, expected, "{left:?}");
    }
    base.run(&["DEL queue:q", "LPUSH queue:q x a x b x"]).await;
    assert!(base.delete(2, "x").await);
    assert_eq!(base.list("queue:q").await, ["x", "b", "a", "x"], "the one in the middle");
    assert!(!base.delete(0, "none").await && !base.delete(90, "none").await);
    assert_eq!(base.list("queue:q").await.len(), 4);
    base.run(&["DEL queue:q"]).await;
    assert!(!base.delete(0, "x").await);
}

#[tokio::test]
async fn a_job_is_found_after_others_left_or_came_back() {
    let base = Base::start().await;
    // Seen with 1,500 behind it; so many of those left since, or came back.
    for (moved, found) in [
        (0_i64, true),
        (1, true),
        (3, true),
        (20, true),
        (999, true),
        (1_000, true),
        (1_100, false),
        (-1, true),
        (-40, true),
        (-100, true),
        (-140, false),
    ] {
        base.run(&["DEL queue:q"]).await;
        base.push("queue:q", numbered(2_000)).await;
        for _ in 0..-moved {
            base.run(&["RPUSH queue:q back"]).await;
        }
        if moved > 0 {
            base.run(&[&format!("RPOP queue:q {moved}")]).await;
        }
        let size: usize = base.get("LLEN queue:q").await;
        base.run(&["CONFIG RESETSTAT"]).await;
        assert_eq!(base.delete(1_500, "1500").await, found, "{moved}");
        let reads = base.calls("lrange").await;
        assert!(reads <= 90, "{reads} reads for {moved}");
        let left = base.list("queue:q").await;
        assert_eq!((left.len(), left.contains(&"1500".to_owned())), (size - usize::from(found), !found), "{moved}");
        assert!(!left.iter().any(|job| job.starts_with("ferrokiq")), "{moved}");
    }
}

#[tokio::test]
async fn every_place_near_the_one_that_was_seen_is_looked_at() {
    let base = Base::start().await;
    for moved in (-40_i64..=40).filter(|moved| *moved != 0) {
        base.run(&["DEL queue:q"]).await;
        base.push("queue:q", numbered(100)).await;
        for _ in 0..-moved {
            base.run(&["RPUSH queue:q back"]).await;
        }
        if moved > 0 {
            base.run(&[&format!("RPOP queue:q {moved}")]).await;
        }
        assert!(base.delete(45, "45").await, "{moved}");
        assert!(moved > 0 || base.delete(5, "5").await, "{moved}, near the end");
        // The newest one, at the start of the list.
        assert!(base.delete(99, "99").await, "{moved}");
        assert_eq!(base.get::<i64>("LLEN queue:q").await, 98 - moved - i64::from(moved < 0), "{moved}");
    }
    for place in 100..140 {
        base.run(&["DEL queue:q"]).await;
        base.push("queue:q", numbered(place + 5)).await;
        base.run(&[&format!("RPOP queue:q {place}")]).await;
        assert!(base.delete(place, &place.to_string()).await, "{place} left, and it is the next");
    }
}

#[tokio::test]
async fn a_search_for_many_jobs_is_bounded_as_a_whole() {
    let base = Base::start().await;
    let gone = Returning { pushed: b"gone", place: Some(1_500), bytes: b"gone", score: "1" };
    let far = Returning { pushed: b"1000", place: Some(1_500), bytes: b"far", score: "1" };
    base.push("queue:q", numbered(5_000)).await;
    for (count, found) in [(4, 0), (3, 1)] {
        let mut jobs = vec![gone; count];
        jobs.push(far);
        let back = base.store.put_back(WaitingSet::Retry, "q", &jobs).await.unwrap();
        assert_eq!(back.last(), Some(&found), "behind {count} searches in vain");
    }
    base.run(&["DEL queue:q"]).await;
    base.push("queue:q", (0..400).map(|at| format!("{at}{}", "x".repeat(1_000)).into_bytes())).await;
    base.run(&["RPOP queue:q 100"]).await;
    assert!(base.delete(200, &format!("200{}", "x".repeat(1_000))).await, "100 KB are read");
}

#[tokio::test]
async fn a_search_reads_no_more_than_some_megabytes() {
    let base = Base::start().await;
    base.push("queue:q", std::iter::once(b"seen".to_vec()).chain((0..12).map(|_| vec![b'x'; 1_000_000]))).await;
    for _ in 0..8 {
        base.run(&["RPOPLPUSH queue:q queue:q"]).await;
    }
    // It is far from where it was seen, behind 8 MB.
    base.run(&["CONFIG RESETSTAT"]).await;
    assert!(!base.delete(0, "seen").await);
    let reads = base.calls("lrange").await;
    assert!((2..=9).contains(&reads), "{reads} reads");
}

#[tokio::test]
async fn a_job_that_is_far_from_both_ends_is_replaced_by_the_newest() {
    let base = Base::start().await;
    base.push("queue:q", numbered(200_100)).await;
    base.run(&["CONFIG RESETSTAT"]).await;
    assert!(base.delete(100_050, "100050").await);
    assert_eq!(base.calls("lrem").await, 0, "nothing walks so far");
    assert_eq!(base.get::<usize>("LLEN queue:q").await, 200_099);
    assert_eq!(base.get::<String>("LINDEX queue:q -100051").await, "200099");
    assert_eq!(base.get::<String>("LINDEX queue:q 0").await, "200098");
    for place in [199_000, 99_990, 10] {
        assert!(base.delete(place, &place.to_string()).await);
        assert_eq!(base.get::<String>(&format!("LINDEX queue:q -{}", place + 1)).await, (place + 1).to_string());
    }
    assert_eq!(base.calls("lrem").await, 3, "near an end the others move up");
}

#[tokio::test]
async fn what_cannot_be_removed_is_where_it_was() {
    let base = Base::start().await;
    base.run(&["LPUSH queue:q a b c d"]).await;
    base.forbid(&["lrem"]).await;
    assert!(base.store.delete_from_queue("q", 1, b"b").await.is_err());
    assert!(base.store.delete_from_queue("q", 3, b"d").await.is_err());
    let returning = |job: &'static str, place| Returning {
        pushed: job.as_bytes(),
        place: Some(place),
        bytes: job.as_bytes(),
        score: "1",
    };
    let jobs = [returning("d", 3), returning("a", 0), returning("b", 1)];
    assert!(base.store.put_back(WaitingSet::Retry, "q", &jobs).await.is_err());
    base.allow_all().await;
    assert_eq!(base.list("queue:q").await, ["d", "c", "b", "a"]);
}

#[tokio::test]
async fn a_job_in_a_queue_is_replaced_where_it_was_seen() {
    let base = Base::start().await;
    base.run(&["LPUSH queue:q x b x"]).await;
    assert!(base.store.replace_in_queue("q", 2, b"x", b"new").await.unwrap());
    assert!(!base.store.replace_in_queue("q", 1, b"none", b"new").await.unwrap());
    assert_eq!(base.list("queue:q").await, ["new", "b", "x"]);
}

#[tokio::test]
async fn a_job_in_a_set_is_replaced_at_its_score() {
    let base = Base::start().await;
    base.run(&["ZADD retry 1.5 a 2.5 b"]).await;
    let replace = async |job: &str, other: &str| {
        base.store.replace_in_set(WaitingSet::Retry, job.as_bytes(), other.as_bytes()).await.unwrap()
    };
    assert!(replace("a", "new").await);
    assert_eq!(base.scores("retry").await, [("new".to_owned(), 1.5), ("b".to_owned(), 2.5)]);
    assert!(!replace("a", "other").await, "it is gone");
    assert!(!replace("b", "new").await, "two jobs do not become one");
    assert_eq!(base.scores("retry").await, [("new".to_owned(), 1.5), ("b".to_owned(), 2.5)]);
    // In before out.
    base.forbid(&["zadd"]).await;
    assert!(base.store.replace_in_set(WaitingSet::Retry, b"b", b"c").await.is_err());
    assert_eq!(base.members("retry").await, ["new", "b"]);
}

#[tokio::test]
async fn jobs_go_back_to_their_set_at_their_scores() {
    let base = Base::start().await;
    base.run(&["LPUSH queue:q p1 other p2 p3", "ZADD retry 9.5 there"]).await;
    let returning =
        |pushed: &'static [u8], place, bytes: &'static [u8], score| Returning { pushed, place, bytes, score };
    let jobs = [
        returning(b"p3", Some(3), b"s3", "3.25"),
        returning(b"p1", Some(0), b"s1", "1.000001"),
        returning(b"none", Some(2), b"there", "1"),
        returning(b"gone", Some(2), b"gone", "1"),
        returning(b"p2", None, b"unseen", "1"),
        returning(b"unseen", None, b"there", "1"),
    ];
    assert_eq!(base.store.put_back(WaitingSet::Retry, "q", &jobs).await.unwrap(), [1, 1, 2, 0, 0, 2]);
    let expected = [("s1".to_owned(), 1.000_001), ("s3".to_owned(), 3.25), ("there".to_owned(), 9.5)];
    assert_eq!(base.scores("retry").await, expected);
    assert_eq!(base.list("queue:q").await, ["p2", "other"]);
    // In before out.
    base.forbid(&["zadd"]).await;
    assert!(base.store.put_back(WaitingSet::Retry, "q", &[returning(b"p2", Some(1), b"s2", "2")]).await.is_err());
    assert_eq!(base.list("queue:q").await, ["p2", "other"]);
}

#[tokio::test]
async fn jobs_that_moved_together_are_found_by_where_the_first_was() {
    let base = Base::start().await;
    base.push("queue:q", numbered(3_000)).await;
    base.run(&["RPOP queue:q 700", "CONFIG RESETSTAT"]).await;
    let names: Vec<String> = (1_500..1_600).rev().map(|at: usize| at.to_string()).collect();
    let jobs: Vec<Returning<'_>> = names
        .iter()
        .map(|job| Returning { pushed: job.as_bytes(), place: job.parse().ok(), bytes: job.as_bytes(), score: job })
        .collect();
    let back = base.store.put_back(WaitingSet::Retry, "q", &jobs).await.unwrap();
    assert_eq!(back, [1; 100]);
    assert_eq!(base.get::<usize>("LLEN queue:q").await, 2_200);
    let reads = base.calls("lrange").await;
    assert!(reads < 250, "{reads} reads: the first search shows where the others are");
    assert_eq!(base.calls("lrem").await, 1);
}
