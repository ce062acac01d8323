//! Claims of a capsule of which a queue has a limit of sidekiq-limit_fetch.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::server::fetch::reliable::Reliable;
use crate::server::unit::Batch;
use crate::store::claims::Claimed;

/// Pause between looks at limited queues. Nothing reports that another process returned a permit, and nobody waits for a job of such a queue:
/// the wait would take a permit. It doubles from the first to the second while nothing comes.
pub(super) const LIMITED_NAP: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

impl Reliable {
    fn is_limited(&self, at: usize) -> bool {
        self.source.limits.contains(&self.queues[at].0)
    }

    /// Whether one of the capsule's queues has a limit.
    pub(super) fn has_limits(&self) -> bool {
        self.source.limits.any() && (0..self.queues.len()).any(|at| self.is_limited(at))
    }

    /// Claims from the queues in their order: from limited ones that follow each other at once, and from others at once.
    pub(super) async fn claim_in_parts(&mut self, want: usize) -> Result<Vec<Arc<Batch>>> {
        let (mut batches, mut have, mut from) = (Vec::new(), 0, 0);
        self.is_full = false;
        while from < self.order.len() && have < want && !self.is_full {
            let is_limited = self.is_limited(self.order[from]);
            let others = self.order[from..].iter().position(|at| self.is_limited(*at) != is_limited);
            let to = others.map_or(self.order.len(), |others| from + others);
            match self.claim_from(from..to, want - have, is_limited).await {
                Ok(more) => {
                    have += more.iter().map(|batch| batch.jobs()).sum::<usize>();
                    batches.extend(more);
                }
                Err(error) if batches.is_empty() => return Err(error),
                Err(error) => {
                    // The next claim asks for it again.
                    tracing::debug!(%error, "only some queues were asked for jobs");
                    break;
                }
            }
            from = to;
        }
        Ok(batches)
    }

    /// Claims from some of the queues in their order, which all have a limit, with a permit for each job.
    pub(super) async fn claim_with_permits(
        &self,
        some: Range<usize>,
        number: u64,
        n: usize,
    ) -> Result<Option<Claimed>> {
        let (source, order) = (&self.source, &self.order[some]);
        let turn = source.limits.turn().await;
        if !order.iter().all(|at| self.is_limited(*at)) {
            // A limit ended meanwhile, and with it the count of permits. The next claim takes none.
            return Ok(Some(Claimed::default()));
        }
        for at in order {
            source.limits.correct_queue(&source.store, &self.queues[*at].0, &turn).await?;
        }
        let queues: Vec<(&str, &str)> =
            order.iter().map(|at| (&*self.queues[*at].0, self.queues[*at].1.as_str())).collect();
        match source.store.claim_limited(&source.private, number, n, &queues).await {
            Err(error) => source.limits.check(error).map(|()| Some(Claimed::default())),
            claimed => claimed,
        }
    }
}

#[cfg(test)]
#[cfg(all(unix, feature = "testing"))]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::testing::Redis;
    use crate::testing::refusing::{Fault, Refusing, Which};
    use crate::{Client, Context, Job, JobResult, Server};

    /// Runs for 10 ms and counts how many run at a time.
    #[derive(Clone, Default)]
    struct Counted(Arc<Counts>);

    #[derive(Default)]
    struct Counts {
        running: AtomicUsize,
        most: AtomicUsize,
        done: AtomicUsize,
    }

    impl Job for Counted {
        const CLASS: &'static str = "Counted";
        type Args = (usize,);

        async fn perform(&self, _cx: Context, _args: (usize,)) -> JobResult {
            let Counts { running, most, done } = &*self.0;
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            done.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    async fn until(what: &str, mut met: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !met().await {
            assert!(Instant::now() < deadline, "{what}: not within 20 s");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn call<T: redis::FromRedisValue>(redis: &Redis, command: &[&str]) -> T {
        let client = redis::Client::open(redis.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd(command[0]).arg(&command[1..]).query_async(&mut connection).await.unwrap()
    }

    async fn permits(redis: &Redis) -> usize {
        let probed: usize = call(redis, &["LLEN", "limit_fetch:probed:default"]).await;
        probed + call::<usize>(redis, &["LLEN", "limit_fetch:busy:default"]).await
    }

    async fn push(client: &Client, jobs: usize) {
        Counted::perform_bulk(client, (0..jobs).map(|n| (n,))).await.unwrap();
    }

    #[tokio::test]
    async fn lost_answers_take_no_permit_for_ever_and_no_job_beyond_the_limit() {
        let (redis, job) = (Redis::start().unwrap(), Counted::default());
        call::<()>(&redis, &["SET", "limit_fetch:limit:default", "2"]).await;
        push(&Client::builder().redis(redis.options().unwrap()).build().unwrap(), 60).await;
        let near = redis.dir().join("proxy.sock");
        let proxy = Refusing::start(&near, &redis.dir().join("redis.sock")).unwrap();
        let builder = Server::builder().redis(format!("unix://{}", near.display()).parse().unwrap());
        let server = builder.register(job.clone()).concurrency(6).liveness(Duration::from_secs(2)).build().unwrap();
        let handle = server.handle();
        let running = tokio::spawn(server.run(std::future::pending()));
        let done = || job.0.done.load(Ordering::SeqCst);
        for loss in 0..12 {
            let before = done();
            until("another job is done", async || done() > before).await;
            proxy.plan(Some((Which::Number(loss % 4), Fault::LoseAnswer)));
            until("the answer is lost", async || proxy.seen().len() > loss % 4).await;
        }
        proxy.plan(None);
        until("all jobs are done", async || done() >= 60).await;
        until("all permits are returned", async || permits(&redis).await == 0).await;
        handle.stop();
        running.await.unwrap().unwrap();
        assert_eq!((job.0.most.load(Ordering::SeqCst), done()), (2, 60));
        assert_eq!(call::<Vec<String>>(&redis, &["KEYS", "limit*"]).await, ["limit_fetch:limit:default"]);
    }

    #[tokio::test]
    async fn jobs_that_were_waited_for_when_the_limit_came_count() {
        let (redis, job) = (Redis::start().unwrap(), Counted::default());
        let options = || redis.options().unwrap();
        let server = Server::builder().redis(options()).register(job.clone()).concurrency(6).build().unwrap();
        let (handle, limits) = (server.handle(), server.process.runner.fetch.limits.clone());
        let client = Client::builder().redis(options()).build().unwrap();
        let running = tokio::spawn(server.run(std::future::pending()));
        let mut exceeded = 0;
        for turn in 1..=20 {
            until("it waits for a job", async || {
                call::<String>(&redis, &["INFO", "clients"]).await.contains("blocked_clients:1\r")
            })
            .await;
            call::<()>(&redis, &["SET", "limit_fetch:limit:default", "2"]).await;
            limits.set(HashSet::from(["default".to_owned()]));
            push(&client, 5).await;
            until("all jobs are done", async || job.0.done.load(Ordering::SeqCst) == 5 * turn).await;
            exceeded += usize::from(job.0.most.swap(0, Ordering::SeqCst) > 2);
            call::<()>(&redis, &["DEL", "limit_fetch:limit:default"]).await;
            limits.set(HashSet::new());
            until("all permits are returned", async || !limits.any()).await;
        }
        handle.stop();
        running.await.unwrap().unwrap();
        // A claim that was sent before the limit was set is not limited.
        assert!(exceeded <= 4, "{exceeded} of 20 turns");
    }
}
