use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rand::RngExt;
use serde::Serialize;

use super::{Client, Sink, normalize};
use crate::error::{Error, Result};
use crate::payload::{Jid, Mold, Payload, check_args, encode_args};
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
///
/// Its jobs have their jids before they are pushed. After an error, [`Error::pushed`] says how many were surely pushed, and
/// [`without_first`](Self::without_first) leaves exactly the others. An [idempotent](Client::idempotent) client passes over those of
/// them that were pushed all the same:
///
/// ```no_run
/// # async fn example(client: &ferrokiq::Client) -> ferrokiq::Result<()> {
/// # use ferrokiq::{Payload, client::Bulk};
/// let client = client.idempotent();
/// let mut bulk = Bulk::new(Payload::new("ReportJob", []), (0..10_000).map(|id| (id,)))?;
/// while let Err(error) = client.push_bulk(&bulk).await {
///     if !error.is_ambiguous() {
///         return Err(error);
///     }
///     bulk = bulk.without_first(error.pushed().unwrap_or(0));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is pushed until it is given to `Client::push_bulk`"]
pub struct Bulk {
    template: Payload,
    jobs: Vec<Job>,
    times: Times,
    /// `false` if `at` and `spread` were both called.
    one_kind_of_time: bool,
    batch: Option<usize>,
}

#[derive(Clone, Debug)]
struct Job {
    jid: Jid,
    /// A JSON array.
    args: String,
}

#[derive(Clone, Debug)]
enum Times {
    Now,
    All(f64),
    At(Vec<f64>),
    Spread(Duration),
}

/// Jobs of one round trip unless said; fewer where each has a score of its own.
const BATCH: (usize, usize) = (1_000, 100);
/// The shortest span Sidekiq spreads jobs over.
const MIN_SPREAD: Duration = Duration::from_secs(5);

impl Bulk {
    /// One job for each of `args`, each an array or a tuple; the rest is taken from `template`, whose own arguments do not
    /// count. Draws the jids.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Args`](crate::ErrorKind::Args) for arguments that are no JSON array or that Ruby cannot read.
    pub fn new<A: Serialize>(template: Payload, args: impl IntoIterator<Item = A>) -> Result<Self> {
        let class = template.class().to_owned();
        let args = args.into_iter().map(|args| encode_args(&class, &args)).collect::<Result<_>>()?;
        Ok(Self::of(template, args))
    }

    pub(crate) fn of(template: Payload, args: Vec<String>) -> Self {
        let jobs = args.into_iter().map(|args| Job { jid: Jid::generate(), args }).collect();
        Self { template, jobs, times: Times::Now, one_kind_of_time: true, batch: None }
    }

    /// When to run each job: as many times as there are jobs. No default: without, they run now.
    pub fn at<T: Into<EpochSecs>>(self, times: impl IntoIterator<Item = T>) -> Self {
        self.timed(Times::At(times.into_iter().map(|at| at.into().0).collect()))
    }

    /// When to run them, all at the same time, a microsecond apart: no two entries of the schedule share a score.
    pub fn all_at(self, time: impl Into<EpochSecs>) -> Self {
        self.timed(Times::All(time.into().0))
    }

    /// Run each at a random time from now to `span` (more than zero; 5 s at least are used) from now.
    pub fn spread(self, span: Duration) -> Self {
        self.timed(Times::Spread(span))
    }

    fn timed(self, times: Times) -> Self {
        Self { one_kind_of_time: matches!(self.times, Times::Now), times, ..self }
    }

    /// Jobs of one round trip; 1,000 unless said, 100 with times.
    pub fn batch_size(mut self, jobs: usize) -> Self {
        self.batch = Some(jobs);
        self
    }

    /// The ids of the jobs, in order: those they are pushed with, unless a middleware changes one.
    pub fn jids(&self) -> impl ExactSizeIterator<Item = &Jid> {
        self.jobs.iter().map(|job| &job.jid)
    }

