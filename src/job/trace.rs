use std::str::FromStr;

use super::context::Context;
use crate::payload::Payload;

/// The span a job was pushed from: W3C's `traceparent`, in the key that OpenTelemetry's instrumentation of Sidekiq writes.
///
/// ```
/// use ferrokiq::job::TraceParent;
///
/// let parent: TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
/// assert_eq!(format!("{:032x}", parent.trace_id()), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert_eq!((parent.span_id(), parent.is_sampled()), (0x00f0_67aa_0ba9_02b7, true));
/// # Ok::<(), ferrokiq::job::NoTraceParent>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceParent {
    /// The id of the whole trace; never 0.
    pub fn trace_id(&self) -> u128 {
        self.trace
    }

    /// The id of the span; never 0.
    pub fn span_id(&self) -> u64 {
        self.span
    }

    /// The flags; the lowest bit says that the trace is recorded.
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}

/// Text that is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTraceParent;

impl std::fmt::Display for NoTraceParent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no traceparent as W3C has it")
    }
}

impl std::error::Error for NoTraceParent {}

impl FromStr for TraceParent {
    type Err = NoTraceParent;

    /// Versions to come may have more parts behind those of version 00.
    fn from_str(text: &str) -> Result<Self, NoTraceParent> {
        let parts: Vec<&str> = text.splitn(5, '-').collect();
        let (&[version, trace, span, flags], more) = parts.split_at_checked(4).ok_or(NoTraceParent)? else {
            return Err(NoTraceParent);
        };
        let hex = |text: &str, digits: usize| {
            let is_hex = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten().ok_or(NoTraceParent)
        };
        let version = hex(version, 2)?;
        let (trace, span, flags) = (hex(trace, 32)?, hex(span, 16)? as u64, hex(flags, 2)? as u8);
        let is_known = version == 0 && more.is_empty() || (1..0xff).contains(&version);
        if !is_known || trace == 0 || span == 0 {
            return Err(NoTraceParent);
        }
        Ok(Self { trace, span, flags })
    }
}

/// What flows through a chain of jobs; [`client`](Context::client) passes it on.
impl Context {
    /// `locale`: `I18n.locale` where the job was pushed, if Sidekiq's I18n middleware is on there.
    pub fn locale(&self) -> Option<String> {
        self.payload().decode("locale")
    }

    /// `cattr`, `cattr_1`, ... as raw JSON, each with its key: the `CurrentAttributes` of the place where the job was pushed, in the order in
    /// which Ruby persists the classes. Sidekiq 6 and 7 write an object; 8 writes pairs as ActiveJob does, which the feature `active-job` reads.
    pub fn current_attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let payload: &Payload = self.payload();
        payload.distinct().into_iter().filter(|(key, _)| crate::client::is_current_attributes(key))
    }

    /// `traceparent`: the span the job was pushed from. `None` too for one that is none.
    pub fn trace_parent(&self) -> Option<TraceParent> {
        self.payload().decode::<String>("traceparent")?.parse().ok()
    }

    /// `tracestate`, as W3C has it: what the vendors of the tracing system pass on.
    pub fn trace_state(&self) -> Option<String> {
        self.payload().decode("tracestate")
    }

    /// `baggage`, as W3C has it: `key=value,key=value`.
    pub fn baggage(&self) -> Option<String> {
        self.payload().decode("baggage")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_what_w3c_allows() {
        for text in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes",
        ] {
            assert!(text.parse::<TraceParent>().is_ok(), "{text}");
        }
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(NoTraceParent), "{text}");
        }
    }

    #[cfg(feature = "testing")]
    #[tokio::test]
    async fn what_a_job_pushes_belongs_to_its_trace_unless_it_says_otherwise() {
        use crate::client::Bulk;
        use crate::testing::{Fake, perform};
        use crate::{Job, JobResult};

        struct Parent;

        impl Job for Parent {
            const CLASS: &'static str = "ParentJob";
            type Args = ();

            async fn perform(&self, cx: Context, (): ()) -> JobResult {
                let parent = cx.trace_parent().expect("it has one");
                assert_eq!((parent.span_id(), cx.trace_state().as_deref(), cx.baggage()), (0xb7, Some("a=1"), None));
                let (steps, attributes) = crate::payload::steps::of(|| cx.current_attributes().collect::<Vec<_>>());
                assert_eq!(attributes, [("cattr", "{\"user\":1}")]);
                assert_eq!(steps, cx.payload().keys().count(), "one look at each key");
                assert_eq!(cx.locale().as_deref(), Some("fr"));
                cx.client().push(Payload::new("Child", [])).await?;
                let mut own = Payload::new("Child", []);
                own.insert("locale", "de");
                cx.client().clone().idempotent().push(own).await?;
                cx.client().push_bulk(Bulk::new(Payload::new("Child", []), [(1,), (2,)])?).await?;
                Ok(())
            }
        }

        let payload = Payload::parse(
            r#"{"class":"ParentJob","args":[],"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00000000000000b7-01","tracestate":"a=1","cattr":{"user":1},"locale":"fr","tags":["x"]}"#,
        )
        .unwrap();
        let fake = Fake::new();
        perform(&Parent, fake.client(), payload.clone()).await.unwrap();
        let jobs = fake.jobs();
        assert_eq!(jobs.len(), 4);
        for (at, job) in jobs.iter().enumerate() {
            for key in ["traceparent", "tracestate", "cattr"] {
                assert_eq!(job.get(key), payload.get(key), "{key}");
            }
            assert_eq!(job.get("locale"), Some(if at == 1 { "\"de\"" } else { "\"fr\"" }));
            assert!(!job.contains_key("tags"));
        }
    }
}
