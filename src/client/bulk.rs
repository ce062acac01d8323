use std::time::Duration;

use rand::RngExt;
use serde::Serialize;

use super::{Client, Sink, normalize};
use crate::error::{Error, Result};
use crate::payload::{Jid, Mold, Payload, encode_args};
use crate::store::Store;
use crate::time::EpochSecs;

/// Many jobs of one class, for [`Client::push_bulk`].
///
/// ```no_run
/// # async fn example(client: &ferrokiq::Client) -> ferrokiq::Result<()> {
/// use ferrokiq::{Payload, client::Bulk};
///
/// let template = Payload::new("ReportJob", []).with_queue("low");
/// client.push_bulk(Bulk::new(template, (0..10_000).map(|id| (id,)))?).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is pushed until it is given to `Client::push_bulk`"]
pub struct Bulk {
    template: Payload,
    /// A JSON array for each job.
    args: Vec<String>,
    times: Times,
    batch: Option<usize>,
}

#[derive(Debug)]
enum Times {
    Now,
    At(Vec<f64>),
    Spread(Duration),
}

/// Jobs of one round trip unless said; fewer where each has a score of its own.
const BATCH: (usize, usize) = (1_000, 100);
/// The shortest span Sidekiq spreads jobs over.
const MIN_SPREAD: Duration = Duration::from_secs(5);

impl Bulk {
    /// One job for each of `args`, each an array or a tuple; the rest is taken from `template`, whose own arguments do not
    /// count.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Args`](crate::ErrorKind::Args) for arguments that are no JSON array.
    pub fn new<A: Serialize>(template: Payload, args: impl IntoIterator<Item = A>) -> Result<Self> {
        let class = template.class().to_owned();
        let args = args.into_iter().map(|args| encode_args(&class, &args)).collect::<Result<_>>()?;
        Ok(Self::of(template, args))
    }

    pub(crate) fn of(template: Payload, args: Vec<String>) -> Self {
        Self { template, args, times: Times::Now, batch: None }
    }

    /// When to run them: one time for all, or as many as there are jobs. No default: without, they run now.
    pub fn at<T: Into<EpochSecs>>(mut self, times: impl IntoIterator<Item = T>) -> Self {
        self.times = Times::At(times.into_iter().map(|at| at.into().0).collect());
        self
    }

    /// Run each at a random time from now to `span` (at least 5 s) from now.
    pub fn spread(mut self, span: Duration) -> Self {
        self.times = Times::Spread(span.max(MIN_SPREAD));
        self
    }

    /// Jobs of one round trip; 1,000 unless said, 100 with times.
    pub fn batch_size(mut self, jobs: usize) -> Self {
        self.batch = Some(jobs);
        self
    }

    /// The score of each job as text; empty if they run now.
    fn scores(&self, rng: &mut impl RngExt) -> Result<Vec<String>> {
        let scores: Vec<f64> = match &self.times {
            Times::Now => return Ok(Vec::new()),
            Times::At(times) if times.len() == 1 => vec![times[0]; self.args.len()],
            Times::At(times) => times.clone(),
            Times::Spread(span) => {
                let now = EpochSecs::now().0;
                (0..self.args.len()).map(|_| now + rng.random_range(0.0..span.as_secs_f64())).collect()
            }
        };
        if scores.len() != self.args.len() {
            return Err(Error::payload(format!(
                "Job 'at' Array must have same size as 'args' array: {} times for {} jobs",
                scores.len(),
                self.args.len()
            )));
        }
        Ok(scores.into_iter().map(|score| EpochSecs(score).to_string()).collect())
    }
}

