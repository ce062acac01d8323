use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::payload::Payload;
use crate::server::settings::config::WireVersion;
use crate::store::metrics::MetricsForm;
use crate::time::{StampForm, Stamps};

/// Which Sidekiqs read what this server writes, and so how it writes.
///
/// Set, or read from the live processes. A process that only serves the Web UI or only enqueues does not register: set
/// [`WireVersion`] where that is the only old one.
#[derive(Debug)]
pub(crate) struct Dialect {
    told: WireVersion,
    stamps: Stamps,
    /// One bit for each major version of a live process.
    majors: AtomicU8,
    /// Whether a job came whose stamps are seconds: who pushed it reads seconds, live process or not.
    seconds: AtomicBool,
}

impl Dialect {
    /// `stamps` are shared with the client.
    pub(crate) fn new(told: WireVersion, stamps: Stamps) -> Self {
        let dialect = Self { told, stamps, majors: AtomicU8::new(0), seconds: AtomicBool::new(false) };
        dialect.stamps.set(dialect.form());
        dialect
    }

    /// How stamps of new payloads are written: milliseconds only if no Sidekiq before 8 reads them.
    pub(crate) fn stamps(&self) -> StampForm {
        self.stamps.form()
    }

    /// Whether busy jobs are shown under the key of Sidekiq 6.4 too.
    pub(crate) fn shows_work_to_6(&self) -> bool {
        matches!(self.told, WireVersion::Auto | WireVersion::V6)
    }

    /// The forms metrics are written in; 6 has none and is shown those of 8 by nobody.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = MetricsForm> {
        let eight = (self.reads(8) || !self.reads(7)).then_some(MetricsForm::Eight);
        // Who pushes seconds may look at a Web UI of Sidekiq 7.
        let seven = (self.reads(7) || self.seconds.load(Ordering::Relaxed)).then_some(MetricsForm::Seven);
        eight.into_iter().chain(seven)
    }

    /// Adapts to the live Ruby processes, of these major versions: stamps are written so that the oldest of them reads them.
    pub(crate) fn adapt_to(&self, majors: Vec<u32>) {
        if let Some(oldest) = self.learn_majors(majors.into_iter()) {
            tracing::info!(
                sidekiq = oldest,
                "writing stamps for this major version, the oldest among the live processes"
            );
        }
    }

    /// Learns the major versions of the live processes. Returns the oldest if stamps are written in another form from now
    /// on.
    fn learn_majors(&self, majors: impl Iterator<Item = u32>) -> Option<u32> {
        if self.told != WireVersion::Auto {
            return None;
        }
        let bits = majors.filter(|major| (6..=13).contains(major)).fold(0, |bits, major| bits | 1_u8 << (major - 6));
        self.majors.store(bits, Ordering::Relaxed);
        let (oldest, form) = (self.oldest(), self.form());
        let changed = form != self.stamps.form();
        self.stamps.set(form);
        changed.then_some(oldest)
    }

    /// Learns from a job that came. A producer before Sidekiq 8 is no live process, but its jobs tell; seconds are read by
    /// all, so they are written from then on.
    pub(crate) fn learn_from(&self, payload: &Payload) {
        if self.told == WireVersion::Auto
            && !self.seconds.load(Ordering::Relaxed)
            && payload.stamp_form() == Some(StampForm::Secs)
        {
            self.seconds.store(true, Ordering::Relaxed);
            self.stamps.set(StampForm::Secs);
        }
    }

    fn form(&self) -> StampForm {
        let seconds = self.oldest() < 8 || self.seconds.load(Ordering::Relaxed);
        if seconds { StampForm::Secs } else { StampForm::Millis }
    }

    fn reads(&self, major: u32) -> bool {
        match self.told {
            WireVersion::Auto => self.majors.load(Ordering::Relaxed) & 1 << (major - 6) != 0,
            WireVersion::V6 => major == 6,
            WireVersion::V7 => major == 7,
            WireVersion::V8 => major == 8,
        }
    }

    fn oldest(&self) -> u32 {
        (6..=13).find(|major| self.reads(*major)).unwrap_or(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(told: WireVersion) -> Dialect {
        Dialect::new(told, Stamps::default())
    }

    #[test]
    fn writes_for_the_oldest_that_is_heard() {
        let dialect = dialect(WireVersion::Auto);
        assert_eq!(dialect.stamps(), StampForm::Millis);
        assert_eq!(dialect.metrics().collect::<Vec<_>>(), [MetricsForm::Eight]);

        assert_eq!(dialect.learn_majors([8, 7].into_iter()), Some(7));
        assert_eq!(dialect.stamps(), StampForm::Secs);
        assert_eq!(dialect.metrics().collect::<Vec<_>>(), [MetricsForm::Eight, MetricsForm::Seven]);
        assert_eq!(dialect.learn_majors([7].into_iter()), None);
        assert_eq!(dialect.metrics().collect::<Vec<_>>(), [MetricsForm::Seven]);

        assert_eq!(dialect.learn_majors([8].into_iter()), Some(8));
        assert_eq!(dialect.stamps(), StampForm::Millis);
        assert!(dialect.shows_work_to_6());
    }

    #[test]
    fn learns_from_jobs_of_producers_nobody_sees() {
        let dialect = dialect(WireVersion::Auto);
        dialect.learn_from(&Payload::parse(r#"{"created_at":1795408384695}"#).unwrap());
        assert_eq!(dialect.stamps(), StampForm::Millis);
        dialect.learn_from(&Payload::parse(r#"{"created_at":1795408384.5}"#).unwrap());
        assert_eq!(dialect.stamps(), StampForm::Secs);
        dialect.learn_majors([8].into_iter());
        assert_eq!(dialect.stamps(), StampForm::Secs);
        assert_eq!(dialect.metrics().collect::<Vec<_>>(), [MetricsForm::Eight, MetricsForm::Seven]);
    }

    #[test]
    fn does_as_it_is_told() {
        for (told, stamps, metrics, work) in [
            (WireVersion::V6, StampForm::Secs, MetricsForm::Eight, true),
            (WireVersion::V7, StampForm::Secs, MetricsForm::Seven, false),
            (WireVersion::V8, StampForm::Millis, MetricsForm::Eight, false),
        ] {
            let dialect = dialect(told);
            dialect.learn_majors([6, 7, 8].into_iter());
            assert_eq!(dialect.stamps(), stamps);
            assert_eq!(dialect.metrics().collect::<Vec<_>>(), [metrics]);
            assert_eq!(dialect.shows_work_to_6(), work);
        }
    }
}
