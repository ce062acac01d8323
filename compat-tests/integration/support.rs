use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ferrokiq::server::{Handle, Stopped};
use ferrokiq::{Client, Context, JobResult, RedisOptions, ServerBuilder};
use redis::{FromRedisValue, ToRedisArgs};
use tokio::task::JoinHandle;

#[path = "../sweep.rs"]
mod sweep;
use sweep::SWEEP;

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The users whose rights ferrokiq ships; what it says is done under them.
pub(crate) const USERS: [(&str, &str); 3] = [
    ("producer", include_str!("../../docs/acl/producer.acl")),
    ("worker", include_str!("../../docs/acl/worker.acl")),
    ("operator", include_str!("../../docs/acl/operator.acl")),
];

/// A redis-server of the test's own with the shipped users. Looked at as the default user, who may do everything.
pub(crate) struct Redis(ferrokiq::testing::Redis);

/// The file with the shipped users, who get a password.
fn users() -> &'static PathBuf {
    static USERS_FILE: LazyLock<PathBuf> = LazyLock::new(|| {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("users-{}.acl", std::process::id()));
        let lines: String = USERS.iter().map(|(_, line)| line.replacen(" on ", " on >secret ", 1)).collect();
        std::fs::write(&file, lines).unwrap();
        file
    });
    &USERS_FILE
}

impl Redis {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let users = users().display().to_string();
        let own = ["--aclfile", &users, "--appendonly", "yes", "--appendfsync", "no"];
        let started = ferrokiq::testing::Redis::start_with(own.iter().chain(arguments));
        Self(started.expect("redis-server is on the PATH: run bin/setup"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.pid()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.0.pid().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Ends it at once; its data stay.
    pub(crate) fn kill(&mut self) {
        self.0.kill();
    }

    /// Starts it again on the same data.
    pub(crate) async fn revive(&mut self) {
        self.0.revive().unwrap();
    }

    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    /// The same for a user of its ACL.
    pub(crate) fn url_of(&self, user: &str) -> String {
        format!("{}?user={user}", self.url())
    }

    /// Its data, and room for the test's files.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.0.dir()
    }

    fn as_user(&self, user: &str) -> RedisOptions {
        format!("{}&pass=secret", self.url_of(&format!("ferrokiq-{user}"))).parse().unwrap()
    }

    /// With the rights of a worker.
    pub(crate) fn options(&self) -> RedisOptions {
        self.as_user("worker")
    }

    /// With the rights of an app that pushes.
    pub(crate) fn producer(&self) -> RedisOptions {
        self.as_user("producer")
    }

    /// A client of an app that pushes.
    pub(crate) fn client(&self) -> Client {
        Client::builder().redis(self.producer()).build().unwrap()
    }

    /// A client with the rights of an operator.
    pub(crate) fn operator(&self) -> Client {
        self.operator_builder().build().unwrap()
    }

    /// The same, to which middleware is added.
    pub(crate) fn operator_builder(&self) -> ferrokiq::client::ClientBuilder {
        Client::builder().redis(self.as_user("operator"))
    }

    /// For what is looked at while the test ends: Redis may be gone.
    fn impatient_connection(&self) -> redis::RedisResult<redis::Connection> {
        let connection = redis::Client::open(self.url())?.get_connection_with_timeout(Duration::from_secs(1))?;
        connection.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(connection)
    }

    /// The keys of ours that stay for ever and have no reason to.
    pub(crate) fn leftovers(&self) -> redis::RedisResult<Vec<String>> {
        redis::cmd("EVAL").arg(SWEEP).arg(0).query(&mut self.impatient_connection()?)
    }

    /// What the shipped users asked for and were refused, but for what is left out on purpose.
    pub(crate) fn refusals(&self) -> redis::RedisResult<Vec<HashMap<String, String>>> {
        let mut log: Vec<HashMap<String, String>> =
            redis::cmd("ACL").arg("LOG").arg(128).query(&mut self.impatient_connection()?)?;
        log.retain(|entry| {
            entry["username"].starts_with("ferrokiq-")
                && entry["reason"] != "auth"
                && !["client|setinfo", "client|unblock"].contains(&entry["object"].as_str())
        });
        Ok(log)
    }

    /// Runs a command on a connection of its own.
    pub(crate) async fn call<T: FromRedisValue>(&self, command: &str, arguments: &[impl ToRedisArgs]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(DEADLINE))
            .set_response_timeout(Some(DEADLINE));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        redis::cmd(command).arg(arguments).query_async(&mut connection).await.unwrap()
    }

