//! The ways to lose a job that `docs/promises.md` lists: each is played once as it is, where the job must be gone, and once closed, where it
//! must not. So a row that is no longer true fails.

use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ferrokiq::Client;
use ferrokiq::api::Api;

use super::ruby::{in_ruby, start_ruby};
use crate::Failure;
use crate::check::Places;
use crate::ledger::Jid;
use crate::proxy::{Mode, Moment, Proxy};
use crate::stage::Stage;
use crate::worker::BASIC;

/// Puts jobs into `retry` with this score, and returns their ids.
async fn add_to_retry(stage: &mut Stage, jobs: usize, score: f64) -> Result<Vec<Jid>, Failure> {
    let mut added = Vec::new();
    for number in 0..jobs {
        let (job, payload) = stage.job("Work", "[1.0,0]", "");
        let score = (score + number as f64).to_string();
        let _: usize = stage.redis.call("ZADD", &["retry", &score, &payload]).await?;
        added.push(job);
    }
    stage.accepted.extend(&added);
    Ok(added)
}

/// Of the accepted jobs, those that are neither done nor in Redis. Counts them no longer.
async fn take_lost(stage: &mut Stage) -> Result<usize, Failure> {
    let (ledger, places) = (stage.ledger()?, Places::of(&stage.redis).await?);
    let there: HashSet<Jid> = places.all().copied().collect();
    let before = stage.accepted.len();
    stage.accepted.retain(|job| ledger.done(job) || there.contains(job));
    Ok(before - stage.accepted.len())
}

/// A proxy, and a flag that is set once Redis ran such a request; its answer never arrives.
fn trapped(stage: &Stage, pattern: &str, moment: Moment) -> Result<(Proxy, Arc<AtomicBool>), Failure> {
    let proxy = Proxy::start(stage.redis.port)?;
    let ran = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ran);
    proxy.trap(pattern, 1, moment, move || flag.store(true, Ordering::Release));
    Ok((proxy, ran))
}

