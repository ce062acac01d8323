//! `ferrokiq top` in a real terminal: keys go in, the text of the screen comes out, and real Sidekiq tells what came of it.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrokiq::Server;
use serde_json::{Value, json};

use crate::support::{Redis, Running, eventually, nothing};

static NUMBER: AtomicUsize = AtomicUsize::new(0);
const TOP: &str = env!("CARGO_BIN_EXE_ferrokiq");

/// A tmux server of its own with one window, ended with the value.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// Runs top; whatever ends it, its exit code and whether the terminal echoes again are told below.
    fn start(redis: &Redis) -> Self {
        // One that was told to end may still take a new window, and end with it.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let terminal = Self { socket: redis.dir().join(format!("tmux-{number}.sock")).display().to_string() };
        let url = format!("REDIS_URL={}&pass=secret", redis.url_of("ferrokiq-operator"));
        let script = r#""$0" top; echo "ended with $?, $(stty -a | grep -oE -- '-?\becho\b')"; exec cat"#;
        terminal.tmux(&["new-session", "-d", "-x", "120", "-y", "40", "env", &url, "sh", "-c", script, TOP]);
        terminal
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        Command::new("tmux").args(["-S", &self.socket, "-f", "/dev/null"]).args(arguments).output().unwrap()
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let said = self.ask(arguments);
        assert!(said.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8_lossy(&said.stdout).into_owned()
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Presses keys and waits until the screen shows all of this.
    async fn shows(&self, keys: &[&str], texts: &[&str]) {
        if !keys.is_empty() {
            self.press(keys);
        }
        let what = format!("{texts:?} after {keys:?}");
        eventually(&what, async || {
            let screen = self.screen();
            texts.iter().all(|text| screen.contains(text))
        })
        .await;
    }

    /// To what runs in it.
    fn signal(&self, name: &str) {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let status = Command::new("pkill").args([&format!("-{name}"), "-P", shell.trim()]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", String::from_utf8_lossy(&self.ask(&["capture-pane", "-p"]).stdout));
        }
        self.ask(&["kill-server"]);
    }
}

/// Real Sidekiq 8; `None` where there is none.
fn ruby(redis: &Redis, what: &str) -> Option<Output> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let in_ruby = |command: &[&str]| {
        Command::new(root.join("bin/lib/in-ruby")).args(["--sidekiq", "8", "--"]).args(command).output().unwrap()
    };
    if !in_ruby(&["ruby", "-e", ""]).status.success() {
        return None;
    }
    let script = root.join("cli/tests/tool/top.rb");
    let url = format!("REDIS_URL={}", redis.url());
    let said = in_ruby(&["env", &url, "ruby", script.to_str().unwrap(), what]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    Some(said)
}

/// What keeps this from running; bin/test tells it aloud.
fn is_possible() -> bool {
    Command::new("tmux").arg("-V").output().is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn is_driven_by_keys_and_does_what_they_say() {
    if !is_possible() {
        return;
    }
    let mut redis = Redis::start().await;
    if ruby(&redis, "fill").is_none() {
        return;
    }
    let worker = Running::start(&redis, Server::builder().queues(["idle"]).register_fn("EchoJob", nothing));
    let name = format!("{}", std::process::id());
    let top = Terminal::start(&redis);
    top.shows(&[], &["Dashboard", "Processed", "Redis: unix://"]).await;
    top.shows(&["Right"], &["Processes", "Utilization", &name]).await;
    top.shows(&["Right"], &["Queues", "> ", "low"]).await;
    top.shows(&["j", "p"], &["Pause/Unpause: 1 of 1 done", "paused"]).await;
    top.shows(&["Right"], &["Scheduled: page 1 of 1, 1 in all", "later"]).await;
    top.shows(&["Right"], &["Retries: page 1 of 1, 2 in all", "ArgumentError: boom 0", "boom 1"]).await;
    top.shows(&["/", "boom 1"], &["Filter: boom 1_", "Retries: 1 found of 2"]).await;
    top.shows(&["Enter", "R"], &["Retry: 1 of 1 done"]).await;
    top.shows(&["Escape"], &["Retries: page 1 of 1, 1 in all", "boom 0"]).await;
    top.shows(&["K"], &["Kill FailJob ", "y: yes"]).await;
    top.shows(&["y"], &["Kill: 1 of 1 done", "Retries: page 1 of 1, 0 in all"]).await;
    top.shows(&["Right"], &["Dead: page 1 of 1, 2 in all", "boom 0", "doomed"]).await;
    top.shows(&["D"], &["Delete "]).await;
    top.shows(&["n"], &["Dead: page 1 of 1, 2 in all", "Nothing was done"]).await;
    top.shows(&["Right"], &["Jobs of the last hour", "FailJob", "DoomedJob"]).await;
    top.shows(&["/", "zzz", "Enter"], &["Filter: zzz", "No job matches the filter"]).await;
    top.shows(&["Escape"], &["FailJob", "DoomedJob"]).await;
    top.shows(&["?"], &["Help", "Move between tabs"]).await;
    top.shows(&["Escape"], &["Jobs of the last hour"]).await;
    top.shows(&["6"], &["Dead: page"]).await;

    // Any size will do.
    top.tmux(&["resize-window", "-x", "44", "-y", "9"]);
    top.shows(&[], &["Dead: page 1 of 1", "DoomedJob"]).await;
    top.tmux(&["resize-window", "-x", "120", "-y", "40"]);
    top.shows(&[], &["Statistics", "Controls"]).await;

    redis.kill();
    top.shows(&[], &["trying again: ", "doomed"]).await;
    redis.revive().await;
    top.shows(&[], &["Redis: unix://", "doomed"]).await;

    top.shows(&["q"], &["ended with 0, echo"]).await;
    assert!(!top.screen().contains("Statistics"), "the terminal is as it was");
    worker.stop().await;
    let seen: Value = serde_json::from_slice(&ruby(&redis, "tell").unwrap().stdout).unwrap();
    let expected = json!({
        "retries": [], "dead": ["boom 0", "doomed"], "scheduled": ["later"], "enqueued": ["boom 1"], "retry_count": -1, "paused": ["low"],
    });
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn gives_the_terminal_back_when_it_is_told_to_end() {
    if !is_possible() {
        return;
    }
    let redis = Redis::start().await;
    for signal in ["TERM", "HUP"] {
        let top = Terminal::start(&redis);
        top.shows(&[], &["Dashboard"]).await;
        top.signal(signal);
        top.shows(&[], &["ended with 0, echo"]).await;
    }
}

#[tokio::test]
async fn needs_a_terminal() {
    let redis = Redis::start().await;
    let said = Command::new(TOP).arg("top").env("REDIS_URL", redis.url()).output().unwrap();
    assert_eq!((said.status.code(), said.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8_lossy(&said.stderr).starts_with("error: top needs a terminal"));
}
