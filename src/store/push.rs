//! What a producer writes.

use redis::{Pipeline, cmd};

use super::confirm::Replicas;
use super::wire::Request;
use super::{Store, backoff, keys, scripts};
use crate::error::{Error, ErrorKind, RedisFault, Result};

/// How often a push that may be repeated is sent, at most.
const TRIES: u32 = 4;

/// Jobs that are moved apart in one script at most.
const APART: usize = 1_000;

impl Store {
    /// Pushes encoded jobs, grouped by queue, all or none. First given is first to run.
    ///
    /// One queue goes as `SADD` + `LPUSH`, as Sidekiq does it, so that a producer needs no right to run scripts. Its jobs are pushed if
    /// Redis applied `LPUSH`, whatever became of `SADD`.
    pub(crate) async fn push(&self, queues: &[(&str, Vec<String>)], replicas: Option<Replicas>) -> Result<()> {
        if let [(queue, jobs)] = queues {
            let mut pipeline = Pipeline::with_capacity(2);
            pipeline.cmd("SADD").arg(keys::QUEUES).arg(*queue).ignore();
            pipeline.cmd("LPUSH").arg(keys::queue(queue)).arg(jobs).ignore();
            let (pushed, refused) = self.produce("push", Request::LastCounts(&pipeline), replicas).await;
            if let Some(refused) = refused {
                self.name_queue(queue, refused).await;
            }
            return pushed;
        }
        let mut push = scripts::PUSH.key(keys::QUEUES);
        for (queue, jobs) in queues {
            push.key(keys::queue(queue)).arg(*queue).arg(jobs.len()).arg(jobs);
        }
        self.produce("push", Request::Script(&push), replicas).await.0
    }

    /// Adds a queue to the set of queue names after a push that added a job but not the name. Workers find the job without it.
    async fn name_queue(&self, queue: &str, mut refused: Error) {
        if refused.redis_fault() == Some(RedisFault::Unwilling) {
            match self.link.query("name a queue", cmd("SADD").arg(keys::QUEUES).arg(queue)).await {
                Ok(()) => return,
                Err(error) => refused = error,
            }
        }
        let why = std::error::Error::source(&refused).map(ToString::to_string).unwrap_or_default();
        tracing::warn!(queue, why, "a job was pushed, but its queue could not be added to the set of queue names");
    }

    /// As [`push`](Self::push), but a jid that was pushed so within an hour is passed over: after silence the same is sent again.
    /// `jids` are those of all jobs, in their order.
    pub(crate) async fn push_once(
        &self,
        queues: &[(&str, Vec<String>)],
        jids: &[String],
        replicas: Option<Replicas>,
    ) -> Result<()> {
        let mut push = scripts::PUSH_ONCE.key(keys::QUEUES);
        push.arg(keys::PUSHED_TTL).arg(queues.len());
        for (queue, jobs) in queues {
            push.key(keys::queue(queue)).arg(*queue).arg(jobs.len()).arg(jobs);
        }
        for jid in jids {
            push.key(keys::pushed(jid));
        }
        self.insist("push", Request::Script(&push), replicas).await
    }

    /// Adds encoded jobs to the schedule, each with its score as text. Jobs that share a score with another one move on to the next free
    /// score, some microseconds later.
    pub(crate) async fn schedule(&self, entries: &[(String, String)], replicas: Option<Replicas>) -> Result<()> {
        let mut zadd = cmd("ZADD");
        zadd.arg(keys::SCHEDULE);
        for (score, job) in entries {
            zadd.arg(score).arg(job);
        }
        let adding = self.produce("schedule", Request::Command(&zadd), replicas);
        if replicas.is_some() {
            adding.await.0?;
            let there = self.count_scheduled(entries).await;
            self.move_apart(entries, there).await;
            return Ok(());
        }
        // Sent behind the addition, on the same connection: it counts these jobs, and all that were added before.
        let (added, there) = tokio::join!(adding, self.count_scheduled(entries));
        added.0?;
        self.move_apart(entries, there).await;
        Ok(())
    }

    /// Counts the members of the schedule between the first and the last of some jobs.
    async fn count_scheduled(&self, entries: &[(String, String)]) -> Result<usize> {
        let by_time = |one: &&String, other: &&String| {
            let [one, other] = [one, other].map(|score| score.parse().unwrap_or(0.0_f64));
            one.total_cmp(&other)
        };
        let scores = || entries.iter().map(|(score, _)| score);
        let (first, last) = (scores().min_by(by_time), scores().max_by(by_time));
        self.link.query("count the schedule", cmd("ZCOUNT").arg(keys::SCHEDULE).arg(first).arg(last)).await
    }

    /// Gives each of some jobs that were scheduled a score of its own, if `there` are others between them. That they are scheduled counts:
    /// a user without the right to look, say, leaves them where they are.
    async fn move_apart(&self, entries: &[(String, String)], there: Result<usize>) {
        if !there.is_ok_and(|there| there > entries.len()) {
            return;
        }
        for entries in entries.chunks(APART) {
            let mut apart = scripts::APART.key(keys::SCHEDULE);
            for (score, job) in entries {
                apart.arg(score).arg(job);
            }
            let moved: Result<()> = self.link.run("move scheduled jobs apart", Request::Script(&apart)).await;
            if let Err(error) = moved {
                tracing::debug!(%error, "scheduled jobs may share a score with others");
                return;
            }
        }
    }

    /// As [`schedule`](Self::schedule), once as [`push_once`](Self::push_once).
    pub(crate) async fn schedule_once(
        &self,
        entries: &[(String, String)],
        jids: &[String],
        replicas: Option<Replicas>,
    ) -> Result<()> {
        let mut schedule = scripts::SCHEDULE_ONCE.key(keys::SCHEDULE);
        schedule.arg(keys::PUSHED_TTL);
        for ((score, job), jid) in entries.iter().zip(jids) {
            schedule.key(keys::pushed(jid)).arg(score).arg(job);
        }
        self.insist("schedule", Request::Script(&schedule), replicas).await
    }

    /// Sends a request. Returns whether it was done, and what Redis refused of one that was done [all the same](Request::LastCounts).
    async fn produce(
        &self,
        doing: &str,
        request: Request<'_>,
        replicas: Option<Replicas>,
    ) -> (Result<()>, Option<Error>) {
        if let Some(replicas) = replicas {
            return self.confirmed.run(&self.link, doing, request, replicas).await;
        }
        match self.link.run(doing, request).await {
            Err(error) if error.kind() == ErrorKind::Partial => (Ok(()), Some(error)),
            done => (done, None),
        }
    }

    /// Sends again what was met with silence. Once there was silence, a later refusal does not tell what became of it.
    async fn insist(&self, doing: &str, request: Request<'_>, replicas: Option<Replicas>) -> Result<()> {
        let mut silence = None;
        for tried in 0..TRIES {
            if tried > 0 {
                tokio::time::sleep(backoff(tried)).await;
            }
            match self.produce(doing, request, replicas).await.0 {
                Err(error) if error.is_ambiguous() => silence = Some(error),
                Err(error) if error.kind() == ErrorKind::Redis && silence.is_some() => {}
                answer => return answer,
            }
        }
        silence.map_or(Ok(()), Err)
    }
}
