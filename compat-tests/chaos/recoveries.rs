//! How long the jobs of processes that died were away.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Failure;

/// How long after its death nothing was left in a process's private lists.
pub(crate) async fn until_recovered(
    mut redis: redis::aio::MultiplexedConnection,
    identity: String,
    died: Instant,
) -> Result<Duration, Failure> {
    let script = "local held = 0 \
        for _, key in ipairs(redis.call('SMEMBERS', 'ferrokiq:batches:' .. ARGV[1])) do held = held + redis.call('LLEN', key) end \
        return held";
    let mut away = Duration::ZERO;
    loop {
        let held: usize = redis::cmd("EVAL").arg(script).arg(0).arg(&identity).query_async(&mut redis).await?;
        if held == 0 {
            return Ok(away);
        }
        away = died.elapsed();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) trait Recoveries {
    async fn abort_all_late(&mut self, max: &mut Duration, complaints: &mut Vec<String>);
}

impl Recoveries for JoinSet<Result<Duration, Failure>> {
    /// Takes the answers; whose process's jobs are not back by now is complained about.
    async fn abort_all_late(&mut self, max: &mut Duration, complaints: &mut Vec<String>) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(2);
        loop {
            match tokio::time::timeout_at(deadline, self.join_next()).await {
                Ok(None) => return,
                Ok(Some(Ok(Ok(away)))) => *max = away.max(*max),
                // Redis itself was ended by the fault: nothing was seen.
                Ok(Some(_)) => {}
                Err(_) => {
                    complaints.push(format!("the jobs of {} dead processes are not back", self.len()));
                    self.abort_all();
                    return;
                }
            }
        }
    }
}
