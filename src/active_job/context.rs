use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::data::JobData;
use super::moment::Time;
use super::progress::Progress;
use crate::job::Context;

/// What an [`ActiveJob`](super::ActiveJob) knows about its run besides its arguments, and everything [`Context`] knows. Cheap to clone.
#[derive(Clone)]
pub struct ActiveJobContext {
    cx: Context,
    data: Arc<JobData>,
    progress: Arc<Progress>,
}

impl ActiveJobContext {
    pub(super) fn new(cx: Context, data: JobData) -> Self {
        Self { cx, data: Arc::new(data), progress: Arc::default() }
    }

    pub(super) fn data(&self) -> &JobData {
        &self.data
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// ActiveJob's own id, the same for all its attempts. Empty if the payload has none.
    pub fn job_id(&self) -> &str {
        &self.data.job_id
    }

    /// Sidekiq's id of this attempt.
    pub fn provider_job_id(&self) -> &str {
        self.cx.jid()
    }

    /// How often it was begun, this time included. Sidekiq's retries are not counted, as in Rails: they bring the payload as it was.
    pub fn executions(&self) -> u64 {
        self.data.executions
    }

    /// How often the errors of one of its rules were met before: `["Timeout::Error"]` for what `retry_on(["Timeout::Error"], ...)` counted.
    pub fn exception_executions(&self, errors: &[&str]) -> u64 {
        self.data.exception_executions(&format!("[{}]", errors.join(", "))).unwrap_or(0)
    }

    /// The queue it says it is in.
    pub fn queue_name(&self) -> &str {
        self.data.queue_name.as_deref().unwrap_or_else(|| self.cx.queue())
    }

    /// Its priority, which Sidekiq does not look at.
    pub fn priority(&self) -> Option<i64> {
        self.data.priority
    }

    /// `I18n.locale` where it was enqueued.
    pub fn locale(&self) -> Option<&str> {
        self.data.locale.as_deref()
    }

    /// `Time.zone` where it was enqueued, `"Europe/Berlin"` say.
    pub fn timezone(&self) -> Option<&str> {
        self.data.timezone.as_deref()
    }

    /// When it was enqueued; `None` if the payload has no such time.
    pub fn enqueued_at(&self) -> Option<&Time> {
        self.data.enqueued_at.as_ref()
    }

    /// When it was to run, if it was scheduled. Rails before 7.1 does not write it. `None` if the payload has no such time.
    pub fn scheduled_at(&self) -> Option<&Time> {
        self.data.scheduled_at.as_ref()
    }

    /// The run as Sidekiq sees it.
    pub fn context(&self) -> &Context {
        &self.cx
    }
}

impl Deref for ActiveJobContext {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.cx
    }
}

impl fmt::Debug for ActiveJobContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveJobContext")
            .field("job_class", &self.data.job_class)
            .field("job_id", &self.data.job_id)
            .field("executions", &self.data.executions)
            .finish_non_exhaustive()
    }
}
