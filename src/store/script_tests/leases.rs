//! `campaign`, `resign`, `lib/fenced`: who leads, under which token, and what runs under it.

use std::time::Duration;

use super::{Base, refusal};
use crate::error::ErrorKind;
use crate::store::lease::{Campaign, Candidate, FencedScript};

const KEY: &str = "ferrokiq:leader:default";
const TURN: u64 = 500;

fn candidate(identity: &str, lasts: u64) -> Candidate {
    Candidate {
        group: "default".to_owned(),
        identity: identity.to_owned(),
        lasts: Duration::from_millis(lasts),
        turn: Duration::from_millis(TURN),
    }
}

impl Base {
    async fn campaign(&self, identity: &str, known: u64) -> Campaign {
        self.store.campaign(&candidate(identity, 15_000), known).await.unwrap()
    }

    /// The token of a process that leads.
    async fn leads(&self, identity: &str, known: u64) -> u64 {
        match self.campaign(identity, known).await {
            Campaign::Leads { token } => token,
            waits => panic!("{identity}: {waits:?}"),
        }
    }

    /// The milliseconds until the next try of a process that does not.
    async fn waits(&self, identity: &str) -> u64 {
        match self.campaign(identity, 0).await {
            Campaign::Waits { pause, .. } => u64::try_from(pause.as_millis()).unwrap(),
            leads => panic!("{identity}: {leads:?}"),
        }
    }

    async fn field<T: redis::FromRedisValue>(&self, name: &str) -> T {
        self.get(&format!("HGET {KEY} {name}")).await
    }

    async fn set_field(&self, name: &str, value: u64) {
        self.run(&[&format!("HSET {KEY} {name} {value}")]).await;
    }

    async fn micros(&self) -> u64 {
        let (seconds, micros): (u64, u64) = self.get("TIME").await;
        seconds * 1_000_000 + micros
    }
}

#[tokio::test]
async fn the_first_candidate_leads_and_keeps_its_token_when_it_renews() {
    let base = Base::start().await;
    let before = base.micros().await;
    let token = base.leads("me", 0).await;
    assert!((before..=base.micros().await).contains(&token), "{token} is the time in microseconds");
    let (till, now): (u64, u64) = (base.field("until").await, base.now().await);
    assert!((before / 1_000 + 15_000..=now + 15_000).contains(&till), "{till}");
    let fields: (String, u64, u64) = base.get(&format!("HMGET {KEY} holder token lasts")).await;
    assert_eq!(fields, ("me".to_owned(), token, 15_000));
    assert_eq!(base.get::<usize>(&format!("HLEN {KEY}")).await, 4);
    base.expires(KEY, 604_795..=604_800).await;
    base.set_field("until", 1).await;
    base.run(&[&format!("EXPIRE {KEY} 10")]).await;
    assert_eq!(base.leads("me", token).await, token, "its lease ended, and nobody else took it");
    assert!(base.field::<u64>("until").await >= till);
    base.expires(KEY, 604_795..=604_800).await;
}

#[tokio::test]
async fn candidates_take_turns_while_another_process_leads() {
    let base = Base::start().await;
    let token = base.leads("me", 0).await;
    let till: u64 = base.field("until").await;
    let (other, before) = (base.campaign("other", 0).await, base.now().await);
    assert_eq!(other, Campaign::Waits { token, pause: Duration::from_millis(TURN) });
    let first: u64 = base.field("turn").await;
    assert!((before - 100 + TURN..=before + TURN).contains(&first), "{first}");
    base.set_field("turn", before + 3_000).await;
    assert!((TURN + 1..=3_000 + TURN).contains(&base.waits("third").await));
    assert_eq!(base.field::<u64>("turn").await, before + 3_000 + TURN, "the next turn comes after the one before");
    base.set_field("turn", before + 60_000).await;
    assert_eq!(base.waits("many").await, 10 * TURN, "nobody waits longer");
    base.set_field("turn", before - 60_000).await;
    assert_eq!(base.waits("other").await, TURN, "after a while without candidates");
    let fields: (String, u64, u64) = base.get(&format!("HMGET {KEY} holder token until")).await;
    assert_eq!(fields, ("me".to_owned(), token, till), "the lease is as it was");
}

