use serde::Serialize;
use serde::de::DeserializeOwned;

use super::enqueue::enqueueing;
use super::{Args, Context, JobError, JobOptions, JobResult, OnExhausted, RetryIn};
use crate::payload::Payload;

/// A long job cut into items, as Sidekiq's `Sidekiq::IterableJob`: it is interrupted between two items when its process stops
/// and goes on at the same item, in this process or in another, Ruby's or ours.
///
/// Where it stands is kept in Redis under `it-JID`, as Sidekiq 7.3 and 8 keep it: on every interruption and failure, and every
/// five seconds. An item may therefore be seen twice, never skipped.
///
/// ```
/// use ferrokiq::job::{Indexed, IterableJob};
/// use ferrokiq::{Context, JobError, JobResult, Server};
///
/// struct Mailing;
///
/// impl IterableJob for Mailing {
///     const CLASS: &'static str = "MailingJob";
///     type Args = (String,);
///     type Enumerator = Indexed<String>;
///
///     async fn build_enumerator(
///         &self,
///         _cx: &Context,
///         (list,): &Self::Args,
///         cursor: Option<u64>,
///     ) -> Result<Self::Enumerator, JobError> {
///         let addresses = vec![format!("a@{list}"), format!("b@{list}")];
///         Ok(Indexed::new(addresses, cursor))
///     }
///
///     async fn each_iteration(&self, _cx: &Context, _args: &Self::Args, address: String) -> JobResult {
///         println!("{address}");
///         Ok(())
///     }
/// }
///
/// let server = Server::builder().register_iterable(Mailing);
/// # drop(server);
/// ```
pub trait IterableJob: Send + Sync + 'static {
    /// As [`Job::CLASS`](crate::Job::CLASS).
    const CLASS: &'static str;
    /// As [`Job::Args`](crate::Job::Args).
    type Args: Args + Sync;
    /// What brings the items.
    type Enumerator: Enumerator;

    /// As [`Job::options`](crate::Job::options).
    fn options() -> JobOptions {
        JobOptions::new()
    }

    /// As [`Job::args_schema`](crate::Job::args_schema).
    #[cfg(feature = "contract")]
    fn args_schema() -> super::ArgsSchema {
        super::ArgsSchema::unknown()
    }

    /// The items, from the one `cursor` names on; all of them without.
    fn build_enumerator(
        &self,
        cx: &Context,
        args: &Self::Args,
        cursor: Option<<Self::Enumerator as Enumerator>::Cursor>,
    ) -> impl Future<Output = std::result::Result<Self::Enumerator, JobError>> + Send;

    /// Works on one item. An error fails the job; the retry begins with this item again.
    fn each_iteration(
        &self,
        cx: &Context,
        args: &Self::Args,
        item: <Self::Enumerator as Enumerator>::Item,
    ) -> impl Future<Output = JobResult> + Send;

    /// Before the first item of the first run.
    fn on_start(&self, cx: &Context) -> impl Future<Output = JobResult> + Send {
        let _ = cx;
        async { Ok(()) }
    }

    /// Before the first item of a later run.
    fn on_resume(&self, cx: &Context) -> impl Future<Output = JobResult> + Send {
        let _ = cx;
        async { Ok(()) }
    }

    /// After the last item of every run that was not cut short by a failure.
    fn on_stop(&self, cx: &Context) -> impl Future<Output = JobResult> + Send {
        let _ = cx;
        async { Ok(()) }
    }

    /// When somebody [cancelled](crate::Client::cancel) it; `on_stop` and `on_complete` follow.
    fn on_cancel(&self, cx: &Context) -> impl Future<Output = JobResult> + Send {
        let _ = cx;
        async { Ok(()) }
    }

    /// When it is through.
    fn on_complete(&self, cx: &Context) -> impl Future<Output = JobResult> + Send {
        let _ = cx;
        async { Ok(()) }
    }

    /// As [`Job::retry_in`](crate::Job::retry_in).
    fn retry_in(&self, count: u32, error: &JobError) -> RetryIn {
        let _ = (count, error);
        RetryIn::Default
    }

    /// As [`Job::retries_exhausted`](crate::Job::retries_exhausted).
    fn retries_exhausted(&self, payload: &Payload, error: &JobError) -> OnExhausted {
        let _ = (payload, error);
        OnExhausted::Bury
    }

    enqueueing!();
}

/// Brings the items of an [`IterableJob`] one by one, each with the cursor that leads back to it.
pub trait Enumerator: Send {
    /// What is worked on.
    type Item: Send;
    /// What is kept in Redis as JSON: an index, a primary key. `null` means the beginning.
    type Cursor: Serialize + DeserializeOwned + Send;

    /// The next item.
    fn next(&mut self) -> impl Future<Output = NextItem<Self::Item, Self::Cursor>> + Send;
}

/// What an [`Enumerator`] brings: an item and its cursor, nothing more, or why it failed.
pub type NextItem<I, C> = std::result::Result<Option<(I, C)>, JobError>;

/// The items of a vector, with their index from 0 as cursor: Sidekiq's `array_enumerator`.
#[derive(Debug)]
pub struct Indexed<T>(std::iter::Skip<std::iter::Enumerate<std::vec::IntoIter<T>>>);

impl<T> Indexed<T> {
    /// The items from `cursor` on.
    pub fn new(items: Vec<T>, cursor: Option<u64>) -> Self {
        let passed = usize::try_from(cursor.unwrap_or(0)).unwrap_or(usize::MAX);
        Self(items.into_iter().enumerate().skip(passed))
    }
}

impl<T: Send> Enumerator for Indexed<T> {
    type Item = T;
    type Cursor = u64;

    async fn next(&mut self) -> NextItem<T, u64> {
        Ok(self.0.next().map(|(index, item)| (item, index as u64)))
    }
}
