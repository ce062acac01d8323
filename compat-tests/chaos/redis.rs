//! A redis-server of a fault's own, with a directory that outlives it.

use std::fs::OpenOptions;
use std::io::Error;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisError};

pub(crate) struct Redis {
    child: Child,
    pub(crate) port: u16,
    dir: PathBuf,
    arguments: Vec<String>,
}

/// Those who are shipped; faults themselves act as the default user, who may do everything.
const USERS: [&str; 3] = [
    include_str!("../../docs/acl/producer.acl"),
    include_str!("../../docs/acl/worker.acl"),
    include_str!("../../docs/acl/operator.acl"),
];

/// The same server through this port, with the rights of a worker.
pub(crate) fn worker_url(port: u16) -> String {
    format!("redis://ferrokiq-worker:secret@127.0.0.1:{port}/0")
}

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A port nobody listens on, most likely.
pub(crate) fn free_port() -> Result<u16, Error> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Redis {
    /// `arguments` go after those for loopback, no snapshots, an append-only file that is synced always.
    pub(crate) async fn start(dir: &Path, arguments: &[&str]) -> Result<Self, crate::Failure> {
        let dir = dir.join(format!("redis-{}", free_port()?));
        std::fs::create_dir_all(&dir)?;
        for _ in 0..5 {
            let port = free_port()?;
            let arguments = arguments.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let child = Self::spawn(&dir, port, &arguments)?;
            let mut redis = Self { child, port, dir: dir.clone(), arguments };
            if redis.is_up().await {
                return Ok(redis);
            }
        }
        Err(format!("redis-server does not start; see {}", dir.display()).into())
    }

    fn spawn(dir: &Path, port: u16, arguments: &[String]) -> Result<Child, Error> {
        let log = OpenOptions::new().append(true).create(true).open(dir.join("log"))?;
        let users = dir.join("users.acl");
        std::fs::write(&users, USERS.map(|line| line.replacen(" on ", " on >secret ", 1)).concat())?;
        Command::new("redis-server")
            .arg("--aclfile")
            .arg(users)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(dir)
            .args(["--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "local"])
            .args(arguments)
            .stdout(log)
            .spawn()
    }

    /// Whether it is this server that answers, not another that took the port first.
    async fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return false;
            }
            if let Ok(mut connection) = self.connection().await {
                let said: Result<String, _> = redis::cmd("INFO").arg("server").query_async(&mut connection).await;
                // Not itself: then it will not get the port.
                let own = format!("process_id:{}\r\n", self.pid());
                if said.is_ok_and(|said| said.contains(&own)) {
                    return true;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it at once; its data stay.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same data and port.
    pub(crate) async fn revive(&mut self) -> Result<(), crate::Failure> {
        self.child = Self::spawn(&self.dir, self.port, &self.arguments)?;
        if self.is_up().await { Ok(()) } else { Err("redis-server does not come back".into()) }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// For an app that pushes.
    pub(crate) fn producer_url(&self) -> String {
        format!("redis://ferrokiq-producer:secret@127.0.0.1:{}/0", self.port)
    }

    /// What workers and producers asked for and were refused, but for what is left out on purpose.
    pub(crate) async fn refusals(&self) -> Result<Vec<String>, RedisError> {
        let log: Vec<std::collections::HashMap<String, String>> = self.call("ACL", &["LOG", "128"]).await?;
        let refused =
            log.into_iter().filter(|entry| entry["username"].starts_with("ferrokiq-") && entry["reason"] != "auth");
        let refused = refused.map(|entry| format!("{} for {}", entry["object"], entry["username"]));
        Ok(refused.filter(|what| !what.starts_with("client|")).collect())
    }

    /// The keys of ours that stay for ever and have no reason to.
    pub(crate) async fn leftovers(&self) -> Result<Vec<String>, RedisError> {
        self.call("EVAL", &[crate::sweep::SWEEP, "0"]).await
    }

    /// A connection of its own.
    pub(crate) async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let _: String = redis::cmd("PING").query_async(&mut connection).await?;
        Ok(connection)
    }

    /// Runs a command on a connection of its own, however often it takes.
    pub(crate) async fn call<T: FromRedisValue>(&self, command: &str, arguments: &[&str]) -> Result<T, RedisError> {
        self.run(redis::cmd(command).arg(arguments)).await
    }

    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = match self.connection().await {
                Ok(mut connection) => command.query_async(&mut connection).await,
                Err(error) => Err(error),
            };
            match answer {
                Err(error) if Instant::now() < deadline && !error.is_unrecoverable_by_waiting() => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                answer => return answer,
            }
        }
    }
}

trait Patience {
    fn is_unrecoverable_by_waiting(&self) -> bool;
}

impl Patience for RedisError {
    /// A server that is away or loading comes back; one that refuses a command will go on to.
    fn is_unrecoverable_by_waiting(&self) -> bool {
        !(self.is_io_error() || matches!(self.code(), Some("LOADING" | "BUSY" | "MASTERDOWN")))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
