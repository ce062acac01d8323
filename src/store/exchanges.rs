//! The table of every exchange that writes: each of its commands is refused with each code, and each of its answers is lost. What is in
//! Redis afterwards, what the caller gets, and what was sent again.

use std::pin::Pin;
use std::time::Duration;

use super::beat::Beat;
use super::claims::{Acknowledgement, BLOCK, Moved, Private, Waited};
use super::in_place::DueInPlace;
use super::in_place::InPlace;
use super::iteration::Iteration;
use super::lease::{Campaign, Candidate, FencedScript};
use super::metrics::{ClassMetrics, MetricsForm};
use super::pages::Returning;
use super::registration::Registration;
use super::sets::{DeadLimits, Promotion, WaitingSet};
use super::settle::{Leaving, To};
use super::{KeyType, RedisOptions, Replicas, Reply, Rider, Script, ScriptCall, Store};
use crate::error::{ErrorKind, Result};
use crate::testing::Redis;
use crate::testing::refusing::{Fault, Refusing, Which};
use crate::time::Utc;

/// The columns: these faults come to the same.
const FAULTS: [&[Fault]; 5] = [
    &[Fault::Refuse("READONLY"), Fault::Refuse("MASTERDOWN")],
    &[Fault::Refuse("OOM"), Fault::Refuse("LOADING")],
    &[Fault::Refuse("NOPERM")],
    &[Fault::Refuse("WRONGTYPE")],
    &[Fault::LoseAnswer],
];

type Running<'a> = Pin<Box<dyn Future<Output = Result<&'static str>> + 'a>>;

/// One exchange and its part of the table.
struct Exchange {
    name: &'static str,
    /// Commands that prepare Redis.
    before: &'static [&'static str],
    /// What is tested; returns a word about the answer, or nothing.
    run: for<'a> fn(&'a Store) -> Running<'a>,
    /// Commands whose answers are the state of Redis.
    state: &'static [&'static str],
    /// A line for each command of the exchange, a column for each of [`FAULTS`]: what the caller gets, the state, and behind `+` what was
    /// sent besides the exchange itself. `-` is not tested.
    table: &'static str,
}

macro_rules! run {
    ($store:ident => $run:expr) => {
        |$store| {
            Box::pin(async move {
                $run;
                Ok("")
            })
        }
    };
    ($store:ident => $run:expr, $word:expr) => {
        |$store| {
            Box::pin(async move {
                let answer = $run;
                Ok($word(answer))
            })
        }
    };
}

fn jobs(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{{\"jid\":\"{number}\"}}")).collect()
}

fn jids(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

pub(super) const NOW: Utc = Utc { year: 2026, month: 11, day: 23, hour: 4, minute: 7 };
const LIMITS: DeadLimits = DeadLimits { age: 1_000.0, keep: 100 };
const LIST: &str = "ferrokiq:batch:me|1|q";

fn candidate() -> Candidate {
    Candidate {
        group: "g".to_owned(),
        identity: "me".to_owned(),
        lasts: Duration::from_secs(15),
        turn: Duration::from_millis(500),
    }
}

fn leaving(number: u64) -> Leaving<'static> {
    Leaving { number, list: Some(LIST), raw: b"{}", bytes: b"{\"retry_count\":0}", delay: 20.0 }
}

fn moved(moved: Vec<Moved>) -> &'static str {
    if moved == [Moved::Yes] { "moved" } else { "other" }
}

async fn script(store: &Store, script: &Script) -> Result<Reply> {
    ScriptCall::new(Some(store), script).key("app").run().await
}

fn number(answer: Reply) -> &'static str {
    match answer.int() {
        Some(1) => "1",
        Some(2) => "2",
        _ => "other",
    }
}

fn truth(answer: bool) -> &'static str {
    if answer { "true" } else { "false" }
}

pub(super) fn beat() -> Beat<'static> {
    Beat {
        identity: "me",
        info: "{}",
        concurrency: 1,
        busy: 0,
        at: "1.0".to_owned(),
        rtt_us: 1,
        quiet: false,
        rss_kb: 1,
    }
}

