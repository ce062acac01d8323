//! `register`, `stay_alive`, `look`, `left_behind`, `fence`, `bye`, `forget`, `hold_again`: who may claim, and who is dead.

use std::time::Duration;

use super::{Base, owned};
use crate::store::registration::Registration;
use crate::store::scripts;

const SPAN: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(10);

impl Base {
    async fn register(&self, identity: &str) -> Registration {
        let registration = Registration::of(identity);
        self.store.register(&registration, SPAN, false).await.unwrap();
        registration
    }

    /// Registers a process that is missing since a second.
    async fn missing(&self, identity: &str) -> u64 {
        let sign = self.now().await - 1_000;
        self.run(&[&format!("SADD ferrokiq:processes {identity}"), &format!("ZADD ferrokiq:alive {sign} {identity}")])
            .await;
        sign
    }

    /// Marks a process as missing since some milliseconds, by a sign of life.
    async fn mark(&self, identity: &str, since: u64, sign: u64) {
        let mark = format!("{} {sign}", self.now().await - since);
        let mut set = redis::cmd("SET");
        set.arg(format!("ferrokiq:suspect:{identity}")).arg(mark);
        self.store.link.query::<()>("test", &set).await.unwrap();
    }

    async fn fence(&self, identity: &str) -> bool {
        self.store.fence(identity, GRACE).await.unwrap()
    }
}

#[tokio::test]
async fn a_process_registers_with_a_sign_of_life_and_an_epoch() {
    let base = Base::start().await;
    let of = Registration::of("me");
    let registered = base.store.register(&of, SPAN, false).await.unwrap();
    let now = base.now().await;
    assert!(!registered.fenced && (now + 29_000..=now + 30_000).contains(&registered.alive_until), "{registered:?}");
    assert_eq!(base.scores("ferrokiq:alive").await, [("me".to_owned(), registered.alive_until as f64)]);
    assert_eq!(base.set("ferrokiq:processes").await, ["me"]);
    assert_eq!(base.get::<Vec<String>>("HMGET ferrokiq:settlements:me epoch").await, ["0"]);
    let encoding: String = base.get("OBJECT ENCODING ferrokiq:settlements:me").await;
    assert_eq!(encoding, "hashtable", "Redis finds a settlement without a look at the others");
    base.run(&["ZADD ferrokiq:fenced 1 me"]).await;
    assert!(base.store.register(&of, SPAN, false).await.unwrap().fenced);
    assert!(!base.has("ferrokiq:fenced").await, "a registered process is not fenced");
    assert_eq!(base.get::<u64>("HGET ferrokiq:settlements:me epoch").await, 1, "what it held may be somebody's");
    assert!(!base.store.register(&of, SPAN, false).await.unwrap().fenced);
    assert!(base.store.register(&of, SPAN, true).await.unwrap().fenced, "silent for longer than Redis remembers");
    assert_eq!(of.epoch(), 2);
    base.run(&["DEL ferrokiq:settlements:me", "SET ferrokiq:settlements:me text"]).await;
    base.store.register(&of, SPAN, false).await.unwrap();
    assert_eq!(base.get::<u64>("HGET ferrokiq:settlements:me epoch").await, 2, "what is no hash is replaced");
    base.run(&["HSET ferrokiq:settlements:me 7 1"]).await;
    base.store.register(&of, SPAN, false).await.unwrap();
    assert_eq!(base.get::<u64>("HLEN ferrokiq:settlements:me").await, 3, "records of settlements stay");
    base.run(&["DEL ferrokiq:processes ferrokiq:alive"]).await;
    // The sign of life is there first: without it the process would count as missing.
    base.forbid(&["zadd"]).await;
    assert!(base.store.register(&of, SPAN, false).await.is_err());
    assert!(!base.has("ferrokiq:processes").await);
    base.allow_all().await;
    // Fenced until it is registered: a process that is neither has lists that nobody looks for.
    base.run(&["ZADD ferrokiq:fenced 1 me"]).await;
    base.forbid(&["sadd"]).await;
    assert!(base.store.register(&of, SPAN, false).await.is_err());
    assert_eq!(base.members("ferrokiq:fenced").await, ["me"]);
}

