//! sidekiq-limit_fetch beside Rust workers, by the names of its keys: `limit_fetch:KIND:QUEUE`.

use std::collections::BTreeSet;

use super::finding::{Finding, some_of};

/// Keys of sidekiq-limit_fetch.
#[derive(Debug, Default)]
pub(super) struct LimitFetch {
    /// Queues with a limit of jobs that run at a time, of one process or of all. Rust workers count in the lists of these.
    limited: BTreeSet<String>,
    /// Queues that block others while one of their jobs runs.
    blocking: BTreeSet<String>,
    /// Queues from which a process fetches now. A process of Ruby writes that with each fetch and takes it away after.
    fetched: BTreeSet<String>,
    /// Whether a Ruby process with the gem lives. Its heartbeat lives for 20 s.
    lives: bool,
}

impl LimitFetch {
    /// Notes the name of a key; no more than `most` queues of a kind. Returns whether it is one of the gem.
    pub(super) fn note(&mut self, key: &str, most: usize) -> bool {
        if let Some(process) = key.strip_prefix("limit:heartbeat:") {
            // The gem names its processes by UUIDs; a worker of ours is HOST:PID:NONCE.
            self.lives |= !process.contains(':');
            return true;
        }
        let Some((kind, queue)) = key.strip_prefix("limit_fetch:").and_then(|rest| rest.split_once(':')) else {
            return false;
        };
        let queues = match kind {
            "limit" | "process_limit" => &mut self.limited,
            "block" => &mut self.blocking,
            "probed" | "busy" => &mut self.fetched,
            _ => return true,
        };
        if queues.len() < most {
            queues.insert(queue.to_owned());
        }
        true
    }

    /// Holds them against the queues that Rust workers serve, `rust`, and those of them that no Ruby process names, `only_rust`.
    pub(super) fn findings(&self, rust: &BTreeSet<String>, only_rust: &BTreeSet<String>) -> Vec<Finding> {
        let mut found = Vec::new();
        let blocking: Vec<String> = self.blocking.intersection(rust).cloned().collect();
        if !blocking.is_empty() {
            let what = format!(
                "queues that block others by sidekiq-limit_fetch, which Rust workers do not heed: {}",
                some_of(&blocking)
            );
            let advice =
                "serve them and those they block in one capsule with a concurrency of 1, or leave them to Ruby";
            found.push(Finding::warning("limit-fetch", what, advice).times(blocking.len()));
        }
        // In the lists of a limited queue are Rust workers, too.
        let taken = self.fetched.intersection(only_rust).filter(|queue| !self.limited.contains(*queue));
        let taken: Vec<String> = taken.cloned().collect();
        if self.lives && !taken.is_empty() {
            let what =
                format!("a Ruby process with sidekiq-limit_fetch takes jobs meant for Rust: {}", some_of(&taken));
            let advice = "it runs with dynamic: true and fetches from every queue: set dynamic: {exclude: [QUEUE]}";
            found.push(Finding::error("dynamic-queues", what, advice).times(taken.len()));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(keys: &[&str], rust: &[&str], only_rust: &[&str]) -> Vec<&'static str> {
        let mut gem = LimitFetch::default();
        keys.iter().for_each(|key| assert!(gem.note(key, 100), "{key}"));
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        gem.findings(&set(rust), &set(only_rust)).into_iter().map(|finding| finding.check).collect()
    }

    #[test]
    fn a_queue_that_blocks_others_is_named_where_rust_serves_it() {
        assert_eq!(checks(&["limit_fetch:block:slow"], &["slow"], &[]), ["limit-fetch"]);
        assert!(checks(&["limit_fetch:block:slow"], &["other"], &[]).is_empty());
        for kind in ["pause", "limit", "process_limit"] {
            assert!(checks(&[&format!("limit_fetch:{kind}:slow")], &["slow"], &[]).is_empty(), "a {kind} is heeded");
        }
    }

    #[test]
    fn dynamic_mode_is_named_by_what_a_live_process_fetches() {
        let keys = ["limit:heartbeat:5f3e", "limit_fetch:probed:rust"];
        assert_eq!(checks(&keys, &["rust"], &["rust"]), ["dynamic-queues"]);
        assert!(checks(&keys, &["rust"], &[]).is_empty(), "Ruby names the queue, too");
        assert!(checks(&keys[1..], &["rust"], &["rust"]).is_empty(), "a dead process left it");
        let worker = ["limit:heartbeat:host:1:0123456789ab", "limit_fetch:probed:rust"];
        assert!(checks(&worker, &["rust"], &["rust"]).is_empty(), "a Rust worker wrote it");
        let limited = [keys[0], keys[1], "limit_fetch:limit:rust"];
        assert!(checks(&limited, &["rust"], &["rust"]).is_empty(), "a Rust worker may have written it");
    }

    #[test]
    fn keeps_no_more_queues_than_it_may() {
        let mut gem = LimitFetch::default();
        (0..20).for_each(|n| assert!(gem.note(&format!("limit_fetch:limit:q{n}"), 10)));
        assert_eq!(gem.limited.len(), 10);
        assert!(!gem.note("queue:limit_fetch", 10));
    }
}
