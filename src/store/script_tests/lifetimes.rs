//! The keys that Rust writes and Redis is to forget.

use std::time::Duration;

use super::Base;
use crate::store::exchanges::{NOW, beat};
use crate::store::iteration::Iteration;
use crate::store::metrics::{ClassMetrics, MetricsForm};

#[tokio::test]
async fn each_key_lives_as_long_as_sidekiq_keeps_it() {
    let base = Base::start().await;
    let store = &base.store;
    store.keep_iteration("j1", &Iteration::default()).await.unwrap();
    store.cancel_iteration("j2", 5).await.unwrap();
    store.count(1, 1, NOW).await.unwrap();
    let mut metrics = ClassMetrics { processed: 3, ms: 50, ..ClassMetrics::default() };
    metrics.histogram[0] = 2;
    store.write_metrics(&[("A", metrics)], &[MetricsForm::Seven, MetricsForm::Eight], NOW).await.unwrap();
    store.write_work("me", &[("1".to_owned(), "{}".to_owned())], true).await.unwrap();
    store.beat(&beat()).await.unwrap();
    store.signal("me", "TSTP").await.unwrap();
    store.clean_up_processes().await.unwrap();
    store.take_lookout("me", Duration::from_secs(9)).await.unwrap();
    store.shared_rubies().await.unwrap();
    store.suspect_begins("me", "sha1", true).await.unwrap();
    store.suspect_begins("other", "sha1", false).await.unwrap();
    for (key, seconds) in [
        ("it-j1", 2_592_000),
        ("it-j2", 2_592_000),
        ("stat:processed:2026-11-23", 157_680_000),
        ("stat:failed:2026-11-23", 157_680_000),
        ("A-23-04:7", 28_800),
        ("h|A-23-4:7", 28_800),
        ("j|20261123|4:7", 28_800),
        ("j|261123|4:07", 28_800),
        ("j|261123|4:0", 259_200),
        ("me:work", 60),
        ("me:workers", 60),
        ("me", 60),
        ("me-signals", 60),
        ("process_cleanup", 60),
        ("ferrokiq:lookout", 9),
        ("ferrokiq:sidekiqs", 5),
        ("ferrokiq:begun:me", 259_200),
        ("ferrokiq:begun:other", 259_200),
    ] {
        base.expires(key, seconds - 4..=seconds).await;
    }
    // What is left has no TTL in Sidekiq either.
    let mut forever: Vec<String> = Vec::new();
    for key in base.get::<Vec<String>>("KEYS *").await {
        if base.get::<i64>(&format!("TTL {key}")).await == -1 {
            forever.push(key);
        }
    }
    forever.sort_unstable();
    assert_eq!(forever, ["processes", "stat:failed", "stat:processed"]);
}

#[tokio::test]
async fn the_ttl_of_an_iteration_counts_from_its_first_state() {
    let base = Base::start().await;
    base.store.keep_iteration("j1", &Iteration::default()).await.unwrap();
    base.run(&["EXPIRE it-j1 100"]).await;
    base.store.keep_iteration("j1", &Iteration::default()).await.unwrap();
    base.store.cancel_iteration("j1", 5).await.unwrap();
    base.expires("it-j1", 90..=100).await;
}
