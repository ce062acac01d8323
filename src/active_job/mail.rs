#[cfg(feature = "server")]
use std::fmt;

use super::argument::Argument;
use super::arguments::Arguments;
#[cfg(feature = "server")]
use super::data::JobData;
use super::enqueue::Later;
use super::hash::Hash;
use crate::client::Client;
use crate::error::Result;
use crate::payload::Jid;
#[cfg(feature = "server")]
use crate::payload::Payload;

/// Classes of the jobs that deliver mails, of all versions of Rails; the first is what Rails since 6.0 has.
const DELIVERY_JOBS: [&str; 4] = [
    "ActionMailer::MailDeliveryJob",
    "ActionMailer::DeliveryJob",
    "ActionMailer::Parameterized::DeliveryJob",
    "ActionMailer::Parameterized::MailDeliveryJob",
];

/// A mail that Ruby is to deliver: `UserMailer.with(plan: "pro").welcome(user).deliver_later`.
///
/// ```no_run
/// # async fn example(client: &ferrokiq::Client) -> ferrokiq::Result<()> {
/// use std::time::Duration;
/// use ferrokiq::active_job::{GlobalId, IntoArgument, MailDelivery};
///
/// MailDelivery::new("UserMailer", "welcome")
///     .params([("plan", "pro".into_argument())])
///     .args((GlobalId::new("shop", "User", 7),))
///     .set(|later| later.wait(Duration::from_secs(60)).queue("mailers"))
///     .deliver_later(client)
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "no mail is enqueued until `deliver_later`"]
pub struct MailDelivery {
    mailer: String,
    method: String,
    params: Option<Hash>,
    args: Vec<Argument>,
    later: Later<Vec<Argument>>,
}

impl MailDelivery {
    /// A mail of a mailer's method, in the queue `default` unless [set](Self::set) otherwise.
    pub fn new(mailer: &str, method: &str) -> Self {
        Self {
            mailer: mailer.to_owned(),
            method: method.to_owned(),
            params: None,
            args: Vec::new(),
            later: Later::of(DELIVERY_JOBS[0]),
        }
    }

    /// What the method takes.
    pub fn args(self, args: impl Arguments) -> Self {
        Self { args: args.into_arguments(), ..self }
    }

    /// What `with` takes.
    pub fn params<K: Into<String>>(self, params: impl IntoIterator<Item = (K, Argument)>) -> Self {
        Self { params: Some(Hash::of_symbols(params)), ..self }
    }

    /// When and in which queue.
    pub fn set(self, set: impl FnOnce(Later<Vec<Argument>>) -> Later<Vec<Argument>>) -> Self {
        Self { later: set(self.later), ..self }
    }

    /// Enqueues the delivery. Returns Sidekiq's id, or `None` if a client middleware stopped it.
    ///
    /// # Errors
    ///
    /// As [`Client::push`], and [`ErrorKind::Args`](crate::ErrorKind::Args) for arguments that Rails refuses.
    pub fn deliver_later(self, client: &Client) -> impl Future<Output = Result<Option<Jid>>> + Send + use<> {
        let (later, arguments) = self.into_call();
        later.perform_later(client, arguments)
    }

    pub(super) fn into_call(self) -> (Later<Vec<Argument>>, Vec<Argument>) {
        let Self { mailer, method, params, args, later } = self;
        let keywords = params.map(|params| ("params", Argument::Hash(params)));
        let keywords = keywords.into_iter().chain([("args", Argument::Array(args))]);
        let texts = [mailer, method, "deliver_now".to_owned()].map(Argument::String);
        let arguments = texts.into_iter().chain([Argument::Hash(Hash::of_keywords(keywords))]).collect();
        (later, arguments)
    }
}

/// A mail that waits for its delivery, `UserMailer#welcome`.
#[derive(Debug)]
#[cfg(feature = "server")]
pub(super) struct Waiting {
    mailer: String,
    method: String,
}

#[cfg(feature = "server")]
impl Waiting {
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

#[cfg(feature = "server")]
impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.mailer, self.method)
    }
}
