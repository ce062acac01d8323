//! What a fault plays on: a Redis of its own, worker processes, the list of what was accepted, and the ledger.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

use crate::Failure;
use crate::check::{Places, Verdict};
use crate::fleet::{Broken, Orders, Worker, signal};
use crate::ledger::{Jid, Ledger, jid};
use crate::recoveries::{Recoveries, until_recovered};
use crate::redis::{Redis, worker_url};

pub(crate) struct Stage {
    pub(crate) dir: PathBuf,
    pub(crate) rng: StdRng,
    /// The large counts, not those of `--quick`.
    full: bool,
    pub(crate) redis: Redis,
    pub(crate) orders: Orders,
    pub(crate) workers: Vec<Worker>,
    pub(crate) accepted: Vec<Jid>,
    pub(crate) broken: HashMap<u32, Broken>,
    pub(crate) kills: usize,
    pub(crate) restarts: usize,
    /// How long the jobs of processes that died were away.
    recoveries: JoinSet<Result<Duration, Failure>>,
    pub(crate) max_recovery: Duration,
    complaints: Vec<String>,
    remarks: Vec<String>,
}

/// A tenth of the default: rows that wait for processes to be taken for dead need not take minutes.
const ALIVE: Duration = Duration::from_secs(3);

impl Stage {
    pub(crate) async fn new(dir: PathBuf, seed: u64, full: bool, redis: &[&str]) -> Result<Self, Failure> {
        std::fs::create_dir_all(&dir)?;
        let redis = Redis::start(&dir, redis).await?;
        let orders = Orders {
            url: worker_url(redis.port),
            concurrency: 10,
            timeout: 25,
            queues: vec!["default".to_owned()],
            alive: ALIVE,
            environment: Vec::new(),
            log: None,
            wrapper: Vec::new(),
        };
        Ok(Self {
            dir,
            rng: StdRng::seed_from_u64(seed),
            full,
            redis,
            orders,
            workers: Vec::new(),
            accepted: Vec::new(),
            broken: HashMap::new(),
            kills: 0,
            restarts: 0,
            recoveries: JoinSet::new(),
            max_recovery: Duration::ZERO,
            complaints: Vec::new(),
            remarks: Vec::new(),
        })
    }

    /// How much of it: the first in a quick run, the second in a full one.
    pub(crate) fn scale<T>(&self, quick: T, full: T) -> T {
        if self.full { full } else { quick }
    }

    /// Complains unless it is so.
    pub(crate) fn expect(&mut self, so: bool, otherwise: impl FnOnce() -> String) {
        if !so {
            self.complaints.push(otherwise());
        }
    }