#[tokio::test]
async fn a_sign_of_life_is_renewed_for_registered_processes_alone() {
    let base = Base::start().await;
    base.missing("me").await;
    let before: u64 = base.get("ZSCORE ferrokiq:alive me").await;
    let sign = base.store.stay_alive("me", SPAN).await.unwrap();
    let now = base.now().await;
    assert!(sign.registered && sign.previous == Some(before) && (now - 1_000..=now).contains(&sign.now), "{sign:?}");
    assert_eq!(base.get::<u64>("ZSCORE ferrokiq:alive me").await, sign.alive_until);
    assert_eq!(sign.alive_until, sign.now + 30_000);
    base.run(&["DEL ferrokiq:processes"]).await;
    let other = base.store.stay_alive("me", SPAN).await.unwrap();
    assert!(!other.registered && other.previous == Some(sign.alive_until));
    assert_eq!(base.get::<u64>("ZSCORE ferrokiq:alive me").await, sign.alive_until, "it renewed nothing");
    assert_eq!(base.store.stay_alive("other", SPAN).await.unwrap().previous, None);
    assert_eq!(base.members("ferrokiq:alive").await, ["me"]);
}

#[tokio::test]
async fn a_process_is_fenced_only_after_the_grace_of_this_absence() {
    let base = Base::start().await;
    base.register("alive").await;
    assert!(!base.fence("alive").await);
    assert!(!base.has("ferrokiq:suspect:alive").await, "nothing marks a process that is alive");
    let sign = base.missing("me").await;
    assert!(!base.fence("me").await, "the first look only marks it");
    base.expires("ferrokiq:suspect:me", 28..=30).await;
    let (since, of): (u64, u64) = {
        let mark: String = base.get("GET ferrokiq:suspect:me").await;
        let (since, of) = mark.split_once(' ').unwrap();
        (since.parse().unwrap(), of.parse().unwrap())
    };
    let now = base.now().await;
    assert!((now - 1_000..=now).contains(&since) && of == sign, "{since} {of}");
    assert!(!base.fence("me").await, "the grace is not over");
    assert_eq!(
        base.get::<String>("GET ferrokiq:suspect:me").await,
        format!("{since} {sign}"),
        "it counts from the first look"
    );
    base.mark("me", 8_000, sign).await;
    assert!(!base.fence("me").await, "the grace is 10 s");
    base.mark("me", 20_000, sign - 1).await;
    assert!(!base.fence("me").await, "a mark of an earlier absence does not count");
    base.expires("ferrokiq:suspect:me", 28..=30).await;
    let ahead = format!("SETRANGE ferrokiq:suspect:me 0 {}", now + 60_000);
    base.run(&[&ahead]).await;
    assert!(!base.fence("me").await, "nor does one that the clock of Redis has not reached");
    assert_ne!(base.get::<String>("GETRANGE ferrokiq:suspect:me 0 12").await, (now + 60_000).to_string());
    assert_eq!(base.set("ferrokiq:processes").await, ["alive", "me"], "all that time it may claim");
}

#[tokio::test]
async fn a_fenced_process_is_off_the_registry_and_remembered() {
    let base = Base::start().await;
    let sign = base.missing("me").await;
    base.run(&["HSET ferrokiq:settlements:me epoch 0"]).await;
    base.mark("me", 11_000, sign).await;
    assert!(base.fence("me").await);
    for key in ["ferrokiq:processes", "ferrokiq:alive", "ferrokiq:suspect:me", "ferrokiq:settlements:me"] {
        assert!(!base.has(key).await, "{key}");
    }
    let now = base.now().await as f64 / 1_000.0;
    let fenced = base.scores("ferrokiq:fenced").await;
    assert!(fenced.len() == 1 && fenced[0].0 == "me" && (now - 2.0..=now).contains(&fenced[0].1), "{fenced:?}");
    base.expires("ferrokiq:fenced", 86_300..=86_400).await;
    assert!(base.fence("me").await, "the first answer may have been lost");
    base.run(&["ZADD ferrokiq:alive 1 gone"]).await;
    assert!(!base.fence("gone").await);
    assert!(!base.has("ferrokiq:alive").await, "a sign of nobody goes");
    // Redis forgot it, and it took a job before it registered again.
    base.run(&["DEL ferrokiq:fenced", "SADD ferrokiq:batches:lost list", "ZADD ferrokiq:alive 1 lost"]).await;
    assert!(!base.fence("lost").await, "marked: it may register within the grace");
    base.mark("lost", 11_000, 1).await;
    assert!(base.fence("lost").await);
    assert_eq!((base.members("ferrokiq:fenced").await, base.has("ferrokiq:alive").await), (owned(&["lost"]), false));
    // Refused halfway: still registered and missing, so the next look ends it.
    for forbidden in ["zadd", "srem"] {
        let sign = base.missing("me").await;
        base.run(&["DEL ferrokiq:fenced"]).await;
        base.mark("me", 11_000, sign).await;
        base.forbid(&[forbidden]).await;
        assert!(base.store.fence("me", GRACE).await.is_err());
        base.allow_all().await;
        assert_eq!(
            (base.set("ferrokiq:processes").await, base.members("ferrokiq:alive").await),
            (owned(&["me"]), owned(&["me"]))
        );
    }
}

