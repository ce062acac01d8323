//! What a producer writes.

use redis::{Pipeline, cmd};

use super::{Store, keys, scripts};
use crate::error::Result;

impl Store {
    /// Pushes encoded jobs, grouped by queue, all or none. First given is first to run.
    ///
    /// One queue goes as `SADD` + `LPUSH`, as Sidekiq does it, so that a producer needs no right to run scripts.
    pub(crate) async fn push(&self, queues: &[(&str, Vec<String>)]) -> Result<()> {
        if let [(queue, jobs)] = queues {
            let mut pipeline = Pipeline::with_capacity(2);
            pipeline.cmd("SADD").arg(keys::QUEUES).arg(*queue).ignore();
            pipeline.cmd("LPUSH").arg(keys::queue(queue)).arg(jobs).ignore();
            return self.link.pipe("push", &pipeline).await;
        }
        let mut push = scripts::PUSH.key(keys::QUEUES);
        for (queue, jobs) in queues {
            push.key(keys::queue(queue)).arg(*queue).arg(jobs.len()).arg(jobs);
        }
        self.link.eval("push", &push).await
    }

    /// Adds encoded jobs to the schedule, each with its score as text.
    pub(crate) async fn schedule(&self, entries: &[(String, String)]) -> Result<()> {
        let mut zadd = cmd("ZADD");
        zadd.arg(keys::SCHEDULE);
        for (score, job) in entries {
            zadd.arg(score).arg(job);
        }
        self.link.query("schedule", &zadd).await
    }
}
