//! The process under fault: the real worker with jobs that write down that they ran.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ferrokiq::client::Push;
use ferrokiq::job::{RawArgs, RetryIn};
use ferrokiq::server::{EndedJob, FencedScript, FetchMode, Next, TickContext, TickOptions};
use ferrokiq::{
    BlockingJob, Context, ErrorKind, Job, JobError, JobResult, KeyType, Outcome, Rider, Server, ServerBuilder,
};
use rand::RngExt;

use crate::ledger::{Pen, Phase};

/// What makes this program a worker: `life|directory of the ledgers|milliseconds a process counts as alive`.
pub(crate) const LIFE: &str = "CHAOS_LIFE";

/// Has the worker serve its queue with a second capsule, too.
pub(crate) const TWO_CAPSULES: &str = "CHAOS_TWO_CAPSULES";

/// Has middleware change what jobs end with and when they are due, and hooks write what they see to `hooks/` below the ledgers.
pub(crate) const ENDINGS: &str = "CHAOS_ENDINGS";

/// Has the worker fetch as `fetch: basic` does.
pub(crate) const BASIC: &str = "CHAOS_BASIC";

/// Has the worker campaign for the lead, and its leader write into [`LEADER_LOG`].
pub(crate) const LEADER: &str = "CHAOS_LEADER";

/// A list that the shipped users may write: `TOKEN LIFE` for each write of a leader.
pub(crate) const LEADER_LOG: &str = "it-leaders";

/// Has each job leave with a rider that counts it in [`RIDES`].
pub(crate) const RIDERS: &str = "CHAOS_RIDERS";

/// A hash: how often each ending of each job was counted. The shipped worker may write it.
pub(crate) const RIDES: &str = "stat:rides";

/// Waits, as jobs do. Arguments: milliseconds, and how often it fails before it succeeds.
struct Work(Arc<Pen>);

impl Job for Work {
    const CLASS: &'static str = "Work";
    type Args = (f64, u32);

    async fn perform(&self, cx: Context, (ms, failures): Self::Args) -> JobResult {
        self.0.write(cx.jid(), Phase::Start);
        if ms > 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(ms / 1_000.0)).await;
        }
        let fails = cx.failures() < failures;
        self.0.write(cx.jid(), if fails { Phase::Failed } else { Phase::Done });
        if fails { Err(JobError::new("RuntimeError", "it was told to fail")) } else { Ok(()) }
    }

    fn retry_in(&self, _count: u32, _error: &JobError) -> RetryIn {
        RetryIn::After(Duration::from_secs(1))
    }
}

/// Takes what a job takes that reads its argument and builds an answer from it: four times its payload.
async fn weigh(cx: Context, pen: Arc<Pen>, (text,): (String,)) -> JobResult {
    pen.write(cx.jid(), Phase::Start);
    let answer = serde_json::to_vec(&text)?;
    tokio::time::sleep(Duration::from_millis(400)).await;
    std::hint::black_box((text, answer));
    pen.write(cx.jid(), Phase::Done);
    Ok(())
}

/// What jobs do to the process they run in.
async fn harm(cx: Context, pen: Arc<Pen>, (how, amount): (String, u64)) -> JobResult {
    pen.write(cx.jid(), Phase::Start);
    match how.as_str() {
        "panic" => panic!("it was told to panic"),
        "panic when dropped" => drop(Bomb),
        "panic on a blocking thread" => {
            tokio::task::spawn_blocking(|| panic!("it was told to panic")).await?;
        }
        "abort" => std::process::abort(),
        "overflow" => {
            std::hint::black_box(deeper(amount));
        }
        "allocate" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(vec![1_u8; 1 << 20]);
            }
        }
        "fail" => {
            tokio::time::sleep(Duration::from_millis(amount)).await;
            return Err(JobError::new("RuntimeError", "it was told to fail"));
        }
        "block" => std::thread::sleep(Duration::from_millis(amount)),
        other => return Err(JobError::new("ArgumentError", format!("no harm called {other}"))),
    }
    pen.write(cx.jid(), Phase::Done);
    Ok(())
}

/// One failure in two becomes a snooze or a requeue.
async fn again(cx: Context, next: Next) -> JobResult {
    match Outcome::from(next.run(cx).await) {
        Outcome::Fail(error) => match rand::rng().random_range(0..4) {
            0 => Outcome::Snooze(Duration::from_millis(200)).into(),
            1 => Outcome::Requeue.into(),
            _ => Outcome::Fail(error).into(),
        },
        outcome => outcome.into(),
    }
}

