//! `lib/riders` with `settle`: effects that take place with the settlement of a job.

use std::time::Duration;

use super::Base;
use super::waiting::LIMITS;
use crate::error::Result;
use crate::store::claims::Moved;
use crate::store::registration::Registration;
use crate::store::rider::is_refused_rider;
use crate::store::settle::{Leaving, To};
use crate::store::{KeyType, Rider};

const COUNT: &str = "redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2] or 1)";
const ADD: &str = "redis.call('SADD', KEYS[1], ARGV[1])";
/// Every destination, and the key that holds the job then.
const ALL: [(To<'static>, Option<&str>); 5] = [
    (To::Done, None),
    (To::Retry, Some("retry")),
    (To::Dead(LIMITS), Some("dead")),
    (To::First("q"), Some("queue:q")),
    (To::Last("q"), Some("queue:q")),
];

fn count(key: &str) -> Rider {
    Rider::new(COUNT).key(KeyType::Hash, key).arg("jobs")
}

fn job(number: u64, raw: &'static [u8]) -> Leaving<'static> {
    Leaving { number, list: Some("list"), raw, bytes: raw, delay: 0.0 }
}

struct Process {
    base: Base,
    of: Registration,
}

impl Process {
    async fn start() -> Self {
        let process = Self { base: Base::start().await, of: Registration::of("me") };
        process.register().await;
        process
    }

    async fn register(&self) {
        self.base.store.register(&self.of, Duration::from_secs(30), false).await.unwrap();
    }

    async fn clear(&self) {
        self.base.run(&["FLUSHALL"]).await;
        self.register().await;
    }

    async fn settle(&self, to: To<'_>, jobs: &[(Leaving<'_>, &[Rider])]) -> Vec<Result<Moved>> {
        let moved = self.base.store.settle_riding(&self.of, to, 0, jobs).await.unwrap();
        // As if the answer had been lost.
        self.of.take_answered();
        moved
    }

    /// Whether one job left; the reason if its rider was refused.
    async fn one(&self, to: To<'_>, number: u64, riders: &[Rider]) -> std::result::Result<Moved, String> {
        let moved = self.settle(to, &[(job(number, b"{}"), riders)]).await.remove(0);
        moved.map_err(|error| {
            assert!(is_refused_rider(&error), "{error:?}");
            error.with_causes()
        })
    }

    async fn counted(&self, key: &str) -> u64 {
        self.base.get::<Option<u64>>(&format!("HGET {key} jobs")).await.unwrap_or_default()
    }
}

#[tokio::test]
async fn a_rider_is_applied_once_with_its_job_wherever_that_goes() {
    let process = Process::start().await;
    for (to, key) in ALL {
        process.clear().await;
        process.base.run(&["LPUSH list {} {}"]).await;
        for repeated in [false, true] {
            assert_eq!(process.one(to, 1, &[count("app")]).await, Ok(Moved::Yes), "{to:?} {repeated}");
            assert_eq!(process.counted("app").await, 1, "{to:?} {repeated}");
            assert_eq!(process.base.list("list").await, ["{}"], "{to:?}: the other one stays");
        }
        let stored = ["retry", "dead", "queue:q"];
        for stored in stored {
            assert_eq!(process.base.has(stored).await, key == Some(stored), "{to:?} {stored}");
        }
        assert_eq!(process.base.has("queues").await, key == Some("queue:q"), "{to:?}");
        assert_eq!(process.one(to, 2, &[count("app"), count("app")]).await, Ok(Moved::Yes), "{to:?}");
        assert_eq!(process.counted("app").await, 3, "{to:?}: both riders of the second");
        assert!(!process.base.has("list").await, "{to:?}");
    }
}

