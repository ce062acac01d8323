//! Every key and its lifetime. Sidekiq's own keep Sidekiq's meaning; what is ours stands under `ferrokiq:`.

/// Names of all queues ever pushed to.
pub(super) const QUEUES: &str = "queues";
/// Jobs to be pushed at a time, by epoch seconds.
pub(crate) const SCHEDULE: &str = "schedule";
/// Failed jobs to be tried again, by epoch seconds.
#[cfg(any(feature = "api", feature = "server"))]
pub(crate) const RETRY: &str = "retry";
/// Jobs that were given up, by epoch seconds of their death.
#[cfg(any(feature = "api", feature = "server"))]
pub(super) const DEAD: &str = "dead";
/// Jobs that GitLab's fetcher gave up after they were interrupted too often.
#[cfg(any(feature = "api", feature = "server"))]
pub(super) const INTERRUPTED: &str = "interrupted";
/// Identities of live processes, Ruby's and ours. Any Ruby process prunes it.
pub(super) const PROCESSES: &str = "processes";
/// Queues that Sidekiq Pro paused.
#[cfg(any(feature = "api", feature = "server"))]
pub(super) const PAUSED: &str = "paused";
/// Throttles the pruning of `processes`.
#[cfg(any(feature = "api", feature = "server"))]
pub(super) const PROCESS_CLEANUP: &str = "process_cleanup";

/// Where an iterable job stands.
pub(super) fn iteration(jid: &str) -> String {
    format!("it-{jid}")
}

/// Seconds that is kept: a month.
pub(super) const ITERATION_TTL: u64 = 2_592_000;

/// Exists while a push of this job is not to be done a second time; of pushes that ask for it.
pub(super) fn pushed(jid: &str) -> String {
    format!("ferrokiq:pushed:{jid}")
}

/// Seconds that is kept: an hour.
pub(super) const PUSHED_TTL: u64 = 3_600;

/// Deploys of a day, `20261123`: minute to label.
pub(super) fn marks(day: &str) -> String {
    format!("{day}-marks")
}

/// Pending jobs of a queue: pushed left, fetched right.
pub(crate) fn queue(name: &str) -> String {
    format!("queue:{name}")
}

/// Keys of the gem sidekiq-limit_fetch. It gives none of them a TTL, unless one is named here.
#[cfg(feature = "server")]
pub(super) mod limit_fetch {
    /// Set: processes that count in the lists. Names of ours are their identities.
    pub(in crate::store) const PROCESSES: &str = "limit:processes";
    /// Seconds a heartbeat of the gem lasts; each process renews its own every 5 s.
    pub(in crate::store) const HEARTBEAT_TTL: u64 = 20;

    /// Holds `1` while a process lives: [`HEARTBEAT_TTL`].
    pub(in crate::store) fn heartbeat(process: &str) -> String {
        format!("limit:heartbeat:{process}")
    }

    /// Exists while a queue is paused, whatever it holds; with a TTL if the pause ends by itself.
    pub(in crate::store) fn pause(queue: &str) -> String {
        format!("limit_fetch:pause:{queue}")
    }

    /// How many jobs of a queue may run at a time in all processes.
    pub(in crate::store) fn limit(queue: &str) -> String {
        format!("limit_fetch:limit:{queue}")
    }

    /// How many jobs of a queue may run at a time in each process.
    pub(in crate::store) fn process_limit(queue: &str) -> String {
        format!("limit_fetch:process_limit:{queue}")
    }

    /// List: for each job of a queue that a process runs, and for each fetch of a process that waits for one, the process.
    pub(in crate::store) fn probed(queue: &str) -> String {
        format!("limit_fetch:probed:{queue}")
    }

    /// List: the same of jobs that run alone.
    pub(in crate::store) fn busy(queue: &str) -> String {
        format!("limit_fetch:busy:{queue}")
    }
}

#[cfg(any(feature = "api", feature = "server"))]
mod server {
    /// Seconds the process hash and its work set live without a beat.
    pub(in crate::store) const PROCESS_TTL: u64 = 60;
    /// Seconds the counters of a day are kept: five years.
    pub(in crate::store) const DAY_TTL: u64 = 157_680_000;
    /// Seconds the metrics of a minute are kept.
    pub(in crate::store) const MINUTE_TTL: u64 = 28_800;
    /// Seconds the metrics of ten minutes are kept.
    pub(in crate::store) const TEN_MINUTES_TTL: u64 = 259_200;