    /// The same jobs without the first `count` of them: what is left after an error that [counts](Error::pushed) so many as pushed.
    pub fn without_first(mut self, count: usize) -> Self {
        let count = count.min(self.jobs.len());
        self.jobs.drain(..count);
        if let Times::At(times) = &mut self.times {
            times.drain(..count.min(times.len()));
        }
        self
    }

    /// The score of each job as text; empty if they run now. In Ruby's words what Ruby refuses.
    fn scores(&self, rng: &mut impl RngExt) -> Result<Vec<String>> {
        let wrong = |why: &str| Err(Error::payload(why));
        let has_time = self.template.get("at").is_some_and(|at| !matches!(at, "null" | "false"));
        if !self.one_kind_of_time || has_time && !matches!(self.times, Times::Now) {
            return wrong("Only one of 'at' or 'spread_interval' can be provided");
        }
        let jobs = self.jobs.len();
        let scores: Vec<f64> = match &self.times {
            Times::Now => return Ok(Vec::new()),
            Times::All(time) => vec![*time; jobs],
            Times::At(times) if times.is_empty() && jobs > 0 => {
                return wrong("Job 'at' must be a Numeric or an Array of Numeric timestamps");
            }
            Times::At(times) if times.len() != jobs => {
                let sizes = format!("{} times for {jobs} jobs", times.len());
                return wrong(&format!("Job 'at' Array must have same size as 'args' Array: {sizes}"));
            }
            Times::At(times) => times.clone(),
            Times::Spread(Duration::ZERO) => return wrong("Jobs 'spread_interval' must be a positive Numeric"),
            Times::Spread(span) => {
                let (now, span) = (EpochSecs::now().0, span.max(&MIN_SPREAD).as_secs_f64());
                (0..jobs).map(|_| now + rng.random_range(0.0..span)).collect()
            }
        };
        let scores = apart(scores);
        if scores.iter().any(|score| !score.is_finite()) {
            return wrong("Job 'at' must be a Numeric timestamp: one is not finite");
        }
        Ok(scores.into_iter().map(|score| EpochSecs(score).to_string()).collect())
    }
}

/// Moves scores that are equal apart, by a microsecond each or by what a float can hold: Sidekiq's Web UI deletes by score.
fn apart(mut scores: Vec<f64>) -> Vec<f64> {
    let next = |score: f64| {
        let next = ((score * 1e6).round() + 1.0) / 1e6;
        if next > score && next.is_finite() { next } else { score.next_up() }
    };
    let mut taken = HashSet::with_capacity(scores.len());
    // The last score that was given to jobs of one time.
    let mut given: HashMap<u64, f64> = HashMap::new();
    for score in &mut scores {
        let bits = score.to_bits();
        if !score.is_finite() || taken.insert(bits) {
            continue;
        }
        *score = next(given.get(&bits).copied().unwrap_or(*score));
        while score.is_finite() && !taken.insert(score.to_bits()) {
            *score = next(*score);
        }
        given.insert(bits, *score);
    }
    scores
}

