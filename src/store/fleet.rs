//! The processes that share this Redis: who is alive, and what the dead ones left behind.

use std::collections::HashSet;
use std::time::Duration;

use redis::{Pipeline, RedisResult, Value, cmd};

#[cfg(feature = "server")]
use super::registration::Registration;
use super::{Store, is_refusal, is_wrong_type, keys, scripts};
use crate::error::{Error, ErrorKind, Result};

/// Commands without which a worker cannot register, fetch, settle or recover jobs.
const NEEDED: [&str; 39] = [
    "BLMOVE",
    "BLMPOP",
    "DEL",
    "EVALSHA",
    "EXEC",
    "EXISTS",
    "EXPIRE",
    "GET",
    "HDEL",
    "HGET",
    "HGETALL",
    "HMGET",
    "HSET",
    "LINDEX",
    "LLEN",
    "LMOVE",
    "LPUSH",
    "LRANGE",
    "LREM",
    "LTRIM",
    "MULTI",
    "PING",
    "RPOP",
    "RPUSH",
    "SADD",
    "SCRIPT",
    "SET",
    "SISMEMBER",
    "SMEMBERS",
    "SREM",
    "TIME",
    "TYPE",
    "UNLINK",
    "ZADD",
    "ZCOUNT",
    "ZRANGE",
    "ZREM",
    "ZREMRANGEBYRANK",
    "ZREMRANGEBYSCORE",
];
/// Those of them that may stand without an argument: they get more than they take.
const TAKE_NO_ARGUMENT: [&str; 4] = ["EXEC", "MULTI", "PING", "TIME"];

/// How long fenced processes are checked for private lists again, in case one wakes up and claims once more.
pub(crate) const FENCED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// The answer to a registration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registered {
    /// Another process fenced this one, and may have put its jobs back.
    pub(crate) fenced: bool,
    /// Milliseconds by Redis's clock until which this process counts as alive.
    pub(crate) alive_until: u64,
}

/// The answer to a sign of life. All times are milliseconds by Redis's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sign {
    pub(crate) registered: bool,
    /// What the sign before had left as [`alive_until`](Self::alive_until); `None` if Redis has none. Where the answer to that sign was lost,
    /// it is later than this process knows; where somebody deleted it, a look for dead processes may have put its own time there.
    pub(crate) previous: Option<u64>,
    pub(crate) now: u64,
    /// Until when this process counts as alive, if it is registered; if not, nothing was written.
    pub(crate) alive_until: u64,
}