impl Client {
    /// Pushes many jobs in as few round trips as they need. One answer per job, in order; `None` where a middleware stopped
    /// it. All share one `created_at`, and each gets a fresh jid, as in Sidekiq.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push); nothing is written before the options were checked. If a batch fails, those before it have been pushed:
    /// [`Error::pushed`] tells how many jobs these were.
    pub async fn push_bulk(&self, bulk: Bulk) -> Result<Vec<Option<Jid>>> {
        if bulk.batch == Some(0) {
            return Err(Error::payload("batch_size must be at least 1"));
        }
        let scores = bulk.scores(&mut rand::rng())?;
        let mut template = bulk.template;
        if bulk.args.len() > 1 && template.contains_key("jid") {
            return Err(Error::payload("Explicitly passing 'jid' when pushing more than one job is not supported"));
        }
        template.insert("jid", ());
        template.insert_raw("args", "[]");
        let mut template = normalize::template(template)?;
        let stamp = self.stamp_form().await.stamp(EpochSecs::now());
        let size = bulk.batch.unwrap_or(if scores.is_empty() { BATCH.0 } else { BATCH.1 });
        template.remove("jid");

        if self.0.chain.is_empty()
            && let Sink::Redis(store) = &self.0.sink
            && !template.contains_key("at")
        {
            let sample = self.passing_on(normalize::finish(template, &stamp));
            return self.push_alike(store, sample, &bulk.args, scores, size).await;
        }
        let mut jids = Vec::with_capacity(bulk.args.len());
        let mut through = 0;
        let mut batch = Vec::with_capacity(size.min(bulk.args.len()));
        let last = bulk.args.len();
        for (number, args) in bulk.args.into_iter().enumerate() {
            let mut payload = template.clone();
            payload.insert_raw("args", args);
            if let Some(score) = scores.get(number) {
                payload.insert_raw("at", score.as_str());
            }
            let payload = self
                .through_middleware(self.passing_on(normalize::finish(payload, &stamp)))
                .await
                .map_err(|error| error.with_pushed(through))?;
            jids.push(payload.as_ref().and_then(normalize::jid));
            batch.extend(payload);
            if batch.len() == size || number + 1 == last {
                self.write(std::mem::take(&mut batch)).await.map_err(|error| error.with_pushed(through))?;
                through = number + 1;
            }
        }
        Ok(jids)
    }

    /// Writes jobs that no middleware sees, and so differ from `sample` in arguments and id only: its text serves all.
    async fn push_alike(
        &self,
        store: &Store,
        sample: Payload,
        args: &[String],
        mut scores: Vec<String>,
        size: usize,
    ) -> Result<Vec<Option<Jid>>> {
        let jids: Vec<Jid> = args.iter().map(|_| Jid::generate()).collect();
        let mut through = 0;
        for (jids, args) in jids.chunks(size).zip(args.chunks(size)) {
            let mut sample = sample.clone();
            if scores.is_empty() {
                sample.insert_raw("enqueued_at", self.0.stamps.form().stamp(EpochSecs::now()));
            }
            let queue = sample.queue().to_owned();
            let mold = Mold::of(sample.into_string()).ok_or_else(|| Error::payload("the job cannot be written"))?;
            let jobs = args.iter().zip(jids).map(|(args, jid)| mold.cast(args, jid));
            let names: Vec<String> = if self.1.once { jids.iter().map(Jid::to_string).collect() } else { Vec::new() };
            let written = if scores.is_empty() {
                self.write_now(store, &[(&queue, jobs.collect())], &names).await
            } else {
                let entries: Vec<(String, String)> = scores.drain(..args.len()).zip(jobs).collect();
                self.write_later(store, &entries, &names).await
            };
            written.map_err(|error| error.with_pushed(through))?;
            through += args.len();
        }
        Ok(jids.into_iter().map(Some).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(jobs: usize) -> Bulk {
        Bulk::new(Payload::new("A", []), (0..jobs).map(|id| (id,))).unwrap()
    }

    #[test]
    fn takes_one_time_for_all_or_one_for_each() {
        let scores = |bulk: &Bulk| bulk.scores(&mut rand::rng());
        assert!(scores(&bulk(3)).unwrap().is_empty());
        assert_eq!(scores(&bulk(2).at([EpochSecs(5.5)])).unwrap(), ["5.5", "5.5"]);
        assert_eq!(scores(&bulk(2).at([EpochSecs(1.0), EpochSecs(2.5)])).unwrap(), ["1.0", "2.5"]);
        assert!(scores(&bulk(3).at([EpochSecs(1.0), EpochSecs(2.5)])).is_err());
        assert!(scores(&bulk(3).at(Vec::<EpochSecs>::new())).is_err());
        let spread = scores(&bulk(100).spread(Duration::ZERO)).unwrap();
        let (now, mut distinct) = (EpochSecs::now().0, spread.clone());
        distinct.dedup();
        assert!(distinct.len() > 90 && spread.iter().all(|at| (now - 1.0..now + 5.0).contains(&at.parse().unwrap())));
    }

    #[test]
    fn refuses_arguments_that_are_no_array() {
        assert!(Bulk::new(Payload::new("A", []), ["x"]).is_err());
    }
}
