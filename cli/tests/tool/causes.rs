//! A Redis that cannot be used: the tool's errors and `ferrokiq doctor` name the cause.

use std::process::Command;

use crate::support::{Redis, cluster};

/// What `ferrokiq doctor --json` reports: the names of its checks, and everything it wrote.
fn doctor(url: &str) -> (Vec<String>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ferrokiq")).args(["doctor", "--json"]).env("REDIS_URL", url).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let checks = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    (checks.filter_map(|finding| Some(finding["check"].as_str()?.to_owned())).collect(), said)
}

#[tokio::test]
async fn the_tool_waits_for_a_redis_that_is_late() {
    let redis = Redis::start().await;
    let late = redis.dir().join("late.sock");
    let tool = |wait: &str| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_ferrokiq"));
        tool.args(["stats", wait]).env("REDIS_URL", format!("unix://{}", late.display()));
        tool.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        tool
    };
    let output = tool("--wait=0").output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(69), 0), "unreachable, and no time to wait");
    let mut waiting = tool("--wait").spawn().unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(waiting.stderr.take().unwrap()), &mut said).unwrap();
    assert!(said.starts_with("waiting for Redis: cannot reach "), "{said}");
    std::os::unix::fs::symlink(redis.dir().join("redis.sock"), &late).unwrap();
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success() && !output.stdout.is_empty(), "{output:?}");
}

#[tokio::test]
async fn doctor_knows_cluster_mode() {
    let redis = cluster().await;
    let (checks, said) = doctor(&redis.url());
    assert!(checks.contains(&"cluster".to_owned()), "{said}");
}

#[tokio::test]
async fn doctor_reports_that_info_is_refused() {
    let redis = Redis::start_with(&["--maxmemory-policy", "allkeys-lru"]).await;
    redis.call::<()>("ACL", &["SETUSER", "blind", "on", ">secret", "~*", "+@all", "-info", "-config"]).await;
    let (checks, said) = doctor(&format!("{}?user=blind&pass=secret", redis.url()));
    assert_eq!(checks, ["unchecked"], "{said}");
    assert!(said.contains("eviction") && !said.contains("blind"), "{said}");
}

#[tokio::test]
async fn doctor_names_the_commands_that_redis_hides() {
    let hidden = ["--rename-command", "TIME", "", "--rename-command", "UNLINK", "hidden"];
    let redis = Redis::start_with(&hidden).await;
    let (checks, said) = doctor(&redis.url());
    assert!(checks.contains(&"commands".to_owned()), "{said}");
    assert!(said.contains("Redis does not know TIME, UNLINK"), "{said}");
}

#[tokio::test]
async fn doctor_names_each_key_of_another_type_and_goes_on() {
    let redis = Redis::start().await;
    let identity = "web:7:0123456789ab";
    redis.call::<()>("SET", &["paused", "x"]).await;
    redis.call::<()>("HSET", &["stat:processed", "a", "b"]).await;
    redis.call::<()>("ZADD", &["dead", "1700000000", "no job"]).await;
    let (checks, said) = doctor(&redis.url());
    assert_eq!(checks.iter().filter(|check| *check == "key-type").count(), 2, "{said}");
    assert!(said.contains("paused is a string") && said.contains("stat:processed is a hash"), "{said}");
    assert!(checks.contains(&"not-a-job".to_owned()), "the other checks go on: {said}");

    redis.call::<()>("DEL", &["paused", "stat:processed", "dead"]).await;
    redis.call::<()>("SADD", &["processes", identity]).await;
    redis.call::<()>("HSET", &[identity, "info", "{}", "beat", "1"]).await;
    redis.call::<()>("SET", &[&format!("{identity}:work"), "x"]).await;
    let (_, said) = doctor(&redis.url());
    assert!(said.contains(&format!("{identity}:work is a string")), "{said}");
}

#[tokio::test]
async fn doctor_reports_lists_of_other_fetchers_in_one_line_and_nothing_else_under_such_names() {
    let redis = Redis::start().await;
    redis.call::<()>("SET", &["queue:default:working", "x"]).await;
    redis.call::<()>("HSET", &["working:queue:default:h:1:aaaaaaaaaaaa", "x", "y"]).await;
    let (checks, said) = doctor(&redis.url());
    assert!(!checks.contains(&"foreign-list".to_owned()), "{said}");
    for queue in 0..20 {
        redis.call::<()>("LPUSH", &[&format!("queue:{queue}:working"), "{}"]).await;
    }
    let (checks, said) = doctor(&redis.url());
    assert_eq!(checks.iter().filter(|check| *check == "foreign-list").count(), 1, "{said}");
}
