//! Ruby gems beside Sidekiq, recognised by the names of their keys.

/// A Ruby gem whose keys show that it is in use, and what becomes of its service for a job class that moves to Rust.
///
/// Gems that write something into payloads are recognised there: [`Payload::gem`](crate::Payload::gem).
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Neighbour {
    /// The name of the gem.
    pub gem: &'static str,
    /// What goes blind, or waits, for jobs that Rust runs or pushes.
    pub effect: &'static str,
    /// What to do before a class moves.
    pub advice: &'static str,
}

/// How the name of a key is compared.
#[derive(Clone, Copy)]
enum Key {
    Is(&'static str),
    BeginsWith(&'static str),
}

use Key::{BeginsWith, Is};

/// Keys, and the gem that writes them.
static GEMS: [(&[Key], Neighbour); 13] = [
    (
        &[BeginsWith("sidekiq:status:")],
        Neighbour {
            gem: "sidekiq-status",
            effect: "the status of jobs that Rust runs stays queued until it expires",
            advice: "list the classes that use it in foreign_classes",
        },
    ),
    (
        &[BeginsWith("throttled:")],
        Neighbour {
            gem: "sidekiq-throttled",
            effect: "its limits neither hold nor count jobs that Rust runs",
            advice: "list the classes that use it in foreign_classes",
        },
    ),
    (
        &[BeginsWith("activejob_uniqueness:")],
        Neighbour {
            gem: "activejob-uniqueness",
            effect: "locks of jobs that Rust runs stay until they expire",
            advice: "list the classes that use it in foreign_classes",
        },
    ),
    (
        &[BeginsWith("limit_fetch:"), Is("limit:processes")],
        Neighbour {
            gem: "sidekiq-limit_fetch",
            effect: "Rust workers heed its pause and its limits, and not that a queue blocks others",
            advice: "give queues that block others a capsule of their own, and Ruby's dynamic mode an exclude list",
        },
    ),
    (
        &[BeginsWith("subjob:")],
        Neighbour {
            gem: "sidekiq-superworker",
            effect: "the step after one that Rust ran waits for ever",
            advice: "list the classes of all steps in foreign_classes",
        },
    ),
    (
        &[BeginsWith("batching:")],
        Neighbour {
            gem: "sidekiq-grouping",
            effect: "jobs that Rust pushes are not grouped, and groups wait while no Ruby process runs",
            advice: "push from Ruby, and keep one Ruby process that has the class",
        },
    ),
    (
        &[Is("failed")],
        Neighbour {
            gem: "sidekiq-failures",
            effect: "its tab does not show failures of jobs that Rust runs",
            advice: "look at the retries, the dead set and the metrics",
        },
    ),
    (
        &[BeginsWith("sidekiq:statistic")],
        Neighbour {
            gem: "sidekiq-statistic",
            effect: "its pages do not count jobs that Rust runs",
            advice: "look at the metrics",
        },
    ),
    (
        &[BeginsWith("cron_jobs"), BeginsWith("cron_job:")],
        Neighbour {
            gem: "sidekiq-cron",
            effect: "it enqueues only while a Ruby process runs",
            advice: "keep one; jobs that it enqueues run in Rust",
        },
    ),
    (
        &[Is("schedules"), Is("schedules_changed"), BeginsWith("sidekiq-scheduler:")],
        Neighbour {
            gem: "sidekiq-scheduler",
            effect: "it enqueues only while a Ruby process runs",
            advice: "keep one; jobs that it enqueues run in Rust",
        },
    ),
    (
        &[Is("sidekiq-alive-hostnames"), BeginsWith("SIDEKIQ::LIVENESS_PROBE_TIMESTAMP")],
        Neighbour {
            gem: "sidekiq_alive",
            effect: "it checks Ruby processes alone, by jobs in queues sidekiq-alive-HOST",
            advice: "serve no such queue from Rust, and probe /live of Rust workers",
        },
    ),
    (
        &[Is("reliable-fetcher-cleanup-lock"), BeginsWith("reliable-fetcher-heartbeat-")],
        Neighbour {
            gem: "gitlab-sidekiq-fetcher",
            effect: "each side keeps its running jobs in lists of its own and recovers them",
            advice: "nothing to set",
        },
    ),
    (
        &[Is("dear-leader")],
        Neighbour {
            gem: "Sidekiq Enterprise",
            effect: "periodic jobs are enqueued only while a Ruby process leads",
            advice: "keep one; jobs that it enqueues run in Rust",
        },
    ),
];

impl Neighbour {
    /// Returns the gem that writes a key; `None` for keys of Sidekiq, of ferrokiq, and of others.
    ///
    /// ```
    /// use ferrokiq::api::Neighbour;
    ///
    /// assert_eq!(Neighbour::of_key("cron_jobs:default").map(|neighbour| neighbour.gem), Some("sidekiq-cron"));
    /// assert!(Neighbour::of_key("queue:default").is_none());
    /// ```
    pub fn of_key(key: &str) -> Option<&'static Self> {
        let writes = |pattern: &Key| match pattern {
            Is(name) => key == *name,
            BeginsWith(prefix) => key.starts_with(prefix),
        };
        GEMS.iter().find(|(keys, _)| keys.iter().any(writes)).map(|(_, neighbour)| neighbour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gem_is_recognised_by_the_keys_it_writes() {
        for (key, gem) in [
            ("sidekiq:status:abc", "sidekiq-status"),
            ("throttled:HardJob:concurrency.v2", "sidekiq-throttled"),
            ("limit_fetch:limit:default", "sidekiq-limit_fetch"),
            ("limit:processes", "sidekiq-limit_fetch"),
            ("batching:hard_job:default", "sidekiq-grouping"),
            ("failed", "sidekiq-failures"),
            ("sidekiq:statistic:realtime:5", "sidekiq-statistic"),
            ("cron_job:default:hard one", "sidekiq-cron"),
            ("cron_jobs", "sidekiq-cron"),
            ("schedules", "sidekiq-scheduler"),
            ("sidekiq-scheduler:pushed:x", "sidekiq-scheduler"),
            ("sidekiq-alive-hostnames", "sidekiq_alive"),
            ("dear-leader", "Sidekiq Enterprise"),
        ] {
            assert_eq!(Neighbour::of_key(key).map(|neighbour| neighbour.gem), Some(gem), "{key}");
        }
        for key in ["queue:throttled:x", "sidekiq:statuses", "stat:failed", "schedule", "retry", "failed:x", "limit:x"]
        {
            assert!(Neighbour::of_key(key).is_none(), "{key}");
        }
    }
}
