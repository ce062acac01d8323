//! What happens to worker processes.

use std::time::{Duration, Instant};

use ferrokiq::{Client, Context, Payload, RedisOptions, Server};
use rand::RngExt;

use crate::Failure;
use crate::ledger::Ledger;
use crate::stage::Stage;
use crate::worker::TWO_CAPSULES;

pub(crate) async fn recovery_at_defaults(stage: &mut Stage) -> Result<(), Failure> {
    // What `ServerBuilder::liveness` is unless told otherwise.
    stage.orders.alive = Duration::from_secs(30);
    stage.push(500, 100.0, 0).await?;
    stage.start_all(2).await?;
    stage.wait_runs(40).await?;
    stage.kill(0).await?;
    stage.settle(Duration::from_secs(75)).await?;
    stage.stop_all().await?;
    Ok(())
}

pub(crate) async fn worker_sigkill(stage: &mut Stage) -> Result<(), Failure> {
    let (jobs, kills, workers) = stage.scale((60_000, 25, 3), (1_000_000, 220, 6));
    stage.push(jobs, 1.0, 0).await?;
    stage.push(jobs / 50, 2.0, 1).await?;
    stage.start_all(workers).await?;
    stage.kill_at_random(kills, (2_000, 1.0)).await?;
    let patience = stage.scale(60, 900);
    stage.settle(Duration::from_secs(patience)).await?;
    stage.stop_all().await
}

pub(crate) async fn quick_jobs_sigkill(stage: &mut Stage) -> Result<(), Failure> {
    // Thousands are done in the time of a round trip: it shows how many of them are not acknowledged yet.
    kill_amid_quick_jobs(stage, false).await
}

pub(crate) async fn sigkill_while_redis_lags(stage: &mut Stage) -> Result<(), Failure> {
    // Redis has not read the last commands of the worker; the number of jobs that run twice has the same bound.
    kill_amid_quick_jobs(stage, true).await
}

/// Kills workers whose jobs take no time; `lags`: each time after Redis was stopped for some milliseconds.
async fn kill_amid_quick_jobs(stage: &mut Stage, lags: bool) -> Result<(), Failure> {
    let kills = stage.scale(8, 100);
    stage.start_all(2).await?;
    while stage.kills < kills {
        stage.push(20_000, 0.0, 0).await?;
        let pause = stage.rng.random_range(50..400);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let at = stage.rng.random_range(0..2);
        let lag = lags.then(|| Duration::from_millis(stage.rng.random_range(1..60)));
        stage.kill_after(at, lag).await?;
        stage.replace(at)?;
    }
    stage.settle(Duration::from_secs(120)).await?;
    stage.stop_all().await
}

pub(crate) async fn recoverers_race(stage: &mut Stage) -> Result<(), Failure> {
    for _ in 0..stage.scale(2, 30) {
        stage.orders.concurrency = 200;
        stage.push(400, 300.0, 0).await?;
        let runs = stage.runs()?;
        let at = stage.start()?;
        stage.wait_runs(runs + 150).await?;
        stage.orders.concurrency = 2;
        let first = stage.workers.len();
        stage.start_all(10).await?;
        stage.kill(at).await?;
        stage.settle(Duration::from_secs(60)).await?;
        for at in first..stage.workers.len() {
            stage.workers[at].signal("TERM")?;
            let status = stage.workers[at].exit(Duration::from_secs(30)).await;
            stage.expect(status.is_some_and(|status| status.success()), || format!("it ended as {status:?}"));
        }
    }
    Ok(())
}

