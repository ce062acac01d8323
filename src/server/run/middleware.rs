use std::fmt;
use std::sync::Arc;

use crate::boxed::BoxFuture;
use crate::job::{Context, JobResult};

/// Code around every job, as Sidekiq's server middleware.
///
/// An async function is one; so is a type that carries state. The first added is the outermost. What it returns decides
/// what becomes of the job: to skip a job without failing it, return `Ok(())` without calling `next`.
///
/// ```
/// use std::time::Instant;
/// use ferrokiq::{Context, JobResult, Server, server::Next};
///
/// async fn timing(cx: Context, next: Next) -> JobResult {
///     let (class, started) = (cx.payload().class().to_owned(), Instant::now());
///     let outcome = next.run(cx).await; // Ruby's `yield`
///     tracing::info!(class, elapsed = ?started.elapsed());
///     outcome
/// }
///
/// let server = Server::builder().server_middleware(timing);
/// # drop(server);
/// ```
pub trait ServerMiddleware: Send + Sync + 'static {
    /// Runs the rest of the chain, and the job, by `next.run(cx)`.
    fn call(&self, cx: Context, next: Next) -> impl Future<Output = JobResult> + Send;
}

impl<F, Fut> ServerMiddleware for F
where
    F: Fn(Context, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = JobResult> + Send,
{
    fn call(&self, cx: Context, next: Next) -> impl Future<Output = JobResult> + Send {
        self(cx, next)
    }
}

pub(crate) trait AnyServerMiddleware: Send + Sync {
    fn call(self: Arc<Self>, cx: Context, next: Next) -> BoxFuture<'static, JobResult>;
}

impl<M: ServerMiddleware> AnyServerMiddleware for M {
    fn call(self: Arc<Self>, cx: Context, next: Next) -> BoxFuture<'static, JobResult> {
        Box::pin(async move { ServerMiddleware::call(&*self, cx, next).await })
    }
}

/// What stands at the end of the chain.
pub(crate) trait Performs: Send + Sync {
    fn perform(self: Arc<Self>, cx: Context) -> BoxFuture<'static, JobResult>;
}

/// The rest of the chain behind a middleware.
pub struct Next {
    chain: Arc<[Arc<dyn AnyServerMiddleware>]>,
    at: usize,
    job: Arc<dyn Performs>,
}

impl Next {
    pub(crate) fn new(chain: Arc<[Arc<dyn AnyServerMiddleware>]>, job: Arc<dyn Performs>) -> Self {
        Self { chain, at: 0, job }
    }

    /// Runs it.
    ///
    /// # Errors
    ///
    /// What the job, or a middleware further in, failed with.
    pub async fn run(mut self, cx: Context) -> JobResult {
        match self.chain.get(self.at).map(Arc::clone) {
            Some(middleware) => {
                self.at += 1;
                middleware.call(cx, self).await
            }
            None => self.job.perform(cx).await,
        }
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("left", &(self.chain.len() - self.at)).finish_non_exhaustive()
    }
}
