//! What the processors are doing and have done, read by the heartbeat.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

use crate::error::{ErrorKind, Result};
use crate::payload::Payload;
use crate::server::unit::UnitOfWork;
use crate::store::Store;
use crate::time::{EpochSecs, Utc};

/// Jobs this process has run.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    processed: AtomicU64,
    failed: AtomicU64,
    /// How many of each were flushed.
    flushed: Mutex<(u64, u64)>,
}

impl Counters {
    pub(crate) fn processed(&self) {
        self.processed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    fn flushed(&self) -> MutexGuard<'_, (u64, u64)> {
        self.flushed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what was counted since the last flush to the statistics in Redis. Each count is added at most once; it is kept for the next
    /// flush only if Redis certainly did not add it.
    pub(crate) async fn flush(&self, store: &Store) -> Result<()> {
        let counted = self.take();
        if counted == (0, 0) {
            return Ok(());
        }
        let flushed = store.count(counted.0, counted.1, Utc::from(EpochSecs::now())).await;
        if flushed.as_ref().is_err_and(|error| error.kind() == ErrorKind::Redis) {
            self.restore(counted);
        }
        flushed
    }

    /// Processed and failed since the last time.
    fn take(&self) -> (u64, u64) {
        let now = (self.processed.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        let before = std::mem::replace(&mut *self.flushed(), now);
        (now.0 - before.0, now.1 - before.1)
    }

    /// Redis did not add them: count them the next time.
    fn restore(&self, (processed, failed): (u64, u64)) {
        let mut flushed = self.flushed();
        *flushed = (flushed.0 - processed, flushed.1 - failed);
    }
}

/// What one processor is doing; `None` while it waits.
#[derive(Debug)]
pub(crate) struct WorkSlot {
    tid: String,
    current: Mutex<Option<Work>>,
}

/// A job that runs.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) unit: UnitOfWork,
    pub(crate) since: Instant,
    pub(crate) run_at: i64,
}

impl WorkSlot {
    fn current(&self) -> MutexGuard<'_, Option<Work>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the processor, as Ruby names a thread.
    pub(crate) fn tid(&self) -> &str {
        &self.tid
    }

    /// Says when it began.
    pub(crate) fn begin(&self, unit: &UnitOfWork) -> Instant {
        let since = Instant::now();
        *self.current() = Some(Work { unit: unit.clone(), since, run_at: EpochSecs::now().secs() });
        since
    }

    pub(crate) fn end(&self) {
        *self.current() = None;
    }
}

/// The slots of all processors of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkState(Arc<Mutex<Vec<Arc<WorkSlot>>>>);

#[derive(Serialize)]
struct WorkJson<'a> {
    queue: &'a str,
    payload: &'a str,
    run_at: i64,
}

impl WorkState {
    fn slots(&self) -> MutexGuard<'_, Vec<Arc<WorkSlot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot for one more processor.
    pub(crate) fn add(&self) -> Arc<WorkSlot> {
        let mut slots = self.slots();
        let slot = Arc::new(WorkSlot { tid: tid(slots.len()), current: Mutex::default() });
        slots.push(Arc::clone(&slot));
        slot
    }

    /// How many jobs run now.
    pub(crate) fn busy(&self) -> usize {
        self.slots().iter().filter(|slot| slot.current().is_some()).count()
    }

    /// What runs now, by tid.
    pub(crate) fn running(&self) -> Vec<(String, Work)> {
        self.slots().iter().filter_map(|slot| slot.current().clone().map(|work| (slot.tid.clone(), work))).collect()
    }

    /// What runs now as the work set holds it: tid, and JSON with the payload's own bytes as a string. Of payloads over [`SMALL`] beyond the first
    /// [`SHOWN`] bytes it holds the short form: a heartbeat that writes many megabytes comes too late.
    pub(crate) fn as_json(&self) -> Vec<(String, String)> {
        let mut left = SHOWN;
        self.running()
            .into_iter()
            .filter_map(|(tid, work)| {
                let bytes = work.unit.bytes();
                let payload = if bytes.len() <= SMALL.max(left) {
                    left = left.saturating_sub(bytes.len());
                    String::from_utf8_lossy(bytes)
                } else {
                    without_arguments(&work.unit)?.into()
                };
                let json = WorkJson { queue: work.unit.queue(), payload: &payload, run_at: work.run_at };
                serde_json::to_string(&json).ok().map(|json| (tid, json))
            })
            .collect()
    }
}

/// Bytes of payloads that one heartbeat shows whole: 1 MiB.
const SHOWN: usize = 1_024 * 1_024;
/// Payloads up to 4 KiB are shown whole in any case.
const SMALL: usize = 4_096;

/// What a payload is displayed by, without its arguments; `None` if it is unreadable. Under the name that is displayed: Sidekiq looks for the
/// arguments of a wrapped job inside those of its wrapper.
fn without_arguments(unit: &UnitOfWork) -> Option<String> {
    let payload = unit.payload().ok()?;
    let mut short = Payload::new(payload.display_class(), []);
    for key in ["queue", "jid", "retry", "tags", "created_at", "enqueued_at"] {
        if let Some(value) = payload.get(key).filter(|value| value.len() <= 512) {
            short.insert_raw(key, value);
        }
    }
    Some(short.into_string())
}

