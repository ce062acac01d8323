//! Deciding what becomes of a failed job.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ferrokiq::testing::after_failure;
use ferrokiq::{Context, Job, JobError, JobResult, Payload};

struct FailJob;

impl Job for FailJob {
    const CLASS: &'static str = "FailJob";
    type Args = (String,);

    async fn perform(&self, _cx: Context, _args: Self::Args) -> JobResult {
        Ok(())
    }
}

const FIRST: &str = r#"{"retry":true,"queue":"default","args":["boom"],"class":"FailJob","jid":"6fac50c1db3c621b388a7e46","created_at":1795408228294,"enqueued_at":1795408228294}"#;

fn retry(c: &mut Criterion) {
    let error = JobError::new("ArgumentError", "boom");
    let first = Payload::parse(FIRST).expect("it is a payload");
    let mut tenth = first.clone();
    for (key, value) in [("failed_at", 1_795_408_404_250_i64), ("retry_count", 9), ("retried_at", 1_795_409_000_000)] {
        tenth.insert(key, value);
    }
    let tenth = Payload::parse(tenth.into_string()).expect("it is a payload");
    for (name, payload) in [("first failure", &first), ("tenth failure", &tenth)] {
        c.bench_function(name, |b| b.iter(|| after_failure(&FailJob, black_box(payload).clone(), &error)));
    }
}

criterion_group!(benches, retry);
criterion_main!(benches);
