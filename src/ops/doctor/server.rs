//! The server itself: version, memory, persistence, role, and how far away it and its clock are.

use std::time::Duration;

use ferrokiq::Result;
use ferrokiq::api::{Api, ServerClock, ServerInfo};

use super::finding::Finding;

/// Longer than a machine of the same data centre is away.
const FAR: Duration = Duration::from_millis(10);
/// What a clock may be off besides half a round trip.
const SKEW: f64 = 1.0;
/// A skew that changes when jobs run.
const BAD_SKEW: f64 = 10.0;
/// By when a server with any of Redis's own rules has written a snapshot.
const SNAPSHOT_BY: u64 = 3_700;

pub(super) async fn check(api: &Api, found: &mut Vec<Finding>) -> Result<ServerClock> {
    let clock = api.server_clock().await?;
    // Some services offer no INFO.
    if let Ok(info) = api.server_info().await {
        found.extend(of_info(&info, api.snapshot_rule().await.as_deref()));
    }
    found.extend(of_clock(clock));
    Ok(clock)
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
