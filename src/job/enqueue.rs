use std::marker::PhantomData;
use std::time::Duration;

use super::args::Args;
use super::options::JobOptions;
use crate::client::{Bulk, Client};
use crate::error::{Error, Result};
use crate::payload::{Jid, Payload};
use crate::time::EpochSecs;

/// The methods with which [`Job`](crate::Job), [`BlockingJob`](crate::BlockingJob) and [`IterableJob`](super::IterableJob) enqueue. A trait of
/// their own would have to be imported by each file that enqueues: a type's methods are found by the traits in scope, not by their supertraits.
macro_rules! enqueueing {
    () => {
        /// Pushes a job now. Returns its id, or `None` if a client middleware stopped it.
        ///
        /// # Errors
        ///
        /// As [`Client::push`](crate::Client::push).
        fn perform_async(
            client: &$crate::Client,
            args: Self::Args,
        ) -> impl Future<Output = $crate::Result<Option<$crate::Jid>>> + Send {
            Self::set($crate::JobOptions::new()).perform_async(client, args)
        }

        /// Pushes a job that is to run after `delay`. It waits in the schedule until a process, Ruby's or ours, looks.
        ///
        /// # Errors
        ///
        /// As [`Client::push`](crate::Client::push).
        fn perform_in(
            client: &$crate::Client,
            delay: std::time::Duration,
            args: Self::Args,
        ) -> impl Future<Output = $crate::Result<Option<$crate::Jid>>> + Send {
            Self::set($crate::JobOptions::new()).perform_in(client, delay, args)
        }

        /// Pushes a job that is to run at a time; one in the past runs now.
        ///
        /// # Errors
        ///
        /// As [`Client::push`](crate::Client::push).
        fn perform_at(
            client: &$crate::Client,
            at: impl Into<$crate::time::EpochSecs>,
            args: Self::Args,
        ) -> impl Future<Output = $crate::Result<Option<$crate::Jid>>> + Send {
            Self::set($crate::JobOptions::new()).perform_at(client, at, args)
        }

        /// Pushes many jobs, a thousand per round trip. One answer per job, in order; `None` where a client middleware
        /// stopped it.
        ///
        /// # Errors
        ///
        /// As [`Client::push_bulk`](crate::Client::push_bulk).
        fn perform_bulk(
            client: &$crate::Client,
            args: impl IntoIterator<Item = Self::Args>,
        ) -> impl Future<Output = $crate::Result<Vec<Option<$crate::Jid>>>> + Send {
            Self::set($crate::JobOptions::new()).perform_bulk(client, args)
        }

        /// The same job with other options, for one push: Sidekiq's `set`.
        fn set(options: $crate::JobOptions) -> $crate::job::Setter<Self::Args> {
            $crate::job::Setter::new(Self::CLASS, Self::options().merge(options))
        }
    };
}

pub(super) use enqueueing;

/// A job class with its options, ready to be pushed; what [`Job::set`](crate::Job::set) returns.
#[derive(Clone, Debug)]
#[must_use = "nothing is pushed until one of the `perform_*` methods is called"]
pub struct Setter<A> {
    class: &'static str,
    options: JobOptions,
    args: PhantomData<fn(A)>,
}

impl<A: Args> Setter<A> {
    pub(super) fn new(class: &'static str, options: JobOptions) -> Self {
        Self { class, options, args: PhantomData }
    }

    /// As [`Job::perform_async`](crate::Job::perform_async).
    ///
    /// # Errors
    ///
    /// As [`Client::push`].
    pub fn perform_async(self, client: &Client, args: A) -> impl Future<Output = Result<Option<Jid>>> + Send + use<A> {
        let (client, payload) = (client.clone(), self.payload(&args));
        async move { client.push(payload?).await }
    }

    /// As [`Job::perform_in`](crate::Job::perform_in).
    ///
    /// # Errors
    ///
    /// As [`Client::push`].
    pub fn perform_in(
        self,
        client: &Client,
        delay: Duration,
        args: A,
    ) -> impl Future<Output = Result<Option<Jid>>> + Send + use<A> {
        let at = if delay.is_zero() { EpochSecs(0.0) } else { EpochSecs::now() + delay };
        self.perform_at(client, at, args)
    }

    /// As [`Job::perform_at`](crate::Job::perform_at).
    ///
    /// # Errors
    ///
    /// As [`Client::push`].
    pub fn perform_at<T: Into<EpochSecs>>(
        self,
        client: &Client,
        at: T,
        args: A,
    ) -> impl Future<Output = Result<Option<Jid>>> + Send + use<A, T> {
        let (client, at) = (client.clone(), at.into());
        let payload = self.scheduled(at, &args);
        async move { client.push(payload?).await }
    }

    /// As [`Job::perform_bulk`](crate::Job::perform_bulk). To be able to repeat it after an error, keep a [`bulk`](Self::bulk).
    ///
    /// # Errors
    ///
    /// As [`Client::push_bulk`].
    pub fn perform_bulk<I: IntoIterator<Item = A>>(
        self,
        client: &Client,
        args: I,
    ) -> impl Future<Output = Result<Vec<Option<Jid>>>> + Send + use<A, I> {
        let (client, bulk) = (client.clone(), self.bulk(args));
        async move { client.push_bulk(bulk?).await }
    }

    /// The jobs that [`perform_bulk`](Self::perform_bulk) pushes, to be given times, or pushed and perhaps repeated by
    /// [`Client::push_bulk`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Args`](crate::ErrorKind::Args) for arguments that cannot be written as JSON.
    pub fn bulk(self, args: impl IntoIterator<Item = A>) -> Result<Bulk> {
        let mut template = self.options.payload();
        template.insert("class", self.class);
        let args = args.into_iter().map(|args| args.to_json()).collect::<Result<_>>()?;
        Ok(Bulk::of(template, args))
    }

    /// Keys in the order of Ruby's `perform_async`.
    fn payload(&self, args: &A) -> Result<Payload> {
        let mut payload = self.options.payload();
        payload.insert_raw("args", args.to_json()?);
        payload.insert("class", self.class);
        Ok(payload)
    }

    /// Keys in the order of Ruby's `perform_in`.
    fn scheduled(&self, at: EpochSecs, args: &A) -> Result<Payload> {
        let mut payload = self.options.payload();
        payload.insert("class", self.class);
        payload.insert_raw("args", args.to_json()?);
        if !at.0.is_finite() {
            return Err(Error::payload(format!(
                "Job 'at' must be a Numeric timestamp: that of {} is not finite",
                self.class
            )));
        }
        // One in the past is pushed at once, without `at`.
        if at > EpochSecs::now() {
            payload.insert_raw("at", at.to_string());
        }
        Ok(payload)
    }
}
