//! The keys of a configuration file.

/// Every key of a configuration file.
pub(super) const KEYS: [&str; 24] = [
    "concurrency",
    "queues",
    "capsules",
    "timeout",
    "tag",
    "labels",
    "environment",
    "verbose",
    "max_retries",
    "dead_max_jobs",
    "dead_timeout_in_seconds",
    "poll_interval_average",
    "average_scheduled_poll_interval",
    "max_iteration_runtime",
    "fetch",
    "unknown_classes",
    "foreign_jobs",
    "foreign_classes",
    "health",
    "max_rss",
    "wire_version",
    "promote",
    "max_payload",
    "boot_timeout",
];
