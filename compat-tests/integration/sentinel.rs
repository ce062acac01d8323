//! A primary, two replicas and three sentinels of the test's own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ferrokiq::{Client, ErrorKind, Payload, RedisOptions, Server};
use redis::{FromRedisValue, ToRedisArgs};

use crate::support::{eventually, nothing};

/// One server of the group; ends with the value.
struct Node {
    child: Child,
    port: u16,
}

impl Node {
    fn start(dir: &Path, port: u16, arguments: &[&str]) -> Self {
        let child = Command::new("redis-server")
            .args(arguments)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(dir)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is on the PATH: run bin/setup");
        Self { child, port }
    }

    async fn try_call<T: FromRedisValue>(
        &self,
        password: &str,
        arguments: &[impl ToRedisArgs],
    ) -> redis::RedisResult<T> {
        let client = redis::Client::open(format!("redis://:{password}@127.0.0.1:{}", self.port))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::Cmd::new().arg(arguments).query_async(&mut connection).await
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Group {
    servers: Vec<Node>,
    sentinels: Vec<Node>,
    dir: PathBuf,
}

const PASSWORD: &str = "s3cr3t-data";
const SENTINEL_PASSWORD: &str = "s3cr3t-sentinel";

impl Group {
    async fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ferrokiq-group-{}-{number}", std::process::id()));
        let ports = free_ports(6);
        let common =
            ["--save", "", "--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0"];
        let primary = ports[0].to_string();
        let servers = (0..3)
            .map(|at| {
                let dir = dir.join(at.to_string());
                std::fs::create_dir_all(&dir).unwrap();
                let mut arguments = common.to_vec();
                if at > 0 {
                    arguments.extend(["--replicaof", "127.0.0.1", &primary]);
                }
                Node::start(&dir, ports[at], &arguments)
            })
            .collect();
        let mut group = Self { servers, sentinels: Vec::new(), dir };
        eventually("both replicas are in step", async || group.replicas_in_step(0).await == 2).await;
        for port in &ports[3..] {
            let dir = group.dir.join(format!("sentinel-{port}"));
            std::fs::create_dir_all(&dir).unwrap();
            let file = dir.join("sentinel.conf");
            let config = format!(
                "requirepass {SENTINEL_PASSWORD}\nsentinel sentinel-pass {SENTINEL_PASSWORD}\n\
                 sentinel monitor main 127.0.0.1 {primary} 2\nsentinel auth-pass main {PASSWORD}\n\
                 sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
            );
            std::fs::write(&file, config).unwrap();
            group.sentinels.push(Node::start(&dir, *port, &[file.to_str().unwrap(), "--sentinel"]));
        }
        eventually("the sentinels know each other and the replicas", async || {
            for sentinel in &group.sentinels {
                let ask = async |what: &str| -> usize {
                    let said: redis::RedisResult<Vec<redis::Value>> =
                        sentinel.try_call(SENTINEL_PASSWORD, &["SENTINEL", what, "main"]).await;
                    said.map_or(0, |said| said.len())
                };
                if ask("SENTINELS").await < 2 || ask("REPLICAS").await < 2 {
                    return false;
                }
            }
            true
        })
        .await;
        group
    }

    async fn replicas_in_step(&self, server: usize) -> usize {
        let info: String = self.servers[server].try_call(PASSWORD, &["INFO", "replication"]).await.unwrap_or_default();
        info.lines().filter(|line| line.starts_with("slave") && line.contains("state=online")).count()
    }

    /// The URL, the first of whose sentinels is not there.
    fn url(&self) -> String {
        let nodes: Vec<String> = self.sentinels.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!(
            "redis+sentinel://default:{PASSWORD}@127.0.0.1:1,{}/main/2?sentinel_password={SENTINEL_PASSWORD}",
            nodes.join(",")
        )
    }

    fn options(&self) -> RedisOptions {
        self.url().parse().unwrap()
    }

    /// The place of the server that the last sentinel names.
    async fn primary(&self) -> usize {
        let (_, port): (String, u16) = self.sentinels[2]
            .try_call(SENTINEL_PASSWORD, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"])
            .await
            .unwrap();
        self.servers.iter().position(|server| server.port == port).unwrap()
    }

    async fn switched_from(&self, old: usize) -> Instant {
        eventually("the sentinels name another primary", async || self.primary().await != old).await;
        Instant::now()
    }

    async fn size(&self, key: &str) -> usize {
        let client =
            redis::Client::open(format!("redis://:{PASSWORD}@127.0.0.1:{}/2", self.servers[self.primary().await].port));
        let Ok(mut connection) = client.unwrap().get_multiplexed_async_connection().await else { return usize::MAX };
        redis::cmd("LLEN").arg(key).query_async(&mut connection).await.unwrap_or(usize::MAX)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.sentinels.clear();
        self.servers.clear();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// Pushes until it works, then waits until the job has run.
async fn works(group: &Group, client: &Client) {
    eventually("pushing works", async || client.push(Payload::new("Nothing", [])).await.is_ok()).await;
    eventually("the job is worked on", async || group.size("queue:default").await == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follows_the_primary() {
    let mut group = Group::start().await;
    let client = Client::builder().redis(group.options()).build().unwrap();
    let server = Server::builder().redis(group.options()).register_fn("Nothing", nothing).build().unwrap();
    let handle = server.handle();
    let running = tokio::spawn(server.run(std::future::pending()));
    works(&group, &client).await;

    // Handed over: the old primary refuses and unblocks.
    let old = group.primary().await;
    eventually("a failover begins", async || {
        group.sentinels[0].try_call::<()>(SENTINEL_PASSWORD, &["SENTINEL", "FAILOVER", "main"]).await.is_ok()
    })
    .await;
    let switched = group.switched_from(old).await;
    works(&group, &client).await;
    assert!(switched.elapsed() < Duration::from_secs(3), "{:?} after a failover", switched.elapsed());

    // Silent: nothing is refused, nothing is closed; the sentinels alone tell.
    let old = group.primary().await;
    eventually("it has a replica", async || group.replicas_in_step(old).await >= 1).await;
    group.servers[old].signal("STOP");
    let switched = group.switched_from(old).await;
    works(&group, &client).await;
    assert!(switched.elapsed() < Duration::from_secs(3), "{:?} after a silence", switched.elapsed());
    group.servers[old].signal("CONT");

    // Killed.
    let old = group.primary().await;
    eventually("it has a replica", async || group.replicas_in_step(old).await >= 1).await;
    group.servers[old].kill();
    let switched = group.switched_from(old).await;
    works(&group, &client).await;
    assert!(switched.elapsed() < Duration::from_secs(3), "{:?} after a kill", switched.elapsed());

    handle.stop();
    running.await.unwrap().unwrap();
}

async fn refusal(options: RedisOptions) -> String {
    let client = Client::builder().redis(options).build().unwrap();
    let error = client.push(Payload::new("A", [])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Redis);
    let shown = format!("{error} {error:?} {client:?}");
    assert!(!shown.contains("s3cr3t"), "{shown}");
    shown
}

#[tokio::test]
async fn says_what_the_sentinels_said() {
    let group = Group::start().await;
    let sentinel = format!("127.0.0.1:{}", group.sentinels[0].port);
    let shown = refusal(group.url().replace("/main/", "/other/").parse().unwrap()).await;
    assert!(
        shown.contains(&format!("{sentinel} knows no \\\"other\\\"")) && shown.contains("127.0.0.1:1: "),
        "{shown}"
    );
    let shown = refusal(group.url().replace(SENTINEL_PASSWORD, "s3cr3t-wrong").parse().unwrap()).await;
    assert!(shown.contains("WRONGPASS") && shown.contains(&sentinel), "{shown}");
    let shown = refusal(group.url().replace(PASSWORD, "s3cr3t-wrong").parse().unwrap()).await;
    assert!(shown.contains("WRONGPASS") && shown.contains(&format!("127.0.0.1:{}", group.servers[0].port)), "{shown}");
    let shown = refusal("redis+sentinel://127.0.0.1:1/main".parse().unwrap()).await;
    assert!(shown.contains("cannot reach redis+sentinel://127.0.0.1:1/main/0"), "{shown}");
}
