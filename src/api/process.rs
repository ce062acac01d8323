use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::JobRecord;
use crate::error::Result;
use crate::store::Store;
use crate::time::EpochSecs;

/// A live process, Ruby's or ours, as `Sidekiq::Process`.
#[derive(Clone)]
#[non_exhaustive]
pub struct Process {
    store: Store,
    /// `HOST:PID:NONCE`.
    pub identity: String,
    /// Host, pid, tag, capsules and the rest, as the process describes itself.
    pub info: Value,
    /// Jobs it can run at the same time.
    pub concurrency: usize,
    /// Jobs it runs, as of its last beat.
    pub busy: usize,
    /// When it last beat.
    pub beat: EpochSecs,
    /// Whether it fetches nothing more.
    pub quiet: bool,
    /// Kilobytes in memory.
    pub rss_kb: u64,
}

impl Process {
    /// Tells it to fetch nothing more; it learns with its next beat, within ten seconds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Redis`](crate::ErrorKind::Redis).
    pub async fn quiet(&self) -> Result<()> {
        self.store.signal(&self.identity, "TSTP").await
    }

    /// Tells it to stop.
    ///
    /// # Errors
    ///
    /// As [`quiet`](Self::quiet).
    pub async fn stop(&self) -> Result<()> {
        self.store.signal(&self.identity, "TERM").await
    }

    /// Tells it to log what it is doing.
    ///
    /// # Errors
    ///
    /// As [`quiet`](Self::quiet).
    pub async fn dump(&self) -> Result<()> {
        self.store.signal(&self.identity, "TTIN").await
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("identity", &self.identity).field("info", &self.info).finish_non_exhaustive()
    }
}

/// A job that runs, as an entry of `Sidekiq::WorkSet`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Work {
    /// The process.
    pub identity: String,
    /// The thread, or what stands for one.
    pub tid: String,
    /// The queue it came from.
    pub queue: String,
    /// The job.
    pub record: JobRecord,
    /// Since when it runs, to the second.
    pub run_at: EpochSecs,
}

pub(super) async fn read(store: &Store) -> Result<Vec<Process>> {
    let mut identities = store.processes().await?;
    identities.sort_unstable();
    let hashes = store.process_hashes(&identities).await?;
    Ok(identities.into_iter().zip(hashes).filter_map(|(identity, hash)| process(store, identity, &hash)).collect())
}

/// What Sidekiq's list of processes names.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Member {
    /// A process.
    Process(Process),
    /// One without a hash: it died without leaving, a minute ago or longer. Any Ruby process takes it off the list sooner or later.
    Ghost(String),
    /// Something that is no hash, does not describe itself, or may not be read.
    Unreadable(String),
}

pub(super) async fn members(store: &Store) -> Result<Vec<Member>> {
    let members = store.members().await?.into_iter().map(|(identity, hash)| match hash {
        Some(hash) if hash.is_empty() => Member::Ghost(identity),
        hash => hash
            .and_then(|hash| process(store, identity.clone(), &hash))
            .map_or(Member::Unreadable(identity), Member::Process),
    });
    Ok(members.collect())
}

/// `None` for one that is on the list but whose hash has expired.
fn process(store: &Store, identity: String, hash: &HashMap<String, String>) -> Option<Process> {
    let info: Value = serde_json::from_str(hash.get("info")?).ok()?;
    let number = |name: &str| hash.get(name).and_then(|text| text.parse().ok());
    // A field of its own from 8.1 on, part of the info before.
    let concurrency = number("concurrency").or_else(|| info.get("concurrency")?.as_u64()).unwrap_or(0);
    Some(Process {
        store: store.clone(),
        identity,
        concurrency: usize::try_from(concurrency).unwrap_or(usize::MAX),
        busy: number("busy").and_then(|busy| usize::try_from(busy).ok()).unwrap_or(0),
        beat: EpochSecs(hash.get("beat").and_then(|beat| beat.parse().ok()).unwrap_or(0.0)),
        quiet: hash.get("quiet").is_some_and(|quiet| quiet == "true"),
        rss_kb: number("rss").unwrap_or(0),
        info,
    })
}

pub(super) async fn work(store: &Store) -> Result<Vec<Work>> {
    let identities = store.processes().await?;
    let of_all = store.work(&identities).await?;
    let mut work: Vec<Work> = identities
        .iter()
        .zip(of_all)
        .flat_map(|(identity, of_one)| {
            of_one.into_iter().filter_map(move |(tid, json)| entry(identity.clone(), tid, &json))
        })
        .collect();
    work.sort_by(|one, other| one.run_at.0.total_cmp(&other.run_at.0));
    Ok(work)
}

fn entry(identity: String, tid: String, json: &str) -> Option<Work> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        queue: String,
        payload: Value,
        run_at: f64,
    }
    let Entry { queue, payload, run_at } = serde_json::from_str(json).ok()?;
    let bytes = match payload {
        Value::String(text) => text,
        object => object.to_string(),
    };
    Some(Work { identity, tid, queue, record: JobRecord::new(bytes.into_bytes()), run_at: EpochSecs(run_at) })
}
