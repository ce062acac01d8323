use rand::RngExt;
use rand::seq::SliceRandom;

use crate::error::{Error, Result};
use crate::payload::is_routable_queue;

/// Settings of a group of processors with queues of its own, as Sidekiq's capsules.
///
/// A server has at least one, `default`. Give a second one to queues that need their own concurrency, say one job at a
/// time.
#[derive(Clone, Debug, Default)]
pub struct CapsuleBuilder {
    pub(crate) concurrency: Option<usize>,
    pub(crate) queues: Vec<String>,
}

impl CapsuleBuilder {
    /// Jobs that run at the same time; 5 unless said otherwise, as Sidekiq. Rust tasks are cheap: jobs that mostly wait
    /// take hundreds. 65,536 at most: [`build`](crate::ServerBuilder::build) returns an error for more.
    #[must_use]
    pub fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = Some(jobs);
        self
    }

    /// The queues, each `"name"` or `"name,weight"`; replaces those said before. `["default"]` unless said.
    ///
    /// No weights: strictly in this order. All weights 1: random. Otherwise weighted: a queue of weight 2 is asked
    /// first twice as often as one of weight 1.
    #[must_use]
    pub fn queues<Q: Into<String>>(mut self, queues: impl IntoIterator<Item = Q>) -> Self {
        self.queues = queues.into_iter().map(Into::into).collect();
        self
    }
}

/// How the queues of a capsule are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueMode {
    /// In the order they were given.
    Strict,
    /// Shuffled by weight for every claim.
    Weighted,
    /// Shuffled for every claim.
    Random,
}

impl QueueMode {
    /// As the process info spells it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Weighted => "weighted",
            Self::Random => "random",
        }
    }
}

/// A capsule, checked and frozen.
#[derive(Clone, Debug)]
pub struct Capsule {
    name: String,
    concurrency: usize,
    mode: QueueMode,
    /// Each queue once, with the weight it was given last; in the order of the first mention.
    weights: Vec<(String, u32)>,
}

/// What Sidekiq has unless told otherwise.
pub(crate) const DEFAULT_CONCURRENCY: usize = 5;

/// Each job that may run at the same time is a task, which takes memory from the start.
const MAX_CONCURRENCY: usize = 65_536;

impl Capsule {
    pub(crate) fn build(name: &str, builder: &CapsuleBuilder) -> Result<Self> {
        let concurrency = builder.concurrency.unwrap_or(DEFAULT_CONCURRENCY);
        if concurrency == 0 {
            return Err(Error::config(format!("capsule {name}: concurrency: 0 is not a valid value")));
        }
        if concurrency > MAX_CONCURRENCY {
            return Err(Error::config(format!(
                "capsule {name}: concurrency: {concurrency} is too much: {MAX_CONCURRENCY} at most"
            )));
        }
        let mut weights: Vec<(String, u32)> = Vec::new();
        for spec in &builder.queues {
            let (queue, weight) = parse_queue(spec).map_err(|why| Error::config(format!("capsule {name}: {why}")))?;
            match weights.iter_mut().find(|(known, _)| *known == queue) {
                Some((_, known)) => *known = weight,
                None => weights.push((queue, weight)),
            }
        }
        if weights.is_empty() {
            return Err(Error::config(format!("capsule {name} has no queues")));
        }
        let mode = if weights.iter().all(|(_, weight)| *weight == 0) {
            QueueMode::Strict
        } else if weights.iter().all(|(_, weight)| *weight == 1) {
            QueueMode::Random
        } else {
            QueueMode::Weighted
        };
        Ok(Self { name: name.to_owned(), concurrency, mode, weights })
    }

    /// Its name; `default` for the one every server has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Jobs it runs at the same time.
    pub fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// How its queues are ordered.
    pub fn mode(&self) -> QueueMode {
        self.mode
    }

    /// Its queues and their weights.
    pub fn weights(&self) -> &[(String, u32)] {
        &self.weights
    }