impl Client {
    /// Pushes many jobs in as few round trips as they need. One answer per job, in order; `None` where a middleware stopped
    /// it. All share one `created_at`, and each has a jid of its own, as in Sidekiq.
    ///
    /// Takes a [`Bulk`] or a reference to one; keep it to push the rest again after an error.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push), and [`ErrorKind::Payload`](crate::ErrorKind::Payload) for times that Sidekiq rejects; nothing is written
    /// before options and arguments were checked. If a batch fails, those before it have been pushed: [`Error::pushed`] is how many jobs
    /// these were, counted from the first. The batch behind them is in doubt if the error is
    /// [ambiguous](crate::ErrorKind::Ambiguous), and was not pushed if it is not; [`Bulk::jids`] names its jobs.
    pub async fn push_bulk(&self, bulk: impl Borrow<Bulk>) -> Result<Vec<Option<Jid>>> {
        let bulk = bulk.borrow();
        if bulk.batch == Some(0) {
            return Err(Error::payload("batch_size must be at least 1"));
        }
        let scores = bulk.scores(&mut rand::rng())?;
        let mut template = bulk.template.clone();
        for job in &bulk.jobs {
            check_args(template.class(), &job.args)?;
        }
        if bulk.jobs.len() > 1 && template.contains_key("jid") {
            return Err(Error::payload("Explicitly passing 'jid' when pushing more than one job is not supported"));
        }
        template.remove("jid");
        template.insert_raw("args", "[]");
        let template = normalize::template(template)?;
        let stamp = self.stamp_form().await.map_err(|error| error.with_pushed(0))?.stamp(EpochSecs::now());
        let size = bulk.batch.unwrap_or(if scores.is_empty() { BATCH.0 } else { BATCH.1 });

        if self.0.chain.is_empty()
            && let Sink::Redis(store) = &self.0.sink
            && !template.contains_key("at")
        {
            let sample = self.passing_on(normalize::finish(template, &stamp))?;
            return self.push_alike(store, sample, &bulk.jobs, scores, size).await;
        }
        let mut jids = Vec::with_capacity(bulk.jobs.len());
        let mut through = 0;
        let mut batch = Vec::with_capacity(size.min(bulk.jobs.len()));
        let last = bulk.jobs.len();
        for (number, Job { jid, args }) in bulk.jobs.iter().enumerate() {
            let mut payload = template.clone();
            payload.insert_raw("args", args.as_str());
            payload.insert("jid", jid);
            if let Some(score) = scores.get(number) {
                payload.insert_raw("at", score.as_str());
            }
            let payload = self
                .to_push(self.passing_on(normalize::finish(payload, &stamp))?)
                .await
                .map_err(|error| error.with_pushed(through))?;
            if let Some(payload) = &payload {
                self.check_size(payload).map_err(|error| error.with_pushed(through))?;
                // One round trip writes either to the schedule or to queues: a middleware may have delayed some of the jobs.
                let is_other = |first: &Payload| first.contains_key("at") != payload.contains_key("at");
                if batch.first().is_some_and(is_other) {
                    self.write(std::mem::take(&mut batch)).await.map_err(|error| error.with_pushed(through))?;
                    through = number;
                }
            }
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
        jobs: &[Job],
        mut scores: Vec<String>,
        size: usize,
    ) -> Result<Vec<Option<Jid>>> {
        // The arguments of the sample are empty; `enqueued_at` is short.
        let (limit, rest) = (normalize::max_pushed(self.0.max_payload), sample.size());
        for job in jobs {
            normalize::check_size(sample.class(), rest + job.args.len(), limit)?;
        }
        let mut through = 0;
        for batch in jobs.chunks(size) {
            let mut sample = sample.clone();
            if scores.is_empty() {
                sample.insert_raw("enqueued_at", self.0.stamps.form().stamp(EpochSecs::now()));
            }
            let queue = sample.queue().to_owned();
            let mold = Mold::of(sample.into_string()).ok_or_else(|| Error::payload("the job cannot be written"))?;
            let texts = batch.iter().map(|job| mold.cast(&job.args, &job.jid));
            let once = if self.1.once { batch } else { &[] };
            let names: Vec<String> = once.iter().map(|job| job.jid.to_string()).collect();
            let written = if scores.is_empty() {
                self.write_now(store, &[(&queue, texts.collect())], &names).await
            } else {
                let entries: Vec<(String, String)> = scores.drain(..batch.len()).zip(texts).collect();
                self.write_later(store, &entries, &names).await
            };
            written.map_err(|error| error.with_pushed(through))?;
            through += batch.len();
        }
        Ok(jobs.iter().map(|job| Some(job.jid.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(jobs: usize) -> Bulk {
        Bulk::new(Payload::new("A", []), (0..jobs).map(|id| (id,))).unwrap()
    }

    fn scores(bulk: &Bulk) -> Result<Vec<String>> {
        bulk.scores(&mut rand::rng())
    }

    #[test]
    fn takes_one_time_for_all_or_one_for_each() {
        assert!(scores(&bulk(3)).unwrap().is_empty());
        assert_eq!(scores(&bulk(3).all_at(EpochSecs(5.5))).unwrap(), ["5.5", "5.500001", "5.500002"]);
        assert_eq!(scores(&bulk(2).at([EpochSecs(1.0), EpochSecs(2.5)])).unwrap(), ["1.0", "2.5"]);
        let spread = scores(&bulk(100).spread(Duration::from_millis(1))).unwrap();
        let (now, mut distinct) = (EpochSecs::now().0, spread.clone());
        distinct.dedup();
        assert!(distinct.len() > 90 && spread.iter().all(|at| (now - 1.0..now + 5.0).contains(&at.parse().unwrap())));
    }

    #[test]
    fn gives_no_two_jobs_one_score() {
        for time in [0.0, 2e9, 2_000_000_000.5, 1e12, 1e307] {
            let given = scores(&bulk(10_000).all_at(EpochSecs(time))).unwrap();
            let distinct: HashSet<u64> = given.iter().map(|at| at.parse::<f64>().unwrap().to_bits()).collect();
            assert_eq!((given[0].as_str(), distinct.len()), (EpochSecs(time).to_string().as_str(), 10_000));
        }
        let times = [2e9, 2_000_000_000.000_001, 2e9, 2e9, 2_000_000_000.000_001].map(EpochSecs);
        let given = scores(&bulk(5).at(times)).unwrap();
        assert_eq!(
            given,
            ["2000000000.0", "2000000000.000001", "2000000000.000002", "2000000000.000003", "2000000000.000004"]
        );
    }

    #[test]
    fn refuses_times_that_ruby_refuses() {
        let at = EpochSecs(2e9);
        let size = "Job 'at' Array must have same size as 'args' Array: 1 times for 2 jobs";
        let one_of = "Only one of 'at' or 'spread_interval' can be provided";
        let mut timed = Payload::new("A", []);
        timed.insert("at", 2e9);
        for (bulk, words) in [
            (bulk(2).at([at]), size),
            (bulk(3).at(Vec::<EpochSecs>::new()), "Job 'at' must be a Numeric or an Array of Numeric timestamps"),
            (bulk(1).at([EpochSecs(f64::INFINITY)]), "Job 'at' must be a Numeric timestamp: one is not finite"),
            (bulk(1).all_at(EpochSecs(f64::NAN)), "Job 'at' must be a Numeric timestamp: one is not finite"),
            (bulk(1).spread(Duration::ZERO), "Jobs 'spread_interval' must be a positive Numeric"),
            (bulk(1).at([at]).spread(Duration::from_secs(9)), one_of),
            (bulk(1).spread(Duration::from_secs(9)).all_at(at), one_of),
            (bulk(1).at([at]).at([at]), one_of),
            (Bulk::new(timed, [(1,)]).unwrap().spread(Duration::from_secs(9)), one_of),
        ] {
            assert_eq!(scores(&bulk).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn leaves_the_jobs_behind_those_that_were_pushed() {
        let whole = bulk(3).at([1.0, 2.0, 3.0].map(EpochSecs));
        let rest = whole.clone().without_first(2);
        assert_eq!(rest.jids().collect::<Vec<_>>(), whole.jids().skip(2).collect::<Vec<_>>());
        assert_eq!((rest.jobs[0].args.as_str(), scores(&rest).unwrap()), ("[2]", vec!["3.0".to_owned()]));
        assert_eq!(whole.without_first(9).jids().len(), 0);
    }

    #[test]
    fn refuses_arguments_that_are_no_array() {
        assert!(Bulk::new(Payload::new("A", []), ["x"]).is_err());
    }
}
