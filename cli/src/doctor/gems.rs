//! Jobs that hold something of a Ruby gem: a Rust worker leaves them to Ruby.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use ferrokiq::api::{JobRecord, Neighbour};
use ferrokiq::payload::Gem;

use super::finding::{Finding, Place, many, some_of};

/// Classes that are counted by name, of each place; the names come from payloads, so their number needs a bound.
const CLASSES: usize = 1_000;

/// The jobs of one place that belong to a gem.
#[derive(Debug, Default)]
pub(super) struct GemJobs {
    /// Jobs by class; by gem, and whether only Rust serves their queue.
    classes: BTreeMap<(Gem, bool), BTreeMap<String, usize>>,
}

impl GemJobs {
    /// Counts a job if it belongs to a gem. `only_rust` are the queues that no Ruby process serves.
    pub(super) fn note(&mut self, record: &JobRecord, place: &Place, only_rust: &BTreeSet<String>) {
        let Some((payload, gem)) = record.payload().and_then(|payload| Some((payload, payload.gem()?))) else { return };
        let is_stuck = match place {
            Place::Queue(name) => only_rust.contains(name),
            Place::Schedule | Place::Retry => only_rust.contains(payload.queue()),
            Place::Dead => false,
        };
        let classes = self.classes.entry((gem, is_stuck)).or_default();
        let class = payload.display_class();
        let is_full = classes.len() >= CLASSES && !classes.contains_key(class);
        *classes.entry(if is_full { "other classes" } else { class }.to_owned()).or_default() += 1;
    }

    /// One finding for each gem: a note, or an error if no Ruby process serves the queue.
    pub(super) fn findings(self, place: &Place) -> impl Iterator<Item = Finding> {
        self.classes.into_iter().map(move |((gem, is_stuck), classes)| {
            let count = classes.values().sum();
            let mut names: Vec<_> = classes.into_iter().collect();
            names.sort_by_key(|(_, jobs)| Reverse(*jobs));
            let names: Vec<String> = names.into_iter().map(|(class, jobs)| format!("{class} {jobs}")).collect();
            let what = format!("{} in {} of {gem}: {}", many(count, "job"), place.key(), some_of(&names));
            let finding = if is_stuck {
                let advice =
                    "only Rust serves the queue and leaves them to Ruby: have Ruby serve it, or set foreign_jobs";
                Finding::error("gem-job", what, advice)
            } else {
                Finding::note("gem-job", what, "Ruby runs them; a Rust worker leaves them to Ruby (foreign_jobs)")
            };
            finding.times(count)
        })
    }
}

/// A finding for each gem that keys show.
pub(super) fn of_keys(gems: &BTreeSet<&'static Neighbour>) -> impl Iterator<Item = Finding> {
    gems.iter().map(|Neighbour { gem, effect, advice, .. }| {
        Finding::note("gem-keys", format!("{gem} is in use: {effect}"), *advice)
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    fn findings(place: &Place, jobs: &[&str], only_rust: &[&str]) -> Vec<(Severity, String, usize)> {
        let only_rust = only_rust.iter().map(|name| (*name).to_owned()).collect();
        let mut gems = GemJobs::default();
        jobs.iter().for_each(|job| gems.note(&JobRecord::of(job.as_bytes()), place, &only_rust));
        gems.findings(place).map(|finding| (finding.severity, finding.what, finding.count)).collect()
    }

    #[test]
    fn counts_jobs_of_gems_by_class() {
        let queue = Place::Queue("mixed".to_owned());
        let jobs = [
            r#"{"class":"HardJob","lock_digest":"d"}"#,
            r#"{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"Import","lock":"until_executed"}"#,
            r#"{"class":"HardJob","lock_digest":"e"}"#,
            r#"{"class":"Plain"}"#,
            r#"{"class":"HardJob","bid":"b"}"#,
            "nonsense",
        ];
        let unique = "3 jobs in queue:mixed of sidekiq-unique-jobs: HardJob 2, Import 1".to_owned();
        let batch = "1 job in queue:mixed of sidekiq-batch or Sidekiq Pro: HardJob 1".to_owned();
        for (only_rust, severity) in [("other", Severity::Note), ("mixed", Severity::Error)] {
            let found = findings(&queue, &jobs, &[only_rust]);
            assert_eq!(found, [(severity, unique.clone(), 3), (severity, batch.clone(), 1)]);
        }
    }

    #[test]
    fn a_retry_is_stuck_if_only_rust_serves_its_queue_and_a_dead_job_is_not() {
        let job = [r#"{"class":"A","queue":"rust","unique_for":60}"#];
        let severities = |place: Place| findings(&place, &job, &["rust"])[0].0;
        assert_eq!(severities(Place::Retry), Severity::Error);
        assert_eq!(severities(Place::Schedule), Severity::Error);
        assert_eq!(severities(Place::Dead), Severity::Note);
    }

    #[test]
    fn counts_no_more_classes_by_name_than_it_should() {
        let jobs: Vec<String> = (0..CLASSES + 500).map(|n| format!(r#"{{"class":"A{n}","bid":"b"}}"#)).collect();
        let mut gems = GemJobs::default();
        for job in &jobs {
            gems.note(&JobRecord::of(job.as_bytes()), &Place::Dead, &BTreeSet::new());
        }
        assert_eq!(gems.classes.values().next().map(BTreeMap::len), Some(CLASSES + 1));
        let found: Vec<_> = gems.findings(&Place::Dead).map(|finding| finding.what).collect();
        assert!(found.len() == 1 && found[0].contains(": other classes 500, A0 1, "), "{found:?}");
    }
}