#[tokio::test]
async fn a_process_without_a_sign_of_life_gets_the_whole_grace() {
    let base = Base::start().await;
    base.run(&["SADD ferrokiq:processes me"]).await;
    assert!(!base.fence("me").await);
    let (sign, now): (u64, u64) = (base.get("ZSCORE ferrokiq:alive me").await, base.now().await);
    assert!((now - 1_000..=now).contains(&sign), "missing from now on");
    assert_eq!(base.get::<String>("GET ferrokiq:suspect:me").await, format!("{sign} {sign}"));
}

#[tokio::test]
async fn a_look_finds_missing_processes_and_fenced_ones_with_private_lists() {
    let base = Base::start().await;
    let look = async || base.store.dead_processes("own", GRACE).await.unwrap();
    base.register("alive").await;
    base.register("own").await;
    base.missing("missing").await;
    assert!(
        look().await.is_empty()
            && base.has("ferrokiq:suspect:missing").await
            && !base.has("ferrokiq:suspect:alive").await
    );
    let now = base.now().await / 1_000;
    for (identity, age) in [("empty", 10), ("holds", 80_000), ("forgotten", 86_500)] {
        base.run(&[&format!("ZADD ferrokiq:fenced {} {identity}", now - age)]).await;
    }
    base.run(&["SADD ferrokiq:batches:holds x", "SADD ferrokiq:batches:forgotten x"]).await;
    assert_eq!(look().await, ["holds"], "longer ago than a day is not looked for");
    let fenced = base.scores("ferrokiq:fenced").await;
    assert_eq!(fenced.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["empty", "holds"]);
    assert!(fenced[1].1 >= now as f64, "it counts as fenced now: {fenced:?}");
    base.expires("ferrokiq:fenced", 86_300..=86_400).await;
    assert!(!base.has("ferrokiq:checked").await, "few are checked each time, not by turns");
}

#[tokio::test]
async fn a_look_checks_many_fenced_processes_by_turns() {
    let base = Base::start().await;
    let now = base.now().await / 1_000;
    for at in 0..700 {
        base.run(&[&format!("ZADD ferrokiq:fenced {} p{at:03}", now - 800 + at)]).await;
    }
    // The oldest, one in the middle, and the newest.
    let mut found = Vec::new();
    for holds in ["p000", "p400", "p699"] {
        base.run(&[&format!("SADD ferrokiq:batches:{holds} x")]).await;
    }
    base.run(&["CONFIG RESETSTAT"]).await;
    for turn in 1..=3 {
        let dead = base.store.dead_processes("own", GRACE).await.unwrap();
        assert!(dead.contains(&"p699".to_owned()), "the last fenced are checked each time");
        found.extend(dead.into_iter().filter(|dead| !found.contains(dead)).collect::<Vec<_>>());
        assert_eq!(base.get::<u64>("GET ferrokiq:checked").await, turn * 256);
        base.expires("ferrokiq:checked", 86_300..=86_400).await;
    }
    found.sort_unstable();
    assert_eq!(found, ["p000", "p400", "p699"], "three turns of 256 see all 700");
}

