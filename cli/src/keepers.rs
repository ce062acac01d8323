//! Lists in which fetchers other than ferrokiq's keep running jobs, recognised by the names of their keys.

use std::fmt;

/// A fetcher or port that keeps running jobs under keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keeper {
    /// gitlab-sidekiq-fetcher: `working:queue:NAME:HOST:PID:NONCE`; before 0.8 without the nonce. The heartbeat key exists while the owner lives.
    GitLab,
    /// sidekiq-reliable-fetch: `queue:NAME:working`, one list for all processes.
    ReliableFetch,
    /// Sidekiq Pro: `queue:sq|IDENTITY|NAME`.
    SuperFetch,
    /// go-workers: `queue:NAME:PROCESS:inprogress`.
    GoWorkers,
    /// exq: `queue:backup::NODE::NAME`.
    Exq,
}

/// What the heartbeats of GitLab's fetcher begin with: the identity follows, each `:` as `-`. They live 60 s and are written every 20 s.
pub(super) const GITLAB_HEARTBEAT: &str = "reliable-fetcher-heartbeat-";

impl Keeper {
    /// Returns whose list of running jobs a key is, by its name; `None` for other keys. A queue may have such a name, too: one that
    /// Sidekiq's list of queues names is a queue.
    pub(super) fn of(key: &str) -> Option<Self> {
        if key.starts_with("working:queue:") {
            return Some(Self::GitLab);
        }
        let name = key.strip_prefix("queue:")?;
        if name.starts_with("sq|") {
            Some(Self::SuperFetch)
        } else if name.ends_with(":working") {
            Some(Self::ReliableFetch)
        } else if name.ends_with(":inprogress") {
            Some(Self::GoWorkers)
        } else if name == "backup" || name.starts_with("backup:") {
            Some(Self::Exq)
        } else {
            None
        }
    }
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GitLab => "gitlab-sidekiq-fetcher",
            Self::ReliableFetch => "sidekiq-reliable-fetch",
            Self::SuperFetch => "Sidekiq Pro",
            Self::GoWorkers => "go-workers",
            Self::Exq => "exq",
        })
    }
}

/// Returns the process that owns a list of GitLab's fetcher, `HOST:PID:NONCE` or `HOST:PID`; `None` if the name holds none.
pub(super) fn gitlab_owner(list: &str) -> Option<&str> {
    let rest = list.strip_prefix("working:queue:")?;
    let is_pid = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = rest.rsplitn(4, ':');
    let (last, before, host) = (parts.next()?, parts.next()?, parts.next()?);
    let is_nonce = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_hexdigit());
    let length = if parts.next().is_some() && is_nonce && is_pid(before) {
        host.len() + before.len() + last.len() + 2
    } else if is_pid(last) {
        before.len() + last.len() + 1
    } else {
        return None;
    };
    Some(&rest[rest.len() - length..])
}

/// Returns the heartbeat of the process that owns a list of GitLab's fetcher.
pub(super) fn gitlab_heartbeat(owner: &str) -> String {
    format!("{GITLAB_HEARTBEAT}{}", owner.replace(':', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_running_jobs_is_recognised_by_its_name() {
        for (key, keeper) in [
            ("working:queue:default:web-1:42:5f0c9d8e7a6b", Some(Keeper::GitLab)),
            ("queue:default:working", Some(Keeper::ReliableFetch)),
            ("queue:sq|web:1:abc|default", Some(Keeper::SuperFetch)),
            ("queue:default:1:inprogress", Some(Keeper::GoWorkers)),
            ("queue:backup::node::default", Some(Keeper::Exq)),
            ("queue:default", None),
            ("queue:working", None),
            ("queue:backups", None),
            ("working:other", None),
            ("retry", None),
        ] {
            assert_eq!(Keeper::of(key), keeper, "{key}");
        }
    }

    #[test]
    fn the_owner_of_a_gitlab_list_is_read_from_its_end() {
        for (list, owner) in [
            ("working:queue:default:web-1:42:5f0c9d8e7a6b", Some("web-1:42:5f0c9d8e7a6b")),
            ("working:queue:a:b:web:42:5f0c9d8e7a6b", Some("web:42:5f0c9d8e7a6b")),
            ("working:queue:default:web:42", Some("web:42")),
            ("working:queue:a:b:web:42", Some("web:42")),
            ("working:queue:default", None),
            ("working:queue:default:web:x", None),
            ("queue:default", None),
        ] {
            assert_eq!(gitlab_owner(list), owner, "{list}");
        }
        assert_eq!(gitlab_heartbeat("web-1:42:5f0c"), "reliable-fetcher-heartbeat-web-1-42-5f0c");
    }
}
