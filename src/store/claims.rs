//! Jobs on their way through a process: claimed into private lists, and out of them again.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value, cmd};

use super::windows::{Window, window_script};
use super::wire::{Request, Wire};
use super::{Store, keys, scripts};
use crate::error::{ErrorKind, Result};

/// How long Redis may hold a blocking command that cannot be [ended](Store::unblock).
pub(crate) const BLOCK: Duration = Duration::from_secs(3);
/// How long an answer may take on top of that.
const ANSWER: Duration = Duration::from_secs(3);

/// What came out of one claim.
#[derive(Debug, Default)]
pub(crate) struct Claimed {
    /// Queue, private list, jobs oldest first.
    pub(crate) lists: Vec<ClaimedList>,
    /// Whether there are suspects, among these jobs or not.
    pub(crate) suspects: bool,
    /// Keys on which Redis refused LLEN, a queue that is no list for example, each with the error of Redis.
    pub(crate) refused: Vec<(String, String)>,
    /// Whether a queue has jobs that were wanted and did not fit.
    pub(crate) is_full: bool,
}

#[derive(Debug)]
pub(crate) struct ClaimedList {
    pub(crate) queue: String,
    /// The private list the jobs lie in; empty for a claim that leaves nothing behind.
    pub(crate) key: String,
    pub(crate) jobs: Vec<Vec<u8>>,
}

/// The outcome of moving a job out of a private list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// It is where it belongs.
    Yes,
    /// It is where it belongs, but Redis had lost the private list: it came back with older data.
    Restored,
    /// It was not in the list: another process recovered it.
    NotOurs,
    /// It was not in the list, and the process is not registered: whose it is can be decided once it is.
    Unknown,
}

impl Moved {
    /// From the answer of `settle.lua`.
    pub(super) fn of_answer(answer: i8) -> Self {
        match answer {
            2 => Self::Restored,
            1 => Self::Yes,
            0 => Self::NotOurs,
            _ => Self::Unknown,
        }
    }
}

/// Jobs that are done.
#[derive(Debug)]
pub(crate) struct Acknowledgement<'a> {
    /// Private lists of which all jobs are done.
    pub(crate) lists: Vec<&'a str>,
    /// Private lists of which all jobs are done but the newest so many, at least one.
    pub(crate) trims: Vec<(&'a str, usize)>,
    /// Single jobs.
    pub(crate) jobs: Vec<(&'a str, &'a [u8])>,
}

impl Acknowledgement<'_> {
    /// Each command has its answer; the first is how many lists were taken away, if any were to be.
    fn pipeline(&self, private: &Private) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(2 + self.trims.len() + self.jobs.len());
        for (at, command) in self.commands(private).enumerate() {
            pipeline.add_command(command);
            if at > 0 || self.lists.is_empty() {
                pipeline.ignore();
            }
        }
        pipeline
    }

    /// The same commands with so many answers in all: none for those that were sent silently before, if it is silent itself, or one for each
    /// of them and one for this.
    pub(super) fn answering(&self, private: &Private, answers: usize) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(answers + 2 * (2 + self.trims.len() + self.jobs.len()));
        add_answers(&mut pipeline, private, answers.saturating_sub(1));
        for (at, command) in self.commands(private).enumerate() {
            if at > 0 || answers == 0 {
                pipeline.add_command(without_answer());
            }
            pipeline.add_command(command);
        }
        pipeline
    }

    fn commands<'a>(&'a self, private: &'a Private) -> impl Iterator<Item = Cmd> + 'a {
        let lists = (!self.lists.is_empty()).then(|| {
            let unlink = cmd("UNLINK").arg(&self.lists).take();
            [unlink, cmd("SREM").arg(&private.index).arg(&self.lists).take()]
        });
        let trims = self.trims.iter().map(|(list, to)| cmd("LTRIM").arg(*list).arg(0).arg(*to - 1).take());
        let jobs = self.jobs.iter().map(|(list, job)| cmd("LREM").arg(*list).arg(-1).arg(*job).take());
        lists.into_iter().flatten().chain(trims).chain(jobs)
    }
}

/// Adds answers that acknowledgements without one are waiting for: of writes that change nothing, so that what a server refuses to write, it
/// refuses here, too.
pub(super) fn add_answers(pipeline: &mut Pipeline, private: &Private, answers: usize) {
    for _ in 0..answers {
        pipeline.cmd("SREM").arg(&private.index).arg("");
    }
}

