use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use ferrokiq::testing::Redis;

use crate::stops::registered;
use crate::worker::{Worker, can};

pub(crate) fn of_memory_below_the_size_at_start_is_refused() {
    let redis = Redis::start().unwrap();
    let mut worker = Worker::start(&[], &redis.url(), &["--max-rss", "1M"]);
    assert_eq!(worker.end(), Some(1), "{}", worker.log());
    assert!(worker.log().contains("max_rss is 1048576 bytes, but the process uses "), "{}", worker.log());
    assert_eq!(registered(&redis), 0);
}

/// Whether to try everything, however long it takes.
pub(crate) fn every_limit() -> bool {
    std::env::var_os("FERROKIQ_EVERY_LIMIT").is_some()
}

/// A few of the limits; `FERROKIQ_EVERY_LIMIT=1` tries every one.
pub(crate) fn it_works_or_names_the_limit() {
    let redis = Redis::start().unwrap();
    // Some of the workers run as another user.
    for path in [redis.dir().to_owned(), redis.dir().join("redis.sock")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let every = every_limit();
    let program = std::env::current_exe().unwrap().display().to_string();
    let mut tried = (0, 0, 0);
    for (name, around, is_quick) in combinations() {
        if !(every || is_quick) {
            continue;
        }
        let around: Vec<&str> = around.iter().map(String::as_str).collect();
        let probe: Vec<&str> = around.iter().copied().chain(["test", "-x", &program]).collect();
        // Some limits keep every program from starting, and another user may not read this one.
        if !can(&probe) {
            tried.2 += 1;
            continue;
        }
        match judge(&redis, &name, &around) {
            Verdict::Works => tried.0 += 1,
            Verdict::Refuses => tried.1 += 1,
            Verdict::NotLoaded => tried.2 += 1,
        }
    }
    eprintln!("under limits: {} worked, {} refused to start, {} not possible here", tried.0, tried.1, tried.2);
    assert!(tried.0 > 0, "none worked: {tried:?}");
}

/// What a worker does under a limit.
enum Verdict {
    /// It runs a job, beats, and stops in good order.
    Works,
    /// It names the cause, does not exit with 0, and leaves no entry in the registry.
    Refuses,
    /// The system has not loaded the program.
    NotLoaded,
}

/// Starts a worker under a limit. Anything but a [`Verdict`] is a panic.
fn judge(redis: &Redis, name: &str, around: &[&str]) -> Verdict {
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
    let mut worker = Worker::start(around, &redis.url(), &["-c", "2", "--boot-timeout", "1", "-t", "1"]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !worker.log().contains("Starting processing") {
        if let Some(status) = worker.ended() {
            let log = worker.log();
            if status.code().is_none() && log.is_empty() {
                return Verdict::NotLoaded;
            }
            // Where no memory is left, Rust ends a process by a signal.
            let is_out_of_memory = status.code().is_none() && log.contains("memory allocation of ");
            assert!(status.code() == Some(1) || is_out_of_memory, "{name}: {status}: {log}");
            assert!(!log.contains("panicked"), "{name}: {log}");
            assert!(["limit", "Too many", "memory", "max"].iter().any(|word| log.contains(word)), "{name}: {log}");
            assert_eq!(registered(redis), 0, "{name}: {log}");
            return Verdict::Refuses;
        }
        assert!(Instant::now() < deadline, "{name}: it neither works nor ends: {}", worker.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    let job = |class: &str| {
        format!(r#"{{"class":"{class}","args":[1],"jid":"b4a577edbccf1d805744efa9","retry":true,"queue":"default"}}"#)
    };
    let jobs = [job("NothingJob"), job("BlockingNothing")];
    redis::cmd("LPUSH").arg("queue:default").arg(&jobs).exec(&mut connection).unwrap();
    let identity: Vec<String> = redis::cmd("SMEMBERS").arg("ferrokiq:processes").query(&mut connection).unwrap();
    assert_eq!(identity.len(), 1, "{name}");
    loop {
        let beats: bool = redis::cmd("SISMEMBER").arg("processes").arg(&identity[0]).query(&mut connection).unwrap();
        let waiting: usize = redis::cmd("LLEN").arg("queue:default").query(&mut connection).unwrap();
        if beats && waiting == 0 {
            break;
        }
        assert!(worker.ended().is_none() && Instant::now() < deadline, "{name}: no beat or no job: {}", worker.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    worker.signal("TERM");
    let log = worker.log();
    assert_eq!(worker.end(), Some(0), "{name}: {log}");
    assert!(!worker.log().contains("panicked"), "{name}: {}", worker.log());
    assert_eq!(registered(redis), 0, "{name}: {}", worker.log());
    let failed: usize = redis::cmd("ZCARD").arg("retry").query(&mut connection).unwrap();
    assert_eq!(failed, 0, "{name}: {}", worker.log());
    Verdict::Works
}

/// What is limited, the command that does it, and whether the quick form of the test has it.
fn combinations() -> Vec<(String, Vec<String>, bool)> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut all = Vec::new();
    for files in [14, 15, 16, 17, 18, 20, 22, 24, 28, 32, 40, 64] {
        all.push((format!("{files} files"), words(&format!("prlimit --nofile={files}")), [16, 24].contains(&files)));
    }
    // A user whose other threads do not count, and one core or all of them.
    for (at, threads) in (2..=8).chain([12, 32]).enumerate() {
        let user = format!("setpriv --reuid {0} --regid {0} --clear-groups prlimit --nproc={threads}", 61_000 + at);
        all.push((format!("{threads} threads"), words(&user), [3, 5].contains(&threads)));
        if threads < 7 {
            all.push((format!("{threads} threads, a core"), words(&format!("taskset -c 0 {user}")), false));
        }
    }
    for megabytes in [16, 32, 64, 96, 128, 192, 256, 512] {
        let limit = format!("prlimit --as={}", megabytes << 20);
        all.push((format!("{megabytes} MB of addresses"), words(&limit), megabytes == 512));
    }
    for (hidden, is_quick) in [("/proc", true), ("/etc", false)] {
        let script = format!("mount -t tmpfs none {hidden} && exec \"$0\" \"$@\"");
        let around = ["unshare", "--mount", "sh", "-c", &script].map(str::to_owned).to_vec();
        all.push((format!("no {hidden}"), around.clone(), is_quick));
        for limit in ["prlimit --nofile=16", "prlimit --nofile=24", "taskset -c 0"] {
            let both = around.iter().cloned().chain(words(limit)).collect();
            all.push((format!("no {hidden}, {limit}"), both, false));
        }
    }
    all
}
