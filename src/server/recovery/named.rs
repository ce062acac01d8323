//! Log lines that name the jobs something happened to.

use crate::payload::{Payload, names};

/// Names jobs in the log, one line each, up to a bound; then how many more there were.
#[derive(Debug)]
pub(crate) struct Named {
    what: &'static str,
    named: usize,
    unnamed: usize,
}

/// Payloads that are read whole for their names.
const SMALL: usize = 64 << 10;
/// Jobs of one event that are named.
pub(crate) const NAMED: usize = 50;

impl Named {
    /// `what` happened to these jobs.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, named: 0, unnamed: 0 }
    }

    /// How many more jobs will be named.
    pub(crate) fn room(&self) -> usize {
        NAMED - self.named
    }

    /// Logs one job, if there is room.
    pub(crate) fn job(&mut self, tid: Option<&str>, bytes: &[u8], queue: &str) {
        if self.room() == 0 {
            return self.more(1);
        }
        self.named += 1;
        let (jid, class) = names_of(bytes);
        tracing::warn!(tid, jid, class, queue, "{}", self.what);
    }

    /// Counts jobs that are not named.
    pub(crate) fn more(&mut self, jobs: usize) {
        self.unnamed += jobs;
    }

    /// Logs how many were not named.
    pub(crate) fn end(self) {
        if self.unnamed > 0 {
            tracing::warn!(jobs = self.unnamed, "more jobs, not named: {}", self.what);
        }
    }
}

/// Returns `jid` and the display class; empty where the bytes cannot be read.
fn names_of(bytes: &[u8]) -> (String, String) {
    let payload = (bytes.len() <= SMALL).then(|| Payload::from_bytes(bytes.to_vec()));
    match payload {
        Some(Ok(payload)) => (payload.jid().to_owned(), payload.display_class().to_owned()),
        _ => names(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_jobs_up_to_a_bound() {
        let mut named = Named::new("tested");
        (0..NAMED + 3).for_each(|_| named.job(None, br#"{"class":"A","jid":"j"}"#, "q"));
        named.more(4);
        assert_eq!((named.room(), named.named, named.unnamed), (0, NAMED, 7));
        assert_eq!(names_of(br#"{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"B","jid":"j"}"#).1, "B");
        assert_eq!(names_of(b"{\"class\":\"A\",\"jid\":\"j\",\"args\":[\"cut"), ("j".to_owned(), "A".to_owned()));
    }
}
