//! Keys by name and kind: what has the wrong kind, queues nobody named, work of nobody, and what other ports leave behind.

use std::collections::BTreeSet;

use ferrokiq::Result;
use ferrokiq::api::{Api, Process};

use super::finding::{Finding, Fix, Place, some_of};
use super::gems;

/// Candidates of one sort that are kept, however many keys there are.
const KEPT: usize = 10_000;

/// Keys that are of the kind they should be.
#[derive(Debug, Default)]
pub(super) struct Sound {
    /// Names of queues.
    pub(super) queues: Vec<String>,
    /// Of the three sets.
    pub(super) sets: Vec<Place>,
    /// Whether `queues` and `processes` are sets, too.
    pub(super) lists: bool,
}

/// Holds the keys of Sidekiq against what they should be.
pub(super) async fn kinds(api: &Api, found: &mut Vec<Finding>) -> Result<Sound> {
    let sets = [Place::Schedule, Place::Retry, Place::Dead];
    let mut wanted: Vec<(String, &str)> = vec![("queues".to_owned(), "set"), ("processes".to_owned(), "set")];
    wanted.extend(sets.iter().map(|place| (place.key(), "zset")));
    let wrong = wrong_kinds(api, &wanted).await?;
    let is_sound = |key: &str| !wrong.iter().any(|(wrong, _)| wrong == key);
    let mut sound = Sound { lists: is_sound("queues") && is_sound("processes"), ..Sound::default() };
    sound.sets = sets.into_iter().filter(|place| is_sound(&place.key())).collect();
    let names = if is_sound("queues") { api.queue_names().await? } else { Vec::new() };
    let queues: Vec<(String, &str)> = names.iter().map(|name| (format!("queue:{name}"), "list")).collect();
    let wrong_queues = wrong_kinds(api, &queues).await?;
    let is_sound = |name: &String| !wrong_queues.iter().any(|(wrong, _)| *wrong == format!("queue:{name}"));
    sound.queues = names.into_iter().filter(is_sound).collect();
    for (key, kind) in wrong.into_iter().chain(wrong_queues) {
        let what = format!("{key} is a {kind}");
        found.push(Finding::error(
            "key-type",
            what,
            "workers and pages break at it: find who wrote it, then rename it",
        ));
    }
    Ok(sound)
}

async fn wrong_kinds(api: &Api, wanted: &[(String, &str)]) -> Result<Vec<(String, String)>> {
    let keys: Vec<String> = wanted.iter().map(|(key, _)| key.clone()).collect();
    let kinds = api.key_kinds(&keys).await?.into_iter().zip(wanted);
    let wrong = kinds.filter_map(|(kind, (key, wanted))| {
        let kind = kind.filter(|kind| kind != wanted && kind != "none")?;
        Some((key.clone(), kind))
    });
    Ok(wrong.collect())
}

/// What a look through the names of all keys gave.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Keys looked at.
    pub(super) seen: usize,
    /// Whether there are more.
    pub(super) more: bool,
    /// `queue:*`, without the prefix.
    queues: BTreeSet<String>,
    /// Work sets, by the process they are of.
    work: BTreeSet<String>,
    /// Workers of ours that have private lists.
    pub(super) holders: BTreeSet<String>,
    /// Private lists of workers of ours.
    pub(super) private: BTreeSet<String>,
    /// What other ports leave behind: the key, and whose.
    foreign: BTreeSet<(String, &'static str)>,
    /// Ruby gems in use whose jobs cannot be recognised by their payloads.
    pub(super) gems: BTreeSet<&'static str>,
}

impl Names {
    /// Looks at no more than `most` names.
    pub(super) async fn read(api: &Api, most: usize) -> Result<Self> {
        let (mut names, mut pages) = (Self::default(), api.key_names());
        while let Some(page) = pages.next().await? {
            names.seen += page.len();
            page.into_iter().for_each(|name| names.note(&name));
            if names.seen >= most {
                names.more = pages.next().await?.is_some();
                break;
            }
        }
        Ok(names)
    }

