use ferrokiq::otel::Spans;
use ferrokiq::{Client, Context, Job, JobError, JobResult, Payload, Server};
use opentelemetry::global;
use opentelemetry::trace::{FutureExt as _, SpanKind, Status, TraceContextExt as _, Tracer, TracerProvider as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};

use crate::support::{Redis, Running, eventually};

struct Traced;

impl Job for Traced {
    const CLASS: &'static str = "Traced";
    type Args = (bool,);

    async fn perform(&self, cx: Context, (well,): Self::Args) -> JobResult {
        let tracer = global::tracer("app");
        tracer.start("inside");
        if well {
            // Pushed from within: the trace goes on.
            cx.client().push(Payload::new("RubyJob", []).with_queue("ruby")).await?;
            return Ok(());
        }
        Err(JobError::new("Broken", "as expected"))
    }
}

fn attribute(span: &SpanData, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    found.map(|attribute| attribute.value.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn one_trace_leads_from_the_push_through_the_job() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    global::set_tracer_provider(provider.clone());
    global::set_text_map_propagator(TraceContextPropagator::new());

    let redis = Redis::start().await;
    let client = Client::builder().redis(redis.producer()).middleware(Spans::new()).build().unwrap();
    let root = provider.tracer("app").start("request");
    let request = opentelemetry::Context::new().with_span(root);
    let trace = request.span().span_context().trace_id();
    let pushed = async {
        Traced::perform_async(&client, (true,)).await.unwrap();
        Traced::set(ferrokiq::JobOptions::new().retry(false)).perform_async(&client, (false,)).await.unwrap();
    };
    pushed.with_context(request.clone()).await;
    // Nonsense where a trace should be.
    let forged = r#"{"class":"Traced","args":[false],"retry":false,"traceparent":"00-zz\n-1","queue":"default"}"#;
    redis.client().push(Payload::parse(forged).unwrap()).await.unwrap();

    let builder = Server::builder().register(Traced).client_middleware(Spans::new()).server_middleware(Spans::new());
    let server = Running::start(&redis, builder);
    let named = |name: &str| -> Vec<SpanData> {
        let spans = exporter.get_finished_spans().unwrap();
        spans.into_iter().filter(|span| span.name == name).collect()
    };
    eventually("three have run", async || named("default process").len() == 3).await;
    server.stop().await;

    let (published, processed) = (named("default publish"), named("default process"));
    let ours: Vec<&SpanData> = processed.iter().filter(|span| span.span_context.trace_id() == trace).collect();
    assert_eq!((published.len(), ours.len()), (2, 2), "{processed:#?}");
    for span in &ours {
        let parent = published.iter().find(|push| push.span_context.span_id() == span.parent_span_id).unwrap();
        assert_eq!(attribute(parent, "messaging.message_id"), attribute(span, "messaging.message_id"));
        assert_eq!((span.span_kind.clone(), parent.span_kind.clone()), (SpanKind::Consumer, SpanKind::Producer));
        for (key, value) in [
            ("messaging.system", "sidekiq"),
            ("messaging.sidekiq.job_class", "Traced"),
            ("messaging.destination", "default"),
            ("messaging.destination_kind", "queue"),
            ("messaging.operation", "process"),
        ] {
            assert_eq!(attribute(span, key), value);
        }
        assert!(named("inside").iter().any(|inside| inside.parent_span_id == span.span_context.span_id()));
    }
    let failed: Vec<_> = ours.iter().filter(|span| span.status == Status::error("as expected")).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].events.iter().map(|event| event.name.to_string()).collect::<Vec<_>>(), ["exception"]);

    // What the job pushed for Ruby belongs to the trace, too, and says so.
    let onward = named("ruby publish");
    assert_eq!(onward.len(), 1);
    let said: Vec<String> = redis.call("LRANGE", &["queue:ruby", "0", "-1"]).await;
    let payload = Payload::parse(said[0].clone()).unwrap();
    let expected = format!("00-{trace}-{}-01", onward[0].span_context.span_id());
    assert_eq!(payload.decode::<String>("traceparent"), Some(expected));
}