#[tokio::test]
async fn a_look_is_bounded_and_checks_what_it_is_told_to() {
    let base = Base::start().await;
    let look = async |most: usize, last: usize, by_turns: usize, compare: bool| -> (Vec<String>, Vec<String>) {
        let mut look = scripts::LOOK.key("ferrokiq:processes");
        look.key("ferrokiq:alive").key("ferrokiq:fenced").key("ferrokiq:checked");
        look.arg(most).arg(86_400).arg(last).arg(by_turns).arg(u8::from(compare));
        base.store.link.eval("test", &look).await.unwrap()
    };
    base.register("alive").await;
    assert_eq!(look(9, 2, 1, true).await.0, [""; 0]);
    base.missing("missing").await;
    base.run(&["SADD ferrokiq:processes s1 s2 s3"]).await;
    assert_eq!(look(9, 2, 1, false).await.0, ["missing"], "signs of life are compared now and then alone");
    let (mut missing, _) = look(9, 2, 1, true).await;
    missing[1..].sort_unstable();
    assert_eq!(missing, ["missing", "s1", "s2", "s3"]);
    assert_eq!((look(2, 2, 1, true).await.0.len(), look(3, 2, 1, true).await.0.len()), (2, 3));
    let now = base.now().await / 1_000;
    base.run(&[&format!("ZADD ferrokiq:fenced {} f1", now - 40)]).await;
    assert_eq!(look(9, 2, 1, false).await.1, ["f1"], "a single one");
    base.run(&[&format!("ZADD ferrokiq:fenced {} f1 {} f2", now - 40, now - 30)]).await;
    assert_eq!(look(9, 2, 1, false).await.1, ["f2", "f1"], "the last two");
    assert!(!base.has("ferrokiq:checked").await, "they are all there are");
    base.run(&[&format!("ZADD ferrokiq:fenced {} f1 {} f2 {} f3 {} f4", now - 40, now - 30, now - 20, now - 10)]).await;
    assert_eq!(look(9, 2, 1, false).await.1, ["f4", "f3", "f1"], "the first by turns");
    assert_eq!(look(9, 2, 1, false).await.1, ["f4", "f3", "f2"], "the second");
    base.run(&["DEL ferrokiq:fenced", &format!("ZADD ferrokiq:fenced {} f1", now - 90_000)]).await;
    assert_eq!(look(9, 2, 1, false).await.1, [""; 0], "fenced too long ago");
    assert!(!base.has("ferrokiq:fenced").await);
}

#[tokio::test]
async fn a_process_that_registered_again_is_not_fenced_for_its_private_lists() {
    let base = Base::start().await;
    base.run(&["ZADD ferrokiq:fenced 1 holds 2 empty", "SADD ferrokiq:batches:holds x", "SADD ferrokiq:batches:me x"])
        .await;
    let mut check = scripts::LEFT_BEHIND.key("ferrokiq:fenced");
    for identity in ["holds", "empty", "me"] {
        check.key(format!("ferrokiq:batches:{identity}")).arg(identity);
    }
    let found: Vec<String> = base.store.link.eval("test", &check).await.unwrap();
    assert_eq!(found, ["holds", "me"]);
    assert_eq!(base.members("ferrokiq:fenced").await, ["empty", "holds"], "not the one that registered meanwhile");
}

#[tokio::test]
async fn a_process_that_got_a_private_list_meanwhile_does_not_leave() {
    let base = Base::start().await;
    base.register("me").await;
    base.run(&["SADD ferrokiq:batches:me l1 l2"]).await;
    let bye = async |lists: &[&str]| -> i64 {
        let mut bye = scripts::BYE.key("ferrokiq:batches:me");
        bye.key("ferrokiq:processes").key("ferrokiq:alive").key("ferrokiq:settlements:me").key(lists).arg("me");
        base.store.link.eval("test", &bye).await.unwrap()
    };
    for seen in [&["l1"][..], &["l1", "l3"], &["l1", "l2", "l3"], &[]] {
        assert_eq!(bye(seen).await, -1, "{seen:?}");
        assert_eq!(base.set("ferrokiq:processes").await, ["me"], "{seen:?}");
    }
    assert_eq!(bye(&["l2", "l1"]).await, 0);
    assert!(!base.has("ferrokiq:processes").await);
}

