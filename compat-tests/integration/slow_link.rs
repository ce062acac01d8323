//! A link that carries few bytes a second: jobs take longer, and nothing else happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ferrokiq::server::FetchMode;
use ferrokiq::{Context, Payload, RedisOptions, Server};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::support::{Redis, Running, eventually};
#[cfg(feature = "tls")]
use crate::tls::worker_at;
#[cfg(feature = "tls")]
use crate::tls_redis::TlsRedis;

/// Bytes a second of each connection.
const RATE: usize = 2_000_000;

/// A relay to Redis whose answers are slow. Returns its options, and a count of the bytes Redis answered.
async fn throttled(redis: &Redis) -> (RedisOptions, Arc<AtomicUsize>) {
    let socket = redis.url().strip_prefix("unix://").unwrap().to_owned();
    let (port, answered) = relay(move || UnixStream::connect(socket.clone())).await;
    let url = format!("redis://ferrokiq-worker:secret@127.0.0.1:{port}/0");
    (url.parse().unwrap(), answered)
}

/// The same with TLS between the worker and Redis; the relay carries what is encrypted.
#[cfg(feature = "tls")]
async fn throttled_tls(redis: &TlsRedis) -> (RedisOptions, Arc<AtomicUsize>) {
    let far = redis.port;
    let (port, answered) = relay(move || TcpStream::connect(("127.0.0.1", far))).await;
    (worker_at(port), answered)
}

/// A relay with slow answers: its port, and a count of the bytes answered.
async fn relay<S, F>(connect: impl Fn() -> F + Send + 'static) -> (u16, Arc<AtomicUsize>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
    F: Future<Output = std::io::Result<S>> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = connect().await.unwrap();
            tokio::spawn(carry(near, far, Arc::clone(&count)));
        }
    });
    (port, answered)
}

async fn carry(near: TcpStream, far: impl AsyncRead + AsyncWrite, count: Arc<AtomicUsize>) {
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), tokio::io::split(far));
    let requests = async {
        let _ = tokio::io::copy(&mut from_near, &mut to_far).await;
        let _ = to_far.shutdown().await;
    };
    let answers = async {
        let mut piece = vec![0; RATE / 50];
        while let Ok(read @ 1..) = from_far.read(&mut piece).await {
            count.fetch_add(read, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs_f64(read as f64 / RATE as f64)).await;
            if to_near.write_all(&piece[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(requests, answers);
}

async fn runs_large_jobs_over_a_slow_link(fetch: FetchMode) {
    const BYTES: usize = 600_000;
    let redis = Redis::start().await;
    let (options, answered) = throttled(&redis).await;
    runs_large_jobs(&redis, fetch, BYTES, options, answered).await;
}

/// Runs three jobs over a link on which each takes longer than Redis may be silent.
async fn runs_large_jobs(
    redis: &Redis,
    fetch: FetchMode,
    bytes: usize,
    options: RedisOptions,
    answered: Arc<AtomicUsize>,
) {
    const JOBS: usize = 3;
    let client = redis.client();
    for _ in 0..JOBS {
        client.push(Payload::new("Large", ["x".repeat(bytes).into()])).await.unwrap();
    }
    let ran = Arc::new(AtomicUsize::new(0));
    let runs = Arc::clone(&ran);
    // One job needs 300 ms or more.
    let builder = Server::builder()
        .redis(options.response_timeout(Duration::from_millis(200)))
        .fetch(fetch)
        .concurrency(JOBS)
        .register_fn("Large", move |_cx: Context, _args: (String,)| {
            runs.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        });
    let server = Running::start_as_it_is(builder);
    eventually("all are done", async || {
        redis.size("queue:default").await + redis.private_jobs().await == 0 && ran.load(Ordering::SeqCst) >= JOBS
    })
    .await;
    server.stop().await;
    assert_eq!(ran.load(Ordering::SeqCst), JOBS, "each once");
    let answered = answered.load(Ordering::Relaxed);
    assert!(answered < (JOBS + 1) * bytes, "{answered} bytes: some were requested twice");
}

#[tokio::test]
async fn jobs_are_done_whose_answer_takes_longer_than_redis_may_be_silent() {
    runs_large_jobs_over_a_slow_link(FetchMode::Reliable).await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn jobs_are_done_over_tls_whose_answer_takes_longer_than_redis_may_be_silent() {
    let redis = TlsRedis::start(&[]).await;
    let (options, answered) = throttled_tls(&redis).await;
    runs_large_jobs(&redis.redis, FetchMode::Reliable, 1_100_000, options, answered).await;
}

#[tokio::test]
async fn a_job_whose_answer_takes_long_is_not_put_back_meanwhile() {
    const BYTES: usize = 6_000_000;
    let redis = Redis::start().await;
    let ran = Arc::new(AtomicUsize::new(0));
    let runs = Arc::clone(&ran);
    let (options, _) = throttled(&redis).await;
    // The job needs three seconds. The process looks for lists that it does not know every 600 ms.
    let builder = Server::builder().redis(options).liveness(Duration::from_millis(1_200)).register_fn(
        "Large",
        move |_cx: Context, _args: (String,)| {
            runs.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        },
    );
    let server = Running::start_as_it_is(builder);
    // It waits on a connection of its own; its commands on others are not delayed by the answer.
    eventually("it waits", async || redis.call::<String>("CLIENT", &["LIST"]).await.contains("cmd=blmove")).await;
    redis.client().push(Payload::new("Large", ["x".repeat(BYTES).into()])).await.unwrap();
    eventually("it is done", async || redis.size("queue:default").await + redis.private_jobs().await == 0).await;
    server.stop().await;
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn basic_fetch_loses_no_job_whose_answer_takes_long() {
    runs_large_jobs_over_a_slow_link(FetchMode::Basic).await;
}

#[tokio::test]
async fn basic_fetch_takes_no_more_large_jobs_at_once_than_fit_a_window() {
    let redis = Redis::start().await;
    let client = redis.client();
    for _ in 0..60 {
        client.push(Payload::new("Large", ["x".repeat(300_000).into()])).await.unwrap();
    }
    let (ran, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Semaphore::new(0)));
    let (runs, permits) = (Arc::clone(&ran), Arc::clone(&release));
    let builder = Server::builder().fetch(FetchMode::Basic).concurrency(50).register_fn(
        "Large",
        move |_cx: Context, _args: (String,)| {
            let (runs, permits) = (Arc::clone(&runs), Arc::clone(&permits));
            async move {
                runs.fetch_add(1, Ordering::SeqCst);
                permits.acquire().await.unwrap().forget();
                Ok(())
            }
        },
    );
    let server = Running::start(&redis, builder);
    eventually("all slots are busy", async || ran.load(Ordering::SeqCst) == 50).await;
    let pops = redis.calls("blmpop").await;
    release.add_permits(100);
    eventually("all are done", async || ran.load(Ordering::SeqCst) == 60).await;
    server.stop().await;
    assert!(pops > (50 - 16) / 3, "{pops} pops for 50 jobs: the first takes 16 of unknown size, others three");
}
