//! The server itself: version, memory, persistence, role, and how far away it and its clock are.

use std::time::Duration;

use ferrokiq::api::{Api, ServerClock, ServerInfo};
use ferrokiq::{RedisFault, Result};

use super::finding::Finding;

/// Longer than a machine of the same data centre is away.
const FAR: Duration = Duration::from_millis(10);
/// What a clock may be off besides half a round trip.
const SKEW: f64 = 1.0;
/// A skew that changes when jobs run.
const BAD_SKEW: f64 = 10.0;
/// By when a server with any of Redis's own rules has written a snapshot.
const SNAPSHOT_BY: u64 = 3_700;

/// What was found out about the server itself.
pub(super) struct Server {
    pub(super) clock: ServerClock,
    /// In cluster mode commands on several keys fail, so nothing else can be checked.
    pub(super) is_cluster: bool,
}

/// `left_out` gets a line for each check that was not possible and changes nothing for most.
pub(super) async fn check(api: &Api, found: &mut Vec<Finding>, left_out: &mut Vec<String>) -> Result<Server> {
    let hidden = api.hidden_commands().await?;
    if !hidden.is_empty() {
        found.push(Finding::error(
            "commands",
            format!("Redis does not know {}", hidden.join(", ")),
            "a worker needs them: remove rename-command from the configuration of Redis",
        ));
    }
    let clock =
        if hidden.contains(&"TIME") { ServerClock::of(Duration::ZERO, 0.0) } else { api.server_clock().await? };
    let info = api.server_info().await;
    let is_cluster = info.as_ref().is_ok_and(|info| info.get("redis_mode") == Some("cluster"));
    match info {
        Ok(info) => {
            let snapshots = api.snapshot_rule().await;
            found.extend(of_info(&info, snapshots.as_deref()));
            found.extend(unreported_eviction(&info));
            left_out.extend(unknown_persistence(&info, snapshots.as_deref()));
        }
        Err(error) if error.redis_fault() != Some(RedisFault::Unreachable) => found.push(no_info(&error)),
        Err(error) => return Err(error),
    }
    if is_cluster {
        found.push(Finding::error(
            "cluster",
            "Redis runs in cluster mode: commands on several keys fail there",
            "use a server without cluster mode, as Sidekiq needs, too",
        ));
    }
    found.extend(of_clock(clock));
    Ok(Server { clock, is_cluster })
}

/// Some services refuse INFO, and some users may not use it.
fn no_info(error: &ferrokiq::Error) -> Finding {
    let why = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    Finding::warning(
        "unchecked",
        format!("INFO was refused ({why}): version, eviction, persistence, role and memory were not checked"),
        "allow INFO (docs/acl), or look where the server is run: maxmemory-policy must be noeviction",
    )
}

fn unreported_eviction(info: &ServerInfo) -> Option<Finding> {
    info.get("maxmemory_policy").is_none().then(|| {
        Finding::warning(
            "unchecked",
            "INFO does not report maxmemory_policy: whether a full Redis throws jobs away was not checked",
            "look where the server is run: it must be noeviction",
        )
    })
}

/// Whether it is unknown if anything is written to disk: without an append-only file only the setting `save` shows it for sure.
fn unknown_persistence(info: &ServerInfo, snapshots: Option<&str>) -> Option<String> {
    let is = |field: &str, value: &str| info.get(field) == Some(value);
    let is_unknown = snapshots.is_none() && !is("aof_enabled", "1") && info.number("rdb_saves").is_none_or(|n| n == 0);
    (is_unknown && persistence(info, snapshots).is_none())
        .then(|| "whether Redis writes snapshots was not checked: CONFIG GET save is refused".to_owned())
}

