//! Reading, splicing and writing payloads.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ferrokiq::{Args, Payload};
use std::hint::black_box;

const SMALL: &str = r#"{"retry":true,"queue":"default","args":["string",12345,{"mike":"bob"}],"class":"LoadJob","jid":"6fac50c1db3c621b388a7e46","created_at":1795408228294,"enqueued_at":1795408228294}"#;

fn large() -> String {
    let text = "lorem ipsum dolor sit amet ".repeat(400);
    SMALL.replace("\"string\"", &format!("\"{text}\""))
}

fn payload(c: &mut Criterion) {
    for (name, raw) in [("small", SMALL.to_owned()), ("10k", large())] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(raw.len() as u64));
        group.bench_function("parse", |b| {
            b.iter(|| Payload::from_bytes(black_box(&raw).clone().into_bytes()).is_ok());
        });
        let parsed = Payload::parse(raw.as_str()).expect("it is a payload");
        group.bench_function("decode args", |b| {
            b.iter(|| <(String, u64, serde_json::Value)>::from_json(black_box(&parsed).args()).is_ok());
        });
        group.bench_function("splice a failure", |b| {
            b.iter(|| {
                let mut failed = black_box(&parsed).clone();
                failed.insert("queue", "default");
                failed.insert("error_message", "boom");
                failed.insert("error_class", "ArgumentError");
                failed.insert("failed_at", 1_795_408_404_250_i64);
                failed.insert("retry_count", 0);
                failed.into_string()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, payload);
criterion_main!(benches);