/// Missing processes, and fenced ones with private lists, that one look returns at most.
const LOOK_LIMIT: usize = 10_000;
/// How often a process that leaves looks which private lists it has, while these change.
const LOOKS: usize = 5;
/// The last fenced processes that every look checks for private lists.
const CHECKED_ALWAYS: usize = 64;
/// Fenced processes that a look checks by turns: 5,000 of them in 20 looks.
const CHECKED_BY_TURNS: usize = 256;
/// One look in so many, on average, compares the registry with the signs of life: those are deleted by hand alone.
const COMPARED_ONCE_IN: u32 = 4;
/// How long a mark of a missing process lasts at least. Longer than a few looks; short, so that a snapshot brings back few.
const MARK: Duration = Duration::from_secs(30);

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Store {
    /// Enters a process into the registry, so that it may claim, and gives a sign of life that lasts for `span`. From then on nobody puts
    /// its jobs back. `long_silent`: the process was silent for so long that Redis need not remember having fenced it.
    #[cfg(feature = "server")]
    pub(crate) async fn register(&self, of: &Registration, span: Duration, long_silent: bool) -> Result<Registered> {
        let identity = of.identity();
        let mut register = scripts::REGISTER.key(keys::REGISTRY);
        register.key(keys::FENCED).key(keys::ALIVE).key(of.settlements());
        register.arg(identity).arg(millis(span)).arg(of.epoch()).arg(u8::from(long_silent));
        let (fenced, epoch, alive_until) = self.link.eval("register", &register).await?;
        of.entered(epoch);
        Ok(Registered { fenced, alive_until })
    }

    /// Gives a sign of life that lasts for `span`. Never registers: a process that was fenced must notice.
    pub(crate) async fn stay_alive(&self, identity: &str, span: Duration) -> Result<Sign> {
        let mut stay = scripts::STAY_ALIVE.key(keys::ALIVE);
        stay.key(keys::REGISTRY).arg(identity).arg(millis(span));
        let (registered, previous, now): (bool, Option<u64>, u64) = self.eval("stay alive", &stay).await?;
        Ok(Sign { registered, previous, now, alive_until: now + millis(span) })
    }

    /// How many connections this store made: a new one may have reached a Redis that came back with older data.
    #[cfg(feature = "server")]
    pub(crate) fn connections_made(&self) -> u64 {
        self.link.connections_made()
    }

    /// Resolves when a connection of this store ended since the last call. Cancel safe.
    #[cfg(feature = "server")]
    pub(crate) async fn connection_ended(&self) {
        self.link.connection_ended().await;
    }

    /// How many jobs are in each of these private lists.
    pub(crate) async fn private_lengths(&self, lists: &[&str]) -> Result<Vec<usize>> {
        if lists.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(lists.len());
        for list in lists {
            pipeline.cmd("LLEN").arg(*list);
        }
        self.link.read("measure private lists", &pipeline).await
    }

    /// Leaves the registry unless private lists still hold jobs; returns how many they hold.
    pub(crate) async fn bye(&self, identity: &str) -> Result<usize> {
        for _ in 0..LOOKS {
            let lists: Vec<String> =
                self.link.query("list private lists", cmd("SMEMBERS").arg(keys::batches(identity))).await?;
            let mut bye = scripts::BYE.key(keys::batches(identity));
            bye.key(keys::REGISTRY).key(keys::ALIVE).key(keys::settlements(identity)).key(&lists).arg(identity);
            let held: i64 = self.eval("leave", &bye).await?;
            if let Ok(held) = usize::try_from(held) {
                return Ok(held);
            }
        }
        Err(Error::new(ErrorKind::Redis, "cannot leave: the private lists of this process change all the time"))
    }

    /// Takes the turn to look for dead processes; `false` if another process has it. Nobody else gets it within `span`.
    pub(crate) async fn take_lookout(&self, identity: &str, span: Duration) -> Result<bool> {
        let mut set = cmd("SET");
        set.arg(keys::LOOKOUT).arg(identity).arg("NX").arg("PX").arg(millis(span).max(1));
        let taken: Option<String> = self.link.query("take the turn to look for dead processes", &set).await?;
        Ok(taken.is_some())
    }

    /// Identities whose private lists may hold jobs of nobody: registered processes that turn out dead, and fenced ones that still have
    /// private lists. Marks those that are missing, and fences those that were marked `grace` ago.
    ///
    /// Only the process that [has the turn](Self::take_lookout) calls it: it looks for all others, too.
    pub(crate) async fn dead_processes(&self, own: &str, grace: Duration) -> Result<Vec<String>> {
        let mut look = scripts::LOOK.key(keys::REGISTRY);
        look.key(keys::ALIVE).key(keys::FENCED).key(keys::CHECKED);
        look.arg(LOOK_LIMIT).arg(FENCED_FOR.as_secs()).arg(CHECKED_ALWAYS).arg(CHECKED_BY_TURNS);
        look.arg(u8::from(rand::random_ratio(1, COMPARED_ONCE_IN)));
        let (missing, fenced): (Vec<String>, Vec<String>) = self.link.eval("look for processes", &look).await?;
        let mut dead = self.left_behind(&fenced).await?;
        let mut refused = None;
        for identity in missing.into_iter().filter(|identity| identity != own) {
            match self.fence(&identity, grace).await {
                Ok(true) => dead.push(identity),
                Ok(false) => {}
                // A mark of another type, say. The others must not wait for that.
                Err(error) if is_refusal(&error) => refused = Some((identity, error)),
                Err(error) => return Err(error),
            }
        }
        if let Some((identity, error)) = refused {
            tracing::error!(identity, %error, "cannot fence a process that is missing");
        }
        dead.retain(|identity| identity != own);
        dead.sort_unstable();
        dead.dedup();
        Ok(dead)
    }

    /// Those of some fenced processes that have private lists.
    async fn left_behind(&self, fenced: &[String]) -> Result<Vec<String>> {
        if fenced.is_empty() {
            return Ok(Vec::new());
        }
        let mut check = scripts::LEFT_BEHIND.key(keys::FENCED);
        for identity in fenced {
            check.key(keys::batches(identity)).arg(identity);
        }
        self.link.eval("look for private lists of fenced processes", &check).await
    }

    /// Marks a process that is missing; takes it off the registry if it was marked `grace` ago. Whether it was taken off.
    pub(crate) async fn fence(&self, identity: &str, grace: Duration) -> Result<bool> {
        let mut fence = scripts::FENCE.key(keys::ALIVE);
        fence.key(keys::suspect(identity)).key(keys::REGISTRY).key(keys::FENCED).key(keys::settlements(identity));
        fence.key(keys::batches(identity));
        fence.arg(identity).arg(millis(grace)).arg(millis(MARK.max(grace * 3))).arg(FENCED_FOR.as_secs());
        self.eval("fence", &fence).await
    }

    /// Private lists of a process, with the queue each was filled from.
    pub(crate) async fn private_lists(&self, identity: &str) -> Result<Vec<(String, String)>> {
        let lists: Vec<String> =
            self.link.query("list private lists", cmd("SMEMBERS").arg(keys::batches(identity))).await?;
        Ok(lists
            .into_iter()
            .filter_map(|key| keys::queue_of_batch(&key).map(str::to_owned).map(|queue| (key, queue)))
            .collect())
    }

    /// Adds private lists of a process to its index.
    pub(crate) async fn index_lists(&self, identity: &str, lists: &[&str]) -> Result<()> {
        if lists.is_empty() {
            return Ok(());
        }
        self.link.query("index private lists", cmd("SADD").arg(keys::batches(identity)).arg(lists)).await
    }

    /// Writes a private list anew that Redis lost, with these jobs, oldest first, each with the number of its settlement: one that Redis has
    /// settled is left out. Returns how many were written; 0 if the list is there.
    #[cfg(feature = "server")]
    pub(crate) async fn hold_again(&self, of: &Registration, list: &str, jobs: &[(u64, &[u8])]) -> Result<usize> {
        let mut hold = scripts::HOLD_AGAIN.key(list);
        hold.key(keys::batches(of.identity())).key(of.settlements());
        for (settlement, job) in jobs {
            hold.arg(*settlement).arg(*job);
        }
        match self.link.eval("write a private list anew", &hold).await {
            Err(error) if self.mend_settlements(of, &error).await => {
                self.link.eval("write a private list anew", &hold).await
            }
            written => written,
        }
    }

    /// The list that jobs convicted by [`recover`](Self::recover) wait in for their burial.
    pub(crate) fn convicts(identity: &str, queue: &str) -> String {
        keys::convicts(identity, queue)
    }

    /// The queue a private list was filled from, by its name alone.
    pub(crate) fn queue_of_batch(list: &str) -> Option<&str> {
        keys::queue_of_batch(list)
    }

    /// Takes those of the private lists that are empty off the index of a process that is dead.
    pub(crate) async fn forget_lists(&self, identity: &str, lists: &[String]) -> Result<()> {
        let mut forget = scripts::FORGET.key(keys::batches(identity));
        forget.key(keys::REGISTRY);
        for list in lists {
            forget.key(list);
        }
        self.link.eval("forget private lists", forget.arg(identity)).await
    }

    /// Queues from which nothing is to be fetched. None where the key is no set: it belongs to Sidekiq Pro, and jobs do not depend on it.
    pub(crate) async fn paused_queues(&self) -> Result<HashSet<String>> {
        match self.link.query("look for paused queues", cmd("SMEMBERS").arg(keys::PAUSED)).await {
            Err(error) if is_wrong_type(&error) => Ok(HashSet::new()),
            paused => paused,
        }
    }

    /// Major and minor version of the server, where it tells.
    pub(crate) async fn server_version(&self) -> Result<Option<(u32, u32)>> {
        let info: String = self.link.query("read server info", cmd("INFO").arg("server")).await?;
        // Valkey pretends to be Redis 7.2 in `redis_version`, which is what counts here.
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        Ok(version.and_then(|version| {
            let mut parts = version.trim().split('.').map(|part| part.parse().ok());
            Some((parts.next()??, parts.next()??))
        }))
    }

    /// The commands of a worker that this server does not know under their name: `rename-command` hides commands. Executes none of them: each
    /// is sent with a number of arguments that it does not take, which Redis looks at after the name, and before rights and state.
    pub(crate) async fn missing_commands(&self) -> Result<Vec<&'static str>> {
        let mut pipeline = Pipeline::with_capacity(NEEDED.len());
        pipeline.ignore_errors();
        for name in NEEDED {
            let mut command = cmd(name);
            if TAKE_NO_ARGUMENT.contains(&name) {
                command.arg("x").arg("x").arg("x");
            }
            pipeline.add_command(command);
        }
        let answers: Vec<RedisResult<Value>> = self.link.read("look for commands", &pipeline).await?;
        let is_unknown = |answer: &RedisResult<Value>| {
            answer.as_ref().err().and_then(|error| error.detail()).is_some_and(|said| said.contains("unknown command"))
        };
        Ok(NEEDED.into_iter().zip(&answers).filter(|(_, answer)| is_unknown(answer)).map(|(name, _)| name).collect())
    }

    /// The eviction policy, where the server tells.
    pub(crate) async fn eviction_policy(&self) -> Option<String> {
        let info: String = self.link.query("read memory info", cmd("INFO").arg("memory")).await.ok()?;
        info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).map(|policy| policy.trim().to_owned())
    }
}
