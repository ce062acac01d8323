use std::fmt;
use std::sync::Arc;

use crate::boxed::BoxFuture;
use crate::error::Result;
use crate::payload::Payload;

/// Code around every push, as Sidekiq's client middleware: an async function, or a type that carries state.
///
/// It may change the payload, its queue too. Returning `Ok(None)` stops the push; an error stops it and reaches the caller.
/// It also runs when a job leaves the retry set or the schedule; there it cannot stop the job any more.
///
/// ```
/// use ferrokiq::{Client, ClientMiddleware, Payload, client::Next};
///
/// struct Tenant(u32);
///
/// impl ClientMiddleware for Tenant {
///     async fn call(&self, mut payload: Payload, next: Next) -> ferrokiq::Result<Option<Payload>> {
///         payload.insert("tenant", self.0);
///         next.run(payload).await
///     }
/// }
///
/// let client = Client::builder().middleware(Tenant(7));
/// # drop(client);
/// ```
pub trait ClientMiddleware: Send + Sync + 'static {
    /// Passes the payload on by `next.run(payload)`.
    fn call(&self, payload: Payload, next: Next) -> impl Future<Output = Result<Option<Payload>>> + Send;
}

impl<F, Fut> ClientMiddleware for F
where
    F: Fn(Payload, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<Payload>>> + Send,
{
    fn call(&self, payload: Payload, next: Next) -> impl Future<Output = Result<Option<Payload>>> + Send {
        self(payload, next)
    }
}

trait AnyClientMiddleware: Send + Sync {
    fn call(self: Arc<Self>, payload: Payload, next: Next) -> BoxFuture<'static, Result<Option<Payload>>>;
}

impl<M: ClientMiddleware> AnyClientMiddleware for M {
    fn call(self: Arc<Self>, payload: Payload, next: Next) -> BoxFuture<'static, Result<Option<Payload>>> {
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

    pub(super) async fn run(&self, payload: Payload) -> Result<Option<Payload>> {
        Next { chain: self.0.as_slice().into(), at: 0 }.run(payload).await
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
}

impl Next {
    /// Runs it; gives back the payload as it will be written.
    ///
    /// # Errors
    ///
    /// What a middleware further in failed with.
    pub async fn run(mut self, payload: Payload) -> Result<Option<Payload>> {
        match self.chain.get(self.at).map(Arc::clone) {
            Some(middleware) => {
                self.at += 1;
                middleware.call(payload, self).await
            }
            None => Ok(Some(payload)),
        }
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("left", &(self.chain.len() - self.at)).finish()
    }
}