    pub(crate) fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }

    pub(crate) fn remark(&mut self, remark: impl Into<String>) {
        self.remarks.push(remark.into());
    }

    /// Starts a worker as ordered; returns its place.
    pub(crate) fn start(&mut self) -> Result<usize, Failure> {
        self.workers.push(Worker::start(&self.dir, &self.orders)?);
        Ok(self.workers.len() - 1)
    }

    /// Starts workers and waits until each is registered.
    pub(crate) async fn start_all(&mut self, count: usize) -> Result<(), Failure> {
        for _ in 0..count {
            let at = self.start()?;
            self.wait_registered(at).await?;
        }
        Ok(())
    }

    pub(crate) async fn wait_registered(&mut self, at: usize) -> Result<String, Failure> {
        let mut redis = self.redis.connection().await?;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(identity) = self.workers[at].identity(&mut redis).await? {
                return Ok(identity);
            }
            if Instant::now() > deadline || self.workers[at].exited().is_some() {
                return Err(format!("a worker did not start: {}", self.workers[at].said()).into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGKILL, and a watch on how soon its jobs are back.
    pub(crate) async fn kill(&mut self, at: usize) -> Result<(), Failure> {
        self.kill_after(at, None).await
    }

    /// As [`kill`](Self::kill). With `lag`, Redis is stopped for that time before the kill, and continues after it.
    pub(crate) async fn kill_after(&mut self, at: usize, lag: Option<Duration>) -> Result<(), Failure> {
        let mut redis = self.redis.connection().await?;
        let identity = self.workers[at].identity(&mut redis).await?;
        if let Some(lag) = lag {
            signal(self.redis.pid(), "STOP")?;
            tokio::time::sleep(lag).await;
        }
        self.workers[at].kill();
        if lag.is_some() {
            signal(self.redis.pid(), "CONT")?;
        }
        self.kills += 1;
        self.is_broken(at);
        if let Some(identity) = identity {
            self.recoveries.spawn(until_recovered(redis, identity, Instant::now()));
        }
        Ok(())
    }

    /// Kills and replaces random workers until `kills` were killed. Whenever less than `jobs` wait, pushes as many, of so many milliseconds: each
    /// kill meets work.
    pub(crate) async fn kill_at_random(&mut self, kills: usize, (jobs, millis): (usize, f64)) -> Result<(), Failure> {
        while self.kills < kills {
            let pause = self.rng.random_range(100..500);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let at = self.rng.random_range(0..self.workers.len());
            self.kill(at).await?;
            self.replace(at)?;
            if self.open_jobs().await?[0] < jobs {
                self.push(jobs, millis, 0).await?;
            }
        }
        Ok(())
    }

    /// What ran in this worker may run again.
    pub(crate) fn is_broken(&mut self, at: usize) {
        let worker = &self.workers[at];
        self.broken.insert(worker.life, Broken::new(worker.concurrency, 1));
    }

    /// As [`is_broken`](Self::is_broken), once more than before.
    pub(crate) fn is_broken_again(&mut self, at: usize) {
        let worker = &self.workers[at];
        self.broken.entry(worker.life).or_insert(Broken::new(worker.concurrency, 0)).times += 1;
    }

    /// So many jobs run twice here since they were pushed twice.
    pub(crate) fn may_repeat(&mut self, at: usize, jobs: usize) {
        self.broken.insert(self.workers[at].life, Broken::new(jobs, 1));
    }

    /// Starts another in the place of one that ended.
    pub(crate) fn replace(&mut self, at: usize) -> Result<(), Failure> {
        self.workers[at] = Worker::start(&self.dir, &self.orders)?;
        self.restarts += 1;
        Ok(())
    }

    /// TERM to all, and a complaint about whoever does not end well in time.
    pub(crate) async fn stop_all(&mut self) -> Result<(), Failure> {
        for worker in &mut self.workers {
            if worker.handles_signals().await {
                worker.signal("TERM")?;
            }
        }
        for at in 0..self.workers.len() {
            let patience = Duration::from_secs(self.orders.timeout + 15);
            let status = self.workers[at].exit(patience).await;
            let well =
                status.is_some_and(|status| status.success()) || self.broken.contains_key(&self.workers[at].life);
            let life = self.workers[at].life;
            self.expect(well, || format!("worker {life} ended as {status:?}"));
        }
        Ok(())
    }

    /// The payload of a job, and what it is counted by.
    pub(crate) fn job(&mut self, class: &str, args: &str, options: &str) -> (Jid, String) {
        let id = format!("{:024x}", self.rng.random::<u128>() >> 32);
        let payload = format!(
            r#"{{"retry":true,"queue":"default",{options}"class":"{class}","args":{args},"jid":"{id}","created_at":1795408228294,"enqueued_at":1795408228294}}"#
        );
        (jid(&id), payload)
    }

    /// Pushes jobs that take so many milliseconds and fail so often first.
    pub(crate) async fn push(&mut self, jobs: usize, ms: f64, failures: u32) -> Result<(), Failure> {
        self.push_jobs(jobs, "Work", &format!("[{ms:.3},{failures}]"), "").await
    }

    pub(crate) async fn push_jobs(
        &mut self,
        jobs: usize,
        class: &str,
        args: &str,
        options: &str,
    ) -> Result<(), Failure> {
        let mut redis = self.redis.connection().await?;
        let mut left = jobs;
        while left > 0 {
            let some: Vec<_> = (0..left.min(1_000)).map(|_| self.job(class, args, options)).collect();
            left -= some.len();
            let mut pipeline = redis::pipe();
            pipeline.cmd("SADD").arg("queues").arg("default").ignore();
            let lpush = pipeline.cmd("LPUSH").arg("queue:default");
            for (_, payload) in &some {
                lpush.arg(payload);
            }
            pipeline.ignore();
            let _: () = pipeline.query_async(&mut redis).await?;
            self.accepted.extend(some.into_iter().map(|(id, _)| id));
        }
        Ok(())
    }

    /// Complains if a worker has ended.
    pub(crate) fn expect_alive(&mut self, at: usize) {
        let ended = self.workers[at].exited();
        self.expect(ended.is_none(), || format!("a worker ended: {ended:?}"));
    }

    /// Complains if a worker put back the jobs of another.
    pub(crate) fn nobody_recovered(&mut self) {
        let said: String = self.workers.iter().map(|worker| worker.said()).collect();
        self.expect(!said.contains("put back the jobs"), || "a process that lives was taken for dead".to_owned());
        self.expect(!said.contains("no longer owned"), || {
            "jobs are said to be no longer owned, and nobody took them".to_owned()
        });
    }

    /// Ends what still runs and counts.
    pub(crate) async fn close(mut self) -> Result<Outcome, Failure> {
        let verdict =
            Verdict::new(&self.accepted, &Places::of(&self.redis).await?, &Ledger::read(&self.dir)?, &self.broken);
        self.recoveries.abort_all_late(&mut self.max_recovery, &mut self.complaints).await;
        let refused = self.redis.refusals().await?;
        self.expect(refused.is_empty(), || format!("the shipped rights do not suffice: {}", refused.join(", ")));
        let leftovers = self.redis.leftovers().await?;
        self.expect(leftovers.is_empty(), || format!("keys that never expire: {}", leftovers.join(", ")));
        let (lost, doubled, unexplained) = (verdict.lost, verdict.doubled, verdict.unexplained);
        self.expect(lost == 0, || format!("{lost} jobs are lost"));
        self.expect(doubled == 0, || format!("{doubled} jobs are in two places"));
        self.expect(unexplained == 0, || format!("{unexplained} runs too many that nothing explains"));
        Ok(Outcome {
            verdict,
            kills: self.kills,
            restarts: self.restarts,
            max_recovery: self.max_recovery,
            complaints: self.complaints,
            remarks: self.remarks,
        })
    }
}

/// What a fault came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) kills: usize,
    pub(crate) restarts: usize,
    pub(crate) max_recovery: Duration,
    pub(crate) complaints: Vec<String>,
    pub(crate) remarks: Vec<String>,
}