pub(crate) async fn limited_queue(stage: &mut Stage) -> Result<(), Failure> {
    const LIMIT: i32 = 2;
    let (jobs, kills, workers) = stage.scale((900, 5, 3), (20_000, 60, 6));
    stage.redis.call::<()>("SET", &["limit_fetch:limit:default", &LIMIT.to_string()]).await?;
    stage.push(jobs, 5.0, 0).await?;
    stage.push(jobs / 20, 5.0, 1).await?;
    stage.start_all(workers).await?;
    while stage.kills < kills {
        let runs = stage.runs()?;
        stage.wait_runs(runs + 50).await?;
        // One that runs jobs.
        let busy: Vec<String> = stage.redis.call("LRANGE", &["limit_fetch:busy:default", "0", "-1"]).await?;
        let Some(identity) = busy.first() else { continue };
        let mut redis = stage.redis.connection().await?;
        for at in 0..workers {
            if stage.workers[at].identity(&mut redis).await?.as_ref() == Some(identity) {
                stage.kill(at).await?;
                // As twenty seconds later.
                stage.redis.call::<()>("DEL", &[&format!("limit:heartbeat:{identity}")]).await?;
                stage.replace(at)?;
            }
        }
    }
    stage.settle(Duration::from_secs(60)).await?;
    stage.stop_all().await?;
    let most = Ledger::read(&stage.dir)?.most_at_once();
    stage.expect(most == LIMIT, || format!("{most} jobs ran at a time at a limit of {LIMIT}"));
    for list in ["limit_fetch:probed:default", "limit_fetch:busy:default"] {
        let left: Vec<String> = stage.redis.call("LRANGE", &[list, "0", "-1"]).await?;
        stage.expect(left.is_empty(), || format!("{list} holds {left:?}"));
    }
    Ok(())
}

pub(crate) async fn capsules_restart(stage: &mut Stage) -> Result<(), Failure> {
    stage.orders.environment.push((TWO_CAPSULES.to_owned(), "1".to_owned()));
    restart(stage, (10_000, 6, 2), (100_000, 60, 3)).await
}

pub(crate) async fn rolling_restart(stage: &mut Stage) -> Result<(), Failure> {
    restart(stage, (40_000, 16, 3), (1_000_000, 200, 6)).await
}

/// Stops one worker after the other while all of them work: jobs, restarts, workers.
async fn restart(stage: &mut Stage, quick: (usize, usize, usize), full: (usize, usize, usize)) -> Result<(), Failure> {
    let (jobs, restarts, workers) = stage.scale(quick, full);
    stage.push(jobs, 2.0, 0).await?;
    stage.push(jobs / 400, 300.0, 0).await?;
    stage.start_all(workers).await?;
    for number in 0..restarts {
        let at = number % workers;
        let pause = stage.rng.random_range(100..900);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        stage.workers[at].signal("TERM")?;
        let status = stage.workers[at].exit(Duration::from_secs(30)).await;
        stage.expect(status.is_some_and(|status| status.success()), || format!("a stopped worker ended as {status:?}"));
        stage.replace(at)?;
        if stage.open_jobs().await?[0] < 1_000 {
            stage.push(1_000, 2.0, 0).await?;
        }
    }
    let patience = stage.scale(60, 900);
    stage.settle(Duration::from_secs(patience)).await?;
    stage.nobody_recovered();
    stage.stop_all().await
}

pub(crate) async fn term_over_timeout(stage: &mut Stage) -> Result<(), Failure> {
    stage.orders.timeout = 1;
    stage.push(10, 4_000.0, 0).await?;
    stage.start_all(1).await?;
    for round in 1..=stage.scale(2, 20) {
        stage.wait_runs(10 * round).await?;
        let asked = Instant::now();
        // What was cut off runs again.
        stage.is_broken(0);
        stage.workers[0].signal("TERM")?;
        let status = stage.workers[0].exit(Duration::from_secs(10)).await;
        let took = asked.elapsed();
        stage.expect(status.is_some_and(|status| status.success()), || format!("ended as {status:?}"));
        stage.expect(took < Duration::from_secs(4), || format!("a stop with a timeout of 1 s took {took:?}"));
        let open = stage.open_jobs().await?;
        stage.expect(open == [10, 0, 0, 0], || format!("after the stop jobs lie as {open:?}"));
        stage.replace(0)?;
    }
    stage.orders.timeout = 25;
    stage.settle(Duration::from_secs(30)).await?;
    stage.stop_all().await
}