    /// Writes into `order` the positions of the queues as they should be asked now, first to last.
    pub(crate) fn order(&self, rng: &mut impl RngExt, order: &mut Vec<usize>) {
        order.clear();
        match self.mode {
            QueueMode::Strict => order.extend(0..self.weights.len()),
            QueueMode::Random => {
                order.extend(0..self.weights.len());
                order.shuffle(rng);
            }
            QueueMode::Weighted => {
                // The order of first mentions in a shuffled list where each queue stands `weight` times is the order of
                // exponential clocks with those rates (Efraimidis and Spirakis), without building the list.
                let mut keyed: Vec<(f64, usize)> = self
                    .weights
                    .iter()
                    .enumerate()
                    .map(|(at, (_, weight))| (-rng.random::<f64>().ln() / f64::from((*weight).max(1)), at))
                    .collect();
                keyed.sort_by(|one, two| one.0.total_cmp(&two.0));
                order.extend(keyed.into_iter().map(|(_, at)| at));
            }
        }
    }
}

fn parse_queue(spec: &str) -> Result<(String, u32), String> {
    let (name, weight) = match spec.split_once(',') {
        Some((name, weight)) => {
            let parsed = weight.trim().parse().map_err(|_| format!("{weight:?} is no weight for queue {name:?}"))?;
            (name, parsed)
        }
        None => (spec, 0),
    };
    if !is_routable_queue(name) {
        return Err(format!("{name:?} is no queue name: 1 to 512 bytes without control characters"));
    }
    Ok((name.to_owned(), weight))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn capsule(queues: &[&str]) -> Result<Capsule> {
        Capsule::build("default", &CapsuleBuilder::default().queues(queues.iter().copied()))
    }

    #[test]
    fn refuses_more_concurrency_than_a_process_can_have() {
        let build = |jobs| Capsule::build("many", &CapsuleBuilder::default().concurrency(jobs).queues(["q"]));
        assert_eq!(build(MAX_CONCURRENCY).unwrap().concurrency(), MAX_CONCURRENCY);
        for jobs in [MAX_CONCURRENCY + 1, usize::MAX - 64, usize::MAX] {
            let error = build(jobs).unwrap_err().to_string();
            assert_eq!(error, format!("capsule many: concurrency: {jobs} is too much: 65536 at most"));
        }
    }

    #[test]
    fn tells_the_mode_by_the_weights() {
        for (queues, mode) in [
            (&["a", "b"][..], QueueMode::Strict),
            (&["a,0", "b"], QueueMode::Strict),
            (&["a,1", "b,1"], QueueMode::Random),
            (&["a,2", "b,1"], QueueMode::Weighted),
            (&["a,2", "b"], QueueMode::Weighted),
        ] {
            assert_eq!(capsule(queues).unwrap().mode(), mode, "{queues:?}");
        }
    }

    #[test]
    fn names_the_culprit() {
        for (queues, complaint) in [
            (&[][..], "capsule default has no queues"),
            (&["a,high"], "capsule default: \"high\" is no weight for queue \"a\""),
            (&["a\nb"], "capsule default: \"a\\nb\" is no queue name"),
            (&["a,-1"], "capsule default: \"-1\" is no weight for queue \"a\""),
        ] {
            let error = capsule(queues).unwrap_err();
            assert!(error.is_config() && error.to_string().starts_with(complaint), "{error}");
        }
        let zero = CapsuleBuilder::default().queues(["a"]).concurrency(0);
        let error = Capsule::build("slow", &zero).unwrap_err();
        assert_eq!(error.to_string(), "capsule slow: concurrency: 0 is not a valid value");
    }

    #[test]
    fn keeps_one_place_per_queue_and_the_last_weight() {
        let capsule = capsule(&["a,1", "b,2", "a,3"]).unwrap();
        assert_eq!(capsule.weights(), [("a".to_owned(), 3), ("b".to_owned(), 2)]);
    }

    #[test]
    fn asks_heavier_queues_first_as_often_as_their_weight_says() {
        let capsule = capsule(&["heavy,3", "light,1"]).unwrap();
        let (mut rng, mut order) = (StdRng::seed_from_u64(7), Vec::new());
        let mut first = [0; 2];
        for _ in 0..40_000 {
            capsule.order(&mut rng, &mut order);
            first[order[0]] += 1;
        }
        assert!((29_400..=30_600).contains(&first[0]), "{first:?} with seed 7");
    }
}
