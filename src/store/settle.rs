//! Jobs that leave the private lists of a process: to `retry`, to `dead`, or to a queue.

use redis::{FromRedisValue, ParsingError, Script, ScriptInvocation, Value};

use super::claims::Moved;
use super::registration::{FOREIGN, Registration};
use super::rider::{Rider, refused};
use super::sets::DeadLimits;
use super::{Store, is_wrong_type, keys, scripts};
use crate::error::{Error, Result};

/// Where jobs go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To<'a> {
    Retry,
    Schedule,
    Dead(DeadLimits),
    /// The end of a queue that is fetched next; the last job of a call is fetched first.
    First(&'a str),
    /// The other end.
    Last(&'a str),
    /// Nowhere: they are done, or discarded.
    Done,
}

/// One job that leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving<'a> {
    /// Names this settlement: repeated with the same number it is done once.
    pub(crate) number: u64,
    /// Its private list; `None` if it is in none.
    pub(crate) list: Option<&'a str>,
    /// Its bytes there.
    pub(crate) raw: &'a [u8],
    /// Its bytes in the place it goes to.
    pub(crate) bytes: &'a [u8],
    /// Seconds from now, by the clock of Redis, until it is due in a sorted set; [`LATEST`] at most.
    pub(crate) delay: f64,
}

/// Jobs of one [`settle`](Store::settle) at most: it bounds how long the script holds up Redis, and Lua passes on some thousands of values.
pub(crate) const TOGETHER: usize = 1_000;

/// What a script returns for a job that is not in its list though it may be this process's, where it does not have the bytes.
pub(super) const MISSING: i8 = -2;

/// The same for a job whose process is not registered.
const UNKNOWN: i8 = -1;

/// What a script returns for a job.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    Code(i8),
    /// Its riders were refused, for this reason.
    Refused(String),
}

impl Answer {
    fn moved(self) -> Result<Moved> {
        match self {
            Self::Code(code) => Ok(Moved::of_answer(code)),
            Self::Refused(why) => Err(refused(why)),
        }
    }
}

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> std::result::Result<Self, ParsingError> {
        match value {
            Value::Int(_) => i8::from_redis_value(value).map(Self::Code),
            why => String::from_redis_value(why).map(Self::Refused),
        }
    }
}

/// A century in seconds. Redis keeps microseconds of scores to the year 2255.
pub(super) const LATEST: f64 = 100.0 * 365.25 * 86_400.0;

impl Leaving<'_> {
    fn add(&self, settle: &mut ScriptInvocation<'_>, of: &Registration) {
        let Self { list, raw, bytes, delay, .. } = *self;
        settle.key(list.unwrap_or(of.settlements()));
        let changed: &[u8] = if raw == bytes { b"" } else { bytes };
        settle.arg(raw).arg(changed).arg(delay.clamp(0.0, LATEST).to_string());
    }
}

impl To<'_> {
    /// The beginning of a call that moves jobs of a process, and the numbers of answered settlements that it takes along.
    pub(super) fn begin<'s>(
        self,
        script: &'s Script,
        of: &Registration,
        epoch: u64,
    ) -> (ScriptInvocation<'s>, Vec<u64>) {
        let (key, queue) = match self {
            To::Retry => (keys::RETRY.to_owned(), ""),
            To::Schedule => (keys::SCHEDULE.to_owned(), ""),
            To::Dead(_) => (keys::DEAD.to_owned(), ""),
            To::First(queue) | To::Last(queue) => (keys::queue(queue), queue),
            To::Done => (of.settlements().to_owned(), ""),
        };
        let (age, rank) = match self {
            To::Dead(limits) => (limits.age, limits.rank()),
            _ => (0.0, 0),
        };
        let mut settle = script.key(key);
        settle.key(of.settlements()).key(keys::QUEUES);
        let answered = of.take_answered();
        settle.arg(self.how()).arg(queue).arg(age).arg(rank).arg(epoch).arg(answered.len()).arg(&answered);
        (settle, answered)
    }

    pub(super) fn how(self) -> &'static str {
        match self {
            // To the script one set is as the other.
            Self::Retry | Self::Schedule => "retry",
            Self::Dead(_) => "dead",
            Self::First(_) => "first",
            Self::Last(_) => "last",
            Self::Done => "done",
        }
    }
}

