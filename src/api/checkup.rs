use std::collections::HashMap;
use std::time::Duration;

use super::{Api, Member, QueueSummary, process, stats};
use crate::error::Result;
use crate::store::Store;
use crate::time::EpochSecs;

/// What a Redis says of itself, as `INFO`.
#[derive(Clone, Debug)]
pub struct ServerInfo(HashMap<String, String>);

impl ServerInfo {
    /// Of fields and their values, for tests of what judges them.
    pub fn of(fields: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(fields.into_iter().collect())
    }

    /// A field, `used_memory_human` say.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    /// A field that is a number.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.get(field)?.parse().ok()
    }

    /// Major and minor version. Valkey's own, where it is one.
    pub fn version(&self) -> Option<(u32, u32)> {
        let version = self.get("valkey_version").or_else(|| self.get("redis_version"))?;
        let mut parts = version.split('.').map(|part| part.parse().ok());
        Some((parts.next()??, parts.next()??))
    }

    /// `Redis 8.0.2` or `Valkey 9.1.0`.
    pub fn name(&self) -> String {
        match (self.get("valkey_version"), self.get("redis_version")) {
            (Some(version), _) => format!("Valkey {version}"),
            (None, version) => format!("Redis {}", version.unwrap_or("of an unknown version")),
        }
    }
}

/// How far away a Redis is, and how far its clock is from ours.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServerClock {
    /// The shortest of some round trips.
    pub rtt: Duration,
    /// Seconds its clock is ahead of ours; negative if it is behind. True to half a round trip.
    pub ahead: f64,
}

impl ServerClock {
    /// For tests of what judges it.
    pub fn of(rtt: Duration, ahead: f64) -> Self {
        Self { rtt, ahead }
    }
}

/// Round trips that are made for a [`ServerClock`].
const TRIPS: usize = 5;

/// The names of all keys, some at a time; a key that comes and goes meanwhile may be missing or named twice.
#[derive(Debug)]
pub struct KeyNames {
    store: Store,
    cursor: Option<u64>,
}

impl KeyNames {
    /// The next names, about a thousand; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Redis`](crate::ErrorKind::Redis).
    pub async fn next(&mut self) -> Result<Option<Vec<String>>> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let (next, names) = self.store.scan(cursor).await?;
        self.cursor = (next != 0).then_some(next);
        Ok(Some(names))
    }
}

impl Api {
    /// Returns the commands of a worker that this Redis does not know by their names, since `rename-command` hides them. A worker that misses one
    /// does not start. None of them is executed.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached.
    pub async fn hidden_commands(&self) -> Result<Vec<&'static str>> {
        self.store.missing_commands().await
    }

    /// Where Redis is: the URL without user and password.
    pub fn redis(&self) -> String {
        self.store.options().to_string()
    }

    /// What the server says of itself.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn server_info(&self) -> Result<ServerInfo> {
        self.store.info().await.map(ServerInfo)
    }

    /// When the server writes snapshots, its setting `save`: empty for never; `None` where it may not be asked, which is all that the
    /// shipped users may.
    pub async fn snapshot_rule(&self) -> Option<String> {
        self.store.snapshot_rule().await
    }

    /// How far the server and its clock are away.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn server_clock(&self) -> Result<ServerClock> {
        let mut best: Option<ServerClock> = None;
        for _ in 0..TRIPS {
            let (rtt, then) = self.store.server_time().await?;
            let ahead = then - (EpochSecs::now().0 - rtt.as_secs_f64() / 2.0);
            if best.is_none_or(|best| rtt < best.rtt) {
                best = Some(ServerClock { rtt, ahead });
            }
        }
        Ok(best.unwrap_or(ServerClock { rtt: Duration::ZERO, ahead: 0.0 }))
    }

    /// The names of all keys of the database, step by step with `SCAN`.
    pub fn key_names(&self) -> KeyNames {
        KeyNames { store: self.store.clone(), cursor: Some(0) }
    }

    /// What keys are, as `TYPE` says; `None` for one that may not be looked at.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn key_kinds(&self, keys: &[String]) -> Result<Vec<Option<String>>> {
        self.store.kinds(keys).await
    }

    /// The names in Sidekiq's list of queues, whatever stands under them.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn queue_names(&self) -> Result<Vec<String>> {
        let mut names = self.store.queue_names().await?;
        names.sort_unstable();
        Ok(names)
    }

    /// Jobs in each of some lists; 0 for what is no list or may not be looked at.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn lengths(&self, lists: &[String]) -> Result<Vec<usize>> {
        self.store.lengths(lists).await
    }

    /// Some queues; all of them must be lists, or nothing.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn queues_named(&self, names: &[String]) -> Result<Vec<QueueSummary>> {
        Ok(stats::summaries(self.store.queue_states(names.to_vec()).await?))
    }

    /// Everything Sidekiq's list of processes names, ghosts and all.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn members(&self) -> Result<Vec<Member>> {
        process::members(&self.store).await
    }

    /// Takes a [ghost](Member::Ghost) off the list of processes; whether it was still one.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn forget_ghost(&self, identity: &str) -> Result<bool> {
        self.store.forget_ghost(identity).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(fields: &[(&str, &str)]) -> ServerInfo {
        ServerInfo(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn knows_redis_from_valkey() {
        let valkey = info(&[("redis_version", "7.2.4"), ("valkey_version", "9.1.0")]);
        assert_eq!((valkey.version(), valkey.name()), (Some((9, 1)), "Valkey 9.1.0".to_owned()));
        let redis = info(&[("redis_version", "6.2.14")]);
        assert_eq!((redis.version(), redis.name()), (Some((6, 2)), "Redis 6.2.14".to_owned()));
        assert_eq!(info(&[]).version(), None);
    }
}