/// Has Redis not answer the next command.
pub(super) fn without_answer() -> Cmd {
    cmd("CLIENT").arg("REPLY").arg("SKIP").take()
}

/// The keys of a process that never change.
#[derive(Clone, Debug)]
pub(crate) struct Private {
    identity: String,
    index: String,
    prefix: String,
    /// Jobs of one list that may have begun at a time. The names of the lists hold it: a recovery needs it when the process is dead.
    begun_at_most: u64,
}

impl Private {
    pub(crate) fn of(identity: &str) -> Self {
        Self {
            identity: identity.to_owned(),
            index: keys::batches(identity),
            prefix: keys::batch_prefix(identity),
            begun_at_most: 0,
        }
    }

    /// The same for a capsule of whose jobs so many at most have begun and not left their list: the oldest of each list.
    pub(crate) fn for_capsule(&self, begun_at_most: u64) -> Self {
        Self { begun_at_most, ..self.clone() }
    }

    /// The index of the private lists of this process.
    pub(super) fn index(&self) -> &str {
        &self.index
    }

    /// The key of the hash that each beat of this process writes, which is its name.
    pub(super) fn beats(&self) -> &str {
        &self.identity
    }

    /// The private list of claim `number` for jobs of `queue`.
    pub(crate) fn list(&self, number: u64, queue: &str) -> String {
        self.claim_prefix(number) + queue
    }

    /// What the names of the private lists of claim `number` begin with; the name of the queue follows.
    pub(crate) fn claim_prefix(&self, number: u64) -> String {
        format!("{}{number}.{}|", self.prefix, self.begun_at_most)
    }
}

impl Store {
    /// Moves up to `n` jobs of `queues`, asked in this order, into private lists. `None` if this process is not
    /// registered.
    ///
    /// After an error the jobs may have been moved all the same: claim `again` with the same number, and they are told.
    pub(crate) async fn claim(
        &self,
        private: &Private,
        (number, again): (u64, bool),
        n: usize,
        queues: &[(&str, &str)],
    ) -> Result<Option<Claimed>> {
        let prefix = private.claim_prefix(number);
        let mut claim = scripts::CLAIM.key(keys::REGISTRY);
        claim.key(&private.index);
        claim.arg(&private.identity).arg(n).arg(u8::from(again)).arg(self.window.bytes());
        for (_, key) in queues {
            claim.key(*key);
        }
        for (name, _) in queues {
            claim.key(format!("{prefix}{name}"));
        }
        // The first queue usually has enough: what it gave is read in the same round trip, on the same connection.
        let guess = queues.first().filter(|_| !again).map(|(name, _)| format!("{prefix}{name}"));
        let guessed = async {
            match &guess {
                Some(list) => self.claimed_jobs(list, n).await.map(Some),
                None => Ok(None),
            }
        };
        let suspects = cmd("EXISTS").arg(keys::SUSPECTS).take();
        let (answer, guessed, suspects) = tokio::join!(
            self.link.eval::<Value>("claim", &claim),
            guessed,
            self.link.query::<bool>("look for suspects", &suspects),
        );
        let Value::Array(answer) = answer? else { return Ok(None) };
        let suspects = suspects?;
        self.read_claimed(answer, queues, &prefix, (n, again), guess.zip(guessed?), suspects).await.map(Some)
    }

