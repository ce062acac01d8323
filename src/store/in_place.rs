//! Large jobs that leave private lists, and large due jobs: Redis makes the bytes to store from those it holds.
//!
//! The bytes of a job cost their size several times on the way to Redis: in the script's call, in the command, and in the buffers of the
//! connection.

use std::ops::Range;

use redis::ScriptInvocation;

use super::claims::Moved;
use super::registration::{FOREIGN, Registration};
use super::sets::{DeadLimits, Places, Promotion, WaitingSet, begin_promotion};
use super::settle::{Answer, LATEST, MISSING, To};
use super::suspects::fingerprint;
use super::{Store, is_denied, scripts};
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

/// One large due member, for [`Store::promote_in_place`].
#[derive(Debug)]
pub(crate) struct DueInPlace<'a> {
    /// Its score, as Redis writes it.
    pub(crate) score: &'a str,
    pub(crate) member: &'a [u8],
    /// Its destination. The bytes of the promotion are not used.
    pub(crate) to: Promotion<'a>,
    /// Its new bytes: ranges of the present ones, each with new text behind it. None for those of [`Promotion::Bury`].
    pub(crate) pieces: &'a [(Range<usize>, String)],
}

/// Adds the bytes to store to a call: ranges of those that Redis holds, each with new text behind it, as `lib/pieces.lua` reads them.
pub(super) fn add_pieces(call: &mut ScriptInvocation<'_>, pieces: &[(Range<usize>, String)]) {
    for (range, text) in pieces {
        // Lua counts bytes from 1, and its ranges include their last byte.
        call.arg(range.start + 1).arg(range.end).arg(text);
    }
}

