use super::ActiveJob;
use super::running::Running;
use crate::testing::{Fake, Inline};

impl Fake {
    /// Lets [`drain_all`](Self::drain_all) and [`drain_due`](Self::drain_due) run a job of ActiveJob, rules included (feature `active-job`).
    ///
    /// ```
    /// use ferrokiq::active_job::{ActiveJob, ActiveJobContext, RetryOn, Rules};
    /// use ferrokiq::{JobError, JobResult, testing::Fake};
    ///
    /// struct GreetJob;
    ///
    /// impl ActiveJob for GreetJob {
    ///     const CLASS: &'static str = "GreetJob";
    ///     type Args = (String,);
    ///
    ///     fn rules(&self) -> Rules {
    ///         Rules::new().retry_on(["Busy"], RetryOn::new().attempts(2))
    ///     }
    ///
    ///     async fn perform(&self, cx: ActiveJobContext, (name,): (String,)) -> JobResult {
    ///         assert_eq!(name, "amy");
    ///         if cx.executions() == 1 { Err(JobError::new("Busy", "later")) } else { Ok(()) }
    ///     }
    /// }
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// # runtime.block_on(async {
    /// let fake = Fake::new().register_active_job(GreetJob);
    /// GreetJob::perform_later(&fake.client(), ("amy".to_owned(),)).await?;
    /// assert_eq!(fake.jobs()[0].display_class(), "GreetJob");
    /// assert_eq!(fake.drain_all().await?, 2); // it was enqueued again, by its rule
    /// # Ok::<(), JobError>(())
    /// # }).map_err(|error| error.to_string())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn register_active_job<J: ActiveJob>(self, job: J) -> Self {
        self.register(Running(job))
    }
}

impl Inline {
    /// Lets it run a job of ActiveJob, rules included (feature `active-job`).
    #[must_use]
    pub fn register_active_job<J: ActiveJob>(self, job: J) -> Self {
        self.register(Running(job))
    }
}