#[tokio::test]
async fn each_job_of_a_round_has_its_own_riders() {
    let process = Process::start().await;
    process.base.run(&["LPUSH list a b c d"]).await;
    let add = |member: &str| Rider::new(ADD).key(KeyType::Set, "app:set").arg(member);
    let (one, two) = ([count("app").arg("5")], [add("x"), count("other").arg("7"), add("y")]);
    let jobs: [(Leaving<'_>, &[Rider]); 4] =
        [(job(1, b"a"), &one), (job(2, b"b"), &[]), (job(3, b"c"), &two), (job(4, b"gone"), &one)];
    // The last one was recovered by another process, and the epoch is over.
    let moved = process.base.store.settle_riding(&process.of, To::Retry, 7, &jobs).await.unwrap();
    let moved: Vec<Moved> = moved.into_iter().map(Result::unwrap).collect();
    assert_eq!(moved, [Moved::Yes, Moved::Yes, Moved::Yes, Moved::NotOurs]);
    assert_eq!((process.counted("app").await, process.counted("other").await), (5, 7), "not of the job that is gone");
    assert_eq!(process.base.set("app:set").await, ["x", "y"]);
    assert_eq!(process.base.members("retry").await, ["a", "b", "c"]);
    assert_eq!(process.base.list("list").await, ["d"]);
}

#[tokio::test]
async fn a_job_of_another_process_has_no_effect() {
    let process = Process::start().await;
    for (to, _) in ALL {
        for epoch in [1, 7] {
            process.clear().await;
            let jobs: [(Leaving<'_>, &[Rider]); 1] = [(job(1, b"{}"), &[count("app")])];
            let moved = process.base.store.settle_riding(&process.of, to, epoch, &jobs).await.unwrap().remove(0);
            assert_eq!(moved.unwrap(), Moved::NotOurs, "{to:?}");
            process.base.run(&["DEL ferrokiq:settlements:me"]).await;
            let moved = process.base.store.settle_riding(&process.of, to, epoch, &jobs).await.unwrap().remove(0);
            assert_eq!(moved.unwrap(), Moved::Unknown, "{to:?}: nobody knows whose it is");
            assert!(!process.base.has("app").await, "{to:?}");
        }
    }
}

#[tokio::test]
async fn a_job_whose_list_redis_lost_has_its_effect_once() {
    let process = Process::start().await;
    for (to, _) in ALL {
        for lost in ["PING", "SET list text"] {
            process.clear().await;
            process.base.run(&[lost]).await;
            assert_eq!(process.one(to, 1, &[count("app")]).await, Ok(Moved::Restored), "{to:?} {lost}");
            assert_eq!(process.one(to, 1, &[count("app")]).await, Ok(Moved::Yes), "{to:?} {lost}: it is recorded");
            assert_eq!(process.counted("app").await, 1, "{to:?} {lost}");
        }
    }
}

#[tokio::test]
async fn a_job_in_no_list_is_settled_once_with_its_riders() {
    let process = Process::start().await;
    let basic = Leaving { list: None, raw: b"", bytes: b"[]", ..job(1, b"") };
    for _ in 0..2 {
        let riders = [count("app")];
        let moved = process.settle(To::Done, &[(basic, &riders)]).await.remove(0);
        assert_eq!(moved.unwrap(), Moved::Yes);
        assert_eq!(process.counted("app").await, 1);
    }
}

#[tokio::test]
async fn a_refused_rider_holds_up_its_job_alone() {
    let process = Process::start().await;
    process.base.run(&["SET text x", "HSET app jobs many"]).await;
    const FAILS: &str = "error('no luck')";
    const REPLIES: &str = "return redis.error_reply('not now')";
    const NIL: &str = "local a = nil; return a.b";
    let refused: [(Rider, &str); 7] = [
        (count("text"), "WRONGTYPE text is no hash"),
        (Rider::new(COUNT).key(KeyType::Any, "text").arg("x"), "WRONGTYPE"),
        (count("app"), "hash value is not an integer"),
        (Rider::new(FAILS), "no luck"),
        (Rider::new(REPLIES), "not now"),
        (Rider::new(NIL), "attempt to index"),
        (Rider::new("this is no Lua"), "compiling"),
    ];
    for (to, key) in ALL {
        for (rider, why) in &refused {
            process.base.run(&["DEL list retry dead queue:q queues fine", "LPUSH list 1 {} 3"]).await;
            process.base.run(&["HDEL ferrokiq:settlements:me 1 2 3"]).await;
            let (fine, rider) = ([count("fine")], [rider.clone()]);
            let jobs: [(Leaving<'_>, &[Rider]); 3] =
                [(job(1, b"1"), &fine), (job(2, b"{}"), &rider), (job(3, b"3"), &fine)];
            for repeated in [false, true] {
                let moved = process.settle(to, &jobs).await;
                let left: Vec<bool> = moved.iter().map(|moved| matches!(moved, Ok(Moved::Yes))).collect();
                assert_eq!(left, [true, false, true], "{to:?} {why} {repeated}: {moved:?}");
                let told = moved[1].as_ref().unwrap_err().with_causes();
                assert!(told.contains(why), "{told}");
                assert_eq!(process.base.list("list").await, ["{}"], "{to:?} {why} {repeated}: it stays");
                assert_eq!(process.counted("fine").await, 2, "{to:?} {why}");
            }
            let stored: Vec<String> = match key {
                Some("queue:q") => process.base.list("queue:q").await,
                Some(set) => process.base.members(set).await,
                None => Vec::new(),
            };
            assert!(!stored.contains(&"{}".to_owned()) && (key.is_none() || stored.len() == 2), "{to:?} {stored:?}");
        }
    }
    // Mended.
    process.base.run(&["DEL text", "HDEL ferrokiq:settlements:me 2"]).await;
    assert_eq!(process.one(To::Done, 2, &[count("text")]).await, Ok(Moved::Yes));
    assert_eq!(process.counted("text").await, 1);
}

#[tokio::test]
async fn the_types_of_all_keys_are_checked_before_the_first_rider() {
    let process = Process::start().await;
    for (kind, right, wrong) in [
        (KeyType::String, "SET k x", "SADD k x"),
        (KeyType::List, "LPUSH k x", "SET k x"),
        (KeyType::Set, "SADD k x", "LPUSH k x"),
        (KeyType::SortedSet, "ZADD k 1 x", "SADD k x"),
        (KeyType::Hash, "HSET k a b", "ZADD k 1 x"),
        (KeyType::Stream, "XADD k * a b", "HSET k a b"),
    ] {
        process.clear().await;
        process.base.run(&["LPUSH list {} {} {}", wrong]).await;
        let riders = [count("app"), Rider::new("local _ = KEYS").key(KeyType::Hash, "app").key(kind, "k")];
        let refused = process.one(To::Done, 1, &riders).await.unwrap_err();
        assert!(refused.contains("WRONGTYPE k is no"), "{refused}");
        assert!(!process.base.has("app").await, "{kind:?}: nothing is applied");
        process.base.run(&["DEL k"]).await;
        assert_eq!(process.one(To::Done, 1, &riders).await, Ok(Moved::Yes), "{kind:?}: the key does not exist");
        process.base.run(&[right]).await;
        assert_eq!(process.one(To::Done, 2, &riders).await, Ok(Moved::Yes), "{kind:?}");
        assert_eq!(process.counted("app").await, 2, "{kind:?}");
    }
    // A key is looked at once, unless it is used as another type.
    process.clear().await;
    process.base.run(&["LPUSH list {} {} {}", "HSET app jobs 5", "CONFIG RESETSTAT"]).await;
    assert_eq!(process.one(To::Done, 1, &[count("app"), count("app")]).await, Ok(Moved::Yes));
    assert_eq!(process.base.calls("type").await, 1);
    let other = Rider::new(ADD).key(KeyType::Set, "app").arg("x");
    let refused = process.one(To::Done, 2, &[count("app"), other]).await.unwrap_err();
    assert!(refused.contains("WRONGTYPE app is no set"), "{refused}");
    assert_eq!(process.counted("app").await, 7);
    process.base.forbid(&["type"]).await;
    let refused = process.one(To::Done, 2, &[count("app")]).await.unwrap_err();
    assert!(refused.contains("can't run this command") && !refused.contains("WRONGTYPE"), "{refused}");
    process.base.allow_all().await;
    assert_eq!(process.counted("app").await, 7);
}

#[tokio::test]
async fn a_rider_that_was_applied_before_another_was_refused_is_not_applied_again() {
    let process = Process::start().await;
    for ((to, _), number) in ALL.into_iter().zip(1..) {
        process.clear().await;
        process.base.run(&["LPUSH list {}", "HSET bad jobs text"]).await;
        let (first, riders) =
            ([count("one"), count("bad")], [count("one"), count("two"), count("bad"), count("three")]);
        for (riders, recorded) in [(&first[1..], "0"), (&first[..], "r1"), (&first[..], "r1")] {
            assert!(process.one(to, number, riders).await.is_err(), "{to:?}");
            assert_eq!(process.base.get::<String>(&format!("HGET ferrokiq:settlements:me {number}")).await, recorded);
        }
        for _ in 0..3 {
            assert!(process.one(to, number, &riders).await.is_err(), "{to:?}");
            assert_eq!((process.counted("one").await, process.counted("two").await), (1, 1), "{to:?}");
            assert_eq!(
                process.base.get::<String>(&format!("HGET ferrokiq:settlements:me {number}")).await,
                "r2",
                "{to:?}"
            );
        }
        // Refused for another reason meanwhile: what was applied stays known. Nor is it forgotten with answered ones.
        for right in ["lrem", "lpos"] {
            process.base.forbid(&[right]).await;
            let jobs: [(Leaving<'_>, &[Rider]); 1] = [(job(number, b"{}"), &riders)];
            assert!(process.base.store.settle_riding(&process.of, to, 0, &jobs).await.is_err(), "{to:?} {right}");
            process.base.allow_all().await;
        }
        process.base.run(&["LPUSH other a", "DEL bad"]).await;
        process.of.answered(100..117);
        let other = Leaving { list: Some("other"), ..job(99, b"a") };
        process.base.store.settle(&process.of, To::Done, 0, &[other]).await.unwrap();
        assert_eq!(process.one(to, number, &riders).await, Ok(Moved::Yes), "{to:?}");
        for key in ["one", "two", "bad", "three"] {
            assert_eq!(process.counted(key).await, 1, "{to:?} {key}");
        }
    }
}

#[tokio::test]
async fn a_user_who_may_not_take_jobs_out_applies_no_rider() {
    let process = Process::start().await;
    for (to, _) in ALL {
        for right in ["lrem", "lpos"] {
            process.clear().await;
            process.base.run(&["LPUSH list {}"]).await;
            process.base.forbid(&[right]).await;
            let jobs: [(Leaving<'_>, &[Rider]); 1] = [(job(1, b"{}"), &[count("app")])];
            let refused = process.base.store.settle_riding(&process.of, to, 0, &jobs).await;
            process.base.allow_all().await;
            assert!(!is_refused_rider(&refused.unwrap_err()), "{to:?} {right}");
            assert!(!process.base.has("app").await, "{to:?} {right}");
            assert_eq!(process.base.list("list").await, ["{}"], "{to:?} {right}");
            for key in ["retry", "dead", "queue:q"] {
                assert!(!process.base.has(key).await, "{to:?} {right}");
            }
        }
    }
}

#[tokio::test]
async fn a_full_memory_refuses_no_rider() {
    let process = Process::start().await;
    process.base.run(&["LPUSH list {}", "CONFIG SET maxmemory 1"]).await;
    assert_eq!(process.one(To::Done, 1, &[count("app")]).await, Ok(Moved::Yes));
    assert_eq!(process.counted("app").await, 1);
}

#[tokio::test]
async fn riders_are_bounded() {
    let process = Process::start().await;
    let long = "x".repeat(64 << 10);
    let mut many = Rider::new(COUNT).key(KeyType::Hash, "app");
    for _ in 0..129 {
        many = many.arg("1");
    }
    for rider in [count("app").arg(long.as_str()), count(long.as_str()), many] {
        assert!(rider.check().is_err());
        process.base.run(&["DEL list", "LPUSH list {}"]).await;
        let refused = process.one(To::Done, 1, &[rider]).await.unwrap_err();
        assert!(refused.contains("too many"), "{refused}");
        assert_eq!(process.base.list("list").await, ["{}"]);
    }
    // A program that makes up texts, besides the one above.
    for number in 0..40_u64 {
        process.base.run(&["DEL list", "LPUSH list {}"]).await;
        let text: &'static str = format!("redis.call('HINCRBY', KEYS[1], 'jobs', {number})").leak();
        let moved = process.one(To::Done, 10 + number, &[Rider::new(text).key(KeyType::Hash, "app")]).await;
        assert_eq!(moved.is_ok(), number < 31, "{number}: {moved:?}");
    }
    let scripts: String = process.base.get("INFO memory").await;
    let cached = scripts.lines().find_map(|line| line.strip_prefix("number_of_cached_scripts:")).unwrap();
    assert!(cached.trim().parse::<usize>().unwrap() <= 40, "{cached}");
    let large: &'static str = format!("--{long}").leak();
    let process = Process::start().await;
    process.base.run(&["LPUSH list {}"]).await;
    assert!(process.one(To::Done, 1, &[Rider::new(large)]).await.unwrap_err().contains("bytes of Lua"));
}

#[tokio::test]
async fn one_script_serves_any_mixture_of_riders() {
    let process = Process::start().await;
    let add = |member: &str| Rider::new(ADD).key(KeyType::Set, "app:set").arg(member);
    process.base.run(&["LPUSH list {} {} {} {}"]).await;
    assert_eq!(process.one(To::Done, 1, &[add("x")]).await, Ok(Moved::Yes));
    assert_eq!(process.one(To::Done, 2, &[count("app")]).await, Ok(Moved::Yes));
    process.base.run(&["CONFIG RESETSTAT"]).await;
    assert_eq!(process.one(To::Done, 3, &[add("y"), count("app")]).await, Ok(Moved::Yes));
    process.base.run(&["SCRIPT FLUSH"]).await;
    assert_eq!(process.one(To::Done, 4, &[count("app"), add("z")]).await, Ok(Moved::Yes), "it is loaded again");
    assert_eq!(process.base.calls("script|load").await, 1);
    assert_eq!((process.counted("app").await, process.base.set("app:set").await.len()), (3, 3));
}
