//! What the tests of an app use instead of a Redis and a worker, and a Redis of a test's own.
//!
//! - [`Fake`] keeps what is pushed and runs it when told to: Sidekiq's `Sidekiq::Testing.fake!`
//! - [`Inline`] runs it where it is pushed: `Sidekiq::Testing.inline!`
//! - [`assert_enqueued!`](crate::assert_enqueued) and [`Enqueued`]: whether a job was pushed, and with what
//! - [`Redis`]: a server that ends with the test
//! - [`perform`] and `after_failure`: one job by itself, and what a server would do with its failure
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> ferrokiq::Result<()> {
//! use ferrokiq::testing::{Enqueued, Fake};
//! use ferrokiq::{Context, Job, JobResult, assert_enqueued};
//!
//! struct Greet;
//! impl Job for Greet {
//!     const CLASS: &'static str = "GreetJob";
//!     type Args = (String,);
//!     async fn perform(&self, _cx: Context, (name,): Self::Args) -> JobResult {
//!         if name.is_empty() { Err("nobody to greet".into()) } else { Ok(()) }
//!     }
//! }
//!
//! let fake = Fake::new();
//! Greet::perform_async(&fake.client(), ("amy".into(),)).await?;
//! assert_enqueued!(fake, Enqueued::job::<Greet>().with(&("amy".into(),)));
//! assert!(fake.drain(&Greet).await.is_ok_and(|ran| ran == 1));
//! # Ok(())
//! # }
//! ```

mod enqueued;
#[cfg(feature = "server")]
mod failure;
mod fake;
mod inline;
#[cfg(unix)]
mod redis;
#[cfg(test)]
#[cfg(all(unix, feature = "server"))]
pub(crate) mod refusing;
mod runners;

pub use enqueued::{Enqueued, EnqueuedJob};
#[cfg(feature = "server")]
pub use failure::{AfterFailure, after_failure};
pub use fake::Fake;
pub use inline::Inline;
#[cfg(unix)]
pub use redis::Redis;

use crate::client::Client;
use crate::job::{Args, Context, Job, JobResult, Run, StopSignal};
use crate::payload::Payload;

/// Runs a job as a server would, middleware aside.
///
/// # Errors
///
/// What the job failed with; `ArgumentError` if the payload's arguments do not fit.
pub async fn perform<J: Job>(job: &J, client: Client, payload: Payload) -> JobResult {
    let args = J::Args::from_json(payload.args())?;
    job.perform(context(client, payload), args).await
}

fn context(client: Client, payload: Payload) -> Context {
    let run = Run {
        queue: payload.queue().into(),
        client,
        stop: StopSignal::default(),
        deadline: None,
        max_iteration_runtime: None,
    };
    Context::new(payload, run)
}
