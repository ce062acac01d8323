//! The start of a process: waits until Redis is available, and registers the process.

use std::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::late::Wait;
use crate::server::report::Process;
use crate::server::report::heartbeat::Heartbeat;
use crate::server::settings::config::WireVersion;

/// Registers this process. While Redis is not available, tries again, for the boot timeout at most. A wrong password or an old server is an error
/// at once. Returns `false` if the server was stopped during the wait.
///
/// # Errors
///
/// That of the last attempt.
///
/// # Cancel safety
///
/// It may be dropped at any point.
pub(crate) async fn wait_for_redis(process: &Process, heartbeat: &Heartbeat) -> Result<bool> {
    let mut wait = Wait::new(process.shared.config.boot_timeout.unwrap_or_default());
    loop {
        let error = match register(process, heartbeat).await {
            Ok(()) => {
                if let Some(waited) = wait.waited() {
                    tracing::info!(after_secs = waited.as_secs(), "Redis answers");
                }
                process.boot.set(None);
                return Ok(true);
            }
            Err(error) => error,
        };
        let Some(next) = wait.after(&error) else { return Err(error) };
        if next.remark {
            tracing::warn!(left_secs = next.left.as_secs(), "waiting for Redis: {}", next.cause);
        }
        process.boot.set(Some(next.cause));
        tokio::select! {
            () = tokio::time::sleep(next.pause) => {}
            () = process.shared.handle.stopping() => return Ok(false),
        }
    }
}

/// Reads what must be known before the first claim, and registers the process.
async fn register(process: &Process, heartbeat: &Heartbeat) -> Result<()> {
    check_server(process).await?;
    // Without it others take this process for dead, and run its jobs a second time.
    heartbeat.connect().await?;
    if process.shared.config.wire_version == WireVersion::Auto {
        let majors = match process.shared.store.shared_rubies().await? {
            Some(rubies) => rubies.majors,
            // Another process is reading them: this one must know before its first push.
            None => process.shared.store.sidekiqs().await?,
        };
        process.shared.dialect.adapt_to(majors);
    }
    let (fetch, store, queues) =
        (&process.runner.fetch, &process.shared.store, process.shared.stats.telemetry.queue_names());
    fetch.paused.set(fetch.paused.read(store, &queues).await?);
    fetch.limits.set(fetch.limits.read(store, &queues).await?);
    let sent = Instant::now();
    process.shared.store.register(&process.shared.registration, process.shared.stats.liveness.span(), false).await?;
    process.shared.stats.liveness.seen(sent);
    Ok(())
}

/// Before anything else: an error of a hidden command does not name it, in a script for one.
async fn check_commands(process: &Process) -> Result<()> {
    let missing = process.shared.store.missing_commands().await?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Redis,
        format!(
            "Redis does not know {}, which a worker needs: remove `rename-command` from its configuration",
            missing.join(", ")
        ),
    ))
}

async fn check_server(process: &Process) -> Result<()> {
    check_commands(process).await?;
    process.shared.store.ping().await?;
    match process.shared.store.server_version().await {
        Ok(Some((major, minor))) if major < 7 => {
            return Err(Error::new(
                ErrorKind::Redis,
                format!("this Redis is {major}.{minor}; ferrokiq, as Sidekiq 8, needs 7.0 or newer"),
            ));
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the version of Redis is unknown; it must be 7.0 or newer"),
    }
    process.judge_eviction(&process.shared.store).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::RedisFault;
    use crate::server::{Server, Stopped};
    use crate::testing::Redis;
    use crate::testing::refusing::{Fault, Refusing, Which};

    fn server(redis: &Redis, near: &std::path::Path, timeout: u64) -> Server {
        let mut options: crate::RedisOptions = format!("unix://{}", near.display()).parse().unwrap();
        options = options.connect_timeout(Duration::from_secs(2));
        assert!(redis.pid() > 0);
        Server::builder().redis(options).boot_timeout(Duration::from_secs(timeout)).build().unwrap()
    }

    async fn until(what: &str, is_so: impl Fn() -> bool) {
        let waiting = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
    }

    #[tokio::test]
    async fn waits_while_nobody_is_there_and_while_redis_is_not_ready() {
        let redis = Redis::start().unwrap();
        let near = redis.dir().join("late.sock");
        let server = server(&redis, &near, 60);
        let (handle, vitals, process) = (server.handle(), server.vitals(), std::sync::Arc::clone(&server.process));
        let running = tokio::spawn(server.run(std::future::pending()));
        until("it waits", || process.boot.cause().is_some()).await;
        assert_eq!((vitals.live(), vitals.ready()), (Ok(()), Err("starting")));
        let proxy = Refusing::start(&near, &redis.dir().join("redis.sock")).unwrap();
        for code in ["LOADING", "MASTERDOWN"] {
            proxy.plan(Some((Which::Named("PING"), Fault::Refuse(code))));
            until(code, || process.boot.cause().is_some_and(|cause| cause.contains(code))).await;
        }
        proxy.plan(None);
        until("it runs", || vitals.ready().is_ok()).await;
        assert_eq!(process.boot.cause(), None);
        handle.stop();
        running.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn does_not_wait_where_it_was_not_told_to_or_waiting_mends_nothing() {
        let redis = Redis::start().unwrap();
        let near = redis.dir().join("late.sock");
        let error = server(&redis, &near, 0).run(std::future::pending()).await.unwrap_err();
        assert_eq!(error.redis_fault(), Some(RedisFault::Unreachable));
        let proxy = Refusing::start(&near, &redis.dir().join("redis.sock")).unwrap();
        proxy.plan(Some((Which::Named("PING"), Fault::Refuse("NOPERM"))));
        let error = server(&redis, &near, 60).run(std::future::pending()).await.unwrap_err();
        assert_eq!(error.redis_fault(), Some(RedisFault::Denied));
    }

    #[tokio::test]
    async fn can_be_stopped_while_it_waits_by_its_handle_and_by_its_future() {
        let redis = Redis::start().unwrap();
        let near = redis.dir().join("late.sock");
        for by_handle in [true, false] {
            let server = server(&redis, &near, 3_600);
            let (handle, process) = (server.handle(), std::sync::Arc::clone(&server.process));
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let running = tokio::spawn(server.run(async { drop(stopped.await) }));
            until("it waits", || process.boot.cause().is_some()).await;
            if by_handle {
                handle.stop()
            } else {
                drop(stop)
            }
            let ended = tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
            assert_eq!(ended.unwrap(), Stopped::before_it_started());
        }
    }
}