    /// Busy jobs of a process: tid to work.
    pub(in crate::store) fn work(identity: &str) -> String {
        format!("{identity}:work")
    }

    /// The same as Sidekiq 6.4 names it.
    pub(in crate::store) fn work_of_6(identity: &str) -> String {
        format!("{identity}:workers")
    }

    /// Signals the Web UI sent to a process.
    pub(in crate::store) fn signals(identity: &str) -> String {
        format!("{identity}-signals")
    }

    /// Processes that hold private lists. Ours alone: Ruby prunes `processes`.
    pub(in crate::store) const REGISTRY: &str = "ferrokiq:processes";

    /// Processes whose jobs were put back, with the time: looked through again for a day, in case one wakes up.
    pub(in crate::store) const FENCED: &str = "ferrokiq:fenced";

    /// Sorted set: SHA-1 of payloads that two processes died with, by the epoch second this is forgotten.
    pub(in crate::store) const SUSPECTS: &str = "ferrokiq:suspects";

    /// Set: the processes that died with a payload.
    pub(in crate::store) fn poison(fingerprint: &str) -> String {
        format!("ferrokiq:poison:{fingerprint}")
    }

    /// Registered processes, with the milliseconds of Redis's clock until which each counts as alive.
    pub(in crate::store) const ALIVE: &str = "ferrokiq:alive";

    /// Exists while one process has the turn to look for dead ones; holds its identity.
    pub(in crate::store) const LOOKOUT: &str = "ferrokiq:lookout";

    /// How many fenced processes were checked for private lists so far: where the next look begins.
    pub(in crate::store) const CHECKED: &str = "ferrokiq:checked";

    /// What the live Ruby processes are, as one process found it for all of ours: JSON, 5 s.
    pub(in crate::store) const SIDEKIQS: &str = "ferrokiq:sidekiqs";

    /// Hash: the lease of the leader of a group.
    pub(in crate::store) fn leader(group: &str) -> String {
        format!("ferrokiq:leader:{group}")
    }

    /// Seconds the last token of a group is kept when nobody leads it: a week.
    pub(in crate::store) const LEADER_TTL: u64 = 604_800;

    /// Since when a process is missing, and the score of [`ALIVE`] it is missed since; both by Redis's clock, in milliseconds.
    pub(in crate::store) fn suspect(identity: &str) -> String {
        format!("ferrokiq:suspect:{identity}")
    }

    /// The epoch of a process's registration, and its settlements that it has no answer to yet. Exists while it is registered.
    pub(in crate::store) fn settlements(identity: &str) -> String {
        format!("ferrokiq:settlements:{identity}")
    }

    /// Set: SHA-1 of the suspects that have begun in a process; `alone:` and SHA-1 while nothing else has begun there.
    pub(in crate::store) fn begun(identity: &str) -> String {
        format!("ferrokiq:begun:{identity}")
    }

    /// The private lists of a process.
    pub(in crate::store) fn batches(identity: &str) -> String {
        format!("ferrokiq:batches:{identity}")
    }

    /// What the private lists of a process begin with; a sequence number, `.`, how many of its jobs may have begun at a time, `|` and the name
    /// of the queue follow.
    pub(in crate::store) fn batch_prefix(identity: &str) -> String {
        format!("ferrokiq:batch:{identity}|")
    }

    /// The process whose private list this is; `None` if the key is none.
    pub(in crate::store) fn identity_of_batch(key: &str) -> Option<&str> {
        key.strip_prefix("ferrokiq:batch:")?.split_once('|').map(|(identity, _)| identity)
    }

    /// The queue whose jobs a private list holds: all behind the second `|`.
    pub(in crate::store) fn queue_of_batch(key: &str) -> Option<&str> {
        key.splitn(3, '|').nth(2)
    }

    /// How many jobs of a private list may have begun, the oldest of it; `None` if its name does not hold that.
    pub(in crate::store) fn begun_of_batch(key: &str) -> Option<usize> {
        key.split('|').nth(1)?.split_once('.')?.1.parse().ok()
    }

    /// Jobs of a queue that went down with too many processes, on their way from a dead process's lists to the dead set.
    pub(in crate::store) fn convicts(identity: &str, queue: &str) -> String {
        format!("{}convicts|{queue}", batch_prefix(identity))
    }
}
#[cfg(any(feature = "api", feature = "server"))]
pub(super) use server::*;
