use std::sync::Arc;

use super::runners::Runners;
use crate::boxed::BoxFuture;
use crate::client::{Client, Pushed, TestSink};
use crate::error::{Error, Result};
use crate::job::{BlockingJob, Job};
use crate::payload::Payload;

/// Runs jobs where they are pushed: a failure is an error of the push.
#[derive(Debug, Default)]
pub struct Inline {
    runners: Runners,
    pushed: Pushed,
}

impl Inline {
    /// One that knows no job.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets it run a job.
    #[must_use]
    pub fn register<J: Job>(mut self, job: J) -> Self {
        self.runners.add(job);
        self
    }

    /// Lets it run a blocking job, on the thread that pushes it.
    #[must_use]
    pub fn register_blocking<J: BlockingJob>(mut self, job: J) -> Self {
        self.runners.add_blocking(job);
        self
    }

    /// A client whose jobs run at once, scheduled ones too. A job of an unknown class is an error.
    pub fn client(self) -> Client {
        Client::over_test(Arc::new(self))
    }
}

impl TestSink for Inline {
    fn pushed(&self) -> &Pushed {
        &self.pushed
    }

    fn accept<'a>(&'a self, client: &'a Client, payload: Payload) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let class = payload.display_class().to_owned();
            let Some(runner) = self.runners.of(&class) else {
                return Err(Error::config(format!("{class} is not registered with `testing::Inline`")));
            };
            let outcome = runner(client.clone(), payload).await;
            outcome.map_err(|error| Error::middleware(format!("{class} failed inline: {error}")))
        })
    }
}
