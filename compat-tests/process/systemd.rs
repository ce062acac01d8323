//! The shipped unit under a systemd that runs in a namespace of its own.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ferrokiq::testing::Redis;

use crate::limits::every_limit;
use crate::worker::{AS_WORKER, can};

/// Starts systemd as a user's manager, then the units of `$DIR/units`, and writes their states to `$DIR/NAME.state` until it is killed.
const SCRIPT: &str = r#"
set -e
mount -t tmpfs none /run
mkdir -p /run/systemd/system /run/user/systemd/user
export XDG_RUNTIME_DIR=/run/user HOME=$DIR
cp $DIR/units/*.service /run/user/systemd/user/
/lib/systemd/systemd --user >$DIR/systemd.log 2>&1 &
until [ -S /run/user/systemd/private ]; do sleep 0.05; done
for unit in $DIR/units/*.service; do systemctl --user start --no-block ${unit##*/}; done
while :; do
  for unit in $DIR/units/*.service; do
    name=$(basename $unit .service)
    systemctl --user show $name.service -p ActiveState,NRestarts,StatusText >$DIR/$name.new
    mv $DIR/$name.new $DIR/$name.state
  done
  sleep 0.1
done
"#;

/// Settings of the unit that only the system's manager can apply, or that name what this machine lacks.
const OF_THE_SYSTEM: [&str; 6] = ["User=", "Group=", "EnvironmentFile=", "MemoryMax=", "OOMPolicy=", "LimitNOFILE="];

/// Redis comes late: a worker that waits for it, and one whose patience ends first again and again, are active within five seconds.
pub(crate) fn the_shipped_unit_outlasts_a_redis_that_is_late() {
    if !can(&[
        "unshare",
        "-m",
        "-p",
        "-f",
        "--mount-proc",
        "sh",
        "-c",
        "test -x /lib/systemd/systemd && command -v systemctl",
    ]) {
        let _ = writeln!(std::io::stderr(), "SKIPPED: systemd cannot be started in a namespace here");
        return;
    }
    let (redis, dir) = (Redis::start().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(dir.path().join("units")).unwrap();
    for (name, flags) in [("patient", ""), ("hasty", "--boot-timeout 0")] {
        let unit = unit(&format!("unix://{}", dir.path().join(name).display()), flags);
        fs::write(dir.path().join(format!("units/{name}.service")), unit).unwrap();
    }
    let mut command = Command::new("unshare");
    command.args(["-m", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", SCRIPT]).env("DIR", dir.path());
    let _systemd = Killed(command.stdin(Stdio::null()).spawn().unwrap());
    until(dir.path(), "patient", Duration::from_secs(20), |state| state.contains("waiting for Redis"));
    if every_limit() {
        std::thread::sleep(Duration::from_secs(65));
    }
    // More starts than systemd allows by default within ten seconds.
    until(dir.path(), "hasty", Duration::from_secs(60), |state| restarts(state) > 6);
    for name in ["patient", "hasty"] {
        std::os::unix::fs::symlink(redis.dir().join("redis.sock"), dir.path().join(name)).unwrap();
    }
    for name in ["patient", "hasty"] {
        until(dir.path(), name, Duration::from_secs(5), |state| state.contains("ActiveState=active"));
    }
    if !every_limit() {
        until(dir.path(), "patient", Duration::ZERO, |state| restarts(state) == 0);
    }
}

/// How often systemd started the unit again.
fn restarts(state: &str) -> u32 {
    state.lines().find_map(|line| line.strip_prefix("NRestarts=")?.parse().ok()).unwrap_or(0)
}

/// The shipped unit, as a user's manager can start it with this program as the worker.
fn unit(url: &str, flags: &str) -> String {
    let shipped =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/systemd/ferrokiq-worker.service")).unwrap();
    let (shipped, _sandbox) = shipped.split_once("# It reads its program").unwrap();
    let mut unit = String::new();
    for line in shipped.lines().filter(|line| !OF_THE_SYSTEM.iter().any(|setting| line.starts_with(setting))) {
        match line.strip_prefix("ExecStart=/usr/local/bin/worker") {
            Some(shipped) => {
                let shipped = shipped.replace("127.0.0.1:7433", "127.0.0.1:0");
                let program = std::env::current_exe().unwrap();
                unit += &format!(
                    "Environment={AS_WORKER}=1 REDIS_URL={url}\nExecStart={}{shipped} {flags}\n",
                    program.display()
                );
            }
            None => unit += &format!("{line}\n"),
        }
    }
    assert!(unit.contains("Type=notify") && unit.contains(AS_WORKER), "{unit}");
    unit
}

/// Waits until the state of a unit is as wanted, and returns it.
fn until(dir: &Path, name: &str, limit: Duration, is_wanted: impl Fn(&str) -> bool) -> String {
    let began = Instant::now();
    loop {
        let state = fs::read_to_string(dir.join(format!("{name}.state"))).unwrap_or_default();
        if !state.is_empty() && is_wanted(&state) {
            return state;
        }
        let log = || fs::read_to_string(dir.join("systemd.log")).unwrap_or_default();
        assert!(began.elapsed() <= limit, "{name} after {limit:?}: {state}\n{}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
