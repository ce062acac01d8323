//! Large jobs that leave private lists: Redis makes the bytes to store from those it holds.
//!
//! The bytes of a job cost their size several times on the way to Redis: in the script's call, in the command, and in the buffers of the
//! connection.

use std::ops::Range;

use super::claims::Moved;
use super::registration::Registration;
use super::settle::{LATEST, To};
use super::suspects::fingerprint;
use super::{Store, scripts};
use crate::error::Result;

/// One large job that leaves its private list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InPlace<'a> {
    /// Names this settlement: repeated with the same number it is done once.
    pub(crate) number: u64,
    /// The [epoch](Registration::epoch) it was claimed in.
    pub(crate) epoch: u64,
    /// Its private list.
    pub(crate) list: &'a str,
    /// Its bytes there.
    pub(crate) raw: &'a [u8],
    /// Its bytes in the place it goes to: ranges of those, each with new text behind it.
    pub(crate) pieces: &'a [(Range<usize>, String)],
    /// Seconds from now, by the clock of Redis, until it is due in a sorted set; [`LATEST`] at most.
    pub(crate) delay: f64,
}

impl Store {
    /// Moves a job to where it goes without sending its bytes. `None` if it is not in its list though it may be this process's: then
    /// [`settle`](Self::settle) it. Safe to repeat after silence, with the same number.
    ///
    /// The job is found by its SHA-1: of equal jobs in a list any one may leave, as with the bytes themselves.
    ///
    /// # Errors
    ///
    /// As [`settle`](Self::settle).
    pub(crate) async fn settle_in_place(
        &self,
        of: &Registration,
        to: To<'_>,
        job: &InPlace<'_>,
    ) -> Result<Option<Moved>> {
        match self.settle_in_place_once(of, to, job).await {
            Err(error) if self.mend_settlements(of, &error).await => self.settle_in_place_once(of, to, job).await,
            moved => moved,
        }
    }

    async fn settle_in_place_once(&self, of: &Registration, to: To<'_>, job: &InPlace<'_>) -> Result<Option<Moved>> {
        let InPlace { number, epoch, list, raw, pieces, delay } = *job;
        let (mut settle, answered) = to.begin(&scripts::SETTLE_IN_PLACE, of, epoch);
        settle.key(list);
        settle.arg(number).arg(fingerprint(raw)).arg(raw.len()).arg(delay.clamp(0.0, LATEST).to_string());
        for (range, text) in pieces {
            settle.arg(range.start + 1).arg(range.end).arg(text);
        }
        let moved: Result<(i8,)> = self.link.eval(to.how(), &settle).await;
        match moved {
            Ok((MISSING,)) => {
                // The script did not come as far as to take these.
                of.answered(answered.into_iter());
                Ok(None)
            }
            Ok((moved,)) => {
                of.answered(std::iter::once(number));
                Ok(Some(Moved::of_answer(moved)))
            }
            Err(error) => {
                of.answered(answered.into_iter());
                Err(error)
            }
        }
    }
}

