//! The rights in `docs/acl/`: every other test runs under them, here is what they refuse.

use std::collections::BTreeSet;
use std::path::Path;

use ferrokiq::{Client, Payload};

use crate::support::{Redis, USERS};

const IDENTITY: &str = "host:1:0123456789ab";

/// What would happen if a user said this: `OK`, or the refusal.
async fn dry_run(redis: &Redis, user: &str, command: &str) -> String {
    let user = format!("ferrokiq-{user}");
    let words: Vec<&str> = ["DRYRUN", &user].into_iter().chain(command.split(' ')).collect();
    redis.call("ACL", &words).await
}

#[tokio::test]
async fn refuse_what_is_nobodys_business() {
    let redis = Redis::start().await;
    let signals = format!("LPUSH {IDENTITY}-signals TERM");
    let (info, beat) = (format!("HGET {IDENTITY} info"), format!("HSET {IDENTITY} busy 1"));
    let private = format!("LRANGE ferrokiq:batch:{IDENTITY}|1|default 0 -1");
    let claim = format!("LMOVE queue:default ferrokiq:batch:{IDENTITY}|1|default RIGHT LEFT");
    for (command, allowed) in [
        ("LPUSH queue:default {}", "producer worker operator"),
        ("SADD queues default", "producer worker operator"),
        ("ZADD schedule 1 {}", "producer worker operator"),
        ("SET ferrokiq:pushed:abc 1 NX EX 3600", "producer worker operator"),
        ("SMEMBERS processes", "producer worker operator"),
        (&info, "producer worker operator"),
        ("EXPIRE ferrokiq:pushed:abc 3600", "producer worker operator"),
        ("LPUSH schedule {}", "worker operator"),
        ("EXPIRE queue:default 1", "worker operator"),
        ("LRANGE queue:default 0 -1", "worker operator"),
        ("ZADD retry 1 {}", "worker operator"),
        ("ZRANGE dead 0 -1", "worker operator"),
        (&private, "worker operator"),
        (&signals, "worker operator"),
        ("INFO server", "worker operator"),
        ("RPOP queue:default", "worker"),
        ("BLMPOP 2 1 queue:default RIGHT", "worker"),
        (&claim, "worker"),
        (&beat, "worker"),
        ("ZADD ferrokiq:alive 1 x", "worker"),
        ("CLIENT TRACKING ON", "worker"),
        ("HGETALL 20261124-marks", "operator"),
        // The rest of the Redis, and the server itself.
        ("SET queue:default x", "worker operator"),
        ("GET cache:user:1", ""),
        ("SET session x", ""),
        ("SET cache-2026-11-27:page x", ""),
        ("HINCRBY cache-2026-11-27:page x 1", ""),
        ("HINCRBY HardJob-27-07:5 x 1", "worker"),
        ("HINCRBY HardJob-27-07:45 x 1", "worker"),
        // It has the form of a process's key; SECURITY.md names this.
        ("HSET session:1:deadbeefcafe x 1", "worker"),
        ("HGETALL users:1:profile", ""),
        ("SUBSCRIBE news", ""),
        ("KEYS *", ""),
        ("SCAN 0", "operator"),
        ("FLUSHDB", ""),
        ("FLUSHALL", ""),
        ("CONFIG GET *", ""),
        ("ACL LIST", ""),
        ("EVAL return 0", ""),
        ("FUNCTION LIST", ""),
        ("SCRIPT FLUSH", ""),
        ("CLIENT LIST", ""),
        ("CLIENT KILL TYPE normal", ""),
        ("CLIENT PAUSE 1000", ""),
        ("CLIENT UNBLOCK 1", ""),
        ("SHUTDOWN", ""),
        ("DEBUG SLEEP 1", ""),
        ("REPLICAOF host 1", ""),
        ("SWAPDB 0 1", ""),
        ("MONITOR", ""),
        ("RESTORE queue:default 0 x", ""),
    ] {
        let mut may = Vec::new();
        for (user, _) in USERS {
            if dry_run(&redis, user, command).await == "OK" {
                may.push(user);
            }
        }
        assert_eq!(may.join(" "), allowed, "{command}");
    }
}

/// Commands of a line, without subcommands.
fn commands(line: &str) -> BTreeSet<String> {
    line.split_whitespace()
        .filter_map(|word| word.strip_prefix('+'))
        .map(|word| word.trim_end_matches(')').split('|').next().unwrap_or_default().to_owned())
        .collect()
}

/// What is said by the client library, or stands ready for what a server offers besides.
const NOT_IN_THE_SOURCE: [&str; 8] = ["auth", "evalsha", "exec", "hello", "multi", "script", "select", "wait"];

#[test]
fn allow_nothing_that_is_never_said_or_not_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut source = String::new();
    for dir in ["src/store", "src/store/lua", "src/store/lua/lib"] {
        for file in std::fs::read_dir(root.join(dir)).unwrap() {
            source += &std::fs::read_to_string(file.unwrap().path()).unwrap_or_default();
        }
    }
    let explained = std::fs::read_to_string(root.join("docs/acl/README.md")).unwrap();
    for (user, line) in USERS {
        for command in commands(line) {
            let said = command.to_uppercase();
            let said = [format!("\"{said}\""), format!("'{said}'")].iter().any(|word| source.contains(word));
            assert!(said || NOT_IN_THE_SOURCE.contains(&&*command), "{user} may {command}, which is never said");
            let word = [format!("`{command}`"), format!("`{command}\\|")];
            assert!(word.iter().any(|word| explained.contains(word)), "docs/acl/README.md does not explain {command}");
        }
    }
}

#[tokio::test]
async fn are_enough_to_find_an_old_sidekiq_among_whatever_lies_there() {
    let redis = Redis::start().await;
    redis.call::<()>("SADD", &["processes", "queues", "not ours", "host:2:0123456789ab", IDENTITY]).await;
    redis.call::<()>("SET", &["host:2:0123456789ab", "no hash"]).await;
    redis.call::<()>("HSET", &[IDENTITY, "info", r#"{"version":"7.3.2"}"#]).await;
    redis.client().push(Payload::new("A", [])).await.unwrap();
    let job: String = redis.call("LINDEX", &["queue:default", "0"]).await;
    let created = Payload::parse(job).unwrap().get("created_at").map(str::to_owned);
    assert!(created.as_ref().is_some_and(|at| at.contains('.')), "{created:?}: Sidekiq 7 reads seconds");
    redis.call::<()>("ACL", &["LOG", "RESET"]).await;
}

#[tokio::test]
async fn a_refused_login_shows_neither_name_nor_password() {
    let redis = Redis::start().await;
    let client = Client::open(&format!("{}?user=s3cr3t&pass=s3cr3t", redis.url())).unwrap();
    let error = client.push(Payload::new("A", ["s3cr3t".into()])).await.unwrap_err();
    let shown = format!("{client:?} {error} {error:?} {error:#?} {}", std::error::Error::source(&error).unwrap());
    assert!(shown.contains("WRONGPASS") && !shown.contains("s3cr3t"), "{shown}");
}