/// A base-36 name like those of Ruby's threads: opaque, unique within the process.
fn tid(slot: usize) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    // Spread over the three-digit range so that names of neighbours differ at sight.
    let mut number = 36 * 36 + (slot * 7_919) % (35 * 36 * 36) + slot / (35 * 36 * 36) * 36 * 36 * 36;
    let mut text = Vec::new();
    while number > 0 {
        text.push(DIGITS[number % 36]);
        number /= 36;
    }
    text.reverse();
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::unit::Batch;

    #[test]
    fn names_no_two_processors_alike() {
        let mut tids: Vec<String> = (0..60_000).map(tid).collect();
        tids.sort_unstable();
        tids.dedup();
        assert_eq!(tids.len(), 60_000);
    }

    #[test]
    fn shows_the_bytes_that_run() {
        let state = WorkState::default();
        let (slot, _idle) = (state.add(), state.add());
        let batch = Batch::new(String::new(), "critical".into(), vec![br#"{"class":"A"}"#.to_vec()]);
        slot.begin(&batch.units().next().unwrap());

        let shown = state.as_json();
        assert_eq!(shown.len(), 1);
        assert!(shown[0].1.starts_with(r#"{"queue":"critical","payload":"{\"class\":\"A\"}","run_at":"#));
        slot.end();
        assert!(state.running().is_empty());
    }

    #[test]
    fn a_heartbeat_shows_few_large_payloads_whole() {
        let state = WorkState::default();
        let (large, small) = ("x".repeat(600_000), "x".repeat(3_000));
        let wrapped = r#""class":"Sidekiq::ActiveJob::Wrapper","wrapped":"Report""#;
        let jobs = [&large, &large, &large, &small].map(|text| {
            format!(r#"{{{wrapped},"args":["{text}"],"jid":"j","rest":"{}"}}"#, "y".repeat(text.len() / 6))
        });
        let batch = Batch::new(String::new(), "q".into(), jobs.iter().map(|job| job.clone().into_bytes()).collect());
        for unit in batch.units() {
            state.add().begin(&unit);
        }
        let shown: Vec<String> = state
            .as_json()
            .iter()
            .map(|(_, json)| {
                serde_json::from_str::<serde_json::Value>(json).unwrap()["payload"].as_str().unwrap().into()
            })
            .collect();
        let short = r#"{"class":"Report","args":[],"jid":"j"}"#;
        assert_eq!(shown, [&*jobs[0], short, short, &*jobs[3]]);
    }

    #[cfg(all(unix, feature = "testing"))]
    #[tokio::test]
    async fn a_flush_adds_each_count_at_most_once() {
        use crate::testing::Redis;
        use crate::testing::refusing::{Fault, Refusing, Which};
        use ErrorKind::{Ambiguous, Partial, Redis as Refused};

        // The commands of a flush: MULTI, INCRBY, INCRBY, EXPIRE for `processed`, the same for `failed`, EXEC.
        const PROCESSED: usize = 1;
        const FAILED: usize = 4;
        const EXEC: usize = 7;
        let redis = Redis::start().unwrap();
        let near = redis.dir().join("proxy.sock");
        let proxy = Refusing::start(&near, &redis.dir().join("redis.sock")).unwrap();
        let store = Store::new(format!("unix://{}", near.display()).parse().unwrap());
        let counters = Counters::default();
        for (fault, kind, total) in [
            (Some((PROCESSED, Fault::Refuse("OOM"))), Some(Refused), (0, 0)),
            (None, None, (2, 2)),
            (Some((FAILED, Fault::Refuse("WRONGTYPE"))), Some(Partial), (3, 2)),
            (Some((FAILED, Fault::Refuse("WRONGTYPE"))), Some(Partial), (4, 2)),
            (Some((EXEC, Fault::LoseAnswer)), Some(Ambiguous), (5, 3)),
            (None, None, (6, 4)),
        ] {
            counters.processed();
            counters.failed();
            proxy.plan(fault.map(|(at, fault)| (Which::Number(at), fault)));
            let flushed = counters.flush(&store).await;
            assert_eq!(flushed.err().map(|error| error.kind()), kind, "{fault:?}");
            let totals = store.totals().await.unwrap();
            assert_eq!((totals.processed, totals.failed), total, "{fault:?}");
        }
        proxy.plan(None);
        counters.flush(&store).await.unwrap();
        assert_eq!(proxy.seen(), [] as [String; 0], "nothing is left to count");
    }

    #[test]
    fn loses_no_count_when_a_flush_fails() {
        let counters = Counters::default();
        counters.processed();
        counters.failed();
        let taken = counters.take();
        counters.processed();
        counters.restore(taken);
        assert_eq!(counters.take(), (2, 1));
    }
}