pub(crate) async fn term_then_kill(stage: &mut Stage) -> Result<(), Failure> {
    let cycles = stage.scale(10, 500);
    stage.orders.timeout = 1;
    stage.start_all(2).await?;
    for number in 0..cycles {
        let at = number % 2;
        stage.push(200, 20.0, 0).await?;
        stage.push(10, 1_500.0, 0).await?;
        let pause = stage.rng.random_range(50..400);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        stage.workers[at].signal("TERM")?;
        let pause = stage.rng.random_range(0..1_500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        stage.kill(at).await?;
        stage.replace(at)?;
    }
    stage.orders.timeout = 25;
    // Twenty slots for all the long ones.
    stage.settle(Duration::from_secs(stage.scale(120, 900))).await?;
    stage.stop_all().await
}

pub(crate) async fn shutdown_race(stage: &mut Stage) -> Result<(), Failure> {
    let races = stage.scale(300, 10_000);
    let options: RedisOptions = stage.redis.url().parse()?;
    let client = Client::builder().redis(options.clone()).build()?;
    let (mut ran_before, mut left) = (0, 0);
    for _ in 0..races {
        let ran = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = std::sync::Arc::clone(&ran);
        let server = Server::builder()
            .redis(options.clone())
            .concurrency(2)
            .register_fn("Once", move |_cx: Context, _args: ()| {
                counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                async { Ok(()) }
            })
            .build()?;
        let handle = server.handle();
        let running = tokio::spawn(server.run(std::future::pending()));
        tokio::time::sleep(Duration::from_micros(stage.rng.random_range(3_000..8_000))).await;
        let wait = Duration::from_micros(stage.rng.random_range(0..1_500));
        let pushing = tokio::spawn({
            let client = client.clone();
            async move { client.push(Payload::new("Once", [])).await }
        });
        tokio::time::sleep(wait).await;
        handle.stop();
        running.await??;
        pushing.await??;
        let [queued, held, ..] = stage.open_jobs().await?;
        let ran = ran.load(std::sync::atomic::Ordering::SeqCst);
        stage.expect(queued + ran == 1 && held == 0, || format!("one job: {ran} ran, {queued} queued, {held} held"));
        ran_before += ran;
        left += queued;
        let _: () = stage.redis.call("DEL", &["queue:default"]).await?;
    }
    stage.expect(ran_before > 0 && left > 0, || format!("no race: {ran_before} ran, {left} were left"));
    stage.remark(format!("{races} races: {ran_before} ran before the stop, {left} were left in the queue"));
    Ok(())
}

pub(crate) async fn pause_short(stage: &mut Stage) -> Result<(), Failure> {
    stage.push(3_000, 20.0, 0).await?;
    stage.start_all(2).await?;
    for _ in 0..stage.scale(3, 100) {
        stage.workers[0].signal("STOP")?;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        stage.workers[0].signal("CONT")?;
        tokio::time::sleep(Duration::from_millis(700)).await;
        stage.push(500, 20.0, 0).await?;
    }
    stage.settle(Duration::from_secs(60)).await?;
    stage.stop_all().await
}

pub(crate) async fn pause_long(stage: &mut Stage) -> Result<(), Failure> {
    stage.start_all(2).await?;
    for _ in 0..stage.scale(1, 30) {
        stage.push(300, 50.0, 0).await?;
        let runs = stage.runs()?;
        stage.wait_runs(runs + 60).await?;
        stage.is_broken_again(0);
        let identity = stage.wait_registered(0).await?;
        stage.workers[0].signal("STOP")?;
        tokio::time::sleep(Duration::from_secs(8)).await;
        let held: usize = stage.redis.call("SCARD", &[&format!("ferrokiq:batches:{identity}")]).await?;
        stage.expect(held == 0, || format!("{held} private lists of the sleeper were left alone"));
        stage.workers[0].signal("CONT")?;
        stage.settle(Duration::from_secs(60)).await?;
        // It works again, under whatever name.
        stage.push(200, 20.0, 0).await?;
        stage.settle(Duration::from_secs(30)).await?;
    }
    stage.stop_all().await
}

pub(crate) async fn starved_runtime(stage: &mut Stage) -> Result<(), Failure> {
    // Longer than it counts as alive, on every thread.
    let block = stage.scale(8_000, 120_000);
    if block > 100_000 {
        stage.orders.alive = Duration::from_secs(30);
    }
    let direct = stage.orders.clone();
    stage.orders.environment.push(("TOKIO_WORKER_THREADS".to_owned(), "2".to_owned()));
    stage.push_jobs(6, "Harm", &format!(r#"["block",{block}]"#), "").await?;
    stage.start_all(1).await?;
    stage.wait_runs(2).await?;
    stage.orders = direct;
    let watcher = stage.start()?;
    stage.wait_registered(watcher).await?;
    stage.settle(Duration::from_secs(4 * block / 1_000 + 30)).await?;
    let said = stage.workers[watcher].said();
    stage.expect(!said.contains("put back the jobs"), || "a process that lives was taken for dead".to_owned());
    stage.stop_all().await
}

pub(crate) async fn stubborn_jobs(stage: &mut Stage) -> Result<(), Failure> {
    stage.orders.timeout = 1;
    for _ in 0..stage.scale(2, 100) {
        stage.push_jobs(2, "Harm", r#"["block",20000]"#, "").await?;
        let runs = stage.runs()?;
        let at = stage.start()?;
        stage.wait_runs(runs + 1).await?;
        stage.is_broken(at);
        let asked = Instant::now();
        stage.workers[at].signal("TERM")?;
        let status = stage.workers[at].exit(Duration::from_secs(20)).await;
        let took = asked.elapsed();
        // One second of timeout, three to let go.
        stage.expect(status.is_some() && took < Duration::from_secs(5), || format!("a stop took {took:?}: {status:?}"));
        let _: () = stage.redis.call("DEL", &["queue:default"]).await?;
        stage.accepted.clear();
    }
    Ok(())
}

pub(crate) async fn panics(stage: &mut Stage) -> Result<(), Failure> {
    let jobs = stage.scale(3_000, 100_000);
    for how in ["panic", "panic when dropped", "panic on a blocking thread"] {
        stage.push_jobs(jobs / 3, "Harm", &format!(r#"["{how}",0]"#), r#""retry":0,"#).await?;
    }
    let jobs = jobs / 3 * 3;
    stage.orders.environment.push(("RUST_BACKTRACE".to_owned(), "0".to_owned()));
    stage.start_all(1).await?;
    stage.settle(Duration::from_secs(240)).await?;
    let dead: usize = stage.redis.call("ZCARD", &["dead"]).await?;
    stage.expect(dead == jobs, || format!("{dead} of {jobs} are dead"));
    // Every slot still works: ten jobs of half a second take half a second.
    let runs = stage.runs()?;
    stage.push(10, 2_000.0, 0).await?;
    stage.wait_runs(runs + 10).await?;
    stage.settle(Duration::from_secs(10)).await?;
    stage.stop_all().await
}

pub(crate) async fn thundering_start(stage: &mut Stage) -> Result<(), Failure> {
    let workers = stage.scale(25, 100);
    stage.push(5_000, 1.0, 0).await?;
    stage.orders.concurrency = 2;
    for _ in 0..workers {
        stage.start()?;
    }
    let began = Instant::now();
    for at in 0..workers {
        stage.wait_registered(at).await?;
    }
    let took = began.elapsed();
    stage.expect(took < Duration::from_secs(20), || format!("{workers} workers took {took:?} to start"));
    stage.settle(Duration::from_secs(30)).await?;
    stage.stop_all().await
}
