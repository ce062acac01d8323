//! `just_due`: due jobs beside a Ruby process that polls.

use std::ops::RangeInclusive;

use super::Base;
use crate::store::sets::{JustDue, JustLook, Place, WaitingSet};

impl Base {
    async fn just_due(&self, from: (&str, usize), until: Option<&str>, sizes: RangeInclusive<usize>) -> JustDue {
        let from = Place { score: from.0.to_owned(), skip: from.1 };
        let look = JustLook { overdue: 60, from: &from, until, sizes };
        self.store.just_due(WaitingSet::Retry, &look).await.unwrap()
    }

    /// The members, the place behind them, and how many of them share its score.
    async fn read_on(&self, from: (&str, usize)) -> (Vec<String>, (String, usize), usize) {
        let JustDue { members, next, tied, .. } = self.just_due(from, None, 0..=100).await;
        (members.into_iter().map(|member| String::from_utf8(member).unwrap()).collect(), (next.score, next.skip), tied)
    }

    /// Scores so many seconds ago.
    async fn ago<const N: usize>(&self, seconds: [u64; N]) -> [String; N] {
        let (now, _): (u64, u64) = self.get("TIME").await;
        seconds.map(|seconds| (now - seconds).to_string())
    }
}

#[tokio::test]
async fn members_that_became_due_lately_are_read_from_a_place_on() {
    let base = Base::start().await;
    let [long, first, second, later] = base.ago([61, 50, 40, 0]).await;
    let later = later.parse::<u64>().unwrap() + 600;
    base.run(&[&format!("ZADD retry {long} old {first} a {first} bb {first} ccc {second} d {later} future")]).await;
    let all = base.just_due(("", 0), None, 0..=100).await;
    assert_eq!((all.members.len(), all.more, all.larger), (4, false, 0), "{all:?}");
    assert_eq!(all.first, first.parse().ok(), "the first that is not left out");
    assert_eq!(
        base.read_on(("", 0)).await,
        (["a", "bb", "ccc", "d"].map(str::to_owned).into(), (second.clone(), 1), 1)
    );
    // From the middle of a score on; the place of members that left lies before those that are there.
    let rest = base.read_on((&first, 2)).await;
    assert_eq!(rest, (["ccc", "d"].map(str::to_owned).into(), (second.clone(), 1), 1));
    base.run(&["ZREM retry a bb"]).await;
    assert_eq!(base.read_on((&first, 3)).await.0, ["d"], "one of three is left");
    // A place that is overdue by more is the beginning.
    assert_eq!(base.read_on((&long, 7)).await.0, ["ccc", "d"]);
    // Behind the last one.
    let none = base.just_due((&second, 1), None, 0..=100).await;
    assert_eq!((none.members.len(), none.more, none.next), (0, false, Place { score: second.clone(), skip: 1 }));
    assert_eq!(none.first, first.parse().ok());
    // Up to a score.
    let until = base.just_due(("", 0), Some(&first), 0..=100).await;
    assert_eq!((until.members, until.more), (vec![b"ccc".to_vec()], false));
    base.run(&["ZREM retry ccc d"]).await;
    let empty = base.just_due(("", 5), None, 0..=100).await;
    assert_eq!((empty.members.len(), empty.first, empty.next), (0, None, Place::default()));
}

#[tokio::test]
async fn members_of_another_size_are_passed_over() {
    let base = Base::start().await;
    let [first, second] = base.ago([50, 40]).await;
    base.run(&[&format!("ZADD retry {first} a {first} bb {first} ccc {second} dddd {second} eeeee")]).await;
    let some = base.just_due(("", 0), None, 2..=3).await;
    assert_eq!((some.members.len(), some.larger, some.more), (2, 2, false), "{some:?}");
    assert_eq!((some.next, some.tied), (Place { score: second.clone(), skip: 2 }, 0), "none of the last score");
    let exactly = base.just_due(("", 0), None, 4..=4).await;
    assert_eq!((exactly.members.len(), exactly.larger, exactly.tied), (1, 1, 1), "{exactly:?}");
    let larger = base.just_due(("", 0), None, 5..=5).await;
    assert_eq!((larger.members.len(), larger.larger), (1, 0));
}

#[tokio::test]
async fn a_look_at_what_became_due_lately_is_bounded_by_bytes_and_number() {
    let base = Base::start().await;
    let [first, second, third] = base.ago([50, 40, 30]).await;
    let add = async |score: &str, size: usize, fill: &str| {
        base.run(&[&format!("ZADD retry {score} {}", fill.repeat(size))]).await;
    };
    // The first is read in any case; one that exceeds the room is left.
    add(&first, 300_000, "a").await;
    add(&second, 10, "b").await;
    let look = base.just_due(("", 0), None, 0..=1 << 20).await;
    assert_eq!((look.members.len(), look.more, look.next.score), (1, true, first.clone()));
    base.run(&["DEL retry"]).await;
    add(&first, 200_000, "a").await;
    add(&second, 62_144, "b").await;
    add(&third, 1, "c").await;
    let look = base.just_due(("", 0), None, 0..=1 << 20).await;
    assert_eq!((look.members.len(), look.more, look.next.score), (2, true, second.clone()), "exactly as much as fits");
    base.run(&["DEL retry"]).await;
    add(&first, 200_000, "a").await;
    add(&second, 62_145, "b").await;
    add(&third, 1, "c").await;
    let look = base.just_due(("", 0), None, 0..=1 << 20).await;
    assert_eq!((look.members.len(), look.more, look.next.score), (1, true, first.clone()), "a byte too many");
    // What is passed over is read, too.
    base.run(&["DEL retry"]).await;
    add(&first, 300_000, "a").await;
    add(&second, 10, "b").await;
    let look = base.just_due(("", 0), None, 0..=100).await;
    assert_eq!((look.members.len(), look.larger, look.more), (0, 1, true), "{look:?}");
    base.run(&["DEL retry"]).await;
    for chunk in 0..3 {
        let members: Vec<String> = (0..400).map(|number| format!("{first} {chunk}-{number}")).collect();
        base.run(&[&format!("ZADD retry {}", members.join(" "))]).await;
    }
    let look = base.just_due(("", 0), None, 0..=100).await;
    assert_eq!((look.members.len(), look.more, look.next.skip, look.tied), (1_000, true, 1_000, 1_000));
    let look = base.just_due((&first, 1_000), None, 0..=100).await;
    assert_eq!((look.members.len(), look.more, look.next.skip, look.tied), (200, false, 1_200, 200));
}