    /// Reads the jobs that a claim from `queues` moved, by the answer of its script. `guess` is a list that was read with it.
    pub(super) async fn read_claimed(
        &self,
        answer: Vec<Value>,
        queues: &[(&str, &str)],
        prefix: &str,
        (n, again): (usize, bool),
        guess: Option<(String, Vec<Vec<u8>>)>,
        suspects: bool,
    ) -> Result<Claimed> {
        let (guess, mut guessed) = guess.unzip();
        let mut parts = answer.into_iter();
        let mut refusals = parts.next().map(strings).unwrap_or_default().into_iter();
        let refused = std::iter::from_fn(|| Some((refusals.next()?, refusals.next()?))).collect();
        let is_full = parts.next() == Some(Value::Int(1));
        let mut lists = Vec::with_capacity(parts.len() / 2);
        while let (Some(Value::Int(place)), Some(Value::Int(count))) = (parts.next(), parts.next()) {
            // Counted from 1.
            let queue = usize::try_from(place - 1).ok().and_then(|place| queues.get(place));
            let Some((queue, _)) = queue else { break };
            let queue = (*queue).to_owned();
            let key = format!("{prefix}{queue}");
            let is_guess = guess.as_ref() == Some(&key);
            let guessed = guessed.take_if(|jobs| is_guess && i64::try_from(jobs.len()) == Ok(count));
            let jobs = match guessed {
                Some(jobs) => jobs,
                // An answer of this claim was lost, perhaps since it was too large for the time it had.
                None if again => self.all_private_jobs(&key).await?,
                None => self.claimed_jobs(&key, n).await?,
            };
            lists.push(ClaimedList { queue, key, jobs });
        }
        Ok(Claimed { lists, suspects, refused, is_full })
    }

    /// Takes jobs that are done out of their private lists, in one round trip. Returns how many of the lists to take away
    /// were still there. Asking again changes nothing.
    pub(crate) async fn acknowledge(&self, private: &Private, done: &Acknowledgement<'_>) -> Result<usize> {
        let there: Result<Vec<usize>> = self.link.pipe("acknowledge", &done.pipeline(private)).await;
        if there.as_ref().is_err_and(|error| error.kind() == ErrorKind::Partial)
            && let Err(error) = self.index_lists(&private.identity, &done.lists).await
        {
            // A list that was not taken away may be on no index until the caller has acknowledged it again.
            tracing::debug!(%error, "private lists that stay are not on the index");
        }
        let there = there?;
        Ok(there.first().copied().unwrap_or_default())
    }

    /// Puts jobs that are in one private list, and in no batch of this process, back to their queue, the first of them to run first.
    /// Returns how many were in the list. Safe to repeat after silence.
    pub(crate) async fn requeue(&self, list: &str, queue: &str, jobs: &[&[u8]]) -> Result<usize> {
        let mut requeue = scripts::REQUEUE.key(list);
        requeue.key(keys::queue(queue)).key(keys::QUEUES).arg(queue);
        for job in jobs.iter().rev() {
            requeue.arg(*job);
        }
        self.eval("requeue", &requeue).await
    }

    /// A connection for [`BlockingWire`]'s commands.
    pub(crate) async fn blocking(&self) -> Result<BlockingWire> {
        let mut wire = self.link.dedicated(BLOCK + ANSWER).await?;
        let id: Option<u64> = wire.query("read the connection's id", cmd("CLIENT").arg("ID")).await.ok();
        // Unblocks nothing yet, and shows whether the user may: otherwise commands end by themselves a little later.
        let unblock = cmd("CLIENT").arg("UNBLOCK").arg(id).take();
        let may_unblock = id.is_some() && wire.query::<bool>("check the right to unblock", &unblock).await.is_ok();
        Ok(BlockingWire { wire, id: id.filter(|_| may_unblock), window: self.window.clone() })
    }

    /// Has Redis end the command a connection waits for, as if its time were over.
    pub(crate) async fn unblock(&self, id: ConnectionId) {
        let unblock = cmd("CLIENT").arg("UNBLOCK").arg(id.0).take();
        if let Err(error) = self.link.query::<()>("unblock", &unblock).await {
            tracing::debug!(%error, "waiting for a blocking command instead");
        }
    }
}

/// The outcome of waiting for a job.
#[derive(Debug)]
pub(crate) struct Waited {
    pub(crate) job: Option<Vec<u8>>,
    /// Whether there are suspects.
    pub(crate) suspects: bool,
    /// Whether Redis lost the index of private lists or the signs of life of this process, and so may have lost its registration.
    pub(crate) forgotten: bool,
}

/// A connection whose commands wait for a job.
///
/// # Cancel safety
///
/// None: a future dropped while Redis holds the command loses or strands the next job. Whoever owns one awaits its
/// commands to the end.
#[derive(Debug)]
pub(crate) struct BlockingWire {
    wire: Wire,
    id: Option<u64>,
    /// That of the store.
    window: Window,
}

/// What Redis calls a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionId(u64);

impl BlockingWire {
    /// What [`Store::unblock`] needs; `None` where the user may not end commands.
    pub(crate) fn id(&self) -> Option<ConnectionId> {
        self.id.map(ConnectionId)
    }