fn of_info(info: &ServerInfo, snapshots: Option<&str>) -> Vec<Finding> {
    let is = |field: &str, value: &str| info.get(field) == Some(value);
    let mut found = Vec::new();
    match info.version() {
        Some(version) if version < (6, 2) => found.push(Finding::error(
            "version",
            format!("{} is older than 6.2", info.name()),
            "ferrokiq and Sidekiq 7 do not work with it: upgrade",
        )),
        Some(version) if version < (7, 0) => found.push(Finding::warning(
            "version",
            format!("{} is older than 7.0", info.name()),
            "Sidekiq 8 refuses it, ferrokiq claims more slowly and cannot drain a full one: upgrade",
        )),
        _ => {}
    }
    if let Some(policy) = info.get("maxmemory_policy").filter(|policy| *policy != "noeviction") {
        found.push(Finding::error(
            "eviction",
            format!("maxmemory-policy is {policy}: a full Redis throws jobs away"),
            "set it to noeviction",
        ));
    }
    found.extend(persistence(info, snapshots));
    if is("role", "slave") {
        found.push(Finding::error(
            "replica",
            "this is a replica: nothing can be written",
            "point the URL at the primary",
        ));
    }
    if is("loading", "1") {
        found.push(Finding::warning("loading", "Redis still loads its data", "look again when it is done"));
    }
    found.extend(memory(info));
    found
}

fn persistence(info: &ServerInfo, snapshots: Option<&str>) -> Option<Finding> {
    let is = |field: &str, value: &str| info.get(field) == Some(value);
    if is("aof_enabled", "1") && is("aof_last_write_status", "err") {
        return Some(Finding::error(
            "persistence",
            "the append-only file could not be written last time",
            "see the log of Redis; is the disk full?",
        ));
    }
    if is("rdb_last_bgsave_status", "err") {
        return Some(Finding::error(
            "persistence",
            "the last snapshot failed: by default Redis then refuses writes",
            "see the log of Redis; is the disk or the memory full?",
        ));
    }
    let never = match snapshots {
        Some(rule) => rule.is_empty(),
        // Nobody may ask: one that never saved in an hour with changes has no rule.
        None => {
            info.number("uptime_in_seconds").is_some_and(|uptime| uptime > SNAPSHOT_BY)
                && is("rdb_saves", "0")
                && info.number("rdb_changes_since_last_save").is_some_and(|changes| changes > 0)
        }
    };
    (never && is("aof_enabled", "0")).then(|| {
        Finding::warning(
            "persistence",
            "neither append-only file nor snapshots: a restart of Redis loses every job",
            "set appendonly yes",
        )
    })
}

fn memory(info: &ServerInfo) -> Option<Finding> {
    let (used, most) = (info.number("used_memory")?, info.number("maxmemory").filter(|most| *most > 0)?);
    let percent = used.saturating_mul(100) / most;
    let what = format!("{percent} % of maxmemory are in use");
    let advice = "raise maxmemory, or see what fills it: ferrokiq stats";
    match percent {
        95.. => Some(Finding::error("memory", what, advice)),
        80.. => Some(Finding::warning("memory", what, advice)),
        _ => None,
    }
}