#[tokio::test]
async fn a_lease_that_ended_or_was_given_back_goes_to_the_next_with_a_greater_token() {
    let base = Base::start().await;
    let first = base.leads("me", 0).await;
    base.set_field("until", base.now().await - 1).await;
    let second = base.leads("other", 0).await;
    assert!(second > first);
    base.waits("me").await;
    base.store.resign(&candidate("me", 15_000)).await.unwrap();
    assert_eq!(base.field::<String>("holder").await, "other", "only the leader can give it back");
    let ahead = base.micros().await + 3_600_000_000;
    base.set_field("token", ahead).await;
    base.store.resign(&candidate("other", 15_000)).await.unwrap();
    base.store.resign(&candidate("other", 15_000)).await.unwrap();
    assert_eq!(base.get::<Vec<String>>(&format!("HMGET {KEY} token lasts")).await, [ahead.to_string(), "15000".into()]);
    assert_eq!(base.leads("other", 0).await, ahead + 1, "given back is given back: this is a new lease");
}

#[tokio::test]
async fn tokens_grow_whatever_redis_and_its_clock_lost() {
    let base = Base::start().await;
    base.leads("me", 0).await;
    // The clock went back by an hour.
    let ahead = base.micros().await + 3_600_000_000;
    base.run(&[&format!("HSET {KEY} until {} turn {} token {ahead} lasts 2000", ahead / 1_000, ahead / 1_000)]).await;
    assert_eq!(base.waits("other").await, 10 * TURN);
    let (till, now): (u64, u64) = (base.field("until").await, base.now().await);
    assert!((now + 1_500..=now + 2_000).contains(&till), "it ends no later than its length from now, {till}");
    base.set_field("until", now - 1).await;
    assert_eq!(base.leads("other", 0).await, ahead + 1);
    // Redis lost the lease, too, or came back with an old one.
    base.run(&[&format!("DEL {KEY}")]).await;
    assert_eq!(base.leads("other", ahead + 1).await, ahead + 2);
    base.set_field("token", 7).await;
    assert_eq!(base.leads("other", ahead + 2).await, ahead + 3);
    base.run(&[&format!("DEL {KEY}")]).await;
    let token = base.leads("other", 7).await;
    assert!(token < ahead && token > ahead - 3_600_000_000, "else it is the time");
    // Nothing but the holder is known.
    base.run(&[&format!("DEL {KEY}"), &format!("HSET {KEY} holder me")]).await;
    base.leads("other", 0).await;
}

#[tokio::test]
async fn a_leader_renews_and_resigns_with_a_full_memory() {
    let base = Base::start().await;
    let token = base.leads("me", 0).await;
    base.run(&["CONFIG SET maxmemory 1", "CONFIG SET maxmemory-policy noeviction"]).await;
    assert_eq!(base.leads("me", token).await, token);
    base.waits("other").await;
    base.store.resign(&candidate("me", 15_000)).await.unwrap();
    base.leads("other", 0).await;
}

#[tokio::test]
async fn a_script_runs_only_under_the_current_lease() {
    let base = Base::start().await;
    let script =
        FencedScript::new("redis.call('RPUSH', KEYS[1], #KEYS, unpack(ARGV))\nreturn redis.call('LLEN', KEYS[1])");
    let run = async |token: u64| base.store.run_fenced(("default", token), &script, &["log"], &[b"a", b"b c"]).await;
    let refused = async |token: u64| run(token).await.expect_err("it is refused").kind();
    assert_eq!(refused(1).await, ErrorKind::NotLeader, "there is no lease");
    let token = base.leads("me", 0).await;
    assert_eq!(run(token).await.unwrap().as_deref(), Some(&b"3"[..]));
    assert_eq!(base.list("log").await, ["1", "a", "b c"], "it sees its own keys and arguments");
    base.set_field("until", 1).await;
    assert!(run(token).await.is_ok(), "nobody else took the lease");
    let next = base.leads("other", 0).await;
    assert_eq!(refused(token).await, ErrorKind::NotLeader);
    assert_eq!(refused(next + 1).await, ErrorKind::NotLeader);
    assert!(run(next).await.is_ok());
    assert_eq!(base.list("log").await.len(), 9);
    let nothing = FencedScript::new("redis.call('SET', 'other', 1)");
    let ran = base.store.run_fenced(("default", next), &nothing, &[], &[]).await;
    assert_eq!(ran.unwrap(), None);
    let broken = FencedScript::new("return redis.call('LLEN', KEYS[1])");
    let ran = base.store.run_fenced(("default", next), &broken, &["other"], &[]).await;
    assert!(refusal(ran).contains("WRONGTYPE"));
}
