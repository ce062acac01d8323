//! A server that has nothing to do.

use std::time::Duration;

use crate::{Outcome, Setting, raw, tell};

/// Kilobytes of this process.
pub(crate) fn rss_kb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kb = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    kb.unwrap_or(f64::NAN)
}

pub(crate) async fn idle(setting: &Setting) -> Outcome {
    const WATCHED: Duration = Duration::from_secs(20);
    let server = setting.server()?.build()?;
    let watch = async {
        // Past the start.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut redis = raw::connection().await?;
        let before = raw::commands(&mut redis).await?;
        tokio::time::sleep(WATCHED).await;
        tell("commands_per_s", (raw::commands(&mut redis).await? - before) / WATCHED.as_secs_f64());
        tell("rss_kb", rss_kb());
        Outcome::Ok(())
    };
    let (end, ended) = tokio::sync::oneshot::channel();
    let (stopped, watched) = tokio::join!(server.run(async { ended.await.unwrap_or(()) }), async {
        let watched = watch.await.map_err(|error| error.to_string());
        let _ = end.send(());
        watched
    });
    stopped?;
    Ok(watched?)
}