impl Store {
    /// Moves jobs of one process, up to [`TOGETHER`], to where they go, and returns the outcome of each. All were claimed in one
    /// [epoch](Registration::epoch). Safe to repeat after silence, with the same numbers.
    ///
    /// # Errors
    ///
    /// If Redis refuses one of the moves. Those before it may be done: repeat all.
    pub(crate) async fn settle(
        &self,
        of: &Registration,
        to: To<'_>,
        epoch: u64,
        jobs: &[Leaving<'_>],
    ) -> Result<Vec<Moved>> {
        let numbers: Vec<u64> = jobs.iter().map(|job| job.number).collect();
        let moved = self.run_settlement(&scripts::SETTLE, of, (to, epoch), &numbers, |settle| {
            for job in jobs {
                job.add(settle, of);
            }
        });
        moved.await?.into_iter().map(Answer::moved).collect()
    }

    /// As [`settle`](Self::settle), with the riders of each job. A job whose riders were refused has the [refusal](is_refused_rider) as its
    /// outcome; it is not settled.
    pub(crate) async fn settle_riding(
        &self,
        of: &Registration,
        to: To<'_>,
        epoch: u64,
        jobs: &[(Leaving<'_>, &[Rider])],
    ) -> Result<Vec<Result<Moved>>> {
        let riding = self.riding(jobs.iter().flat_map(|(_, riders)| *riders)).await?;
        let fit: Vec<Result<()>> = jobs.iter().map(|(_, riders)| self.check_riders(riders)).collect();
        let able: Vec<&(Leaving<'_>, &[Rider])> =
            jobs.iter().zip(&fit).filter(|(_, fit)| fit.is_ok()).map(|(job, _)| job).collect();
        let mut answers = Vec::new().into_iter();
        if !able.is_empty() {
            let numbers: Vec<u64> = able.iter().map(|(job, _)| job.number).collect();
            let moved = self.run_settlement(&riding.script, of, (to, epoch), &numbers, |settle| {
                for (job, _) in &able {
                    job.add(settle, of);
                }
                riding.add(settle, able.iter().map(|(_, riders)| *riders));
            });
            answers = moved.await?.into_iter();
        }
        let answer = |fit: Result<()>| {
            fit?;
            answers.next().unwrap_or(Answer::Code(UNKNOWN)).moved()
        };
        Ok(fit.into_iter().map(answer).collect())
    }

    /// Runs a script that settles jobs with these numbers; `add_jobs` adds their keys and arguments. Runs it once more if the settlements of the
    /// process had to be mended. Afterwards Redis need not record the numbers any more, unless a job was [`MISSING`].
    pub(super) async fn run_settlement(
        &self,
        script: &Script,
        of: &Registration,
        (to, epoch): (To<'_>, u64),
        numbers: &[u64],
        add_jobs: impl Fn(&mut ScriptInvocation<'_>),
    ) -> Result<Vec<Answer>> {
        let once = async || {
            let (mut settle, answered) = to.begin(script, of, epoch);
            settle.arg(numbers);
            add_jobs(&mut settle);
            let moved: Result<Vec<Answer>> = self.link.eval(to.how(), &settle).await;
            match &moved {
                Ok(moved) if !moved.contains(&Answer::Code(MISSING)) => {
                    // What is recorded of a job whose riders were refused is needed the next time.
                    let is_over = |(_, answer): &(u64, &Answer)| matches!(answer, Answer::Code(_));
                    of.answered(numbers.iter().copied().zip(moved).filter(is_over).map(|(number, _)| number));
                }
                // The script may have ended before it removed these.
                _ => of.answered(answered.into_iter()),
            }
            moved
        };
        match once().await {
            Err(error) if self.mend_settlements(of, &error).await => once().await,
            moved => moved,
        }
    }

    /// Removes what somebody put in the place of the settlements of a process, if that may be the reason for `error`. Returns whether there
    /// was something. The key is ours, and nobody can repair what it held.
    pub(super) async fn mend_settlements(&self, of: &Registration, error: &Error) -> bool {
        if !is_wrong_type(error) {
            return false;
        }
        let mut mend = scripts::MEND_SETTLEMENTS.key(of.settlements());
        mend.key(keys::REGISTRY).arg(of.identity()).arg(of.epoch());
        let mended = self.link.eval::<bool>("mend the settlements", &mend).await.unwrap_or(false);
        if mended {
            tracing::warn!(key = of.settlements(), "this key of ours had another type; what it held was removed");
        }
        mended
    }

    /// Moves a job that another process, or none, left in a private list to the dead set, if it is there.
    pub(crate) async fn bury(
        &self,
        identity: &str,
        list: &str,
        raw: &[u8],
        bytes: &[u8],
        limits: DeadLimits,
    ) -> Result<Moved> {
        let job = Leaving { number: 0, list: Some(list), raw, bytes, delay: 0.0 };
        let moved = self.settle(&Registration::of(identity), To::Dead(limits), FOREIGN, &[job]).await?;
        Ok(moved.first().copied().unwrap_or(Moved::NotOurs))
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
pub(super) mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;
    use crate::store::registration::ANSWERED_TOGETHER;
    use crate::testing::Redis;

    const SPAN: Duration = Duration::from_secs(30);
    pub(in crate::store) const LIST: &str = "ferrokiq:batch:me|1|default";

    /// A registered process on a Redis of its own.
    pub(in crate::store) struct Process {
        redis: Redis,
        pub(in crate::store) store: Store,
        pub(in crate::store) registration: Registration,
    }

    pub(in crate::store) async fn process() -> Process {
        let redis = Redis::start().unwrap();
        let store = Store::new(redis.options().unwrap());
        let registration = Registration::of("me");
        store.register(&registration, SPAN, false).await.unwrap();
        Process { redis, store, registration }
    }

    impl Process {
        pub(in crate::store) async fn call<T: redis::FromRedisValue>(&self, command: &str) -> T {
            let mut words = command.split(' ');
            let mut call = redis::cmd(words.next().unwrap());
            words.for_each(|word| {
                call.arg(word);
            });
            self.store.link.query("test", &call).await.unwrap()
        }

        /// The job `{}`, in the first epoch.
        async fn settle(&self, number: u64, to: To<'_>) -> Moved {
            let job = Leaving { number, list: Some(LIST), raw: b"{}", bytes: b"{\"retry_count\":0}", delay: 20.0 };
            self.store.settle(&self.registration, to, 0, &[job]).await.unwrap()[0]
        }
    }

    pub(in crate::store) const DEAD: To<'_> = To::Dead(DeadLimits { age: 1_000.0, keep: 100 });

    #[tokio::test]
    async fn a_settlement_that_is_repeated_is_done_once() {
        let process = process().await;
        for to in [To::Retry, DEAD, To::First("q"), To::Last("q")] {
            process.call::<()>("FLUSHALL").await;
            process.store.register(&process.registration, SPAN, false).await.unwrap();
            process.call::<()>(&format!("LPUSH {LIST} {{}} {{}}")).await;
            assert_eq!(process.settle(1, to).await, Moved::Yes, "{to:?}");
            // As if the answer had been lost.
            process.registration.take_answered();
            assert_eq!(process.settle(1, to).await, Moved::Yes, "{to:?}");
            let left: usize = process.call(&format!("LLEN {LIST}")).await;
            assert_eq!(left, 1, "{to:?}: the other job stays");
        }
    }

    #[tokio::test]
    async fn records_only_settlements_without_an_answer() {
        let process = process().await;
        for number in 1..=100 {
            process.call::<()>(&format!("LPUSH {LIST} {{}}")).await;
            process.settle(number, To::Retry).await;
            let recorded: usize = process.call("HLEN ferrokiq:settlements:me").await;
            assert!(recorded <= 2 + ANSWERED_TOGETHER, "what it is, the epoch, and the last ones");
        }
        process.store.bye("me").await.unwrap();
        assert_eq!(process.call::<usize>("EXISTS ferrokiq:settlements:me").await, 0);
    }

    #[tokio::test]
    async fn stores_what_redis_lost_unless_another_process_may_have_recovered_it() {
        let process = process().await;
        for to in [To::Retry, DEAD, To::First("q"), To::Last("q")] {
            assert_eq!(process.settle(1, to).await, Moved::Restored, "{to:?}: the list is gone");
            process.registration.take_answered();
            assert_eq!(process.settle(1, to).await, Moved::Yes, "{to:?}: it is recorded");
            process.call::<()>("FLUSHALL").await;
            assert_eq!(process.settle(2, to).await, Moved::Unknown, "{to:?}: the registration is gone, too");
            process.store.register(&process.registration, SPAN, false).await.unwrap();
            assert_eq!(process.settle(2, to).await, Moved::Restored, "{to:?}: it was forgotten, not fenced");
            process.call::<()>("DEL retry dead queue:q ferrokiq:settlements:me").await;
            process.store.register(&process.registration, SPAN, false).await.unwrap();
        }
        // Fenced: another process may have put the job back.
        process.call::<()>("DEL ferrokiq:alive").await;
        process.store.fence("me", Duration::ZERO).await.unwrap();
        assert!(process.store.fence("me", Duration::ZERO).await.unwrap());
        assert_eq!(process.settle(3, To::Retry).await, Moved::Unknown);
        assert!(process.store.register(&process.registration, SPAN, false).await.unwrap().fenced);
        for to in [To::Retry, DEAD, To::First("q"), To::Last("q")] {
            assert_eq!(process.settle(3, to).await, Moved::NotOurs, "{to:?}");
        }
        let there: usize = process.call("EXISTS retry dead queue:q").await;
        assert_eq!(there, 0, "what was not stored left nothing behind");
        drop(process.redis);
    }

    #[tokio::test]
    async fn a_list_is_written_anew_without_the_jobs_that_are_settled() {
        let process = process().await;
        process.call::<()>(&format!("LPUSH {LIST} {{}}")).await;
        assert_eq!(process.settle(1, To::Retry).await, Moved::Yes);
        // As if the answer had been lost: the process counts both jobs among those that run.
        process.registration.take_answered();
        let jobs: [(u64, &[u8]); 2] = [(1, b"{}"), (2, b"[]")];
        assert_eq!(process.store.hold_again(&process.registration, LIST, &jobs).await.unwrap(), 1);
        assert_eq!(process.call::<Vec<String>>(&format!("LRANGE {LIST} 0 -1")).await, ["[]"]);
        assert_eq!(process.store.hold_again(&process.registration, LIST, &jobs).await.unwrap(), 0, "it is there");
        process.call::<()>("FLUSHALL").await;
        assert_eq!(process.store.hold_again(&process.registration, LIST, &jobs).await.unwrap(), 2, "Redis lost both");
    }

    #[tokio::test]
    async fn a_job_is_stored_though_its_list_holds_something_else() {
        let process = process().await;
        process.call::<()>(&format!("SET {LIST} something")).await;
        for (number, to) in [To::Retry, DEAD, To::First("q"), To::Last("q")].into_iter().enumerate() {
            assert_eq!(process.settle(number as u64, to).await, Moved::Restored, "{to:?}");
        }
    }

    #[tokio::test]
    async fn a_process_silent_for_over_a_day_counts_as_fenced() {
        let process = process().await;
        process.call::<()>("FLUSHALL").await;
        assert!(process.store.register(&process.registration, SPAN, true).await.unwrap().fenced);
        assert_eq!((process.registration.epoch(), process.settle(1, To::Retry).await), (1, Moved::NotOurs));
    }

    #[tokio::test]
    async fn equal_jobs_that_are_settled_together_share_an_entry_at_the_later_time() {
        let process = process().await;
        process.call::<()>(&format!("LPUSH {LIST} {{}} {{}} {{}}")).await;
        let job = |number, delay| Leaving { number, list: Some(LIST), raw: b"{}", bytes: b"{}", delay };
        let jobs = [job(1, 20.0), job(2, 90.0), job(3, 50.0)];
        let moved = process.store.settle(&process.registration, To::Retry, 0, &jobs).await.unwrap();
        assert_eq!(moved, [Moved::Yes, Moved::Yes, Moved::Yes]);
        let (now, _): (u64, u64) = process.call("TIME").await;
        let entries: Vec<(String, f64)> = process.call("ZRANGE retry 0 -1 WITHSCORES").await;
        assert_eq!(entries.len(), 1);
        assert!((45.0..=51.0).contains(&(entries[0].1 - now as f64)), "the last one decides: {entries:?}");
    }

    #[tokio::test]
    async fn a_delay_has_a_limit() {
        let process = process().await;
        for (number, delay) in [(1, f64::MAX), (2, f64::INFINITY), (3, -1e300)] {
            let bytes = number.to_string().into_bytes();
            let job = Leaving { number, list: None, raw: &bytes, bytes: &bytes, delay };
            let moved = process.store.settle(&process.registration, To::Retry, 0, &[job]).await.unwrap();
            assert_eq!(moved, [Moved::Yes], "{delay}");
        }
    }

    #[tokio::test]
    async fn scores_go_by_the_clock_of_redis_and_are_never_shared() {
        let process = process().await;
        for to in [To::Retry, DEAD] {
            let jobs: Vec<Vec<u8>> = (0..300).map(|number: u32| number.to_string().into_bytes()).collect();
            // Delays that are equal, and delays that are some microseconds apart.
            let delays = [20.0, 20.000_001, 20.000_003, 19.999_999, 19.5];
            let leaving: Vec<Leaving<'_>> = jobs
                .iter()
                .zip(100..)
                .zip(delays.into_iter().cycle())
                .map(|((bytes, number), delay)| Leaving { number, list: None, raw: bytes, bytes, delay })
                .collect();
            let (first, second) = leaving.split_at(100);
            for part in [first, second] {
                let moved = process.store.settle(&process.registration, to, 0, part).await.unwrap();
                assert!(moved.iter().all(|moved| *moved == Moved::Yes), "{moved:?}");
            }
        }
        let (now, _): (u64, u64) = process.call("TIME").await;
        for (set, jobs) in [("retry", 300), ("dead", 99)] {
            let entries: Vec<(String, f64)> = process.call(&format!("ZRANGE {set} 0 -1 WITHSCORES")).await;
            let scores: HashSet<u64> = entries.iter().map(|(_, score)| score.to_bits()).collect();
            assert_eq!((entries.len(), scores.len()), (jobs, jobs), "{set}");
            let due = entries[0].1 - now as f64;
            assert!((17.0..=21.0).contains(&due), "{set}: due in {due} s");
        }
    }
}
