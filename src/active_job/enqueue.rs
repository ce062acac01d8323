use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use rand::RngExt;
use serde::Serialize;
use serde_json::value::RawValue;

use super::arguments::Arguments;
use super::context::ActiveJobContext;
use super::moment::Time;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::job::JobOptions;
use crate::payload::{Jid, Payload, WRAPPERS};
use crate::time::StampForm;

/// A job of ActiveJob about to be enqueued: what [`ActiveJob::later`](super::ActiveJob::later) returns. [`of`](Self::of) is for a class that only
/// Ruby knows.
///
/// ```no_run
/// # use ferrokiq::active_job::{ActiveJob, ActiveJobContext};
/// # struct GreetJob;
/// # impl ActiveJob for GreetJob {
/// #     const CLASS: &'static str = "GreetJob";
/// #     type Args = (i64,);
/// #     async fn perform(&self, _: ActiveJobContext, _: (i64,)) -> ferrokiq::JobResult { Ok(()) }
/// # }
/// # async fn example(client: &ferrokiq::Client) -> ferrokiq::Result<()> {
/// use std::time::Duration;
///
/// GreetJob::later().wait(Duration::from_secs(60)).queue("slow").perform_later(client, (7,)).await?;
///
/// use ferrokiq::active_job::Later;
///
/// Later::of("RubyOnlyJob").perform_later(client, (7, "hello".to_owned())).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is enqueued until `perform_later`"]
pub struct Later<A> {
    class: Box<str>,
    options: JobOptions,
    priority: Option<i64>,
    at: Option<Time>,
    /// Whether `wait` was beyond the system's clock.
    too_late: bool,
    locale: Option<String>,
    timezone: Option<String>,
    args: PhantomData<fn(A)>,
}

/// In the order of Rails.
#[derive(Serialize)]
struct Data<'a> {
    job_class: &'a str,
    job_id: String,
    provider_job_id: (),
    queue_name: &'a str,
    priority: Option<i64>,
    arguments: Box<RawValue>,
    executions: u64,
    exception_executions: &'a RawValue,
    locale: Option<&'a str>,
    timezone: Option<&'a str>,
    enqueued_at: String,
    scheduled_at: Option<&'a str>,
}

impl<A: Arguments> Later<A> {
    /// A job of this Ruby class.
    pub fn of(class: &str) -> Self {
        Self::new(class, JobOptions::new())
    }

    pub(super) fn new(class: &str, options: JobOptions) -> Self {
        let (locale, timezone) = (None, None);
        Self {
            class: class.into(),
            options,
            priority: None,
            at: None,
            too_late: false,
            locale,
            timezone,
            args: PhantomData,
        }
    }

    /// Run it after so long. A wait that ends beyond the system's clock is an error of [`perform_later`](Self::perform_later).
    pub fn wait(self, wait: Duration) -> Self {
        let at = SystemTime::now().checked_add(wait);
        Self { too_late: at.is_none(), at: at.map(Time::utc), ..self }
    }

    /// Run it at a time; one in the past is now.
    pub fn wait_until(self, at: impl Into<Time>) -> Self {
        Self { at: Some(at.into()), too_late: false, ..self }
    }

    /// The queue.
    pub fn queue(self, name: &str) -> Self {
        self.options(JobOptions::new().queue(name))
    }

    /// The priority, which Sidekiq does not look at.
    pub fn priority(self, priority: impl Into<Option<i64>>) -> Self {
        Self { priority: priority.into(), ..self }
    }

    /// What else `sidekiq_options` could say.
    pub fn options(self, options: JobOptions) -> Self {
        Self { options: self.options.merge(options), ..self }
    }

    /// `I18n.locale` for its run; unless said, the one Ruby has by default or finds in the payload.
    pub fn locale(self, locale: impl Into<String>) -> Self {
        Self { locale: Some(locale.into()), ..self }
    }

    /// `Time.zone` for its run; unless said, the one Ruby has by default.
    pub fn timezone(self, timezone: impl Into<String>) -> Self {
        Self { timezone: Some(timezone.into()), ..self }
    }

    /// Locale and time zone of a job that is running, as a job has them that Ruby enqueues from within another.
    pub fn within(self, cx: &ActiveJobContext) -> Self {
        let (locale, timezone) = (cx.locale().map(str::to_owned), cx.timezone().map(str::to_owned));
        Self { locale, timezone, ..self }
    }

    /// Enqueues it. Returns Sidekiq's id, or `None` if a client middleware stopped it.
    ///
    /// # Errors
    ///
    /// As [`Client::push`], [`ErrorKind::Args`](crate::ErrorKind::Args) for arguments that Rails refuses, and
    /// [`ErrorKind::Payload`](crate::ErrorKind::Payload) for a wait that never ends.
    pub fn perform_later(self, client: &Client, args: A) -> impl Future<Output = Result<Option<Jid>>> + Send + use<A> {
        let client = client.clone();
        let arguments = args.into_json();
        async move {
            let wrapper = match client.stamp_form().await? {
                StampForm::Millis => WRAPPERS[0],
                // What every Sidekiq knows.
                StampForm::Secs => WRAPPERS[1],
            };
            client.push(self.payload(wrapper, arguments?, SystemTime::now())?).await
        }
    }

    /// Keys in the order of Rails.
    pub(super) fn payload(&self, wrapper: &str, arguments: String, now: SystemTime) -> Result<Payload> {
        if self.too_late {
            return Err(Error::payload(format!("{} is to wait longer than there is time", self.class)));
        }
        let raw = |json: String| RawValue::from_string(json).map_err(|error| Error::args("no JSON").because(error));
        let mut payload = self.options.payload();
        let queue = payload.queue().to_owned();
        let data = Data {
            job_class: &self.class,
            job_id: uuid(&mut rand::rng()),
            provider_job_id: (),
            queue_name: &queue,
            priority: self.priority,
            arguments: raw(arguments)?,
            executions: 0,
            exception_executions: &raw("{}".to_owned())?,
            locale: self.locale.as_deref(),
            timezone: self.timezone.as_deref(),
            enqueued_at: Time::utc(now).to_string(),
            scheduled_at: self.at.as_ref().map(Time::as_str),
        };
        payload.insert("wrapped", &*self.class);
        payload.insert("args", [data]);
        payload.insert("class", wrapper);
        if let Some(at) = &self.at
            && at.to_epoch() > now.into()
        {
            payload.insert_raw("at", at.to_epoch().to_string());
        }
        Ok(payload)
    }
}

/// Version 4: by lot.
fn uuid(rng: &mut impl RngExt) -> String {
    let mut bytes: [u8; 16] = rng.random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_ids_as_ruby_does() {
        let (one, other) = (uuid(&mut rand::rng()), uuid(&mut rand::rng()));
        assert_ne!(one, other);
        assert_eq!((one.len(), &one[14..15]), (36, "4"));
        assert!(one[19..20].contains(['8', '9', 'a', 'b']), "{one}");
        assert_eq!(one.matches('-').count(), 4);
    }
}