    /// Adds a private list to the index of its process. Only then may a job be moved into it: a recovery finds no other lists.
    pub(crate) async fn index(&mut self, private: &Private, list: &str) -> Result<()> {
        self.wire.query("index a private list", cmd("SADD").arg(&private.index).arg(list)).await
    }

    /// Waits for a job of `queue`, for `block` at most, and moves it into `list`, which must be on the index. Adds `list` and the `next` one to
    /// the index before: without an error `next` is on it.
    ///
    /// Behind the move, adds `list` to the index once more, and the process to those that signs of life are expected of: by `FLUSHALL` or an
    /// older snapshot Redis may have lost either, and a recovery would not find the job.
    pub(crate) async fn move_one(
        &mut self,
        private: &Private,
        queue_key: &str,
        list: &str,
        next: &str,
        block: Duration,
    ) -> Result<Waited> {
        self.wire.set_patience(block + ANSWER);
        let mut pipeline = Pipeline::with_capacity(3);
        pipeline.cmd("SADD").arg(&private.index).arg(list).arg(next).ignore();
        pipeline.cmd("BLMOVE").arg(queue_key).arg(list).arg("RIGHT").arg("LEFT").arg(block.as_secs_f64());
        pipeline.cmd("EXISTS").arg(keys::SUSPECTS);
        let (mut again, mut other) = (Pipeline::with_capacity(2), self.wire.clone());
        again.cmd("SADD").arg(&private.index).arg(list);
        // Missing since long ago: unless the process registers meanwhile, its jobs are put back after the grace.
        again.cmd("ZADD").arg(keys::ALIVE).arg("NX").arg(1).arg(&private.identity);
        // On the same connection, so behind the move. Not part of the first pipeline: a refusal must not hold back a job that was moved.
        let (waited, added) = tokio::join!(
            self.wire.pipe("wait for a job", &pipeline),
            other.send::<(bool, bool)>(Request::Pipeline(&again)),
        );
        let (job, suspects) = waited?;
        Ok(Waited { job, suspects, forgotten: matches!(added, Ok((true, _) | (_, true))) })
    }

    /// As [`Store::all_private_jobs`].
    pub(crate) async fn all_private_jobs(&mut self, list: &str) -> Result<Vec<Vec<u8>>> {
        let mut jobs = Vec::new();
        loop {
            let script = window_script(list, jobs.len(), usize::MAX, self.window.bytes());
            let (mut wire, request) = (self.wire.clone(), Request::Script(&script));
            let sent = wire.send(request).await;
            let more: Result<Vec<Vec<u8>>> = sent.map_err(|error| request.failed("read a private list", error));
            self.window.learn(&more);
            let more = more?;
            if more.is_empty() {
                return Ok(jobs);
            }
            jobs.extend(more);
        }
    }

    /// Waits for up to `n` jobs of one of the queues and takes them out of Redis. Returns, too, how large the jobs are that are next; `None`
    /// if there are none.
    pub(crate) async fn pop(
        &mut self,
        n: usize,
        queue_keys: &[&str],
    ) -> Result<(Option<(String, Vec<Vec<u8>>)>, Option<usize>)> {
        let mut blmpop = cmd("BLMPOP");
        blmpop.arg(BLOCK.as_secs()).arg(queue_keys.len()).arg(queue_keys).arg("RIGHT").arg("COUNT").arg(n);
        let mut sizes = scripts::SIZES.arg(n);
        for key in queue_keys.iter().take(LOOKED_AT) {
            sizes.key(*key);
        }
        let mut other = self.wire.clone();
        // On the same connection: Redis looks when it has popped.
        let (popped, next) = tokio::join!(
            self.wire.query("wait for jobs", &blmpop),
            other.send::<Option<usize>>(Request::Script(&sizes)),
        );
        // Without it the next pop is a small one.
        Ok((popped?, next.ok().flatten()))
    }
}

/// Queues that are looked at for the size of their jobs.
const LOOKED_AT: usize = 8;

fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.into_bytes(),
        _ => Vec::new(),
    }
}

fn string(value: Value) -> String {
    String::from_utf8_lossy(&bytes(value)).into_owned()
}

fn strings(value: Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.into_iter().map(string).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
