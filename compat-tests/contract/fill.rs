//! A Redis full of jobs.

use ferrokiq::testing::Redis;
use redis::{Connection, FromRedisValue};

/// Jobs of three kinds by turns, some of them bad, in two queues, the schedule and the retries.
pub(crate) struct Filling {
    jobs: usize,
    bad: Vec<(usize, Bad)>,
}

/// A job that the worker cannot run.
#[derive(Debug)]
pub(crate) struct Bad {
    /// What its line holds and no other.
    pub(crate) sign: String,
    pub(crate) place: &'static str,
    pub(crate) why: &'static str,
    raw: String,
}

/// By the number of a job.
fn place(number: usize) -> &'static str {
    match number % 20 {
        0..=9 => "queue default",
        10..=13 => "queue low",
        14..=16 => "schedule",
        _ => "retry",
    }
}

/// A job the worker can run, or one of a class it does not know.
pub(crate) fn good(number: usize) -> String {
    match number % 3 {
        0 => format!(
            r#"{{"class":"StrictJob","args":[{number},"text"],"queue":"default","jid":"jid{number}.","retry":true}}"#
        ),
        1 => format!(
            r#"{{"retry":3,"queue":"low","class":"Billing::ChargeJob","args":[{number},"note",{{"number":4111}}],"jid":"jid{number}.","created_at":1795408384695}}"#
        ),
        _ => format!(
            r#"{{"class":"RubysOwn","args":["anything",{{"a":[1,2,3]}}],"jid":"jid{number}.","queue":"default"}}"#
        ),
    }
}

fn bad(number: usize) -> Bad {
    let strict = |args: &str| format!(r#"{{"class":"StrictJob","args":{args},"jid":"jid{number}."}}"#);
    let (raw, why) = match number % 6 {
        0 => (strict(r#"[1]"#), "ArgumentError: wrong number of arguments (given 1, expected 2)"),
        1 => (strict(r#"["s3cret","x"]"#), "ArgumentError: argument 1 is a string: expected i64"),
        2 => (
            format!(r#"{{"class":"Billing::ChargeJob","args":[1,"x",{{"number":"s3cret"}}],"jid":"jid{number}."}}"#),
            "ArgumentError: argument 3 is an object: expected u64",
        ),
        3 => (
            format!(r#"{{"class":"::Billing::ChargeJob","args":[1,"x",{{}}],"jid":"jid{number}."}}"#),
            "ArgumentError: argument 3 is an object: missing field `number`",
        ),
        4 => (strict(r#"{"s3cret":1}"#), "ArgumentError: arguments are an object, expected an array"),
        _ => (strict(r#"[9223372036854775808,"x"]"#), "ArgumentError: argument 1 is a number: expected i64"),
    };
    Bad { sign: format!(" jid{number}. "), place: place(number), why, raw }
}

impl Filling {
    pub(crate) fn new(jobs: usize, bad_ones: usize) -> Self {
        // Not a divisor of anything, so that they lie everywhere.
        let bad = (0..bad_ones).map(|n| n * 2_689 + 17).map(|number| (number, bad(number))).collect();
        Self { jobs, bad }
    }

    fn is_bad(&self, number: usize) -> Option<&Bad> {
        self.bad.iter().find(|(at, _)| *at == number).map(|(_, bad)| bad)
    }

    pub(crate) fn bad(&self) -> Vec<&Bad> {
        self.bad.iter().map(|(_, bad)| bad).collect()
    }

    fn count(&self, kind: impl Fn(usize) -> bool) -> usize {
        (0..self.jobs).filter(|number| kind(*number) && self.is_bad(*number).is_none()).count()
    }

    pub(crate) fn fit(&self) -> usize {
        self.count(|number| number % 3 != 2)
    }

    pub(crate) fn unknown(&self) -> usize {
        self.count(|number| number % 3 == 2)
    }

    pub(crate) fn pour(&self, redis: &Redis) {
        let mut connection = connect(redis);
        for numbers in (0..self.jobs).collect::<Vec<_>>().chunks(5_000) {
            let mut pipeline = redis::pipe();
            pipeline.cmd("SADD").arg("queues").arg("default").arg("low").ignore();
            for number in numbers {
                let job = self.is_bad(*number).map_or_else(|| good(*number), |bad| bad.raw.clone());
                match place(*number).strip_prefix("queue ") {
                    Some(queue) => pipeline.cmd("LPUSH").arg(format!("queue:{queue}")).arg(job).ignore(),
                    None => pipeline.cmd("ZADD").arg(place(*number)).arg(*number).arg(job).ignore(),
                };
            }
            pipeline.exec(&mut connection).unwrap();
        }
    }
}

pub(crate) fn connect(redis: &Redis) -> Connection {
    redis::Client::open(redis.url()).unwrap().get_connection().unwrap()
}

pub(crate) fn call<T: FromRedisValue>(redis: &Redis, command: &str, arguments: &[&str]) -> T {
    redis::cmd(command).arg(arguments).query(&mut connect(redis)).unwrap()
}