#[tokio::test]
async fn a_process_leaves_once_it_holds_nothing() {
    let base = Base::start().await;
    base.register("me").await;
    base.register("other").await;
    base.run(&["SADD ferrokiq:batches:me l1 l2", "LPUSH l1 1 2", "LPUSH l2 3"]).await;
    assert_eq!(base.store.bye("me").await.unwrap(), 3);
    assert!(base.set("ferrokiq:processes").await.contains(&"me".to_owned()), "with jobs it stays");
    base.run(&["DEL l1 l2"]).await;
    base.forbid(&["srem"]).await;
    assert!(base.store.bye("me").await.is_err());
    base.allow_all().await;
    assert_eq!(base.members("ferrokiq:alive").await.len(), 2, "a registered process has its sign of life");
    assert_eq!(base.store.bye("me").await.unwrap(), 0);
    assert_eq!(base.set("ferrokiq:processes").await, ["other"]);
    assert_eq!(base.members("ferrokiq:alive").await, ["other"]);
    assert!(!base.has("ferrokiq:batches:me").await && !base.has("ferrokiq:settlements:me").await);
    assert_eq!(base.store.bye("me").await.unwrap(), 0, "the answer may have been lost");
}

#[tokio::test]
async fn only_empty_lists_of_dead_processes_are_forgotten() {
    let base = Base::start().await;
    let lists = owned(&["l1", "l2", "l3"]);
    base.run(&["SADD ferrokiq:batches:me l1 l2 l3 l4", "LPUSH l2 1"]).await;
    base.register("me").await;
    base.store.forget_lists("me", &lists).await.unwrap();
    assert_eq!(base.set("ferrokiq:batches:me").await, ["l1", "l2", "l3", "l4"], "it may claim into them");
    base.run(&["SREM ferrokiq:processes me"]).await;
    base.store.forget_lists("me", &lists).await.unwrap();
    assert_eq!(base.set("ferrokiq:batches:me").await, ["l2", "l4"]);
}

#[tokio::test]
async fn only_a_process_without_a_hash_is_a_ghost() {
    let base = Base::start().await;
    base.run(&["SADD processes ghost lives other", "HSET lives info {}", "SET other text"]).await;
    assert!(base.store.forget_ghost("ghost").await.unwrap());
    assert!(!base.store.forget_ghost("ghost").await.unwrap());
    assert!(!base.store.forget_ghost("lives").await.unwrap() && !base.store.forget_ghost("other").await.unwrap());
    assert_eq!(base.set("processes").await, ["lives", "other"]);
}

#[tokio::test]
async fn a_list_that_redis_lost_is_written_in_order_and_on_the_index_first() {
    let base = Base::start().await;
    let of = base.register("me").await;
    let jobs: [(u64, &[u8]); 3] = [(1, b"oldest"), (2, b"settled"), (3, b"newest")];
    base.run(&["HSET ferrokiq:settlements:me 2 1"]).await;
    // On the index first: a list that is on no index is found by nobody.
    base.forbid(&["lpush"]).await;
    assert!(base.store.hold_again(&of, "list", &jobs).await.is_err());
    assert_eq!(base.set("ferrokiq:batches:me").await, ["list"]);
    base.allow_all().await;
    base.run(&["DEL ferrokiq:batches:me"]).await;
    base.forbid(&["sadd"]).await;
    assert!(base.store.hold_again(&of, "list", &jobs).await.is_err());
    assert!(!base.has("list").await);
    base.allow_all().await;
    assert_eq!(base.store.hold_again(&of, "list", &jobs).await.unwrap(), 2);
    assert_eq!(base.list("list").await, ["newest", "oldest"]);
    assert_eq!(base.set("ferrokiq:batches:me").await, ["list"]);
    base.run(&["DEL ferrokiq:batches:me"]).await;
    assert_eq!(base.store.hold_again(&of, "list", &jobs).await.unwrap(), 0);
    assert_eq!(base.list("list").await, ["newest", "oldest"], "a list that is there stays as it is");
    assert_eq!(base.set("ferrokiq:batches:me").await, ["list"], "and is on the index again");
    base.run(&["DEL list ferrokiq:batches:me"]).await;
    assert_eq!(base.store.hold_again(&of, "list", &jobs[1..2]).await.unwrap(), 0, "all are settled");
    assert!(!base.has("list").await && !base.has("ferrokiq:batches:me").await);
}
