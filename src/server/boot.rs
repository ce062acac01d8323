//! The start of a process: waits until Redis is available, and registers the process.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, RedisFault, Result};
use crate::server::config::WireVersion;
use crate::server::core::Core;
use crate::server::heartbeat::Heartbeat;

/// Between two attempts: the first pause, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Between two log lines of one wait.
const REMARK: Duration = Duration::from_secs(10);

/// The cause for which a starting server waits; probes and systemd read it.
#[derive(Debug, Default)]
pub(crate) struct Boot(Mutex<Option<String>>);

impl Boot {
    /// The cause of the wait; `None` if the server does not wait.
    #[cfg(any(test, all(feature = "cli", unix)))]
    pub(crate) fn cause(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, cause: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }
}

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
pub(crate) async fn wait_for_redis(core: &Core, heartbeat: &Heartbeat) -> Result<bool> {
    let began = Instant::now();
    let (mut pause, mut remarked) = (PAUSE.0, None::<Instant>);
    loop {
        let error = match register(core, heartbeat).await {
            Ok(()) => {
                if remarked.is_some() {
                    tracing::info!(after_secs = began.elapsed().as_secs(), "Redis answers");
                }
                core.boot.set(None);
                return Ok(true);
            }
            Err(error) => error,
        };
        let left = core.config.boot_timeout.unwrap_or_default().saturating_sub(began.elapsed());
        let cause = described(&error);
        if left.is_zero() || !is_late(&error, &cause) {
            return Err(error);
        }
        if remarked.is_none_or(|at| at.elapsed() >= REMARK) {
            remarked = Some(Instant::now());
            tracing::warn!(left_secs = left.as_secs(), "waiting for Redis: {cause}");
        }
        core.boot.set(Some(cause));
        tokio::select! {
            () = tokio::time::sleep(pause.min(left)) => {}
            () = core.handle.stopping() => return Ok(false),
        }
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Whether a later attempt may succeed: Redis is unreachable or not ready. It cannot succeed if this process has no file descriptor left.
fn is_late(error: &Error, cause: &str) -> bool {
    // EMFILE and ENFILE.
    let has_no_file = cause.contains("(os error 24)") || cause.contains("(os error 23)");
    matches!(error.redis_fault(), Some(RedisFault::Unreachable | RedisFault::Unwilling)) && !has_no_file
}

/// The error and its causes in one line.
fn described(error: &Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Reads what must be known before the first claim, and registers the process.
async fn register(core: &Core, heartbeat: &Heartbeat) -> Result<()> {
    check_server(core).await?;
    // Without it others take this process for dead, and run its jobs a second time.
    heartbeat.connect().await?;
    if core.config.wire_version == WireVersion::Auto {
        let majors = match core.store.shared_rubies().await? {
            Some(rubies) => rubies.majors,
            // Another process is reading them: this one must know before its first push.
            None => core.store.sidekiqs().await?,
        };
        core.adapt_to(majors);
    }
    core.paused.set(core.store.paused_queues().await?);
    let sent = Instant::now();
    core.store.register(&core.registration, core.liveness.span(), false).await?;
    core.liveness.seen(sent);
    Ok(())
}

async fn check_server(core: &Core) -> Result<()> {
    core.store.ping().await?;
    match core.store.server_version().await {
        Ok(Some((major, minor))) if major < 7 => {
            return Err(Error::new(
                ErrorKind::Redis,
                format!("this Redis is {major}.{minor}; ferrokiq, as Sidekiq 8, needs 7.0 or newer"),
            ));
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the version of Redis is unknown; it must be 7.0 or newer"),
    }
    core.judge_eviction(&core.store).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let (handle, vitals, core) = (server.handle(), server.vitals(), std::sync::Arc::clone(&server.core));
        let running = tokio::spawn(server.run(std::future::pending()));
        until("it waits", || core.boot.cause().is_some()).await;
        assert_eq!((vitals.live(), vitals.ready()), (Ok(()), Err("starting")));
        let proxy = Refusing::start(&near, &redis.dir().join("redis.sock")).unwrap();
        for (code, said) in [("LOADING", "BusyLoading"), ("MASTERDOWN", "MasterDown")] {
            proxy.plan(Some((Which::Named("PING"), Fault::Refuse(code))));
            until(code, || core.boot.cause().is_some_and(|cause| cause.contains(said))).await;
        }
        proxy.plan(None);
        until("it runs", || vitals.ready().is_ok()).await;
        assert_eq!(core.boot.cause(), None);
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
            let (handle, core) = (server.handle(), std::sync::Arc::clone(&server.core));
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let running = tokio::spawn(server.run(async { drop(stopped.await) }));
            until("it waits", || core.boot.cause().is_some()).await;
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
