use std::fmt;

use super::argument::Argument;
use super::data::JobData;
use crate::payload::Payload;

/// Classes of the jobs that deliver mails, of all versions of Rails.
const DELIVERY_JOBS: [&str; 4] = [
    "ActionMailer::MailDeliveryJob",
    "ActionMailer::DeliveryJob",
    "ActionMailer::Parameterized::DeliveryJob",
    "ActionMailer::Parameterized::MailDeliveryJob",
];

/// A mail that waits for its delivery, `UserMailer#welcome`.
#[derive(Debug)]
pub(super) struct Mail {
    mailer: String,
    method: String,
}

impl Mail {
    /// The mail of a payload whose job class is one of those that deliver them.
    pub(super) fn of(class: &str, payload: &Payload) -> Option<Self> {
        if !DELIVERY_JOBS.contains(&class) {
            return None;
        }
        let arguments = Argument::parse_all(JobData::of(payload).ok()?.arguments()).ok()?;
        match arguments.as_slice() {
            [Argument::String(mailer), Argument::String(method), ..] => {
                Some(Self { mailer: mailer.clone(), method: method.clone() })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.mailer, self.method)
    }
}