/// The answer where the list does not hold the job.
const MISSING: i8 = -2;

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::sets::DeadLimits;
    use crate::testing::Redis;

    const SPAN: Duration = Duration::from_secs(30);
    const LIST: &str = "ferrokiq:batch:me|1|default";
    const RAW: &[u8] = b"{\"class\":\"A\",\"queue\":\"q\"}";
    const STORED: &str = "{\"class\":\"A\",\"queue\":\"other\",\"retry_count\":0}";
    const DEAD: To<'_> = To::Dead(DeadLimits { age: 1_000.0, keep: 100 });
    const ALL: [To<'_>; 4] = [To::Retry, DEAD, To::First("q"), To::Last("q")];

    struct Process {
        _redis: Redis,
        store: Store,
        registration: Registration,
    }

    async fn process() -> Process {
        let redis = Redis::start().unwrap();
        let store = Store::new(redis.options().unwrap());
        let registration = Registration::of("me");
        store.register(&registration, SPAN, false).await.unwrap();
        Process { _redis: redis, store, registration }
    }

    impl Process {
        async fn call<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
            let mut call = redis::cmd(words[0]);
            call.arg(&words[1..]);
            self.store.link.query("test", &call).await.unwrap()
        }

        async fn fill(&self) {
            let raw = std::str::from_utf8(RAW).unwrap();
            let as_long = raw.replace('A', "B");
            self.call::<()>(&["DEL", "retry", "dead", "queue:q", LIST]).await;
            self.call::<()>(&["RPUSH", LIST, &as_long, "{}", raw, raw, &as_long]).await;
        }

        async fn settle(&self, number: u64, to: To<'_>) -> Option<Moved> {
            let queue = RAW.len() - 3;
            let pieces = [(0..queue, "other".to_owned()), (queue + 1..queue + 2, ",\"retry_count\":0}".to_owned())];
            let job = InPlace { number, epoch: 0, list: LIST, raw: RAW, pieces: &pieces, delay: 20.0 };
            self.store.settle_in_place(&self.registration, to, &job).await.unwrap()
        }

        async fn stored(&self, to: To<'_>) -> Vec<String> {
            match to {
                To::Retry => self.call(&["ZRANGE", "retry", "0", "-1"]).await,
                To::Dead(_) => self.call(&["ZRANGE", "dead", "0", "-1"]).await,
                To::First(_) | To::Last(_) => self.call(&["LRANGE", "queue:q", "0", "-1"]).await,
            }
        }
    }

    #[tokio::test]
    async fn redis_makes_the_bytes_to_store_and_settles_the_job_once() {
        let process = process().await;
        for (to, number) in ALL.into_iter().zip(1..) {
            process.fill().await;
            assert_eq!(process.settle(number, to).await, Some(Moved::Yes), "{to:?}");
            // As if the answer had been lost.
            process.registration.take_answered();
            assert_eq!(process.settle(number, to).await, Some(Moved::Yes), "{to:?}");
            assert_eq!(process.stored(to).await, [STORED], "{to:?}");
            let left: Vec<String> = process.call(&["LRANGE", LIST, "0", "-1"]).await;
            let raw = std::str::from_utf8(RAW).unwrap();
            let others = raw.replace('A', "B");
            assert_eq!(left, [&others, "{}", raw, &others], "{to:?}: the others stay");
        }
    }

    #[tokio::test]
    async fn a_job_that_is_not_in_its_list_is_stored_by_nobody() {
        let process = process().await;
        for to in ALL {
            process.call::<()>(&["DEL", LIST]).await;
            assert_eq!(process.settle(1, to).await, None, "{to:?}: it may be ours");
            process.call::<()>(&["SET", LIST, "something else"]).await;
            assert_eq!(process.settle(1, to).await, None, "{to:?}: there is no list");
        }
        process.call::<()>(&["HSET", "ferrokiq:settlements:me", "epoch", "1"]).await;
        assert_eq!(process.settle(1, To::Retry).await, Some(Moved::NotOurs), "another process fenced this one");
        process.call::<()>(&["DEL", "ferrokiq:settlements:me"]).await;
        assert_eq!(process.settle(1, To::Retry).await, Some(Moved::Unknown), "it is not registered");
        assert_eq!(process.call::<usize>(&["EXISTS", "retry", "dead", "queue:q"]).await, 0);
    }

    #[tokio::test]
    async fn records_only_settlements_without_an_answer() {
        let process = process().await;
        for number in 1..=20 {
            process.fill().await;
            process.settle(number, To::Retry).await;
            process.call::<()>(&["DEL", LIST]).await;
            assert_eq!(process.settle(1_000, To::Retry).await, None);
        }
        assert_eq!(process.call::<usize>(&["HLEN", "ferrokiq:settlements:me"]).await, 2, "the epoch, and the last one");
    }
}