async fn sprung(ran: &AtomicBool, what: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ran.load(Ordering::Acquire) {
        if Instant::now() > deadline {
            return Err(format!("{what} did not come in 30 s").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Ruby's poller takes a due job out of the set, and is killed before it pushes it. With the moving left to ferrokiq the same kill loses
/// nothing.
pub(crate) async fn ruby_poller_killed(stage: &mut Stage) -> Result<(), Failure> {
    add_to_retry(stage, 1, 1.0).await?;
    stage.orders.queues = vec!["elsewhere".to_owned()];
    let direct = stage.orders.url.clone();
    let (proxy, ran) = trapped(stage, "EVALSHA\r\n", Moment::After)?;
    stage.orders.url = proxy.url_of_all();
    let ruby = start_ruby(stage, None)?;
    sprung(&ran, "Ruby's poll").await?;
    stage.kill(ruby).await?;
    let lost = take_lost(stage).await?;
    stage.expect(lost == 1, || format!("{lost} jobs were lost with Ruby's poller, not one"));

    stage.orders.environment.push(("CHAOS_NO_POLLER".to_owned(), "1".to_owned()));
    let (proxy, polled) = trapped(stage, "EVALSHA\r\n", Moment::Answered)?;
    stage.orders.url = proxy.url_of_all();
    start_ruby(stage, Some(ruby))?;
    add_to_retry(stage, 20, 1.0).await?;
    stage.orders.queues = vec!["default".to_owned()];
    stage.orders.environment = vec![("FERROKIQ_PROMOTE".to_owned(), "all".to_owned())];
    let (proxy, ran) = trapped(stage, "\r\npush\r\n", Moment::After)?;
    stage.orders.url = proxy.url();
    let rust = stage.start()?;
    sprung(&ran, "a promotion").await?;
    stage.kill(rust).await?;
    stage.orders.url = direct;
    stage.replace(rust)?;
    stage.settle(Duration::from_secs(30)).await?;
    stage.expect(!polled.load(Ordering::Acquire), || "Ruby polled although its poller was switched off".to_owned());
    stage.remark("1 job lost with Ruby's poller, none with ferrokiq's");
    stage.stop_all().await
}

/// A Ruby process takes the jobs along that it runs. A ferrokiq process does not.
pub(crate) async fn ruby_worker_killed(stage: &mut Stage) -> Result<(), Failure> {
    const SLOTS: usize = 5;
    stage.orders.concurrency = SLOTS;
    stage.push(SLOTS, 2_000.0, 0).await?;
    let direct = std::mem::replace(&mut stage.orders.url, Proxy::start(stage.redis.port)?.url_of_all());
    let ruby = start_ruby(stage, None)?;
    stage.wait_runs(SLOTS).await?;
    stage.kill(ruby).await?;
    let lost = take_lost(stage).await?;
    stage.expect(lost == SLOTS, || format!("{lost} of {SLOTS} running jobs were lost with the Ruby process"));

    stage.orders.url = direct;
    stage.push(SLOTS, 500.0, 0).await?;
    let rust = stage.start()?;
    stage.wait_runs(2 * SLOTS).await?;
    stage.kill(rust).await?;
    stage.replace(rust)?;
    stage.settle(Duration::from_secs(30)).await?;
    stage.remark(format!("{SLOTS} jobs lost with the Ruby process, none with the Rust one"));
    stage.stop_all().await
}

/// A process with the Web UI or a script takes an entry out of the set, and is killed before it pushes it. `ferrokiq::api` moves it in one step.
pub(crate) async fn web_ui_killed(stage: &mut Stage) -> Result<(), Failure> {
    // Due in thirty years.
    let score = 2_700_000_000.0;
    add_to_retry(stage, 1, score).await?;
    let (proxy, ran) = trapped(stage, "zremrangebyscore", Moment::After)?;
    let mut clicks = Command::new(in_ruby())
        .args(["--", "ruby", "-e", "require 'sidekiq'; require 'sidekiq/api'; Sidekiq::RetrySet.new.first.retry"])
        .env("REDIS_URL", proxy.url_of_all())
        .stderr(Stdio::null())
        .spawn()?;
    let taken = sprung(&ran, "a retry of the Web UI").await;
    clicks.kill()?;
    clicks.wait()?;
    taken?;
    let lost = take_lost(stage).await?;
    stage.expect(lost == 1, || format!("{lost} entries were lost with Ruby's API, not one"));

    for moment in [Moment::Before, Moment::After] {
        let added = add_to_retry(stage, 1, score).await?;
        let client = Client::open(&Proxy::start(stage.redis.port)?.url_of_all())?;
        let page = Api::new(&client).retries().pages().next().await?.unwrap_or_default();
        let entry = page.into_iter().next().ok_or("there is nothing to retry")?;
        let (proxy, ran) = trapped(stage, "EVALSHA\r\n", moment)?;
        let client = Client::open(&proxy.url_of_all())?;
        let retrying = tokio::spawn(async move { Api::new(&client).retries().retry(&entry).await });
        sprung(&ran, "a retry of ferrokiq::api").await?;
        retrying.abort();
        let places = Places::of(&stage.redis).await?;
        let times = places.all().filter(|job| added.contains(job)).count();
        stage.expect(times == 1, || format!("{moment:?} the script: the entry is in {times} places"));
        let _: usize = stage.redis.call("DEL", &["retry", "queue:default"]).await?;
        stage.accepted.retain(|job| !added.contains(job));
    }
    stage.remark("1 entry lost with Ruby's API, none with ferrokiq's");
    Ok(())
}

/// A worker with `fetch: basic` takes along what it runs. [`worker_sigkill`](super::processes::worker_sigkill) is the same with the default.
pub(crate) async fn basic_sigkill(stage: &mut Stage) -> Result<(), Failure> {
    let slots = stage.orders.concurrency;
    stage.orders.environment.push((BASIC.to_owned(), "1".to_owned()));
    stage.push(slots, 2_000.0, 0).await?;
    let at = stage.start()?;
    stage.wait_runs(slots).await?;
    stage.kill(at).await?;
    let lost = take_lost(stage).await?;
    stage.expect(lost == slots, || format!("{lost} of {slots} running jobs were lost with the basic fetcher"));
    stage.push(200, 1.0, 0).await?;
    stage.replace(at)?;
    stage.settle(Duration::from_secs(20)).await?;
    stage.remark(format!("{lost} jobs lost with the basic fetcher"));
    stage.stop_all().await
}

/// The last ferrokiq process dies: its jobs wait in its private lists, whatever Ruby does, and run once there is another one.
pub(crate) async fn nobody_left(stage: &mut Stage) -> Result<(), Failure> {
    let slots = stage.orders.concurrency;
    stage.push(slots, 1_000.0, 0).await?;
    let at = stage.start()?;
    stage.wait_runs(slots).await?;
    stage.kill(at).await?;
    // Longer than a live process would take to put them back.
    tokio::time::sleep(stage.orders.alive * 2).await;
    let open = stage.open_jobs().await?;
    stage.expect(open == [0, slots, 0, 0], || format!("without a process the jobs lie as {open:?}"));
    stage.replace(at)?;
    stage.settle(Duration::from_secs(30)).await?;
    stage.stop_all().await
}

/// What a worker sent last does not arrive, and it dies, as with a machine or a network. Besides the jobs of [`Broken`](crate::fleet::Broken)
/// those run twice that ended within a round trip.
pub(crate) async fn machine_dies(stage: &mut Stage) -> Result<(), Failure> {
    for _ in 0..stage.scale(2, 20) {
        let proxy = Proxy::start(stage.redis.port)?;
        stage.push(20_000, 0.0, 0).await?;
        let direct = std::mem::replace(&mut stage.orders.url, proxy.url());
        let runs = stage.runs()?;
        let at = stage.start()?;
        stage.orders.url = direct;
        stage.wait_runs(runs + 1_000).await?;
        proxy.set(Mode::Blackhole);
        tokio::time::sleep(Duration::from_millis(20)).await;
        stage.kill(at).await?;
        stage.may_repeat(at, IN_A_ROUND_TRIP);
        stage.replace(at)?;
        stage.settle(Duration::from_secs(30)).await?;
    }
    stage.stop_all().await
}

/// Jobs that take no time and end within a round trip.
const IN_A_ROUND_TRIP: usize = 1_000;
