//! Who works on this Redis, as the processes themselves say.

#[cfg(feature = "server")]
use std::collections::BTreeSet;

use redis::{Pipeline, RedisResult, cmd};
#[cfg(feature = "server")]
use redis::{Value, from_redis_value_ref};
use serde::Deserialize;
#[cfg(feature = "server")]
use serde::Serialize;

#[cfg(feature = "server")]
use super::is_refusal;
use super::{Store, keys};
use crate::error::Result;

impl Store {
    /// Identities in `processes`.
    pub(crate) async fn processes(&self) -> Result<Vec<String>> {
        self.link.query("list processes", cmd("SMEMBERS").arg(keys::PROCESSES)).await
    }

    /// The `info` of processes; `None` for one whose hash expired, empty where what is named there is no hash or is not ours to
    /// read: anybody may have put anything into `processes`.
    pub(crate) async fn process_infos(&self, identities: &[String]) -> Result<Vec<Option<String>>> {
        if identities.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(identities.len());
        for identity in identities {
            pipeline.cmd("HGET").arg(identity).arg("info");
        }
        pipeline.ignore_errors();
        let infos: Vec<RedisResult<Option<String>>> = self.link.read("read process infos", &pipeline).await?;
        Ok(infos.into_iter().map(|info| info.unwrap_or_else(|_| Some(String::new()))).collect())
    }

    /// Major versions of the Sidekiqs that work on this Redis, each once, the oldest first. Processes of ours and ones whose hash expired do
    /// not count.
    pub(crate) async fn sidekiqs(&self) -> Result<Vec<u32>> {
        let infos = self.process_infos(&self.processes().await?).await?;
        let mut majors: Vec<u32> = infos.iter().flatten().filter_map(|info| sidekiq_major(info)).collect();
        majors.sort_unstable();
        majors.dedup();
        Ok(majors)
    }

    /// Reads what the live Ruby processes are, from the hashes of all processes.
    #[cfg(feature = "server")]
    pub(crate) async fn rubies(&self) -> Result<Rubies> {
        let identities = self.processes().await?;
        if identities.is_empty() {
            return Ok(Rubies::default());
        }
        let mut pipeline = Pipeline::with_capacity(identities.len() * 2);
        for identity in &identities {
            pipeline.cmd("HMGET").arg(identity).arg("info").arg("quiet");
            pipeline.cmd("PTTL").arg(identity);
        }
        pipeline.ignore_errors();
        let answers: Vec<RedisResult<Value>> = self.link.read("read processes", &pipeline).await?;
        let mut rubies = Rubies::default();
        for answer in answers.chunks_exact(2) {
            // What is no hash, or may not be read, is no process.
            let Ok(fields) = &answer[0] else { continue };
            let Ok((Some(info), quiet)) = from_redis_value_ref::<(Option<String>, Option<String>)>(fields) else {
                continue;
            };
            // Without the right to `PTTL` a process counts as alive as long as its hash exists.
            let left = answer[1].as_ref().ok().and_then(|left| from_redis_value_ref::<i64>(left).ok());
            let is_fresh = left.is_none_or(|left| !(0..FRESH_MILLIS).contains(&left));
            rubies.add(&info, is_fresh && quiet.as_deref() != Some("true"));
        }
        rubies.majors.sort_unstable();
        rubies.majors.dedup();
        Ok(rubies)
    }

    /// The same, and shares the answer with the other processes of ours.
    #[cfg(feature = "server")]
    async fn share_rubies(&self) -> Result<Rubies> {
        let rubies = self.rubies().await?;
        let mut set = cmd("SET");
        set.arg(keys::SIDEKIQS).arg(serde_json::to_string(&rubies).unwrap_or_default()).arg("PX").arg(SHARED_MILLIS);
        if let Err(error) = self.link.query::<()>("share what the Ruby processes are", &set).await {
            tracing::debug!(%error, "what the Ruby processes are is not shared");
        }
        Ok(rubies)
    }

    /// The same as another process of ours shared it within the last five seconds. The first caller after that time reads all processes and
    /// shares what it found, so this costs each of many processes one command. `None` while another process reads.
    #[cfg(feature = "server")]
    pub(crate) async fn shared_rubies(&self) -> Result<Option<Rubies>> {
        let mut set = cmd("SET");
        set.arg(keys::SIDEKIQS).arg(READING).arg("NX").arg("GET").arg("PX").arg(SHARED_MILLIS);
        match self.link.query::<Option<String>>("read what the Ruby processes are", &set).await {
            // With its memory full, say, Redis takes no turn; it can be read all the same.
            Err(error) if is_refusal(&error) => self.rubies().await.map(Some),
            Err(error) => Err(error),
            Ok(None) => self.share_rubies().await.map(Some),
            Ok(Some(shared)) if shared == READING => Ok(None),
            // Not of this version: another format, until it expires.
            Ok(Some(shared)) => match serde_json::from_str(&shared) {
                Ok(rubies) => Ok(Some(rubies)),
                Err(_) => self.rubies().await.map(Some),
            },
        }
    }
}

