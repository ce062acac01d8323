use std::fmt;
use std::sync::Arc;

use super::context;
use crate::boxed::BoxFuture;
use crate::client::Client;
use crate::job::{Args, BlockingJob, Job, JobResult};
use crate::payload::Payload;

type Runner = Arc<dyn Fn(Client, Payload) -> BoxFuture<'static, JobResult> + Send + Sync>;

/// Jobs that can be run, by class; of two for one class the later counts.
#[derive(Clone, Default)]
pub(super) struct Runners(Vec<(&'static str, Runner)>);

impl Runners {
    pub(super) fn add<J: Job>(&mut self, job: J) {
        let job = Arc::new(job);
        let runner: Runner = Arc::new(move |client, payload| {
            let job = Arc::clone(&job);
            Box::pin(async move { super::perform(&*job, client, payload).await })
        });
        self.0.push((J::CLASS, runner));
    }

    /// On the thread it is asked for: nobody else waits for that in a test.
    pub(super) fn add_blocking<J: BlockingJob>(&mut self, job: J) {
        let job = Arc::new(job);
        let runner: Runner = Arc::new(move |client, payload| {
            let job = Arc::clone(&job);
            Box::pin(async move {
                let args = J::Args::from_json(payload.args())?;
                job.perform(context(client, payload), args)
            })
        });
        self.0.push((J::CLASS, runner));
    }

    /// What runs jobs of a class.
    pub(super) fn of(&self, class: &str) -> Option<Runner> {
        self.0.iter().rev().find(|(known, _)| *known == class).map(|(_, runner)| Arc::clone(runner))
    }
}

impl fmt::Debug for Runners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(class, _)| class)).finish()
    }
}
