use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::boxed::BoxFuture;
use crate::error::Result;
use crate::payload::Payload;
use crate::time::EpochSecs;

/// What becomes of a job that is pushed, or that leaves the schedule or the retry set: the answer of a [`ClientMiddleware`].
///
/// | | at a push | at a promotion: the job is due |
/// |---|---|---|
/// | [`Keep`](Self::Keep) | is enqueued, or scheduled if it has `at` | is enqueued |
/// | [`Drop`](Self::Drop) | is not written; [`Client::push`](crate::Client::push) returns `None` | leaves its set and is **gone**: payload, error and retry count are not stored anywhere, and no hook is called |
/// | [`Delay`](Self::Delay) | waits in the schedule | waits in the set it is in |
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Push {
    /// It goes where it is to go, as this payload.
    Keep(Payload),
    /// It goes nowhere.
    Drop,
    /// It waits so long from now, as this payload, and passes the middleware again when it is due. A job that is scheduled for a later time keeps
    /// that time. A century at most; a second at least when a due job is delayed.
    Delay(Payload, Duration),
}

/// The longest delay: a century. Redis keeps microseconds of scores to the year 2255.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Push {
    /// When a job runs that is delayed at `now`, in epoch seconds.
    pub(crate) fn later(now: EpochSecs, delay: Duration) -> f64 {
        now.0 + delay.min(LONGEST).as_secs_f64()
    }
}

impl From<Payload> for Push {
    fn from(payload: Payload) -> Self {
        Self::Keep(payload)
    }
}

/// Why a job passes the middleware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Push,
    /// It leaves the schedule or the retry set.
    #[cfg(any(feature = "api", feature = "server"))]
    Promotion,
}

/// Code around every push, as Sidekiq's client middleware: an async function, or a type that carries state.
///
/// It may change the payload, its queue too, and [keep, drop or delay](Push) the job. An error stops a push and reaches the caller.
///
/// As in Ruby, a job passes the middleware again when it is due, before a process moves it from the schedule or the retry set to its queue
/// ([`Next::is_promotion`]). There the job is accepted already: if the middleware returns an error, panics or takes longer than
/// [`hook_timeout`](crate::ServerBuilder::hook_timeout), this is logged and the job is enqueued unchanged. It may pass more than once: the process may
/// die before it moves the job, and of two processes that see the same job at the same time only one moves it.
///
/// ```
/// use std::time::Duration;
/// use ferrokiq::client::{Next, Push};
/// use ferrokiq::{Client, ClientMiddleware, Payload};
///
/// struct Tenant(u32);
///
/// impl ClientMiddleware for Tenant {
///     async fn call(&self, mut payload: Payload, next: Next) -> ferrokiq::Result<Push> {
///         payload.insert("tenant", self.0);
///         next.run(payload).await
///     }
/// }
///
/// /// Holds mail back while the mail server is down, and drops what nobody wants to read later.
/// async fn mail_is_down(payload: Payload, next: Next) -> ferrokiq::Result<Push> {
///     match payload.class() {
///         "NewsletterJob" => Ok(Push::Delay(payload, Duration::from_secs(3_600))),
///         "OneTimeCodeJob" => Ok(Push::Drop),
///         _ => next.run(payload).await,
///     }
/// }
///
/// let client = Client::builder().middleware(Tenant(7)).middleware(mail_is_down);
/// # drop(client);
/// ```
pub trait ClientMiddleware: Send + Sync + 'static {
    /// Passes the payload on by `next.run(payload)`.
    fn call(&self, payload: Payload, next: Next) -> impl Future<Output = Result<Push>> + Send;
}

impl<F, Fut> ClientMiddleware for F
where
    F: Fn(Payload, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Push>> + Send,
{
    fn call(&self, payload: Payload, next: Next) -> impl Future<Output = Result<Push>> + Send {
        self(payload, next)
    }
}

trait AnyClientMiddleware: Send + Sync {
    fn call(self: Arc<Self>, payload: Payload, next: Next) -> BoxFuture<'static, Result<Push>>;
}

impl<M: ClientMiddleware> AnyClientMiddleware for M {
    fn call(self: Arc<Self>, payload: Payload, next: Next) -> BoxFuture<'static, Result<Push>> {
        Box::pin(async move { ClientMiddleware::call(&*self, payload, next).await })
    }
}

/// The middleware of a client, outermost first.
#[derive(Clone, Default)]
pub(crate) struct Chain(Vec<Arc<dyn AnyClientMiddleware>>);

impl Chain {
    pub(crate) fn add(&mut self, middleware: impl ClientMiddleware) {
        self.0.push(Arc::new(middleware));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) async fn run(&self, payload: Payload, moment: Moment) -> Result<Push> {
        Next { chain: self.0.as_slice().into(), at: 0, moment }.run(payload).await
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} middleware", self.0.len())
    }
}

/// The rest of the chain behind a middleware.
pub struct Next {
    chain: Arc<[Arc<dyn AnyClientMiddleware>]>,
    at: usize,
    moment: Moment,
}

impl Next {
    /// Whether the job was accepted before and is due now, in the schedule or the retry set; `false` for a push.
    pub fn is_promotion(&self) -> bool {
        self.moment != Moment::Push
    }

    /// Runs it; returns what becomes of the job, with the payload as it will be written.
    ///
    /// # Errors
    ///
    /// What a middleware further in failed with.
    pub async fn run(mut self, payload: Payload) -> Result<Push> {
        match self.chain.get(self.at).map(Arc::clone) {
            Some(middleware) => {
                self.at += 1;
                middleware.call(payload, self).await
            }
            None => Ok(Push::Keep(payload)),
        }
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("left", &(self.chain.len() - self.at)).finish()
    }
}