const EXCHANGES: &[Exchange] = &[
    Exchange {
        name: "push",
        before: &[],
        run: run!(store => store.push(&[("q", jobs(1))], None).await?),
        state: &["LLEN queue:q", "SCARD queues"],
        table: "
            ok 1 1 | READONLY MASTERDOWN | OOM LOADING  | NOPERM      | WRONGTYPE   | answer lost
            SADD   | ok 1 1 +SADD        | ok 1 1 +SADD | ok 1 0      | ok 1 0      | ambiguous 0 1
            LPUSH  | ok 1 1 +all         | refused 0 1  | refused 0 1 | refused 0 1 | ambiguous 1 1
        ",
    },
    Exchange {
        name: "push of many jobs",
        before: &[],
        run: run!(store => store.push(&[("q", jobs(3))], None).await?),
        state: &["LLEN queue:q", "SCARD queues"],
        table: "
            ok 3 1 | READONLY MASTERDOWN | OOM LOADING  | NOPERM      | WRONGTYPE   | answer lost
            SADD   | ok 3 1 +SADD        | ok 3 1 +SADD | ok 3 0      | ok 3 0      | ambiguous 0 1
            LPUSH  | ok 3 1 +all         | refused 0 1  | refused 0 1 | refused 0 1 | ambiguous 3 1
        ",
    },
    Exchange {
        name: "push to several queues",
        before: &[],
        run: run!(store => store.push(&[("a", jobs(1)), ("b", jobs(2))], None).await?),
        state: &["LLEN queue:a", "LLEN queue:b", "SCARD queues"],
        table: "
            ok 1 2 2 | READONLY MASTERDOWN | OOM LOADING   | NOPERM        | WRONGTYPE     | answer lost
            EVALSHA  | ok 1 2 2 +all       | refused 0 0 0 | refused 0 0 0 | refused 0 0 0 | ambiguous 1 2 2
        ",
    },
    Exchange {
        name: "push that waits for a replica there is not",
        before: &[],
        run: run!(store => store.push(&[("q", jobs(1))], Some(Replicas { count: 1, within: Duration::from_millis(1) })).await?),
        state: &["LLEN queue:q", "SCARD queues"],
        table: "
            0 replicas 1 1 | READONLY MASTERDOWN        | OOM LOADING          | NOPERM          | WRONGTYPE       | answer lost
            SADD           | 0 replicas 1 1 +SADD       | 0 replicas 1 1 +SADD | 0 replicas 1 0  | 0 replicas 1 0  | ambiguous 0 1
            LPUSH          | 0 replicas 1 1 +LPUSH+WAIT | refused 0 1          | refused 0 1     | refused 0 1     | ambiguous 1 1
            WAIT           | unconfirmed 1 1            | unconfirmed 1 1      | unconfirmed 1 1 | unconfirmed 1 1 | unconfirmed 1 1
        ",
    },
    Exchange {
        name: "idempotent push",
        before: &[],
        run: run!(store => store.push_once(&[("q", jobs(2))], &jids(2), None).await?),
        state: &["LLEN queue:q", "SCARD queues"],
        table: "
            ok 2 1  | READONLY MASTERDOWN | OOM LOADING | NOPERM      | WRONGTYPE   | answer lost
            EVALSHA | ok 2 1 +all         | refused 0 0 | refused 0 0 | refused 0 0 | ok 2 1 +all
        ",
    },
    Exchange {
        name: "schedule",
        before: &[],
        run: run!(store => store.schedule(&[("1".to_owned(), "{}".to_owned())], None).await?),
        state: &["ZCARD schedule"],
        table: "
            ok 1   | READONLY MASTERDOWN | OOM LOADING | NOPERM    | WRONGTYPE | answer lost
            ZADD   | ok 1 +ZADD          | refused 0   | refused 0 | refused 0 | ambiguous 1
            ZCOUNT | ok 1 +ZCOUNT        | ok 1        | ok 1      | ok 1      | ok 1
        ",
    },
    Exchange {
        name: "schedule at a score that another job has",
        before: &["ZADD schedule 1 a"],
        run: run!(store => store.schedule(&[("1".to_owned(), "{}".to_owned())], None).await?),
        state: &["ZCARD schedule", "ZCOUNT schedule 1 1"],
        table: "
            ok 2 1  | READONLY MASTERDOWN | OOM LOADING | NOPERM      | WRONGTYPE   | answer lost
            ZADD    | ok 2 2              | refused 1 1 | refused 1 1 | refused 1 1 | ambiguous 2 2
            ZCOUNT  | ok 2 1 +EVALSHA     | ok 2 2      | ok 2 2      | ok 2 2      | ok 2 2
            EVALSHA | ok 2 1 +EVALSHA     | ok 2 2      | ok 2 2      | ok 2 2      | ok 2 1
        ",
    },
    Exchange {
        name: "idempotent schedule",
        before: &[],
        run: run!(store => store.schedule_once(&[("1".to_owned(), "{}".to_owned())], &jids(1), None).await?),
        state: &["ZCARD schedule"],
        table: "
            ok 1    | READONLY MASTERDOWN | OOM LOADING | NOPERM    | WRONGTYPE | answer lost
            EVALSHA | ok 1 +all           | refused 0   | refused 0 | refused 0 | ok 1 +all
        ",
    },
    Exchange {
        name: "counts of a beat",
        before: &[],
        run: run!(store => store.count(3, 1, NOW).await?),
        state: &["MGET stat:processed stat:processed:2026-11-23 stat:failed stat:failed:2026-11-23"],
        table: "
            ok 3,3,1,1 | READONLY MASTERDOWN | OOM LOADING     | NOPERM          | WRONGTYPE       | answer lost
            MULTI      | -                   | -               | -               | -               | ambiguous _,_,_,_
            INCRBY     | ok 3,3,1,1 +all     | refused _,_,_,_ | refused _,_,_,_ | partial _,3,1,1 | ambiguous _,_,_,_
            INCRBY     | ok 3,3,1,1 +all     | refused _,_,_,_ | refused _,_,_,_ | partial 3,_,1,1 | ambiguous _,_,_,_
            EXPIRE     | ok 3,3,1,1 +all     | refused _,_,_,_ | refused _,_,_,_ | partial 3,3,1,1 | ambiguous _,_,_,_
            INCRBY     | ok 3,3,1,1 +all     | refused _,_,_,_ | refused _,_,_,_ | partial 3,3,_,1 | ambiguous _,_,_,_
            INCRBY     | ok 3,3,1,1 +all     | refused _,_,_,_ | refused _,_,_,_ | partial 3,3,1,_ | ambiguous _,_,_,_
            EXPIRE     | ok 3,3,1,1 +all     | refused _,_,_,_ | refused _,_,_,_ | partial 3,3,1,1 | ambiguous _,_,_,_
            EXEC       | refused _,_,_,_     | refused _,_,_,_ | refused _,_,_,_ | refused _,_,_,_ | ambiguous 3,3,1,1
        ",
    },
    Exchange {
        name: "metrics of a beat",
        before: &[],
        run: run!(store => {
            let mut metrics = ClassMetrics { processed: 3, failed: 1, ms: 50, ..ClassMetrics::default() };
            metrics.histogram[0] = 2;
            store.write_metrics(&[("A", metrics)], &[MetricsForm::Seven], NOW).await?;
        }),
        state: &["HMGET j|20261123|4:7 A|ms A|p A|f", "BITFIELD_RO A-23-04:7 GET u16 #0"],
        table: "
            ok 50,3,1 2 | READONLY MASTERDOWN | OOM LOADING     | NOPERM          | WRONGTYPE        | answer lost
            MULTI       | -                   | -               | -               | -                | ambiguous _,_,_ 0
            BITFIELD    | ok 50,3,1 2 +all    | refused _,_,_ 0 | refused _,_,_ 0 | partial 50,3,1 0 | ambiguous _,_,_ 0
            EXPIRE      | ok 50,3,1 2 +all    | refused _,_,_ 0 | refused _,_,_ 0 | partial 50,3,1 2 | ambiguous _,_,_ 0
            HINCRBY     | ok 50,3,1 2 +all    | refused _,_,_ 0 | refused _,_,_ 0 | partial _,3,1 2  | ambiguous _,_,_ 0
            HINCRBY     | ok 50,3,1 2 +all    | refused _,_,_ 0 | refused _,_,_ 0 | partial 50,_,1 2 | ambiguous _,_,_ 0
            HINCRBY     | ok 50,3,1 2 +all    | refused _,_,_ 0 | refused _,_,_ 0 | partial 50,3,_ 2 | ambiguous _,_,_ 0
            EXPIRE      | ok 50,3,1 2 +all    | refused _,_,_ 0 | refused _,_,_ 0 | partial 50,3,1 2 | ambiguous _,_,_ 0
            EXEC        | refused _,_,_ 0     | refused _,_,_ 0 | refused _,_,_ 0 | refused _,_,_ 0  | ambiguous 50,3,1 2
        ",
    },
    Exchange {
        name: "work set",
        before: &["HSET me:work 0 old"],
        run: run!(store => store.write_work("me", &[("1".to_owned(), "{}".to_owned())], true).await?),
        state: &["HKEYS me:work", "HKEYS me:workers"],
        table: "
            ok 1 1 | READONLY MASTERDOWN | OOM LOADING | NOPERM     | WRONGTYPE     | answer lost
            MULTI  | -                   | -           | -          | -             | ambiguous 0
            UNLINK | ok 1 1 +all         | refused 0   | refused 0  | partial 0,1 1 | ambiguous 0
            HSET   | ok 1 1 +all         | refused 0   | refused 0  | partial  1    | ambiguous 0
            EXPIRE | ok 1 1 +all         | refused 0   | refused 0  | partial 1 1   | ambiguous 0
            HSET   | ok 1 1 +all         | refused 0   | refused 0  | partial 1     | ambiguous 0
            EXPIRE | ok 1 1 +all         | refused 0   | refused 0  | partial 1 1   | ambiguous 0
            EXEC   | refused 0           | refused 0   | refused 0  | refused 0     | ambiguous 1 1
        ",
    },
    Exchange {
        name: "beat",
        before: &[],
        run: run!(store => store.beat(&beat()).await?, truth),
        state: &["SCARD processes", "EXISTS me"],
        table: "
            false 1 1 | READONLY MASTERDOWN | OOM LOADING | NOPERM      | WRONGTYPE   | answer lost
            MULTI     | -                   | -           | -           | -           | ambiguous 0 0
            SADD      | false 1 1 +all      | refused 0 0 | refused 0 0 | partial 0 1 | ambiguous 0 0
            EXISTS    | false 1 1 +all      | refused 0 0 | refused 0 0 | partial 1 1 | ambiguous 0 0
            HSET      | false 1 1 +all      | refused 0 0 | refused 0 0 | partial 1 0 | ambiguous 0 0
            EXPIRE    | false 1 1 +all      | refused 0 0 | refused 0 0 | partial 1 1 | ambiguous 0 0
            EXEC      | refused 0 0         | refused 0 0 | refused 0 0 | refused 0 0 | ambiguous 1 1
        ",
    },
    Exchange {
        name: "signal of a beat",
        before: &["LPUSH me-signals TSTP"],
        run: run!(store => store.take_signal("me").await?, |signal: Option<String>| if signal.is_some() { "one" } else { "none" }),
        state: &["LLEN me-signals"],
        table: "
            one 0 | READONLY MASTERDOWN | OOM LOADING | NOPERM    | WRONGTYPE | answer lost
            RPOP  | one 0 +all          | refused 1   | refused 1 | refused 1 | ambiguous 0
        ",
    },
    Exchange {
        name: "last beat",
        before: &["SADD processes me", "HSET me:work 1 {}"],
        run: run!(store => store.clear_heartbeat("me").await?),
        state: &["SCARD processes", "EXISTS me:work"],
        table: "
            ok 0 0 | READONLY MASTERDOWN | OOM LOADING | NOPERM      | WRONGTYPE   | answer lost
            SREM   | ok 0 0 +all         | partial 1 0 | partial 1 0 | partial 1 0 | ambiguous 0 1
            UNLINK | ok 0 0 +all         | partial 0 1 | partial 0 1 | partial 0 1 | ambiguous 0 0
        ",
    },
    Exchange {
        name: "claim",
        before: &["SADD ferrokiq:processes me", "LPUSH queue:q a b c"],
        run: run!(store => store.claim(&Private::of("me"), (1, false), 2, &[("q", "queue:q")]).await?, |claimed: Option<super::claims::Claimed>| {
            match claimed.map_or(0, |claimed| claimed.lists.iter().map(|list| list.jobs.len()).sum()) {
                2 => "two",
                _ => "other",
            }
        }),
        state: &["LLEN queue:q", "LLEN ferrokiq:batch:me|1.0|q", "SCARD ferrokiq:batches:me"],
        table: "
            two 1 2 1 | READONLY MASTERDOWN       | OOM LOADING   | NOPERM        | WRONGTYPE     | answer lost
            EVALSHA   | two 1 2 1 +EVALSHA+LRANGE | refused 3 0 0 | refused 3 0 0 | refused 3 0 0 | ambiguous 1 2 1
            LRANGE    | two 1 2 1 +LRANGE         | refused 1 2 1 | refused 1 2 1 | refused 1 2 1 | ambiguous 1 2 1
            EXISTS    | two 1 2 1 +EXISTS         | refused 1 2 1 | refused 1 2 1 | refused 1 2 1 | ambiguous 1 2 1
        ",
    },
    Exchange {
        name: "claim from a limited queue",
        before: &["SADD ferrokiq:processes me", "LPUSH queue:q a b c", "SET limit_fetch:limit:q 2"],
        run: run!(store => store.claim_limited(&Private::of("me"), 1, 5, &[("q", "queue:q")]).await?, |claimed: Option<super::claims::Claimed>| {
            match claimed.map_or(0, |claimed| claimed.lists.iter().map(|list| list.jobs.len()).sum()) {
                2 => "two",
                _ => "other",
            }
        }),
        state: &["LLEN queue:q", "LLEN ferrokiq:batch:me|1.0|q", "LLEN limit_fetch:probed:q", "LLEN limit_fetch:busy:q"],
        table: "
            two 1 2 2 2 | READONLY MASTERDOWN | OOM LOADING     | NOPERM          | WRONGTYPE       | answer lost
            EVALSHA     | two 1 2 2 2 +LRANGE | refused 3 0 0 0 | refused 3 0 0 0 | refused 3 0 0 0 | ambiguous 1 2 2 2
            EXISTS      | two 1 2 2 2 +LRANGE | refused 1 2 2 2 | refused 1 2 2 2 | refused 1 2 2 2 | ambiguous 1 2 2 2
            LRANGE      | two 1 2 2 2 +LRANGE | refused 1 2 2 2 | refused 1 2 2 2 | refused 1 2 2 2 | ambiguous 1 2 2 2
        ",
    },
    Exchange {
        name: "permits",
        before: &["RPUSH limit_fetch:probed:q me ruby me", "RPUSH limit_fetch:busy:q ruby"],
        run: run!(store => store.hold_permits("me", "q", 1, &[]).await?, truth),
        state: &["LLEN limit_fetch:probed:q", "LLEN limit_fetch:busy:q", "SCARD limit:processes"],
        table: "
            true 2 2 1 | READONLY MASTERDOWN | OOM LOADING   | NOPERM        | WRONGTYPE     | answer lost
            EVALSHA    | true 2 2 1 +all     | refused 3 1 0 | refused 3 1 0 | refused 3 1 0 | false 2 2 1 +all
        ",
    },
    Exchange {
        name: "waiter",
        before: &["LPUSH queue:q a b"],
        run: run!(store => {
            let (mut wire, private) = (store.blocking().await?, Private::of("me"));
            wire.index(&private, LIST).await?;
            wire.move_one(&private, "queue:q", LIST, "ferrokiq:batch:me|2|q", BLOCK).await?
        }, |waited: Waited| if waited.job.is_some() { "one" } else { "none" }),
        state: &["LLEN queue:q", "LLEN ferrokiq:batch:me|1|q", "SISMEMBER ferrokiq:batches:me ferrokiq:batch:me|1|q"],
        table: "
            one 1 1 1 | READONLY MASTERDOWN | OOM LOADING   | NOPERM        | WRONGTYPE     | answer lost
            SADD      | refused 2 0 0       | refused 2 0 0 | refused 2 0 0 | refused 2 0 0 | ambiguous 2 0 1
            SADD      | partial 1 1 1       | partial 1 1 1 | partial 1 1 1 | partial 1 1 1 | ambiguous 2 0 1
            BLMOVE    | partial 2 0 1       | partial 2 0 1 | partial 2 0 1 | partial 2 0 1 | ambiguous 1 1 1
            EXISTS    | partial 1 1 1       | partial 1 1 1 | partial 1 1 1 | partial 1 1 1 | ambiguous 1 1 1
            SADD      | one 1 1 1           | one 1 1 1     | one 1 1 1     | one 1 1 1     | one 1 1 1
            ZADD      | one 1 1 1           | one 1 1 1     | one 1 1 1     | one 1 1 1     | one 1 1 1
        ",
    },
    Exchange {
        name: "acknowledgement",
        before: &[
            "SADD ferrokiq:batches:me done trimmed single",
            "LPUSH done a",
            "LPUSH trimmed a b c",
            "LPUSH single a b c",
        ],
        run: run!(store => {
            let done = Acknowledgement { lists: vec!["done"], trims: vec![("trimmed", 2)], jobs: vec![("single", b"b")] };
            store.acknowledge(&Private::of("me"), &done).await?
        }, |there| if there == 1 { "one" } else { "none" }),
        state: &["SCARD ferrokiq:batches:me", "LLEN done", "LLEN trimmed", "LLEN single"],
        table: "
            one 2 0 2 2 | READONLY MASTERDOWN   | OOM LOADING           | NOPERM                | WRONGTYPE             | answer lost
            UNLINK      | partial 3 1 2 2 +SADD | partial 3 1 2 2 +SADD | partial 3 1 2 2 +SADD | partial 3 1 2 2 +SADD | ambiguous 3 0 3 3
            SREM        | partial 3 0 2 2 +SADD | partial 3 0 2 2 +SADD | partial 3 0 2 2 +SADD | partial 3 0 2 2 +SADD | ambiguous 2 0 3 3
            LTRIM       | partial 3 0 3 2 +SADD | partial 3 0 3 2 +SADD | partial 3 0 3 2 +SADD | partial 3 0 3 2 +SADD | ambiguous 2 0 2 3
            LREM        | partial 3 0 2 3 +SADD | partial 3 0 2 3 +SADD | partial 3 0 2 3 +SADD | partial 3 0 2 3 +SADD | ambiguous 2 0 2 2
        ",
    },
    Exchange {
        name: "requeue",
        before: &["LPUSH ferrokiq:batch:me|1|q {} []"],
        run: run!(store => store.requeue(LIST, "q", &[b"{}"]).await?, |count| if count == 1 { "one" } else { "other" }),
        state: &["LLEN ferrokiq:batch:me|1|q", "LLEN queue:q"],
        table: "
            one 1 1 | READONLY MASTERDOWN | OOM LOADING | NOPERM      | WRONGTYPE   | answer lost
            EVALSHA | one 1 1 +all        | refused 2 0 | refused 2 0 | refused 2 0 | other 1 1 +all
        ",
    },
    Exchange {
        name: "requeue of a list",
        before: &["LPUSH ferrokiq:batch:me|1|q {} []"],
        run: run!(store => store.requeue_list(LIST, "q").await?, |count| if count == 2 { "two" } else { "other" }),
        state: &["LLEN ferrokiq:batch:me|1|q", "LLEN queue:q"],
        table: "
            two 0 2 | READONLY MASTERDOWN | OOM LOADING | NOPERM      | WRONGTYPE   | answer lost
            EVALSHA | two 0 2 +EVALSHA    | refused 2 0 | refused 2 0 | refused 2 0 | other 0 2
            EVALSHA | two 0 2 +EVALSHA    | refused 0 2 | refused 0 2 | refused 0 2 | two 0 2 +EVALSHA
        ",
    },
    Exchange {
        name: "settlement",
        before: &["LPUSH ferrokiq:batch:me|1|q {} {}", "HSET ferrokiq:settlements:me epoch 0"],
        run: run!(store => store.settle(&Registration::of("me"), To::Retry, 0, &[leaving(1)]).await?, moved),
        state: &["LLEN ferrokiq:batch:me|1|q", "ZCARD retry"],
        table: "
            moved 1 1 | READONLY MASTERDOWN | OOM LOADING | NOPERM      | WRONGTYPE                           | answer lost
            EVALSHA   | moved 1 1 +all      | refused 2 0 | refused 2 0 | refused 2 0 +EVALSHA+SCRIPT+EVALSHA | ambiguous 1 1
        ",
    },
    Exchange {
        name: "settlement in place",
        before: &["LPUSH ferrokiq:batch:me|1|q {} {}", "HSET ferrokiq:settlements:me epoch 0"],
        run: run!(store => {
            let pieces = [(0..1, r#""retry_count":0"#.to_owned()), (1..2, String::new())];
            let job = InPlace { number: 1, epoch: 0, list: LIST, raw: b"{}", pieces: &pieces, delay: 20.0 };
            store.settle_in_place(&Registration::of("me"), To::Retry, &job).await?
        }, |answer: Option<Moved>| moved(answer.into_iter().collect())),
        state: &["LLEN ferrokiq:batch:me|1|q", "ZCARD retry"],
        table: "
            moved 1 1 | READONLY MASTERDOWN | OOM LOADING | NOPERM      | WRONGTYPE        | answer lost
            EVALSHA   | moved 1 1 +all      | refused 2 0 | refused 2 0 | refused 2 0 +all | ambiguous 1 1
        ",
    },
    Exchange {
        name: "settlement with a rider",
        before: &["LPUSH ferrokiq:batch:me|1|q {} {}", "HSET ferrokiq:settlements:me epoch 0"],
        run: run!(store => {
            let riders = [Rider::new("redis.call('INCR', KEYS[1])").key(KeyType::String, "app")];
            let (of, jobs) = (Registration::of("me"), [(leaving(1), &riders[..])]);
            store.settle_riding(&of, To::Done, 0, &jobs).await?.into_iter().collect::<Result<Vec<Moved>>>()?
        }, moved),
        state: &["LLEN ferrokiq:batch:me|1|q", "GET app"],
        table: "
            moved 1 1 | READONLY MASTERDOWN | OOM LOADING | NOPERM      | WRONGTYPE            | answer lost
            SCRIPT    | moved 1 1 +EVALSHA  | refused 2 _ | refused 2 _ | refused 2 _          | ambiguous 2 _
            EVALSHA   | moved 1 1 +EVALSHA  | refused 2 _ | refused 2 _ | refused 2 _ +EVALSHA | ambiguous 1 1
        ",
    },
    Exchange {
        name: "script",
        before: &[],
        run: run!(store => script(store, &Script::new("return redis.call('INCR', KEYS[1])")).await?, number),
        state: &["GET app"],
        table: "
            1 1     | READONLY MASTERDOWN | OOM LOADING | NOPERM    | WRONGTYPE | answer lost
            EVALSHA | 1 1 +all            | refused _   | refused _ | refused _ | ambiguous 1
        ",
    },
    Exchange {
        name: "script that may be repeated",
        before: &[],
        run: run!(store => script(store, &Script::new("return redis.call('INCR', KEYS[1])").repeatable()).await?, number),
        state: &["GET app"],
        table: "
            1 1     | READONLY MASTERDOWN | OOM LOADING | NOPERM    | WRONGTYPE | answer lost
            EVALSHA | 1 1 +all            | refused _   | refused _ | refused _ | 2 2 +all
        ",
    },
    Exchange {
        name: "promotion",
        before: &["ZADD schedule 1 a 2 b"],
        run: run!(store => {
            let push = Promotion::Push { queue: "q", bytes: "{}" };
            store.promote(WaitingSet::Schedule, &[(b"a", push)], Some(LIMITS)).await?
        }, |(moved, _)| if moved == 1 { "one" } else { "none" }),
        state: &["ZCARD schedule", "LLEN queue:q", "SCARD queues"],
        table: "
            one 1 1 1 | READONLY MASTERDOWN | OOM LOADING   | NOPERM         | WRONGTYPE     | answer lost
            EVALSHA   | one 1 1 1 +all      | refused 2 0 0 | one 1 1 1 +all | refused 2 0 0 | none 1 1 1 +all
        ",
    },
    Exchange {
        name: "promotion in place",
        before: &["ZADD schedule 1 a 2 b"],
        run: run!(store => {
            let (to, pieces) = (Promotion::Push { queue: "q", bytes: "" }, [(0..1, "b".to_owned())]);
            let due = DueInPlace { score: "1", member: b"a", to, pieces: &pieces };
            store.promote_in_place(WaitingSet::Schedule, &due, Some(LIMITS)).await?
        }, |promoted: Option<(usize, usize)>| if promoted == Some((1, 0)) { "one" } else { "none" }),
        state: &["ZCARD schedule", "LLEN queue:q", "SCARD queues"],
        table: "
            one 1 1 1 | READONLY MASTERDOWN | OOM LOADING   | NOPERM          | WRONGTYPE     | answer lost
            EVALSHA   | one 1 1 1 +all      | refused 2 0 0 | none 2 0 0 +all | refused 2 0 0 | none 1 1 1 +all
        ",
    },
    Exchange {
        name: "state of an iteration",
        before: &["HSET it-1 c 1 cancelled 5"],
        run: run!(store => {
            let state = Iteration { executions: 2, cursor: "7".to_owned(), runtime: 1.0, cancelled: None };
            store.keep_iteration("1", &state).await?
        }, truth),
        state: &["HMGET it-1 ex c"],
        table: "
            true 2,7 | READONLY MASTERDOWN | OOM LOADING | NOPERM      | WRONGTYPE   | answer lost
            MULTI    | -                   | -           | -           | -           | ambiguous _,1
            HSET     | true 2,7 +all       | refused _,1 | refused _,1 | partial _,1 | ambiguous _,1
            EXPIRE   | true 2,7 +all       | refused _,1 | refused _,1 | partial 2,7 | ambiguous _,1
            HEXISTS  | true 2,7 +all       | refused _,1 | refused _,1 | partial 2,7 | ambiguous _,1
            EXEC     | refused _,1         | refused _,1 | refused _,1 | refused _,1 | ambiguous 2,7
        ",
    },
    Exchange {
        name: "cancellation of an iteration",
        before: &[],
        run: run!(store => store.cancel_iteration("1", 5).await?, |at| if at == 5 { "now" } else { "other" }),
        state: &["HMGET it-1 cancelled ex c rt"],
        table: "
            now 5,0,null,0 | READONLY MASTERDOWN | OOM LOADING        | NOPERM             | WRONGTYPE          | answer lost
            HSETNX         | now 5,0,null,0 +all | partial _,0,null,0 | partial _,0,null,0 | partial _,0,null,0 | ambiguous 5,_,_,_
            HSETNX         | now 5,0,null,0 +all | partial 5,_,null,0 | partial 5,_,null,0 | partial 5,_,null,0 | ambiguous 5,0,_,_
            HSETNX         | now 5,0,null,0 +all | partial 5,0,_,0    | partial 5,0,_,0    | partial 5,0,_,0    | ambiguous 5,0,null,_
            HSETNX         | now 5,0,null,0 +all | partial 5,0,null,_ | partial 5,0,null,_ | partial 5,0,null,_ | ambiguous 5,0,null,0
            HGET           | now 5,0,null,0 +all | partial 5,0,null,0 | partial 5,0,null,0 | partial 5,0,null,0 | ambiguous 5,0,null,0
            EXPIRE         | now 5,0,null,0 +all | partial 5,0,null,0 | partial 5,0,null,0 | partial 5,0,null,0 | ambiguous 5,0,null,0
        ",
    },
    Exchange {
        name: "mark of a deploy",
        before: &[],
        run: run!(store => store.mark_deploy("20261123", "2026-11-23T04:07:00Z", "v1").await?, truth),
        state: &["HLEN 20261123-marks", "EXISTS deploylock-v1"],
        table: "
            true 1 1 | READONLY MASTERDOWN | OOM LOADING | NOPERM      | WRONGTYPE   | answer lost
            EVALSHA  | true 1 1 +all       | refused 0 0 | refused 0 0 | refused 0 0 | ambiguous 1 1
        ",
    },
    Exchange {
        name: "campaign for the lead",
        before: &["HSET ferrokiq:leader:g token 5"],
        run: run!(store => store.campaign(&candidate(), 0).await?, |campaign| match campaign {
            Campaign::Leads { .. } => "leads",
            Campaign::Waits { .. } => "waits",
        }),
        state: &["HMGET ferrokiq:leader:g holder lasts"],
        table: "
            leads me,15000 | READONLY MASTERDOWN | OOM LOADING | NOPERM      | WRONGTYPE   | answer lost
            EVALSHA        | leads me,15000 +all | refused _,_ | refused _,_ | refused _,_ | ambiguous me,15000
        ",
    },
    Exchange {
        name: "resignation of the lead",
        before: &["HSET ferrokiq:leader:g token 5 holder me"],
        run: run!(store => store.resign(&candidate()).await?),
        state: &["HMGET ferrokiq:leader:g token holder"],
        table: "
            ok 5,_  | READONLY MASTERDOWN | OOM LOADING  | NOPERM       | WRONGTYPE    | answer lost
            EVALSHA | ok 5,_ +all         | refused 5,me | refused 5,me | refused 5,me | ambiguous 5,_
        ",
    },
    Exchange {
        name: "fenced script",
        before: &["HSET ferrokiq:leader:g token 5 holder me"],
        run: run!(store => {
            let push = FencedScript::new("redis.call('RPUSH', KEYS[1], ARGV[1])");
            store.run_fenced(("g", 5), &push, &["log"], &[b"a"]).await?
        }),
        state: &["LLEN log"],
        table: "
            ok 1    | READONLY MASTERDOWN | OOM LOADING | NOPERM    | WRONGTYPE | answer lost
            EVALSHA | ok 1 +all           | refused 0   | refused 0 | refused 0 | ambiguous 1
        ",
    },
    Exchange {
        name: "acquittal",
        before: &["ZADD ferrokiq:suspects 1 f", "SADD ferrokiq:poison:f a b", "SADD ferrokiq:begun:me f"],
        run: run!(store => store.acquit("me", "f").await?),
        state: &["ZCARD ferrokiq:suspects", "EXISTS ferrokiq:poison:f", "EXISTS ferrokiq:begun:me"],
        table: "
            ok 0 0 0 | READONLY MASTERDOWN | OOM LOADING   | NOPERM        | WRONGTYPE     | answer lost
            ZREM     | ok 0 0 0 +all       | partial 1 0 0 | partial 1 0 0 | partial 1 0 0 | ambiguous 0 1 1
            UNLINK   | ok 0 0 0 +all       | partial 0 1 0 | partial 0 1 0 | partial 0 1 0 | ambiguous 0 0 1
            SREM     | ok 0 0 0 +all       | partial 0 0 1 | partial 0 0 1 | partial 0 0 1 | ambiguous 0 0 0
        ",
    },
    Exchange {
        name: "clearing of a queue",
        before: &["LPUSH queue:q a", "SADD queues q"],
        run: run!(store => store.clear_queue("q").await?),
        state: &["LLEN queue:q", "SCARD queues"],
        table: "
            ok 0 0 | READONLY MASTERDOWN | OOM LOADING | NOPERM      | WRONGTYPE   | answer lost
            MULTI  | -                   | -           | -           | -           | ambiguous 1 1
            UNLINK | ok 0 0 +all         | refused 1 1 | refused 1 1 | partial 1 0 | ambiguous 1 1
            SREM   | ok 0 0 +all         | refused 1 1 | refused 1 1 | partial 0 1 | ambiguous 1 1
            EXEC   | refused 1 1         | refused 1 1 | refused 1 1 | refused 1 1 | ambiguous 0 0
        ",
    },
    Exchange {
        name: "new time for a job",
        before: &["ZADD retry 1 a"],
        run: run!(store => store.reschedule(WaitingSet::Retry, b"a", "9").await?, truth),
        state: &["ZSCORE retry a"],
        table: "
            true 9 | READONLY MASTERDOWN | OOM LOADING | NOPERM    | WRONGTYPE | answer lost
            MULTI  | -                   | -           | -         | -         | ambiguous 1
            ZADD   | true 9 +all         | refused 1   | refused 1 | partial 1 | ambiguous 1
            ZSCORE | true 9 +all         | refused 1   | refused 1 | partial 9 | ambiguous 1
            EXEC   | refused 1           | refused 1   | refused 1 | refused 1 | ambiguous 9
        ",
    },
    Exchange {
        name: "signal to a process",
        before: &[],
        run: run!(store => store.signal("me", "TERM").await?),
        state: &["LLEN me-signals"],
        table: "
            ok 1   | READONLY MASTERDOWN | OOM LOADING | NOPERM    | WRONGTYPE | answer lost
            MULTI  | -                   | -           | -         | -         | ambiguous 0
            LPUSH  | ok 1 +all           | refused 0   | refused 0 | partial 0 | ambiguous 0
            EXPIRE | ok 1 +all           | refused 0   | refused 0 | partial 1 | ambiguous 0
            EXEC   | refused 0           | refused 0   | refused 0 | refused 0 | ambiguous 1
        ",
    },
    Exchange {
        name: "undoing of a promotion",
        before: &["LPUSH queue:q a"],
        run: run!(store => store.put_back(WaitingSet::Retry, "q", &[Returning { pushed: b"a", place: Some(0), bytes: b"b", score: "5" }]).await?, |done: Vec<u8>| if done == [1] { "back" } else { "other" }),
        state: &["LLEN queue:q", "ZCARD retry"],
        table: "
            back 0 1 | READONLY MASTERDOWN | OOM LOADING | NOPERM      | WRONGTYPE   | answer lost
            EVALSHA  | back 0 1 +all       | refused 1 0 | refused 1 0 | refused 1 0 | ambiguous 0 1
        ",
    },
];

/// A Redis, and the proxy in front of it.
struct Stage {
    /// Its connection does not go through the proxy.
    store: Store,
    proxy: Refusing,
    near: RedisOptions,
    _redis: Redis,
}

impl Stage {
    fn new() -> Self {
        let redis = Redis::start().unwrap();
        let near = redis.dir().join("proxy.sock");
        let proxy = Refusing::start(&near, &redis.dir().join("redis.sock")).unwrap();
        let near = format!("unix://{}", near.display()).parse().unwrap();
        Self { store: Store::new(redis.options().unwrap()), proxy, near, _redis: redis }
    }

    async fn call(&self, command: &str) -> String {
        let mut words = command.split(' ');
        let mut call = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            call.arg(word);
        });
        match self.store.link.query::<redis::Value>("test", &call).await.unwrap() {
            redis::Value::Array(items) => items.into_iter().map(text).collect::<Vec<_>>().join(","),
            answer => text(answer),
        }
    }

    /// One case: what the caller gets, and the state of Redis; and the commands that were sent.
    async fn run(&self, exchange: &Exchange, fault: Option<(usize, Fault)>) -> (String, Vec<String>) {
        self.call("FLUSHALL").await;
        for command in exchange.before {
            self.call(command).await;
        }
        let store = Store::new(self.near.clone());
        // Requests of one exchange that go side by side are sent in their order once there is a connection.
        store.ping().await.unwrap();
        self.proxy.plan(fault.map(|(at, fault)| (Which::Number(at), fault)));
        let outcome = (exchange.run)(&store).await;
        let sent = self.proxy.seen();
        let mut cell = match outcome {
            Ok("") => "ok".to_owned(),
            Ok(word) => word.to_owned(),
            Err(error) => match error.kind() {
                ErrorKind::Redis => "refused".to_owned(),
                ErrorKind::Ambiguous => "ambiguous".to_owned(),
                ErrorKind::Unconfirmed => {
                    error.replicas().map_or("unconfirmed".to_owned(), |had| format!("{had} replicas"))
                }
                kind => format!("{kind:?}").to_lowercase(),
            },
        };
        for command in exchange.state {
            cell = format!("{cell} {}", self.call(command).await);
        }
        (cell, sent)
    }

    async fn line(&self, exchange: &Exchange, commands: &[String], at: usize) -> Vec<String> {
        let mut line = vec![commands[at].clone()];
        for faults in FAULTS {
            let mut cells = Vec::new();
            for fault in faults {
                // The library fails where MULTI is refused.
                if commands[at] == "MULTI" && *fault != Fault::LoseAnswer {
                    cells.push("-".to_owned());
                    continue;
                }
                let (mut cell, sent) = self.run(exchange, Some((at, *fault))).await;
                let again = &sent[sent.len().min(commands.len())..];
                if again == commands {
                    cell += " +all";
                } else if !again.is_empty() {
                    cell = format!("{cell} +{}", again.join("+"));
                }
                cells.push(cell);
            }
            cells.dedup();
            line.push(cells.join(" / "));
        }
        line
    }
}

fn text(value: redis::Value) -> String {
    match value {
        redis::Value::Nil => "_".to_owned(),
        value => redis::from_redis_value(value).unwrap(),
    }
}

#[tokio::test]
async fn a_refused_or_unanswered_command_does_no_harm() {
    let stage = Stage::new();
    let mut wrong = String::new();
    for exchange in EXCHANGES {
        // Redis learns the script.
        stage.run(exchange, None).await;
        let (whole, commands) = stage.run(exchange, None).await;
        let mut lines = vec![vec![
            whole,
            "READONLY MASTERDOWN".into(),
            "OOM LOADING".into(),
            "NOPERM".into(),
            "WRONGTYPE".into(),
            "answer lost".into(),
        ]];
        for at in 0..commands.len() {
            lines.push(stage.line(exchange, &commands, at).await);
        }
        let table = aligned(&lines);
        let expected: Vec<&str> = exchange.table.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if table != expected {
            wrong += &format!("\n{}:\n{}\n", exchange.name, table.join("\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Lines with columns of one width.
fn aligned(lines: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..FAULTS.len() + 1).map(width).collect();
    let line = |line: &Vec<String>| {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join(" | ").trim_end().to_owned()
    };
    lines.iter().map(line).collect()
}
