//! Real Ruby Sidekiq on the same Redis.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt;

use crate::Failure;
use crate::fleet::Worker;
use crate::ledger::{Jid, jid};
use crate::proxy::Proxy;
use crate::stage::Stage;

/// What becomes a command with Ruby Sidekiq at hand.
pub(super) fn in_ruby() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bin/lib/in-ruby")
}

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compat-tests/chaos").join(name).display().to_string()
}

pub(crate) fn is_here() -> bool {
    let command = Command::new(in_ruby()).args(["--", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    command.is_ok_and(|status| status.success())
}

/// Starts a Ruby process in this place, or one more.
pub(super) fn start_ruby(stage: &mut Stage, at: Option<usize>) -> Result<usize, Failure> {
    let mut command = Command::new(in_ruby());
    command.args(["--", "ruby", "-S", "sidekiq", "-r", &file("worker.rb")]);
    stage.orders.queues.iter().for_each(|queue| {
        command.args(["-q", queue]);
    });
    command.args(["-c", &stage.orders.concurrency.to_string(), "-t", &stage.orders.timeout.to_string()]);
    let worker = Worker::spawn(&stage.dir, &stage.orders, command)?;
    match at {
        Some(at) => stage.workers[at] = worker,
        None => stage.workers.push(worker),
    }
    Ok(at.unwrap_or(stage.workers.len() - 1))
}

/// Until Ruby has run something: it takes a second to start.
async fn wait_ruby(stage: &Stage, at: usize) -> Result<(), Failure> {
    let of = stage.dir.join(format!("{}.ledger", stage.workers[at].life));
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while std::fs::metadata(&of).map_or(0, |file| file.len()) == 0 {
        if std::time::Instant::now() > deadline {
            return Err(format!("Ruby does not start: {}", stage.workers[at].said()).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ruby,
    Rust,
}

pub(crate) async fn mixed_fleet(stage: &mut Stage) -> Result<(), Failure> {
    // Each side behind a wire that tells which jobs Redis gave it last.
    let given: Arc<Mutex<HashMap<Jid, Side>>> = Arc::default();
    let wire = |side| -> Result<Proxy, Failure> {
        let (proxy, given) = (Proxy::start(stage.redis.port)?, Arc::clone(&given));
        proxy.record(move |job| {
            given.lock().unwrap_or_else(PoisonError::into_inner).insert(job, side);
        });
        Ok(proxy)
    };
    let (to_ruby, to_rust) = (wire(Side::Ruby)?, wire(Side::Rust)?);
    stage.orders.concurrency = 5;
    stage.push(3_000, 5.0, 0).await?;
    stage.push(100, 2.0, 1).await?;
    stage.orders.url = to_rust.url();
    stage.start_all(2).await?;
    stage.orders.url = to_ruby.url_of_all();
    let ruby = start_ruby(stage, None)?;
    let (rounds, mut ruby_kills) = (stage.scale(8, 120), 0);
    for round in 0..rounds {
        if stage.open_jobs().await?[0] < 1_000 {
            stage.push(2_000, 5.0, 0).await?;
            stage.push(60, 2.0, 1).await?;
        }
        if round % 4 == 3 {
            wait_ruby(stage, ruby).await?;
            let pause = stage.rng.random_range(0..300);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            stage.kill(ruby).await?;
            ruby_kills += 1;
            stage.orders.url = to_ruby.url_of_all();
            start_ruby(stage, Some(ruby))?;
        } else {
            let (pause, at) = (stage.rng.random_range(50..500), stage.rng.random_range(0..2));
            tokio::time::sleep(Duration::from_millis(pause)).await;
            stage.kill(at).await?;
            stage.orders.url = to_rust.url();
            stage.replace(at)?;
        }
    }
    stage.settle(Duration::from_secs(60)).await?;
    stage.stop_all().await?;
    // What is missing must have been with Ruby last, and no more than ran there.
    let ledger = stage.ledger()?;
    let given = given.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (missing, found): (Vec<_>, Vec<_>) = stage.accepted.drain(..).partition(|job| !ledger.done(job));
    stage.accepted = found;
    let (with_ruby, others): (Vec<_>, Vec<_>) =
        missing.into_iter().partition(|job| given.get(job) == Some(&Side::Ruby));
    stage.accepted.extend(others);
    let allowed = ruby_kills * stage.orders.concurrency;
    stage.expect(with_ruby.len() <= allowed, || {
        format!("{} jobs were lost with {ruby_kills} Ruby processes", with_ruby.len())
    });
    let rust = given.values().filter(|side| **side == Side::Rust).count();
    stage.expect(rust > 100 && rust + 100 < given.len(), || {
        format!("Rust was given {rust} of {} jobs last", given.len())
    });
    stage.remark(format!(
        "{} jobs lost with the {ruby_kills} Ruby processes that had them; Rust was given {rust} last",
        with_ruby.len()
    ));
    Ok(())
}

pub(crate) async fn data_api(stage: &mut Stage) -> Result<(), Failure> {
    let seconds = stage.scale(5, 60);
    stage.push(2_000, 10.0, 0).await?;
    stage.push(600, 5.0, 2).await?;
    stage.start_all(2).await?;
    let seed = stage.rng.random_range(0..1_000_000);
    let acting = Command::new(in_ruby())
        .args(["--", "ruby", &file("api.rb"), &seconds.to_string(), &seed.to_string()])
        .env("REDIS_URL", stage.redis.url())
        .stdout(Stdio::piped())
        .spawn()?;
    let acting = tokio::task::spawn_blocking(move || acting.wait_with_output());
    while !acting.is_finished() {
        if stage.open_jobs().await?[0] < 500 {
            stage.push(500, 10.0, 0).await?;
            stage.push(200, 5.0, 2).await?;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let said = acting.await??;
    stage.expect(said.status.success(), || "Ruby failed".to_owned());
    let deleted: std::collections::HashSet<Jid> = String::from_utf8_lossy(&said.stdout).lines().map(jid).collect();
    stage.settle(Duration::from_secs(60)).await?;
    stage.expect(deleted.len() > 10, || format!("Ruby deleted {} jobs only", deleted.len()));
    let ledger = stage.ledger()?;
    let done = deleted.iter().filter(|job| ledger.done(job)).count();
    stage.expect(done == 0, || format!("{done} deleted jobs were done"));
    stage.accepted.retain(|job| !deleted.contains(job));
    let dead: usize = stage.redis.call("ZCARD", &["dead"]).await?;
    stage.remark(format!("{} jobs deleted, {dead} killed", deleted.len()));
    stage.stop_all().await
}
