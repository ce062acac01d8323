//! Jobs that belong to a Ruby gem: which they are, how many, and a log line for each class.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use crate::job::JobError;
use crate::payload::{Gem, Payload};
use crate::server::run::registry::{Registry, constant};
use crate::server::settings::config::{Config, ForeignJobs};
use crate::server::stats::counter::Counter;

/// Classes that are logged by name; a class comes from a payload, so their number needs a bound.
const LOGGED: usize = 1_000;

/// To whom a job belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// A gem, by the payload.
    Gem(Gem),
    /// The setting `foreign_classes` lists its class.
    Listed,
}

impl Owner {
    /// Every owner, in the order of the counters.
    fn all() -> impl Iterator<Item = Self> {
        Gem::ALL.into_iter().map(Self::Gem).chain([Self::Listed])
    }

    /// For messages and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gem(gem) => gem.name(),
            Self::Listed => "foreign_classes",
        }
    }
}

/// Recognises jobs that belong to a Ruby gem.
#[derive(Debug)]
pub(crate) struct Foreign {
    policy: ForeignJobs,
    /// As [`constant`] writes them.
    classes: HashSet<String>,
    /// Jobs this process did not run, by owner.
    left: [Counter; Gem::ALL.len() + 1],
    /// Hashes of the classes that were logged.
    logged: Mutex<HashSet<u64>>,
}

impl Foreign {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            policy: config.foreign_jobs.clone(),
            classes: config.foreign_classes.iter().map(|class| constant(class).to_owned()).collect(),
            left: Default::default(),
            logged: Mutex::default(),
        }
    }

    pub(crate) fn policy(&self) -> &ForeignJobs {
        &self.policy
    }

    /// Returns the owner of a job, whatever the policy is; `None` for an ordinary job.
    pub(crate) fn owner(&self, payload: &Payload, registry: &Registry) -> Option<Owner> {
        let by_keys = payload.gem().map(Owner::Gem);
        by_keys
            .or_else(|| (!self.classes.is_empty() && registry.is_of(payload, &self.classes)).then_some(Owner::Listed))
    }

    /// Returns the owner of a job that this process must not run as any other.
    pub(crate) fn keeps(&self, payload: &Payload, registry: &Registry) -> Option<Owner> {
        if self.policy == ForeignJobs::Run { None } else { self.owner(payload, registry) }
    }

    /// Counts a job that is not run here, and logs the first of each class.
    pub(crate) fn note(&self, payload: &Payload, queue: &str, owner: Owner) {
        for (known, count) in Owner::all().zip(&self.left) {
            if known == owner {
                count.add(1);
            }
        }
        let class = payload.display_class();
        if !self.is_first(class) {
            return;
        }
        let (jid, gem) = (payload.jid(), owner.name());
        match &self.policy {
            ForeignJobs::Divert(to) => tracing::warn!(
                class,
                gem,
                jid,
                queue,
                to,
                "jobs of this class hold something that only a Ruby gem releases; they are diverted to a queue for Ruby"
            ),
            ForeignJobs::Fail => tracing::warn!(
                class,
                gem,
                jid,
                queue,
                "jobs of this class hold something that only a Ruby gem releases; they fail, as foreign_jobs is set to"
            ),
            ForeignJobs::Requeue | ForeignJobs::Run => tracing::warn!(
                class,
                gem,
                jid,
                queue,
                "jobs of this class hold something that only a Ruby gem releases; they go back to their queue for a Ruby process. \
                 If no Ruby process serves this queue, they stay there and block the jobs behind them: have Ruby serve it, \
                 or set foreign_jobs to divert(QUEUE), fail or run"
            ),
        }
    }

    fn is_first(&self, class: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        class.hash(&mut hasher);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.len() < LOGGED && logged.insert(hasher.finish())
    }

    /// How many jobs this process did not run, by owner.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Owner::all().zip(&self.left).map(|(owner, count)| (owner.name(), count.total()))
    }
}

/// What a job fails with that belongs to a Ruby gem.
pub(crate) fn error(owner: Owner) -> JobError {
    let message = match owner {
        Owner::Gem(gem) => format!("the job holds something of {gem}, which only Ruby releases"),
        Owner::Listed => "foreign_classes lists this class: Ruby runs its jobs".to_owned(),
    };
    JobError::new("Ferrokiq::ForeignJob", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(policy: ForeignJobs, classes: &[&str]) -> Foreign {
        let foreign_classes = classes.iter().map(|class| (*class).to_owned()).collect();
        Foreign::new(&Config { foreign_jobs: policy, foreign_classes, ..Config::default() })
    }

    fn payload(json: &str) -> Payload {
        Payload::parse(json).unwrap()
    }

    #[test]
    fn keeps_jobs_of_gems_and_of_listed_classes_unless_they_run() {
        let registry = Registry::default();
        let listed = ["Reports::Tracked", "::Throttled"];
        for (job, owner) in [
            (r#"{"class":"A","args":[]}"#, None),
            (r#"{"class":"A","bid":"x"}"#, Some(Owner::Gem(Gem::Batch))),
            (r#"{"class":"Object::Throttled"}"#, Some(Owner::Listed)),
            (r#"{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"Reports::Tracked"}"#, Some(Owner::Listed)),
            (r#"{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"Reports::Plain"}"#, None),
            (r#"{"class":"Reports::Tracked","lock":"until_executed"}"#, Some(Owner::Gem(Gem::UniqueJobs))),
        ] {
            for policy in [ForeignJobs::Requeue, ForeignJobs::Divert("ruby".into()), ForeignJobs::Fail] {
                assert_eq!(foreign(policy, &listed).keeps(&payload(job), &registry), owner, "{job}");
            }
            let runs = foreign(ForeignJobs::Run, &listed);
            assert_eq!((runs.keeps(&payload(job), &registry), runs.owner(&payload(job), &registry)), (None, owner));
        }
    }

    #[test]
    fn counts_every_job_and_logs_each_class_once_up_to_a_bound() {
        let foreign = foreign(ForeignJobs::Requeue, &[]);
        for n in 0..LOGGED + 500 {
            let job = payload(&format!(r#"{{"class":"A{n}","unique_for":60}}"#));
            foreign.note(&job, "q", Owner::Gem(Gem::Enterprise));
        }
        assert!(!foreign.is_first("A1"));
        assert_eq!(foreign.logged.lock().unwrap().len(), LOGGED);
        let counts: Vec<_> = foreign.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [("Sidekiq Enterprise", LOGGED as u64 + 500)]);
        assert_eq!(foreign.counts().count(), Gem::ALL.len() + 1);
    }
}
