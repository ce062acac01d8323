//! ActiveJob, both ways (feature `active-job`): Rails calls `perform_later` and Rust runs the job, or the other way round.
//!
//! - [`ActiveJob`]: a job by the name of its Ruby class; a worker runs it once it is
//!   [registered](crate::ServerBuilder::register_active_job), and [`perform_later`](ActiveJob::perform_later) enqueues it
//! - [`Rules`]: `retry_on` and `discard_on`
//! - [`Arguments`] and [`keywords!`](crate::keywords): what `perform` takes
//! - [`GlobalId`] and [`Loader`]: models
//! - [`MailDelivery`]: a mail for Ruby to deliver
//! - [`step`](ActiveJobContext::step): a job that continues where it was interrupted, as `ActiveJob::Continuable` of Rails 8.1
//! - [`CurrentAttributes`]: what flows through a chain of jobs
//! - [`Argument`]: an argument of any type, exactly as Rails wrote it
//!
//! A worker leaves what it does not know as any other unknown class: it fails with `NameError`, or goes back to its queue if the server is told to
//! [requeue](crate::ServerBuilder::unknown_classes). Mails (`deliver_later`) are such jobs: Ruby delivers them.
//!
//! | Ruby | Rust reads it into, and writes it from |
//! |---|---|
//! | `Integer` | `i8` to `u128`; [`Number`] for any size |
//! | `Float` | `f64` (an `Integer` too); [`Number`] |
//! | `String` | [`String`] |
//! | `true`, `false` | [`bool`] |
//! | `nil` | [`Option`]; [`Nilable`] for a required keyword |
//! | `Array` | [`Vec`] |
//! | `Hash`, with indifferent access or not | `BTreeMap` or `HashMap` by [`String`] or [`Symbol`]; [`Hash`](struct@Hash) |
//! | keyword arguments | a struct made by [`keywords!`](crate::keywords), in the last place |
//! | a model | [`GlobalId`], [loaded](GlobalId::load) by the job |
//! | `Symbol` | [`Symbol`] |
//! | `Date` | [`Date`] |
//! | `Time` | [`Time`] (any of the three kinds of time); [`SystemTime`](std::time::SystemTime) |
//! | `DateTime` | [`DateTime`] |
//! | `ActiveSupport::TimeWithZone` | [`TimeWithZone`] |
//! | `ActiveSupport::Duration` | [`Duration`]; [`std::time::Duration`] |
//! | `BigDecimal` | [`BigDecimal`], for a decimal type to parse |
//! | `Range` | [`Range`] |
//! | `Class`, `Module` | [`Module`] |
//! | what a serializer of the app wrote | [`Custom`], for a type of yours that implements [`FromArgument`] |
//! | anything | [`Argument`] |
//!
//! Arguments that are no longer what Rails could read (a time that is none, a model nobody loads, a serializer nobody knows) fail the job with
//! `ActiveJob::DeserializationError`, which [`discard_on`](Rules::discard_on) may name; those that are of another type than the job says with
//! `ArgumentError`. Either way the payload is retried as it came.

mod argument;
mod arguments;
mod codec;
#[cfg_attr(not(any(feature = "server", feature = "testing")), allow(dead_code, reason = "read only where jobs run"))]
mod context;
#[cfg_attr(
    not(any(feature = "server", feature = "testing")),
    allow(dead_code, reason = "only a process that runs jobs reads it")
)]
mod continuation;
mod convert;
mod current;
#[cfg_attr(not(any(feature = "server", feature = "testing")), allow(dead_code, reason = "read only where jobs run"))]
mod data;
mod decode;
mod encode;
mod enqueue;
mod error;
mod global_id;
mod hash;
mod job;
mod json;
mod keywords;
mod mail;
mod marks;
mod moment;
mod number;
#[cfg_attr(not(any(feature = "server", feature = "testing")), allow(dead_code, reason = "read only where jobs run"))]
mod progress;
#[cfg(feature = "server")]
mod registering;
#[cfg_attr(not(any(feature = "server", feature = "testing")), allow(dead_code, reason = "read only where jobs run"))]
mod rules;
#[cfg(any(feature = "server", feature = "testing"))]
mod running;
#[cfg(feature = "testing")]
mod testing;
mod values;
mod white_space;

pub use argument::Argument;
pub use arguments::Arguments;
pub use context::ActiveJobContext;
pub use continuation::Step;
pub use convert::{FromArgument, IntoArgument, Nilable};
pub use current::CurrentAttributes;
pub use enqueue::Later;
pub use global_id::{GlobalId, Loader};
pub use hash::{Hash, Keys};
pub use job::ActiveJob;
pub use keywords::Keywords;
pub use mail::MailDelivery;
pub use moment::{Date, DateTime, Time, TimeWithZone};
pub use number::{BigDecimal, Number};
pub use rules::{RetryOn, Rules};
pub use values::{Amount, Custom, Duration, Module, Range, Symbol};

#[cfg(test)]
mod tests;