/// What the live Ruby processes are. Processes of ours and ones whose hash expired do not count.
#[cfg(feature = "server")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rubies {
    /// Their major versions, each once, the oldest first.
    pub(crate) majors: Vec<u32>,
    /// The queues of those that promote due jobs: their heartbeat is fresh, and they are not quiet. `None` if there is no such process.
    pub(crate) polled: Option<BTreeSet<String>>,
}

#[cfg(feature = "server")]
impl Rubies {
    /// Adds the process that wrote this info, if it is one of Ruby; `polls`: it promotes due jobs.
    fn add(&mut self, info: &str, polls: bool) {
        #[derive(Deserialize)]
        struct Queues {
            queues: Option<Vec<String>>,
        }
        let Some(major) = sidekiq_major(info) else { return };
        self.majors.push(major);
        if !polls {
            return;
        }
        let polled = self.polled.get_or_insert_default();
        let mut room = QUEUES_BYTES.saturating_sub(polled.iter().map(String::len).sum());
        for queue in serde_json::from_str(info).ok().and_then(|Queues { queues }| queues).unwrap_or_default() {
            if queue.len() > room {
                break;
            }
            room -= queue.len();
            polled.insert(queue);
        }
    }
}

/// Milliseconds what one process found is shared: less than two beats are apart, so one that is alone reads at every beat.
#[cfg(feature = "server")]
const SHARED_MILLIS: u64 = 5_000;
/// Stands in the place of the answer while one process reads.
#[cfg(feature = "server")]
const READING: &str = "?";
/// Each heartbeat of Ruby, every 10 s, makes the hash of its process live for 60 s more. With less time left than this, three were missed.
/// Redis's clock alone counts here.
#[cfg(feature = "server")]
const FRESH_MILLIS: i64 = 30_000;
/// Bytes of queue names that are kept. The jobs of further queues are promoted by all processes of ours.
#[cfg(feature = "server")]
const QUEUES_BYTES: usize = 64 << 10;

/// The major version of the Sidekiq that wrote a process info; `None` for processes of ours. 6.4 does not say.
fn sidekiq_major(info: &str) -> Option<u32> {
    #[derive(Deserialize)]
    struct Version {
        version: Option<String>,
    }
    let Version { version } = serde_json::from_str(info).ok()?;
    match version {
        None => Some(6),
        Some(version) => version.split('.').next()?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_of_a_process() {
        for (info, major) in [
            (r#"{"hostname":"vm","concurrency":2}"#, Some(6)),
            (r#"{"version":"7.3.2"}"#, Some(7)),
            (r#"{"version":"8.1.7","embedded":false}"#, Some(8)),
            (r#"{"version":"ferrokiq-0.1.0"}"#, None),
            ("nonsense", None),
        ] {
            assert_eq!(sidekiq_major(info), major, "{info}");
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn queues_are_those_of_ruby_processes_that_poll_and_bounded() {
        let mut rubies = Rubies::default();
        rubies.add(r#"{"version":"ferrokiq-0.1.0","queues":["ours"]}"#, true);
        rubies.add(r#"{"version":"7.3.2","queues":["quiet"]}"#, false);
        assert_eq!(rubies, Rubies { majors: vec![7], polled: None });
        rubies.add(r#"{"version":"8.1.7","queues":["a","b"]}"#, true);
        rubies.add(r#"{"version":"8.1.7","queues":"no list"}"#, true);
        rubies.add(r#"{"queues":["b","c"]}"#, true);
        assert_eq!(rubies.polled, Some(["a", "b", "c"].map(str::to_owned).into()));
        for process in 0..20 {
            let queues: Vec<String> = (0..1_000).map(|queue| format!("{process:010}-{queue:04}")).collect();
            rubies.add(&serde_json::json!({"version": "8.1.7", "queues": queues}).to_string(), true);
        }
        let bytes: usize = rubies.polled.iter().flatten().map(String::len).sum();
        assert!((QUEUES_BYTES - 15..=QUEUES_BYTES).contains(&bytes), "{bytes}");
        let shared: Rubies = serde_json::from_str(&serde_json::to_string(&rubies).unwrap()).unwrap();
        assert_eq!(shared, rubies);
    }
}