    pub(crate) async fn size(&self, key: &str) -> usize {
        match self.call::<String>("TYPE", &[key]).await.as_str() {
            "list" => self.call("LLEN", &[key]).await,
            "zset" => self.call("ZCARD", &[key]).await,
            _ => 0,
        }
    }

    /// How often a command was called, in scripts, too.
    pub(crate) async fn calls(&self, command: &str) -> usize {
        let stats: String = self.call("INFO", &["commandstats"]).await;
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
    }

    /// Members of `retry`, `dead` or `schedule`.
    pub(crate) async fn members(&self, set: &str) -> Vec<Vec<u8>> {
        self.call("ZRANGE", &[set, "0", "-1"]).await
    }

    /// Jobs in private lists of any process.
    pub(crate) async fn private_jobs(&self) -> usize {
        let mut jobs = 0;
        for key in self.call::<Vec<String>>("KEYS", &["ferrokiq:batch:*"]).await {
            jobs += self.size(&key).await;
        }
        jobs
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let refusals = self.refusals().unwrap_or_default();
        assert!(refusals.is_empty() || std::thread::panicking(), "the shipped users may not: {refusals:#?}");
        let leftovers = self.leftovers().unwrap_or_default();
        assert!(leftovers.is_empty() || std::thread::panicking(), "keys that never expire: {leftovers:?}");
    }
}

/// A server that runs beside the test.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    task: JoinHandle<ferrokiq::Result<Stopped>>,
}

impl Running {
    pub(crate) fn start(redis: &Redis, builder: ServerBuilder) -> Self {
        Self::start_as_it_is(builder.redis(redis.options()))
    }

    /// The same on the Redis that the builder names.
    pub(crate) fn start_as_it_is(builder: ServerBuilder) -> Self {
        let server = builder.poll_interval_average(Duration::from_millis(100)).build().unwrap();
        let handle = server.handle();
        Self { handle, task: tokio::spawn(server.run(std::future::pending())) }
    }

    pub(crate) async fn stop(self) -> Stopped {
        self.handle.stop();
        tokio::time::timeout(DEADLINE, self.task).await.expect("it stops in time").unwrap().unwrap()
    }
}

/// Asks again until the answer is yes.
pub(crate) async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !ask().await {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A job that does nothing.
pub(crate) async fn nothing(_cx: Context, _args: ferrokiq::job::RawArgs) -> JobResult {
    Ok(())
}

/// The text of an error and of its cause.
pub(crate) fn with_cause(error: &ferrokiq::Error) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    format!("{error}: {}", cause.unwrap_or_default())
}

/// An address that was free a moment ago.
pub(crate) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A Redis in cluster mode that holds every slot.
pub(crate) async fn cluster() -> Redis {
    let [port, bus] = [free(), free()].map(|address| address.port().to_string());
    let own = ["--cluster-enabled", "yes", "--port", &port, "--cluster-port", &bus];
    let redis = Redis::start_with(&own).await;
    redis.call::<()>("CLUSTER", &["ADDSLOTSRANGE", "0", "16383"]).await;
    eventually("the cluster is up", async || {
        redis.call::<String>("CLUSTER", &["INFO"]).await.contains("cluster_state:ok")
    })
    .await;
    redis
}
