//! What a beat writes: statistics, the work set, the process hash, metrics; and the signals it reads.

use std::time::{Duration, Instant};

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

/// What a class's jobs took since the last flush.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClassMetrics {
    pub(crate) processed: u64,
    pub(crate) failed: u64,
    pub(crate) ms: u64,
    /// Successful runs by duration.
    pub(crate) histogram: [u64; 26],
}

/// How a major version of Sidekiq keys its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricsForm {
    /// By the minute.
    Seven,
    /// By the minute and by ten minutes.
    Eight,
}

impl MetricsForm {
    fn histogram(self, class: &str, Utc { day, hour, minute, .. }: Utc) -> String {
        match self {
            Self::Seven => format!("{class}-{day:02}-{hour:02}:{minute}"),
            Self::Eight => format!("h|{class}-{day}-{hour}:{minute}"),
        }
    }

    /// Keys of the totals and how many seconds they are kept.
    fn totals(self, Utc { year, month, day, hour, minute }: Utc) -> Vec<(String, u64)> {
        match self {
            Self::Seven => vec![(format!("j|{year:04}{month:02}{day:02}|{hour}:{minute}"), keys::MINUTE_TTL)],
            Self::Eight => {
                let minute = format!("j|{:02}{month:02}{day:02}|{hour}:{minute:02}", year % 100);
                vec![(minute[..minute.len() - 1].to_owned(), keys::TEN_MINUTES_TTL), (minute, keys::MINUTE_TTL)]
            }
        }
    }
}

impl Store {
    /// Adds to the counters of all time and of the day.
    pub(crate) async fn count(&self, processed: u64, failed: u64, now: Utc) -> Result<()> {
        let day = format!("{:04}-{:02}-{:02}", now.year, now.month, now.day);
        let mut pipeline = Pipeline::with_capacity(6);
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
        pipeline.atomic();
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

    /// How long Redis takes to answer.
    pub(crate) async fn ping(&self) -> Result<Duration> {
        let asked = Instant::now();
        let _: () = self.link.query("ping", &cmd("PING")).await?;
        Ok(asked.elapsed())
    }

    /// Shows the process to the world. Returns whether its hash was still there, and at most one signal.
    pub(crate) async fn beat(&self, beat: &Beat<'_>) -> Result<(bool, Option<String>)> {
        let mut pipeline = Pipeline::with_capacity(5);
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
        pipeline.cmd("RPOP").arg(keys::signals(beat.identity));
        self.link.pipe("heartbeat", &pipeline).await
    }

    /// Takes the process off the Busy page; its hash is left to expire, as Ruby does.
    pub(crate) async fn clear_heartbeat(&self, identity: &str) -> Result<()> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("SREM").arg(keys::PROCESSES).arg(identity).ignore();
        pipeline.cmd("UNLINK").arg(keys::work(identity)).arg(keys::work_of_6(identity)).ignore();
        self.link.pipe("clear the heartbeat", &pipeline).await
    }

    /// Adds to the metrics of this minute, in the forms that are read.
    pub(crate) async fn write_metrics(
        &self,
        metrics: &[(&str, ClassMetrics)],
        forms: &[MetricsForm],
        now: Utc,
    ) -> Result<()> {
        let mut pipeline = Pipeline::new();
        for form in forms {
            for (class, of_class) in metrics.iter().filter(|(_, of_class)| of_class.histogram.iter().any(|n| *n > 0)) {
                let key = form.histogram(class, now);
                let bitfield = pipeline.cmd("BITFIELD").arg(&key).arg("OVERFLOW").arg("SAT");
                for (bucket, runs) in of_class.histogram.iter().enumerate().filter(|(_, runs)| **runs > 0) {
                    bitfield.arg("INCRBY").arg("u16").arg(format!("#{bucket}")).arg(*runs);
                }
                pipeline.ignore();
                pipeline.cmd("EXPIRE").arg(&key).arg(keys::MINUTE_TTL).ignore();
            }
            for (key, ttl) in form.totals(now) {
                for (class, of_class) in metrics {
                    for (field, value) in [("ms", of_class.ms), ("p", of_class.processed), ("f", of_class.failed)] {
                        // Ruby writes `ms` with a success even when it is 0, and leaves out what never happened.
                        let happened = if field == "ms" { of_class.processed > of_class.failed } else { value > 0 };
                        if happened {
                            pipeline.cmd("HINCRBY").arg(&key).arg(format!("{class}|{field}")).arg(value).ignore();
                        }
                    }
                }
                pipeline.cmd("EXPIRE").arg(&key).arg(ttl).ignore();
            }
        }
        self.link.pipe("write metrics", &pipeline).await
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
