//! What the Data API reads of processes.

use ferrokiq::api::Api;

use crate::support::Redis;

#[tokio::test]
async fn holders_are_alive_until_their_time_by_the_clock_of_redis() {
    let redis = Redis::start().await;
    let (seconds, _micros): (f64, f64) = redis.call("TIME", &[] as &[&str]).await;
    for (identity, until) in [("alive:1:aaaaaaaaaaaa", seconds + 60.0), ("dead:1:bbbbbbbbbbbb", seconds - 1.0)] {
        let _: () = redis.call("SADD", &["ferrokiq:processes", identity]).await;
        let _: () = redis.call("ZADD", &["ferrokiq:alive", &format!("{}", until * 1e3), identity]).await;
    }
    let never = "never:1:cccccccccccc".to_owned();
    let holders = Api::new(&redis.operator()).holders(&[never]).await.unwrap();
    let seen: Vec<(&str, bool, bool)> =
        holders.iter().map(|holder| (holder.identity.as_str(), holder.is_alive, holder.is_known)).collect();
    let expected = [
        ("alive:1:aaaaaaaaaaaa", true, true),
        ("dead:1:bbbbbbbbbbbb", false, true),
        ("never:1:cccccccccccc", false, false),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn work_is_read_of_sidekiq_7_and_8_and_of_6() {
    let redis = Redis::start().await;
    let payload = r#"{\"class\":\"A\",\"args\":[],\"jid\":\"abc\"}"#;
    let work = format!(r#"{{"queue":"q","payload":"{payload}","run_at":1795408384}}"#);
    for (identity, key) in [("host:1:aaaaaaaaaaaa", "work"), ("host:2:bbbbbbbbbbbb", "workers")] {
        let _: () = redis.call("SADD", &["processes", identity]).await;
        let _: () = redis.call("HSET", &[identity, "info", "{}", "busy", "1", "beat", "1"]).await;
        let _: () = redis.call("HSET", &[&format!("{identity}:{key}"), "tid", &work]).await;
    }
    let mut found: Vec<(String, String, String)> = Vec::new();
    for work in Api::new(&redis.operator()).work().await.unwrap() {
        found.push((work.identity.clone(), work.tid.clone(), work.record.jid().to_owned()));
    }
    found.sort();
    let of = |identity: &str| (identity.to_owned(), "tid".to_owned(), "abc".to_owned());
    assert_eq!(found, [of("host:1:aaaaaaaaaaaa"), of("host:2:bbbbbbbbbbbb")]);
}