    fn note(&mut self, name: &str) {
        fn keep<T: Ord>(set: &mut BTreeSet<T>, item: T) {
            if set.len() < KEPT {
                set.insert(item);
            }
        }
        if let Some(owner) = foreign(name) {
            keep(&mut self.foreign, (name.to_owned(), owner));
        } else if let Some(gem) = gems::silent(name) {
            self.gems.insert(gem);
        } else if let Some(queue) = name.strip_prefix("queue:") {
            keep(&mut self.queues, queue.to_owned());
        } else if let Some(identity) = name.strip_prefix("ferrokiq:batches:") {
            keep(&mut self.holders, identity.to_owned());
        } else if name.starts_with("ferrokiq:batch:") {
            keep(&mut self.private, name.to_owned());
        } else if let Some(identity) = name.strip_suffix(":work").or_else(|| name.strip_suffix(":workers"))
            && is_identity(identity)
        {
            keep(&mut self.work, identity.to_owned());
        }
    }

    /// Holds the names against the queues and processes that are known.
    pub(super) async fn check(&self, api: &Api, processes: &[Process], found: &mut Vec<Finding>) -> Result<()> {
        let known: BTreeSet<String> = api.queue_names().await?.into_iter().collect();
        // What Sidekiq Pro keeps for its own recovery is no queue.
        let unknown: Vec<String> =
            self.queues.iter().filter(|name| !known.contains(*name) && !name.starts_with("sq|")).cloned().collect();
        let keys: Vec<String> = unknown.iter().map(|name| format!("queue:{name}")).collect();
        let kinds = api.key_kinds(&keys).await?;
        let unnamed: Vec<String> = unknown
            .into_iter()
            .zip(kinds)
            .filter(|(_, kind)| kind.as_deref() == Some("list"))
            .map(|(name, _)| name)
            .collect();
        if !unnamed.is_empty() {
            let what = format!("queues that hold jobs but are not in the list of queues: {}", some_of(&unnamed));
            let finding = Finding::warning("unnamed-queue", what, "no page shows them: name them").times(unnamed.len());
            found.push(finding.fixed_by(Fix::Announce(unnamed)));
        }
        let alive: BTreeSet<&str> = processes.iter().map(|process| &*process.identity).collect();
        let orphaned: Vec<String> =
            self.work.iter().filter(|identity| !alive.contains(&***identity)).cloned().collect();
        if !orphaned.is_empty() {
            let what = format!("work of processes that are not alive: {}", some_of(&orphaned));
            let advice = "it expires a minute after the last beat; where it stays, another port wrote it: delete it";
            found.push(Finding::warning("ghost-work", what, advice).times(orphaned.len()));
        }
        for (key, owner) in &self.foreign {
            let what = format!("{key} is left of {owner}: jobs in it are seen by nobody else");
            found.push(Finding::warning("foreign-list", what, "push its jobs anew if that is not in use any more"));
        }
        Ok(())
    }
}

/// Which other port keeps jobs under this name, where neither Sidekiq nor its pages look.
fn foreign(name: &str) -> Option<&'static str> {
    if name == "goretry" || (name.starts_with("queue:") && name.ends_with(":inprogress")) {
        Some("go-workers")
    } else if name.starts_with("queue:backup:") || name == "queue:backup" {
        Some("exq")
    } else if name.starts_with("working:queue:") {
        Some("gitlab-sidekiq-fetcher")
    } else {
        None
    }
}

/// `HOST:PID:NONCE`.
fn is_identity(text: &str) -> bool {
    let mut parts = text.rsplitn(3, ':');
    let (nonce, pid) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    nonce.len() == 12
        && nonce.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !pid.is_empty()
        && pid.bytes().all(|byte| byte.is_ascii_digit())
        && parts.next().is_some_and(|host| !host.is_empty())
}