impl Store {
    /// As [`promote`](Self::promote) for one member, whose bytes are not sent. Returns `None` if too many members have its score to find it among
    /// them: then promote it with its bytes.
    pub(crate) async fn promote_in_place(
        &self,
        set: WaitingSet,
        due: &DueInPlace<'_>,
        limits: Option<DeadLimits>,
    ) -> Result<Option<(usize, usize)>> {
        let DueInPlace { score, member, to, pieces } = due;
        let mut places = Places::default();
        let (what, place) = to.destination(&mut places);
        let mut promote = begin_promotion(&scripts::PROMOTE_IN_PLACE, set, limits);
        places.declare(&mut promote);
        promote.arg(*score).arg(fingerprint(member)).arg(member.len()).arg(what).arg(&*place);
        add_pieces(&mut promote, pieces);
        let promoted: Result<(isize, usize)> = self.eval("promote", &promote).await;
        if promoted.as_ref().is_err_and(is_denied) && to.queue().is_some() {
            self.check_promotion(set, limits).await?;
            return Ok(Some((0, 1)));
        }
        let (moved, stuck) = promoted?;
        Ok(usize::try_from(moved).ok().map(|moved| (moved, stuck)))
    }

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
        let InPlace { number, epoch, list, raw, pieces, delay } = *job;
        let numbers = [number];
        let moved = self.run_settlement(&scripts::SETTLE_IN_PLACE, of, (to, epoch), &numbers, |settle| {
            settle.key(list).arg(fingerprint(raw)).arg(raw.len()).arg(delay.clamp(0.0, LATEST).to_string());
            add_pieces(settle, pieces);
        });
        match moved.await?.first() {
            Some(Answer::Code(code)) if *code != MISSING => Ok(Some(Moved::of_answer(*code))),
            _ => Ok(None),
        }
    }

    /// As [`bury`](Self::bury) for a large job, which goes to the dead set as these pieces of its bytes.
    pub(crate) async fn bury_in_place(
        &self,
        identity: &str,
        list: &str,
        raw: &[u8],
        pieces: &[(Range<usize>, String)],
        limits: DeadLimits,
    ) -> Result<Moved> {
        let job = InPlace { number: 0, epoch: FOREIGN, list, raw, pieces, delay: 0.0 };
        let moved = self.settle_in_place(&Registration::of(identity), To::Dead(limits), &job).await?;
        Ok(moved.unwrap_or(Moved::NotOurs))
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use super::*;
    use crate::store::registration::ANSWERED_TOGETHER;
    use crate::store::settle::tests::{DEAD, LIST, Process, process};

    const RAW: &[u8] = b"{\"class\":\"A\",\"queue\":\"q\"}";
    const STORED: &str = "{\"class\":\"A\",\"queue\":\"other\",\"retry_count\":0}";
    const ALL: [To<'_>; 5] = [To::Retry, To::Schedule, DEAD, To::First("q"), To::Last("q")];

    impl Process {
        async fn fill(&self) {
            let raw = std::str::from_utf8(RAW).unwrap();
            let as_long = raw.replace('A', "B");
            self.call::<()>(&format!("DEL retry schedule dead queue:q {LIST}")).await;
            self.call::<()>(&format!("RPUSH {LIST} {as_long} {{}} {raw} {raw} {as_long}")).await;
        }

        async fn settle_in_place(&self, number: u64, to: To<'_>) -> Option<Moved> {
            let queue = RAW.len() - 3;
            let pieces = [(0..queue, "other".to_owned()), (queue + 1..queue + 2, ",\"retry_count\":0}".to_owned())];
            let job = InPlace { number, epoch: 0, list: LIST, raw: RAW, pieces: &pieces, delay: 20.0 };
            self.store.settle_in_place(&self.registration, to, &job).await.unwrap()
        }

        async fn stored(&self, to: To<'_>) -> Vec<String> {
            match to {
                To::Retry => self.call("ZRANGE retry 0 -1").await,
                To::Schedule => self.call("ZRANGE schedule 0 -1").await,
                To::Dead(_) => self.call("ZRANGE dead 0 -1").await,
                To::First(_) | To::Last(_) => self.call("LRANGE queue:q 0 -1").await,
                To::Done => Vec::new(),
            }
        }
    }

    #[tokio::test]
    async fn redis_makes_the_bytes_to_store_and_settles_the_job_once() {
        let process = process().await;
        for (to, number) in ALL.into_iter().zip(1..) {
            process.fill().await;
            assert_eq!(process.settle_in_place(number, to).await, Some(Moved::Yes), "{to:?}");
            // As if the answer had been lost.
            process.registration.take_answered();
            assert_eq!(process.settle_in_place(number, to).await, Some(Moved::Yes), "{to:?}");
            assert_eq!(process.stored(to).await, [STORED], "{to:?}");
            let left: Vec<String> = process.call(&format!("LRANGE {LIST} 0 -1")).await;
            let raw = std::str::from_utf8(RAW).unwrap();
            let others = raw.replace('A', "B");
            assert_eq!(left, [&others, "{}", raw, &others], "{to:?}: the others stay");
        }
    }

    #[tokio::test]
    async fn a_job_that_is_not_in_its_list_is_stored_by_nobody() {
        let process = process().await;
        for to in ALL {
            process.call::<()>(&format!("DEL {LIST}")).await;
            assert_eq!(process.settle_in_place(1, to).await, None, "{to:?}: it may be ours");
            process.call::<()>(&format!("SET {LIST} something-else")).await;
            assert_eq!(process.settle_in_place(1, to).await, None, "{to:?}: there is no list");
        }
        process.call::<()>("HSET ferrokiq:settlements:me epoch 1").await;
        assert_eq!(
            process.settle_in_place(1, To::Retry).await,
            Some(Moved::NotOurs),
            "another process fenced this one"
        );
        process.call::<()>("DEL ferrokiq:settlements:me").await;
        assert_eq!(process.settle_in_place(1, To::Retry).await, Some(Moved::Unknown), "it is not registered");
        assert_eq!(process.call::<usize>("EXISTS retry dead queue:q").await, 0);
    }

    #[tokio::test]
    async fn records_only_settlements_without_an_answer() {
        let process = process().await;
        for number in 1..=50 {
            process.fill().await;
            process.settle_in_place(number, To::Retry).await;
            process.call::<()>(&format!("DEL {LIST}")).await;
            assert_eq!(process.settle_in_place(1_000, To::Retry).await, None);
        }
        let recorded: usize = process.call("HLEN ferrokiq:settlements:me").await;
        assert!(recorded <= 2 + ANSWERED_TOGETHER, "what it is, the epoch, and the last ones: {recorded}");
    }
}
