//! Spans of OpenTelemetry around pushes and jobs, as its instrumentation of Ruby's Sidekiq makes them: the same names, attributes and keys
//! in the payload, so that one trace leads through both languages.
//!
//! ```
//! use ferrokiq::{Client, Server, otel::Spans};
//!
//! // Set `opentelemetry::global`'s tracer provider and propagator first; without them nothing is traced.
//! let client = Client::builder().middleware(Spans::new());
//! let server = Server::builder().client_middleware(Spans::new()).server_middleware(Spans::new());
//! # drop((client, server));
//! ```

use std::collections::HashMap;

use opentelemetry::trace::{FutureExt as _, Link, SpanKind, Status, TraceContextExt as _, Tracer};
use opentelemetry::{Context as OtelContext, KeyValue, global};

use crate::client::{ClientMiddleware, Next as NextPush, Push};
use crate::job::{Context, JobResult};
use crate::payload::Payload;
use crate::server::{Next as NextJob, ServerMiddleware};

/// How the span of a run stands to the one of its push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Style {
    #[default]
    Child,
    Link,
}

/// Client middleware and server middleware that trace.
///
/// A push is a span `QUEUE publish` of kind producer, whose context goes into the payload by the global propagator (`traceparent`,
/// `tracestate`, `baggage`); a run is a span `QUEUE process` of kind consumer. A failed run has the status error and an event `exception`. Both
/// have `messaging.system` (`sidekiq`), `messaging.sidekiq.job_class`, `messaging.message_id` (the jid), `messaging.destination` (the queue),
/// `messaging.destination_kind`, and the run `messaging.operation`.
///
/// While a job runs, its span is OpenTelemetry's current one: spans made in it, by the `tracing-opentelemetry` layer too, are its children.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    style: Style,
}

impl Spans {
    /// A run is a child of its push: one trace for both.
    pub fn new() -> Self {
        Self::default()
    }

    /// A run begins a trace of its own, with a link to its push: what Ruby's instrumentation does unless told `propagation_style: :child`.
    #[must_use]
    pub fn links(mut self) -> Self {
        self.style = Style::Link;
        self
    }
}

fn attributes(payload: &Payload, queue: &str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "sidekiq"),
        KeyValue::new("messaging.sidekiq.job_class", payload.display_class().to_owned()),
        KeyValue::new("messaging.message_id", payload.jid().to_owned()),
        KeyValue::new("messaging.destination", queue.to_owned()),
        KeyValue::new("messaging.destination_kind", "queue"),
    ]
}

/// What a payload says of the span it was pushed from.
fn pushed_from(payload: &Payload) -> OtelContext {
    global::get_text_map_propagator(|propagator| {
        let said: HashMap<String, String> =
            propagator.fields().filter_map(|key| Some((key.to_owned(), payload.decode(key)?))).collect();
        propagator.extract_with_context(&OtelContext::new(), &said)
    })
}

impl ClientMiddleware for Spans {
    async fn call(&self, mut payload: Payload, next: NextPush) -> crate::Result<Push> {
        // A job that leaves the schedule or the retry set keeps the trace it has.
        if payload.contains_key("traceparent") && !OtelContext::current().span().span_context().is_valid() {
            return next.run(payload).await;
        }
        let queue = payload.queue().to_owned();
        let tracer = global::tracer("ferrokiq");
        let span = tracer
            .span_builder(format!("{queue} publish"))
            .with_kind(SpanKind::Producer)
            .with_attributes(attributes(&payload, &queue))
            .start(&tracer);
        let cx = OtelContext::current_with_span(span);
        let mut said = HashMap::new();
        global::get_text_map_propagator(|propagator| propagator.inject_context(&cx, &mut said));
        for (key, value) in said.into_iter().filter(|(_, value)| !value.is_empty()) {
            payload.insert(&key, value);
        }
        let pushed = next.run(payload).with_context(cx.clone()).await;
        if let Err(error) = &pushed {
            cx.span().set_status(Status::error(error.to_string()));
        }
        cx.span().end();
        pushed
    }
}

impl ServerMiddleware for Spans {
    async fn call(&self, cx: Context, next: NextJob) -> JobResult {
        let (tracer, from) = (global::tracer("ferrokiq"), pushed_from(cx.payload()));
        let mut attributes = attributes(cx.payload(), cx.queue());
        attributes.push(KeyValue::new("messaging.operation", "process"));
        let builder = tracer
            .span_builder(format!("{} process", cx.queue()))
            .with_kind(SpanKind::Consumer)
            .with_attributes(attributes);
        let pushed = from.span().span_context().clone();
        let span = match self.style {
            Style::Child => builder.start_with_context(&tracer, &from),
            Style::Link if pushed.is_valid() => {
                builder.with_links(vec![Link::with_context(pushed)]).start_with_context(&tracer, &OtelContext::new())
            }
            Style::Link => builder.start_with_context(&tracer, &OtelContext::new()),
        };
        let run = from.with_span(span);
        let outcome = next.run(cx).with_context(run.clone()).await;
        if let Some(error) = outcome.as_ref().err().filter(|error| error.is_failure()) {
            let (class, message) = (error.class().to_owned(), error.message().to_owned());
            let told =
                vec![KeyValue::new("exception.type", class), KeyValue::new("exception.message", message.clone())];
            run.span().add_event("exception", told);
            run.span().set_status(Status::error(message));
        }
        run.span().end();
        outcome
    }
}
