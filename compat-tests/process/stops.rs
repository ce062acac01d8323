use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ferrokiq::testing::Redis;

use crate::worker::{Worker, can};

/// A stop that waits for nothing takes a fraction of it, on a busy machine as well.
const PROMPT: Duration = Duration::from_secs(8);

pub(crate) fn hup_and_quit_stop_in_good_order() {
    let redis = Redis::start().unwrap();
    for signal in ["HUP", "QUIT"] {
        // The program that runs the tests may ignore both.
        let mut worker = Worker::start(&["env", "--default-signal=HUP,QUIT"], &redis.url(), &[]);
        worker.until_booted();
        worker.signal(signal);
        assert_eq!(worker.end(), Some(0), "{signal}: {}", worker.log());
        assert!(worker.log().contains("Bye!"), "{}", worker.log());
        assert_eq!(registered(&redis), 0, "{signal}");
    }
}

pub(crate) fn a_hup_that_the_parent_ignores_stays_ignored() {
    let redis = Redis::start().unwrap();
    let mut worker = Worker::start(&["nohup"], &redis.url(), &[]);
    worker.until_booted();
    worker.signal("HUP");
    worker.signal("USR1");
    worker.until_logged("Received USR1");
    assert!(!worker.log().contains("Shutting down"), "{}", worker.log());
    worker.signal("TERM");
    assert_eq!(worker.end(), Some(0), "{}", worker.log());
}

pub(crate) fn usr1_and_usr2_are_ignored_with_a_line() {
    let redis = Redis::start().unwrap();
    let mut worker = Worker::start(&[], &redis.url(), &[]);
    worker.until_booted();
    for signal in ["USR1", "USR2"] {
        worker.signal(signal);
        worker.until_logged(&format!("Received {signal}, ignored"));
    }
    worker.signal("TERM");
    assert_eq!(worker.end(), Some(0), "{}", worker.log());
}

pub(crate) fn an_idle_worker_without_redis_stops_at_once() {
    let redis = Redis::start().unwrap();
    let mut worker = Worker::start(&[], &redis.url(), &[]);
    worker.until_booted();
    drop(redis);
    worker.until_logged("Redis is away");
    let before = worker.log().len();
    worker.signal("TERM");
    let began = Instant::now();
    assert_eq!(worker.end(), Some(0), "{}", worker.log());
    assert!(began.elapsed() < PROMPT, "{:?}: {}", began.elapsed(), worker.log());
    let log = worker.log().split_off(before);
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("ERROR") || line.contains("WARN")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("holds no jobs") && !lines[0].contains("ERROR"), "{log}");
}

pub(crate) fn a_redis_that_falls_silent_holds_a_stop_some_seconds() {
    let redis = Redis::start().unwrap();
    let mut worker = Worker::start(&[], &redis.url(), &[]);
    worker.until_booted();
    let send = |signal: &str| assert!(can(&["kill", signal, &redis.pid().to_string()]));
    send("-STOP");
    worker.signal("TERM");
    let began = Instant::now();
    let ended = worker.end_within(Duration::from_secs(20)).and_then(|status| status.code());
    let took = began.elapsed();
    send("-CONT");
    // The guide promises that a stop takes ten seconds at most beside the timeout.
    assert!(ended == Some(0) && took < Duration::from_secs(10), "{ended:?} after {took:?}: {}", worker.log());
}

/// In a mount namespace of its own, where the resolver is a socket that never answers.
pub(crate) fn a_resolver_that_hangs_holds_no_stop() {
    let Some(silent) = silent_resolver() else {
        eprintln!("SKIPPED: a resolver that hangs: this takes root, unshare and port 53 of a loopback address");
        return;
    };
    let conf = tempfile::NamedTempFile::new().unwrap();
    writeln!(&conf, "nameserver {}\noptions timeout:20 attempts:2", silent.local_addr().unwrap().ip()).unwrap();
    let script = format!("mount --bind {} /etc/resolv.conf && exec \"$0\" \"$@\"", conf.path().display());
    let around = ["unshare", "--mount", "sh", "-c", &script];
    let mut worker = Worker::start(&around, "redis://redis.shop.test:6379/0", &[]);
    worker.until_logged("waiting for Redis");
    worker.signal("TERM");
    let began = Instant::now();
    assert_eq!(worker.end_within(PROMPT).and_then(|status| status.code()), Some(0), "{}", worker.log());
    assert!(began.elapsed() < PROMPT, "{}", worker.log());
}

/// A socket that takes queries and never answers one; `None` where this machine has none to give.
fn silent_resolver() -> Option<UdpSocket> {
    let may = can(&["unshare", "--mount", "sh", "-c", "mount --bind /etc/hosts /etc/resolv.conf"]);
    may.then(|| (60..70).find_map(|host| UdpSocket::bind(SocketAddr::from(([127, 0, 53, host], 53))).ok())).flatten()
}

/// How many processes are registered, with us and with Sidekiq.
pub(crate) fn registered(redis: &Redis) -> usize {
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let sizes: (usize, usize) = redis::pipe()
        .cmd("SCARD")
        .arg("processes")
        .cmd("SCARD")
        .arg("ferrokiq:processes")
        .query(&mut connection)
        .unwrap();
    sizes.0 + sizes.1
}