fn with_endings(server: ServerBuilder, pen: &Arc<Pen>) -> ServerBuilder {
    let note = |pen: &Arc<Pen>| {
        let pen = Arc::clone(pen);
        move |job: EndedJob| {
            let pen = Arc::clone(&pen);
            async move {
                // Most kills are to hit hooks that have not done their work.
                tokio::time::sleep(Duration::from_millis(10)).await;
                pen.write(job.jid(), Phase::Start);
                pen.write(job.jid(), Phase::Done);
            }
        }
    };
    server
        .server_middleware(again)
        .client_middleware(async |payload: ferrokiq::Payload, next: ferrokiq::client::Next| {
            if next.is_promotion() && rand::rng().random_range(0..4) == 0 {
                return Ok(Push::Delay(payload, Duration::from_secs(1)));
            }
            next.run(payload).await
        })
        .on_success(note(pen))
        .on_death(note(pen))
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("it was told to panic");
    }
}

/// Blocks a thread of those that are for it.
struct Blocks(Arc<Pen>);

impl BlockingJob for Blocks {
    const CLASS: &'static str = "Blocks";
    type Args = (u64,);

    fn perform(&self, cx: Context, (ms,): Self::Args) -> JobResult {
        self.0.write(cx.jid(), Phase::Start);
        std::thread::sleep(Duration::from_millis(ms));
        self.0.write(cx.jid(), Phase::Done);
        Ok(())
    }
}

#[expect(unconditional_recursion, reason = "the stack is to overflow")]
fn deeper(depth: u64) -> u64 {
    let page = std::hint::black_box([depth; 512]);
    deeper(depth + 1) + page[7]
}

/// Writes as a leader every 5 ms until Redis refuses it, under one token and whatever this process knows by itself.
async fn write_until_refused(cx: TickContext, life: u32) {
    let write = FencedScript::new("redis.call('RPUSH', KEYS[1], ARGV[1])");
    let token = cx.token().unwrap_or_default();
    let line = format!("{token} {life}");
    loop {
        match cx.run_fenced(&write, &[LEADER_LOG], &[&line]).await {
            Err(error) if error.kind() == ErrorKind::NotLeader => {
                return tracing::info!("a write under token {token} was refused");
            }
            // Redis is held, say.
            Err(_) | Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Adds a tick that starts a writer for each lease.
fn with_leader(server: ServerBuilder, life: u32) -> ServerBuilder {
    let (every, last) = (Duration::from_millis(20), Arc::new(AtomicU64::new(0)));
    server.on_tick(TickOptions::every(every).leader_only(), move |cx: TickContext| {
        let token = cx.token().unwrap_or_default();
        if last.swap(token, Ordering::Relaxed) != token {
            tokio::spawn(write_until_refused(cx, life));
        }
        async { Ok(()) }
    })
}

pub(crate) async fn main(life: &str) -> ExitCode {
    let mut parts = life.splitn(3, '|');
    let (Some(Ok(life)), Some(dir), Some(Ok(alive_ms))) =
        (parts.next().map(str::parse), parts.next().map(PathBuf::from), parts.next().map(str::parse))
    else {
        return ExitCode::FAILURE;
    };
    let pen = Arc::new(Pen::open(&dir, life).expect("the ledger can be opened"));
    let (of_harm, of_weigh) = (Arc::clone(&pen), Arc::clone(&pen));
    let mut server = Server::builder();
    if std::env::var_os(TWO_CAPSULES).is_some() {
        server = server.capsule("second", |capsule| capsule.queues(["default"]).concurrency(5));
    }
    if std::env::var_os(BASIC).is_some() {
        server = server.fetch(FetchMode::Basic);
    }
    if std::env::var_os(LEADER).is_some() {
        server = with_leader(server, life);
    }
    if std::env::var_os(ENDINGS).is_some() {
        let hooks = Arc::new(Pen::open(&dir.join("hooks"), life).expect("the ledger of the hooks can be opened"));
        server = with_endings(server, &hooks);
    }
    if std::env::var_os(RIDERS).is_some() {
        server = server.rider(|payload, ending| {
            let count = Rider::new("redis.call('HINCRBY', KEYS[1], ARGV[1], 1)").key(KeyType::Hash, RIDES);
            Some(count.arg(format!("{} {ending:?}", payload.jid())))
        });
    }
    let blocks = Blocks(Arc::clone(&pen));
    let server = server
        .liveness(Duration::from_millis(alive_ms))
        .poll_interval_average(Duration::from_millis(500))
        .dead_max_jobs(10_000_000)
        .register(Work(pen))
        .register_blocking(blocks)
        .register_fn("Harm", move |cx: Context, args: (String, u64)| harm(cx, Arc::clone(&of_harm), args))
        .register_fn("Weigh", move |cx: Context, args: (String,)| weigh(cx, Arc::clone(&of_weigh), args))
        .register_fn("Nothing", |_cx: Context, _args: RawArgs| async { Ok(()) });
    ferrokiq::cli::run(server).await
}
