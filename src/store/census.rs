//! Who works on this Redis, as the processes themselves say.

use redis::{Pipeline, RedisResult, cmd};
use serde::Deserialize;

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
        let infos: Vec<RedisResult<Option<String>>> = self.link.pipe("read process infos", &pipeline).await?;
        Ok(infos.into_iter().map(|info| info.unwrap_or_else(|_| Some(String::new()))).collect())
    }

    /// Major versions of the Sidekiqs that work on this Redis. Processes of ours and ones whose hash expired do not count.
    pub(crate) async fn sidekiqs(&self) -> Result<Vec<u32>> {
        let infos = self.process_infos(&self.processes().await?).await?;
        Ok(infos.iter().flatten().filter_map(|info| sidekiq_major(info)).collect())
    }
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
