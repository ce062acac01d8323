//! Who works on this Redis, as the processes themselves say.

use redis::{Pipeline, RedisResult, cmd};
use serde::Deserialize;

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

    /// The same, and shares the answer with the other processes of ours.
    #[cfg(feature = "server")]
    async fn share_sidekiqs(&self) -> Result<Vec<u32>> {
        let majors = self.sidekiqs().await?;
        let mut set = cmd("SET");
        set.arg(keys::SIDEKIQS).arg(shared(&majors)).arg("PX").arg(SHARED_MILLIS);
        if let Err(error) = self.link.query::<()>("share the versions of processes", &set).await {
            tracing::debug!(%error, "the versions of processes are not shared");
        }
        Ok(majors)
    }

    /// The same as another process of ours shared it within the last five seconds. The first that asks after that time reads all processes
    /// and shares what it found, so this costs each of many processes one command. `None` while another one reads.
    #[cfg(feature = "server")]
    pub(crate) async fn shared_sidekiqs(&self) -> Result<Option<Vec<u32>>> {
        let mut set = cmd("SET");
        set.arg(keys::SIDEKIQS).arg(READING).arg("NX").arg("GET").arg("PX").arg(SHARED_MILLIS);
        match self.link.query::<Option<String>>("read the versions of processes", &set).await {
            // With its memory full, say, Redis takes no turn; it can be read all the same.
            Err(error) if is_refusal(&error) => self.sidekiqs().await.map(Some),
            Err(error) => Err(error),
            Ok(None) => self.share_sidekiqs().await.map(Some),
            Ok(Some(majors)) if majors == READING => Ok(None),
            Ok(Some(majors)) => Ok(Some(majors.split(' ').filter_map(|major| major.parse().ok()).collect())),
        }
    }
}

/// Milliseconds the versions one process found are shared: less than two beats are apart, so one that is alone reads at every beat.
#[cfg(feature = "server")]
const SHARED_MILLIS: u64 = 5_000;
/// Stands in the place of the versions while one process reads them.
#[cfg(feature = "server")]
const READING: &str = "?";

/// Versions as they are shared: `6 8`.
#[cfg(feature = "server")]
fn shared(majors: &[u32]) -> String {
    majors.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

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
}
