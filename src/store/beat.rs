//! What a beat writes: statistics, the work set, the process hash; and the signals it takes.

use redis::{Pipeline, cmd};

use super::{Store, keys};
use crate::error::Result;
use crate::time::Utc;

/// One beat of a process.
#[derive(Debug)]
pub(crate) struct Beat<'a> {
    pub(crate) identity: &'a str,
    /// The process info as JSON, the same for the life of a process.
    pub(crate) info: &'a str,
    pub(crate) concurrency: usize,
    pub(crate) busy: usize,
    /// Epoch seconds as Ruby writes a float.
    pub(crate) at: String,
    pub(crate) rtt_us: u128,
    pub(crate) quiet: bool,
    pub(crate) rss_kb: u64,
}

impl Store {
    /// Adds to the counters of all time and of the day: to all of them, unless one holds another type
    /// ([`ErrorKind::Partial`](crate::ErrorKind::Partial)).
    pub(crate) async fn count(&self, processed: u64, failed: u64, now: Utc) -> Result<()> {
        let day = format!("{:04}-{:02}-{:02}", now.year, now.month, now.day);
        let mut pipeline = Pipeline::with_capacity(6);
        pipeline.atomic();
        for (name, count) in [("processed", processed), ("failed", failed)] {
            let of_day = format!("stat:{name}:{day}");
            pipeline.cmd("INCRBY").arg(format!("stat:{name}")).arg(count).ignore();
            pipeline.cmd("INCRBY").arg(&of_day).arg(count).ignore();
            pipeline.cmd("EXPIRE").arg(&of_day).arg(keys::DAY_TTL).ignore();
        }
        self.link.pipe("flush statistics", &pipeline).await
    }

    /// Replaces the work set: pairs of tid and work as JSON. `for_6` writes it under the key of Sidekiq 6.4 too.
    pub(crate) async fn write_work(&self, identity: &str, work: &[(String, String)], for_6: bool) -> Result<()> {
        let (key, key_of_6) = (keys::work(identity), keys::work_of_6(identity));
        let both = [key.as_str(), &key_of_6];
        let written = if for_6 { &both[..] } else { &both[..1] };
        let mut pipeline = Pipeline::with_capacity(5);
        // An idle process only deletes, which needs no transaction.
        if !work.is_empty() {
            pipeline.atomic();
        }
        pipeline.cmd("UNLINK").arg(written).ignore();
        for key in written.iter().filter(|_| !work.is_empty()) {
            let hset = pipeline.cmd("HSET").arg(*key);
            for (tid, job) in work {
                hset.arg(tid).arg(job);
            }
            pipeline.ignore();
            pipeline.cmd("EXPIRE").arg(*key).arg(keys::PROCESS_TTL).ignore();
        }
        self.link.pipe("write the work set", &pipeline).await
    }

    /// Takes the oldest signal that the Web UI left for a process. Not part of the beat: a refused part of that must not lose it.
    pub(crate) async fn take_signal(&self, identity: &str) -> Result<Option<String>> {
        self.link.query("take a signal", cmd("RPOP").arg(keys::signals(identity))).await
    }

    /// Shows the process to the world. Returns whether its hash was still there.
    pub(crate) async fn beat(&self, beat: &Beat<'_>) -> Result<bool> {
        let mut pipeline = Pipeline::with_capacity(4);
        pipeline.atomic();
        pipeline.cmd("SADD").arg(keys::PROCESSES).arg(beat.identity).ignore();
        pipeline.cmd("EXISTS").arg(beat.identity);
        pipeline
            .cmd("HSET")
            .arg(beat.identity)
            .arg("info")
            .arg(beat.info)
            .arg("concurrency")
            .arg(beat.concurrency)
            .arg("busy")
            .arg(beat.busy)
            .arg("beat")
            .arg(&beat.at)
            .arg("rtt_us")
            .arg(beat.rtt_us.to_string())
            .arg("quiet")
            .arg(if beat.quiet { "true" } else { "false" })
            .arg("rss")
            .arg(beat.rss_kb)
            .ignore();
        pipeline.cmd("EXPIRE").arg(beat.identity).arg(keys::PROCESS_TTL).ignore();
        let (known,): (bool,) = self.link.pipe("heartbeat", &pipeline).await?;
        Ok(known)
    }

    /// Takes the process off the Busy page; its hash is left to expire, as Ruby does.
    pub(crate) async fn clear_heartbeat(&self, identity: &str) -> Result<()> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("SREM").arg(keys::PROCESSES).arg(identity).ignore();
        pipeline.cmd("UNLINK").arg(keys::work(identity)).arg(keys::work_of_6(identity)).ignore();
        self.link.pipe_repeatable("clear the heartbeat", &pipeline).await
    }

    /// How many processes there are, for the pace of the pollers.
    pub(crate) async fn process_count(&self) -> Result<usize> {
        self.link.query("count processes", cmd("SCARD").arg(keys::PROCESSES)).await
    }

    /// Takes processes whose hash expired off `processes`; at most one process does so in a minute.
    pub(crate) async fn clean_up_processes(&self) -> Result<()> {
        let turn: Option<String> = self
            .link
            .query("take a turn", cmd("SET").arg(keys::PROCESS_CLEANUP).arg(1).arg("NX").arg("EX").arg(60))
            .await?;
        if turn.is_none() {
            return Ok(());
        }
        let identities = self.processes().await?;
        let infos = self.process_infos(&identities).await?;
        let gone: Vec<&String> =
            identities.iter().zip(&infos).filter(|(_, info)| info.is_none()).map(|(identity, _)| identity).collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.link.query("forget processes", cmd("SREM").arg(keys::PROCESSES).arg(&gone)).await
    }
}
