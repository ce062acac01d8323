//! What a fault waits for.

use std::time::{Duration, Instant};

use crate::Failure;
use crate::ledger::Ledger;
use crate::stage::Stage;

impl Stage {
    /// Jobs that are neither done nor dead: queued, in private lists, in the retry set, in the schedule.
    pub(crate) async fn open_jobs(&self) -> Result<[usize; 4], Failure> {
        let script = "local held, queued = 0, 0 \
            for _, key in ipairs(redis.call('KEYS', 'ferrokiq:batch:*')) do held = held + redis.call('LLEN', key) end \
            for _, key in ipairs(redis.call('KEYS', 'queue:*')) do if redis.call('TYPE', key).ok == 'list' then queued = queued + redis.call('LLEN', key) end end \
            local function size(key) return redis.call('TYPE', key).ok == 'zset' and redis.call('ZCARD', key) or 0 end \
            return {queued, held, size('retry'), size('schedule')}";
        let open: Vec<usize> = self.redis.call("EVAL", &[script, "0"]).await?;
        Ok([open[0], open[1], open[2], open[3]])
    }

    /// Retries are due now: nobody waits for them.
    async fn hurry_retries(&self) -> Result<(), Failure> {
        let script = "for _, job in ipairs(redis.call('ZRANGE', 'retry', 0, 999)) do redis.call('ZADD', 'retry', 'XX', 1, job) end";
        let _: () = self.redis.call("EVAL", &[script, "0"]).await?;
        Ok(())
    }

    /// Waits until every job is done or dead.
    pub(crate) async fn settle(&mut self, within: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + within;
        loop {
            let open = self.open_jobs().await?;
            if open.iter().sum::<usize>() == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                let [queued, held, retrying, scheduled] = open;
                self.complain(format!(
                    "not settled within {within:?}: {queued} queued, {held} held, {retrying} retrying, {scheduled} scheduled"
                ));
                return Ok(());
            }
            if open[2] > 0 {
                self.hurry_retries().await?;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn ledger(&self) -> Result<Ledger, Failure> {
        Ok(Ledger::read(&self.dir)?)
    }

    /// Runs that began.
    pub(crate) fn runs(&self) -> Result<usize, Failure> {
        Ok(self.ledger()?.runs())
    }

    /// Waits until so many runs began.
    pub(crate) async fn wait_runs(&mut self, runs: usize) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.runs()? < runs {
            if Instant::now() > deadline {
                return Err(format!("fewer than {runs} runs began in 30 s").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until each of so many accepted jobs, from the `first` on, has begun.
    pub(crate) async fn wait_runs_of(&mut self, first: usize, jobs: usize) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let ledger = self.ledger()?;
            if self.accepted[first..first + jobs].iter().all(|job| ledger.0.contains_key(job)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("not all of {jobs} jobs began in 30 s").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until every accepted job is done, whatever Redis knows of them.
    pub(crate) async fn settle_all(&mut self, within: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + within;
        loop {
            let ledger = self.ledger()?;
            let open = self.accepted.iter().filter(|job| !ledger.done(job)).count();
            if open == 0 {
                return self.settle(deadline.saturating_duration_since(Instant::now())).await;
            }
            if Instant::now() > deadline {
                self.complain(format!("{open} jobs are not done after {within:?}"));
                return Ok(());
            }
            self.hurry_retries().await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a worker logged something.
    pub(crate) async fn wait_said(&mut self, at: usize, what: &str, within: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + within;
        while !self.workers[at].said().contains(what) {
            if Instant::now() > deadline {
                self.expect(false, || format!("nothing was said of {what} within {within:?}"));
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}