fn of_clock(ServerClock { rtt, ahead, .. }: ServerClock) -> Vec<Finding> {
    let mut found = Vec::new();
    let skew = ahead.abs() - rtt.as_secs_f64() / 2.0;
    let side = if ahead > 0.0 { "ahead of" } else { "behind" };
    let what = format!("the clock of Redis is {:.1} s {side} this machine's", ahead.abs());
    if skew > BAD_SKEW {
        found.push(Finding::error("clock", what, "run an NTP client on both"));
    } else if skew > SKEW {
        found.push(Finding::warning("clock", what, "run an NTP client on both"));
    }
    if rtt > FAR {
        found.push(Finding::warning(
            "latency",
            format!("a round trip to Redis takes {:.1} ms", rtt.as_secs_f64() * 1e3),
            "run workers near it, or give them more threads",
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    fn checks(info: &[(&str, &str)], snapshots: Option<&str>) -> Vec<&'static str> {
        let info = ServerInfo::of(info.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        of_info(&info, snapshots).iter().map(|finding| finding.check).collect()
    }

    #[test]
    fn judges_a_server_by_its_own_words() {
        let healthy = [
            ("redis_version", "8.0.2"),
            ("maxmemory_policy", "noeviction"),
            ("maxmemory", "100"),
            ("used_memory", "50"),
            ("role", "master"),
            ("aof_enabled", "1"),
            ("aof_last_write_status", "ok"),
            ("rdb_last_bgsave_status", "ok"),
            ("rdb_saves", "0"),
            ("rdb_changes_since_last_save", "7"),
            ("uptime_in_seconds", "9999"),
        ];
        assert_eq!(checks(&healthy, Some("")), [] as [&str; 0]);
        for (field, value, check) in [
            ("redis_version", "6.2.14", "version"),
            ("redis_version", "5.0.7", "version"),
            ("maxmemory_policy", "allkeys-lru", "eviction"),
            ("used_memory", "85", "memory"),
            ("used_memory", "99", "memory"),
            ("role", "slave", "replica"),
            ("loading", "1", "loading"),
            ("aof_enabled", "0", "persistence"),
            ("aof_last_write_status", "err", "persistence"),
            ("rdb_last_bgsave_status", "err", "persistence"),
        ] {
            let mut info: Vec<_> = healthy.into_iter().filter(|(name, _)| *name != field).collect();
            info.push((field, value));
            for snapshots in [Some(""), None] {
                assert_eq!(checks(&info, snapshots), [check], "{field}: {value}");
            }
        }
    }

    #[test]
    fn what_cannot_be_checked_is_reported() {
        let info = |pairs: &[(&str, &str)]| {
            ServerInfo::of(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
        };
        assert!(unreported_eviction(&info(&[("maxmemory_policy", "noeviction")])).is_none());
        assert_eq!(unreported_eviction(&info(&[])).map(|finding| finding.check), Some("unchecked"));
        for (pairs, snapshots, is_known) in [
            (&[("aof_enabled", "1")][..], None, true),
            (&[("aof_enabled", "0"), ("rdb_saves", "3")], None, true),
            (&[("aof_enabled", "0"), ("rdb_saves", "0")], Some("3600 1"), true),
            (&[("aof_enabled", "0"), ("rdb_saves", "0")], None, false),
            (&[], None, false),
        ] {
            assert_eq!(unknown_persistence(&info(pairs), snapshots).is_none(), is_known, "{pairs:?}");
        }
    }

    #[test]
    fn snapshots_are_persistence_and_an_hour_tells_without_asking() {
        let mut info = vec![
            ("aof_enabled", "0"),
            ("rdb_saves", "0"),
            ("rdb_changes_since_last_save", "7"),
            ("uptime_in_seconds", "60"),
        ];
        assert_eq!(checks(&info, Some("3600 1")), [] as [&str; 0]);
        assert_eq!(checks(&info, Some("")), ["persistence"]);
        assert_eq!(checks(&info, None), [] as [&str; 0]);
        info[3].1 = "9999";
        assert_eq!(checks(&info, None), ["persistence"]);
    }

    #[test]
    fn tells_a_clock_that_is_off_from_a_long_way() {
        let checks = |rtt: u64, ahead: f64| -> Vec<(&str, Severity)> {
            let clock = ServerClock::of(Duration::from_millis(rtt), ahead);
            of_clock(clock).iter().map(|finding| (finding.check, finding.severity)).collect()
        };
        assert_eq!(checks(1, 0.4), []);
        assert_eq!(checks(1, -3.0), [("clock", Severity::Warning)]);
        assert_eq!(checks(1, 60.0), [("clock", Severity::Error)]);
        assert_eq!(checks(1_000, 0.9), [("latency", Severity::Warning)]);
    }
}
