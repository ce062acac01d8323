//! From the bytes of a job to its result: what a processor does between fetch and acknowledgement.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ferrokiq::testing::{Fake, perform};
use ferrokiq::{Context, Job, JobResult, Payload};
use serde_json::Value;

struct LoadJob;

impl Job for LoadJob {
    const CLASS: &'static str = "LoadJob";
    type Args = (String, u64, Value);

    async fn perform(&self, _cx: Context, args: Self::Args) -> JobResult {
        black_box(args);
        Ok(())
    }
}

/// As Sidekiq's own load script pushes them.
const RAW: &str = r#"{"retry":true,"queue":"default","args":["string",17,{"mike":"bob"}],"class":"LoadJob","jid":"b4a577edbccf1d805744efa9","created_at":1795408228294,"enqueued_at":1795408228294}"#;

fn dispatch(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
    let client = Fake::new().client();
    criterion.bench_function("dispatch", |bencher| {
        bencher.iter(|| {
            let payload = Payload::from_bytes(black_box(RAW).as_bytes().to_vec()).expect("it is a payload");
            runtime.block_on(perform(&LoadJob, client.clone(), payload)).expect("it succeeds");
        });
    });
}

criterion_group!(benches, dispatch);
criterion_main!(benches);
