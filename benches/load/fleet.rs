//! Servers that have nothing to do, many on one Redis: what each of them costs, however many there are.

use std::time::Duration;

use ferrokiq::server::Handle;
use ferrokiq::{RedisOptions, Server};
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

use crate::redis_server::RedisServer;
use crate::{Outcome, Setting, raw, tell};

/// Servers start looking for dead ones 10 s after their start.
const WARM_UP: Duration = Duration::from_secs(11);

/// One Redis and its servers.
struct Fleet {
    redis: RedisServer,
    servers: JoinSet<ferrokiq::Result<()>>,
    handles: Vec<Handle>,
}

impl Fleet {
    #[expect(clippy::disallowed_methods, reason = "stop awaits them")]
    fn start(setting: &Setting, processes: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let redis = RedisServer::start()?;
        let (mut servers, mut handles) = (JoinSet::new(), Vec::with_capacity(processes));
        for _ in 0..processes {
            let server = setting.server()?.redis(url(&redis).parse::<RedisOptions>()?).build()?;
            handles.push(server.handle());
            servers.spawn(run(server));
        }
        Ok(Self { redis, servers, handles })
    }

    async fn connection(&self) -> Result<MultiplexedConnection, Box<dyn std::error::Error>> {
        Ok(redis::Client::open(url(&self.redis))?.get_multiplexed_async_connection().await?)
    }

    async fn stop(mut self) -> Outcome {
        self.handles.iter().for_each(Handle::stop);
        while let Some(stopped) = self.servers.join_next().await {
            stopped??;
        }
        Ok(())
    }
}

async fn run(server: Server) -> ferrokiq::Result<()> {
    server.run(std::future::pending()).await.map(drop)
}

fn url(redis: &RedisServer) -> String {
    format!("redis://127.0.0.1:{}/0", redis.port())
}

/// Watches fleets of each size at the same time, each on a Redis of its own, over `seconds`.
///
/// Tells commands a second of one server (`N_commands_per_s`), bytes a second Redis sends to it (`N_bytes_per_s`), and the share of one
/// core, in percent, that Redis takes for the whole fleet (`N_redis_core_percent`).
pub(crate) async fn fleet(setting: &Setting, sizes: &[usize], seconds: u64) -> Outcome {
    let watched = Duration::from_secs(seconds);
    let (mut fleets, mut before) = (Vec::new(), Vec::new());
    for &processes in sizes {
        fleets.push((processes, Fleet::start(setting, processes)?));
    }
    tokio::time::sleep(WARM_UP).await;
    for (_, fleet) in &fleets {
        before.push(Spent::of(&mut fleet.connection().await?).await?);
    }
    tokio::time::sleep(watched).await;
    for ((processes, fleet), before) in fleets.iter().zip(before) {
        let now = Spent::of(&mut fleet.connection().await?).await?;
        let each = *processes as f64 * watched.as_secs_f64();
        tell(&format!("{processes}_commands_per_s"), (now.commands - before.commands) / each);
        tell(&format!("{processes}_bytes_per_s"), (now.bytes - before.bytes) / each);
        tell(&format!("{processes}_redis_core_percent"), (now.cpu - before.cpu) / watched.as_secs_f64() * 100.0);
    }
    for (_, fleet) in fleets {
        fleet.stop().await?;
    }
    Ok(())
}

/// What Redis has done since its start.
struct Spent {
    commands: f64,
    bytes: f64,
    cpu: f64,
}

impl Spent {
    async fn of(redis: &mut MultiplexedConnection) -> Result<Self, Box<dyn std::error::Error>> {
        Ok(Self {
            commands: raw::commands(redis).await?,
            bytes: raw::stat(redis, "total_net_output_bytes").await?,
            cpu: raw::cpu(redis).await?,
        })
    }
}
