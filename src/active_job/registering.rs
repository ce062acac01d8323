//! How a server finds the job that a payload of ActiveJob is for.

use super::ActiveJob;
use super::data::JobData;
use super::mail::Waiting;
use super::running::Running;
use crate::job::JobError;
use crate::payload::{Payload, WRAPPERS};
use crate::server::{ServerBuilder, Wrapping};

static WRAPPING: Wrapping = Wrapping { wrappers: &WRAPPERS, inner, unknown };

impl ServerBuilder {
    /// Runs the payloads of an ActiveJob class by this job (feature `active-job`).
    pub fn register_active_job<J: ActiveJob>(self, job: J) -> Self {
        self.register_wrapped(&WRAPPING, Running(job))
    }
}

/// Returns `job_class` of the job's data, which is the class that Ruby runs, or else `wrapped`.
pub(super) fn inner(payload: &Payload) -> Option<String> {
    let own = payload.job_class().map(str::to_owned);
    own.or_else(|| JobData::of(payload).ok().map(|data| data.job_class))
        .or_else(|| payload.contains_key("wrapped").then(|| payload.display_class().to_owned()))
}

fn unknown(payload: &Payload) -> JobError {
    let class = inner(payload).unwrap_or_else(|| payload.class().to_owned());
    let mail = Waiting::of(&class, payload).map(|mail| {
        format!(": {mail} is a mail and no process here sends mails; have Ruby work on its queue, or leave unknown classes to it")
    });
    JobError::new("NameError", format!("uninitialized constant {class}{}", mail.unwrap_or_default()))
}
