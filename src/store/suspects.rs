//! Payloads that processes died with: the jobs of a dead process go back to their queues, and the payloads that may have killed it are
//! counted.

use redis::{Pipeline, ScriptInvocation};

use super::{Store, keys, scripts};
use crate::error::Result;

/// Seconds the deaths of a payload are counted over: 72 h.
const POISON_TTL: u64 = 72 * 60 * 60;
/// Jobs, and bytes of payloads, that one step of a recovery moves at most; a larger job is moved by itself.
const STEP: (usize, usize) = (100, 1_024 * 1_024);
/// How often one step looks which jobs are next, while somebody else moves them.
const LOOKS: usize = 3;
/// SHA-1s of one lookup.
const LOOKUP: usize = 500;

/// What one step of a recovery moved.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recovered {
    /// Jobs that are in their queue again.
    pub(crate) back: usize,
    /// Jobs in the list of convicts.
    pub(crate) convicted: usize,
    /// Jobs that are still in the private list.
    pub(crate) left: usize,
}

/// The suspects among the payloads that were looked up.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    /// How many suspects there are in Redis, counted up to the limit of the lookup.
    pub(crate) count: usize,
    /// SHA-1, and how many processes died with the payload.
    pub(crate) found: Vec<(String, u32)>,
}

/// The name of a payload among the suspects: its SHA-1 in hexadecimal.
#[cfg(feature = "server")]
pub(crate) fn fingerprint(payload: &[u8]) -> String {
    sha1_smol::Sha1::from(payload).digest().to_string()
}

impl Store {
    /// Moves jobs of a dead process's private list back to their queue: up to 100, or 1 MB of them. A job that `convicting` processes died with
    /// within 72 h, the last one while it ran alone there, goes to the [convicts](Self::convicts). Calling again after silence is safe.
    pub(crate) async fn recover(
        &self,
        identity: &str,
        (list, queue): (&str, &str),
        convicting: u64,
    ) -> Result<Recovered> {
        let mut recovered = Recovered::default();
        // Nobody but this process moves jobs of the list, unless another one has the turn by now.
        for _ in 0..LOOKS {
            let mut look = scripts::FINGERPRINTS.key(list);
            let seen: Vec<String> = self.eval("recover", look.arg(STEP.0).arg(STEP.1)).await?;
            recovered = self.recover_seen(identity, (list, queue), convicting, &seen).await?;
            if recovered.back + recovered.convicted > 0 || recovered.left == 0 {
                break;
            }
        }
        Ok(recovered)
    }

    /// Moves those jobs of a list that were seen there a moment ago, the newest first, by their [fingerprints](fingerprint).
    pub(super) async fn recover_seen(
        &self,
        identity: &str,
        (list, queue): (&str, &str),
        convicting: u64,
        seen: &[String],
    ) -> Result<Recovered> {
        let mut recover = scripts::RECOVER.key(list);
        recover
            .key(keys::queue(queue))
            .key(keys::QUEUES)
            .key(keys::convicts(identity, queue))
            .key(keys::batches(identity))
            .key(keys::REGISTRY)
            .key(keys::SUSPECTS)
            .key(keys::begun(identity));
        recover.arg(queue).arg(convicting).arg(POISON_TTL).arg(identity);
        recover.arg(keys::begun_of_batch(list).map(|jobs| jobs.to_string()).unwrap_or_default());
        for fingerprint in seen {
            recover.key(keys::poison(fingerprint)).arg(fingerprint);
        }
        let (back, convicted, left) = self.eval("recover", &recover).await?;
        Ok(Recovered { back, convicted, left })
    }

    /// Looks up which payloads are suspects, by their [fingerprints](fingerprint). Counts the suspects in Redis up to `count`.
    pub(crate) async fn suspects(&self, fingerprints: &[String], count: usize) -> Result<Suspects> {
        let mut suspects = Suspects::default();
        for some in fingerprints.chunks(LOOKUP) {
            let mut lookup: ScriptInvocation<'_> = scripts::SUSPECTS.key(keys::SUSPECTS);
            lookup.arg(count);
            for fingerprint in some {
                lookup.key(keys::poison(fingerprint)).arg(fingerprint);
            }
            let answer: Vec<redis::Value> = self.eval("look for suspects", &lookup).await?;
            let mut answer = answer.into_iter();
            suspects.count =
                answer.next().map(redis::from_redis_value).transpose().map_or(0, Option::unwrap_or_default);
            while let (Some(fingerprint), Some(deaths)) = (answer.next(), answer.next()) {
                if let (Ok(fingerprint), Ok(deaths)) =
                    (redis::from_redis_value(fingerprint), redis::from_redis_value(deaths))
                {
                    suspects.found.push((fingerprint, deaths));
                }
            }
        }
        Ok(suspects)
    }

    /// Names a suspect that is about to begin in a process; `alone` if nothing else has begun there, nor will while the suspect is named so.
    pub(crate) async fn suspect_begins(&self, identity: &str, fingerprint: &str, alone: bool) -> Result<()> {
        let (begun, mark) = (keys::begun(identity), alone_mark(fingerprint));
        let mut pipeline = Pipeline::with_capacity(3);
        if alone {
            pipeline.cmd("SADD").arg(&begun).arg(fingerprint).arg(mark).ignore();
        } else {
            // It may have been about to begin alone before, and gone back to its queue instead.
            pipeline.cmd("SREM").arg(&begun).arg(mark).ignore();
            pipeline.cmd("SADD").arg(&begun).arg(fingerprint).ignore();
        }
        pipeline.cmd("EXPIRE").arg(&begun).arg(POISON_TTL).ignore();
        self.link.pipe_repeatable("name a suspect", &pipeline).await
    }

    /// Other jobs may begin beside a suspect from now on.
    pub(crate) async fn suspect_has_company(&self, identity: &str, fingerprint: &str) -> Result<()> {
        let mut srem = redis::cmd("SREM");
        srem.arg(keys::begun(identity)).arg(alone_mark(fingerprint));
        self.link.query("name the company of a suspect", &srem).await
    }

    /// A suspect ended, and its process did not: nothing is held against the payload any more.
    pub(crate) async fn acquit(&self, identity: &str, fingerprint: &str) -> Result<()> {
        let mut pipeline = Pipeline::with_capacity(3);
        pipeline.cmd("ZREM").arg(keys::SUSPECTS).arg(fingerprint).ignore();
        pipeline.cmd("UNLINK").arg(keys::poison(fingerprint)).ignore();
        pipeline.cmd("SREM").arg(keys::begun(identity)).arg(fingerprint).arg(alone_mark(fingerprint)).ignore();
        self.link.pipe_repeatable("acquit a job", &pipeline).await
    }
}

fn alone_mark(fingerprint: &str) -> String {
    format!("alone:{fingerprint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::claims::Private;

    #[test]
    fn the_name_of_a_list_holds_how_many_of_its_jobs_may_have_begun() {
        let list = Private::of("host:1:0123456789ab").for_capsule(5 + 64).list(17, "a|b.9|c");
        assert_eq!(list, "ferrokiq:batch:host:1:0123456789ab|17.69|a|b.9|c");
        assert_eq!(keys::begun_of_batch(&list), Some(69));
        assert_eq!(keys::queue_of_batch(&list), Some("a|b.9|c"));
        for other in ["ferrokiq:batch:a.example:1:0|7|low", "ferrokiq:batch:host:1:0|convicts|a.5", "no list"] {
            assert_eq!(keys::begun_of_batch(other), None, "{other}");
        }
    }
}
