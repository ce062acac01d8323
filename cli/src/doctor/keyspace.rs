//! Keys by name and kind: what has the wrong kind, queues nobody named, work of nobody, and what other ports leave behind.

use std::collections::{BTreeMap, BTreeSet};

use ferrokiq::Result;
use ferrokiq::api::{Api, Neighbour, Process};

use super::finding::{Finding, Fix, Place, many, some_of};
use super::limit_fetch::LimitFetch;
use crate::keepers::{GITLAB_HEARTBEAT, Keeper, gitlab_heartbeat, gitlab_owner};

/// Candidates of one sort that are kept, however many keys there are.
const KEPT: usize = 10_000;

/// Keys that are of the kind they should be.
#[derive(Debug, Default)]
pub(super) struct Sound {
    /// Names of queues.
    pub(super) queues: Vec<String>,
    /// Of the three sets.
    pub(super) sets: Vec<Place>,
    /// Whether `queues`, `processes` and `paused` are sets, too.
    pub(super) lists: bool,
}

/// Holds the keys of Sidekiq against what they should be.
pub(super) async fn kinds(api: &Api, found: &mut Vec<Finding>) -> Result<Sound> {
    let sets = [Place::Schedule, Place::Retry, Place::Dead];
    let named =
        LISTS.map(|key| (key, "set")).into_iter().chain([("stat:processed", "string"), ("stat:failed", "string")]);
    let mut wanted: Vec<(String, &str)> = named.map(|(key, kind)| (key.to_owned(), kind)).collect();
    wanted.extend(sets.iter().map(|place| (place.key(), "zset")));
    let wrong = wrong_kinds(api, &wanted).await?;
    let is_sound = |key: &str| !wrong.iter().any(|(wrong, _)| wrong == key);
    let mut sound = Sound { lists: LISTS.into_iter().all(is_sound), ..Sound::default() };
    sound.sets = sets.into_iter().filter(|place| is_sound(&place.key())).collect();
    let names = if is_sound("queues") { api.queue_names().await? } else { Vec::new() };
    let queues: Vec<(String, &str)> = names.iter().map(|name| (format!("queue:{name}"), "list")).collect();
    let wrong_queues = wrong_kinds(api, &queues).await?;
    let is_sound = |name: &String| !wrong_queues.iter().any(|(wrong, _)| *wrong == format!("queue:{name}"));
    sound.queues = names.into_iter().filter(is_sound).collect();
    for (key, kind) in wrong.into_iter().chain(wrong_queues) {
        let what = format!("{key} is a {kind}");
        found.push(key_type(what));
    }
    Ok(sound)
}

/// Sets of names that all checks of queues and processes read.
const LISTS: [&str; 3] = ["queues", "processes", "paused"];

fn key_type(what: String) -> Finding {
    Finding::error("key-type", what, "workers and pages break at it: find who wrote it, then rename it")
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
    /// Lists of running jobs that other fetchers keep.
    foreign: BTreeSet<(String, Keeper)>,
    /// Whether a process with GitLab's fetcher lives.
    gitlab_lives: bool,
    /// Whether go-workers keeps retries.
    go_retries: bool,
    /// Ruby gems that keys show to be in use.
    pub(super) gems: BTreeSet<&'static Neighbour>,
    /// What sidekiq-limit_fetch does.
    pub(super) limit_fetch: LimitFetch,
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
        if let Some(neighbour) = Neighbour::of_key(name) {
            self.gems.insert(neighbour);
        }
        if self.limit_fetch.note(name, KEPT) {
            return;
        }
        if let Some(keeper) = Keeper::of(name) {
            keep(&mut self.foreign, (name.to_owned(), keeper));
        } else if name.starts_with(GITLAB_HEARTBEAT) {
            self.gitlab_lives = true;
        } else if name == "goretry" {
            self.go_retries = true;
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
        self.check_unnamed(api, &known, found).await?;
        self.check_foreign(api, &known, found).await?;
        let alive: BTreeSet<&str> = processes.iter().map(|process| &*process.identity).collect();
        let orphaned: Vec<String> =
            self.work.iter().filter(|identity| !alive.contains(&***identity)).cloned().collect();
        if !orphaned.is_empty() {
            let what = format!("work of processes that are not alive: {}", some_of(&orphaned));
            let advice = "it expires a minute after the last beat; where it stays, another port wrote it: delete it";
            found.push(Finding::warning("ghost-work", what, advice).times(orphaned.len()));
        }
        let work: Vec<(String, &str)> = self
            .work
            .iter()
            .filter(|identity| alive.contains(&***identity))
            .map(|identity| (format!("{identity}:work"), "hash"))
            .collect();
        for (key, kind) in wrong_kinds(api, &work).await? {
            found.push(key_type(format!("{key} is a {kind}")));
        }
        if self.go_retries {
            let what = "goretry holds retries of go-workers, which no other process runs";
            found.push(Finding::warning("foreign-list", what, "leave it alone while go-workers is in use"));
        }
        Ok(())
    }

    /// Lists of jobs that Sidekiq's list of queues does not name.
    async fn check_unnamed(&self, api: &Api, known: &BTreeSet<String>, found: &mut Vec<Finding>) -> Result<()> {
        let unknown: Vec<String> = self.queues.iter().filter(|name| !known.contains(*name)).cloned().collect();
        let keys: Vec<String> = unknown.iter().map(|name| format!("queue:{name}")).collect();
        let kinds = api.key_kinds(&keys).await?;
        let lists = unknown.into_iter().zip(kinds).filter(|(_, kind)| kind.as_deref() == Some("list"));
        // `queue:NAME:SUFFIX` beside a queue NAME: fetchers keep running jobs under such names, so `--fix` makes no queues of them.
        let extends = |name: &String| name.match_indices(':').any(|(at, _)| known.contains(&name[..at]));
        let (derived, unnamed): (Vec<String>, Vec<String>) = lists.map(|(name, _)| name).partition(extends);
        if !unnamed.is_empty() {
            let what = format!("queues that hold jobs but are not in the list of queues: {}", some_of(&unnamed));
            let finding = Finding::warning("unnamed-queue", what, "no page shows them: name them").times(unnamed.len());
            found.push(finding.fixed_by(Fix::Announce(unnamed)));
        }
        if !derived.is_empty() {
            let what = format!("lists named after a queue but not in the list of queues: {}", some_of(&derived));
            let advice = "another fetcher may keep its running jobs there: find out who writes them";
            found.push(Finding::warning("unnamed-queue", what, advice).times(derived.len()));
        }
        Ok(())
    }

    /// Lists of running jobs of other fetchers.
    async fn check_foreign(&self, api: &Api, known: &BTreeSet<String>, found: &mut Vec<Finding>) -> Result<()> {
        let is_queue = |key: &str| key.strip_prefix("queue:").is_some_and(|name| known.contains(name));
        let named: Vec<&(String, Keeper)> = self.foreign.iter().filter(|(key, _)| !is_queue(key)).collect();
        let kinds = api.key_kinds(&named.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>()).await?;
        // What may not be read may hold jobs.
        let lists = named
            .into_iter()
            .zip(kinds)
            .filter(|(_, kind)| kind.as_deref().is_none_or(holds_jobs))
            .map(|(named, _)| named);
        let (gitlab, others): (Vec<_>, Vec<_>) = lists.partition(|(_, keeper)| *keeper == Keeper::GitLab);
        self.check_gitlab(api, gitlab.into_iter().map(|(key, _)| key), found).await?;
        // Sidekiq Pro recovers its own.
        let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, keeper) in others.into_iter().filter(|(_, keeper)| *keeper != Keeper::SuperFetch) {
            lists.entry(keeper.to_string()).or_default().push(key.clone());
        }
        for (keeper, keys) in lists {
            let verb = if keys.len() == 1 { "holds" } else { "hold" };
            let what =
                format!("{} {verb} running jobs of {keeper}, or jobs that a dead process of it left", some_of(&keys));
            let advice = "its own recovery puts them back; pushing them anew doubles those that run";
            found.push(Finding::warning("foreign-list", what, advice).times(keys.len()));
        }
        Ok(())
    }

    /// Lists of GitLab's fetcher: a heartbeat shows which of their owners live.
    async fn check_gitlab(
        &self,
        api: &Api,
        lists: impl Iterator<Item = &String>,
        found: &mut Vec<Finding>,
    ) -> Result<()> {
        let owned: Vec<(&String, &str)> = lists.filter_map(|list| Some((list, gitlab_owner(list)?))).collect();
        let heartbeats: Vec<String> = owned.iter().map(|(_, owner)| gitlab_heartbeat(owner)).collect();
        let kinds = api.key_kinds(&heartbeats).await?;
        let jobs = api.lengths(&owned.iter().map(|(list, _)| (*list).clone()).collect::<Vec<_>>()).await?;
        let (mut living, mut dead) = (Lists::default(), Lists::default());
        for (((_, owner), kind), jobs) in owned.into_iter().zip(kinds).zip(jobs) {
            // What may not be read is not called dead.
            let lists = if kind.as_deref() == Some("none") { &mut dead } else { &mut living };
            lists.owners.insert(owner.to_owned());
            lists.jobs += jobs;
        }
        if let Some(what) = living.summary() {
            let what = format!("{what} in lists of live processes with {}", Keeper::GitLab);
            found.push(Finding::note(
                "foreign-list",
                format!("{what}: {}", living.names()),
                "leave them alone: they run",
            ));
        }
        if let Some(what) = dead.summary() {
            let what = format!("{what} in lists of dead processes with {}: {}", Keeper::GitLab, dead.names());
            let advice = if self.gitlab_lives || living.summary().is_some() {
                "leave them alone: a live process with that fetcher puts them back within the hour"
            } else {
                "start a process with that fetcher: it puts them back"
            };
            found.push(Finding::warning("foreign-list", what, advice).times(dead.jobs.max(1)));
        }
        Ok(())
    }
}

/// Whether a key of this kind can hold jobs.
fn holds_jobs(kind: &str) -> bool {
    ["list", "zset"].contains(&kind)
}

/// Lists of running jobs of processes that are alive, or of those that are dead.
#[derive(Debug, Default)]
struct Lists {
    owners: BTreeSet<String>,
    jobs: usize,
}

impl Lists {
    /// How many jobs they hold; `None` if there are no lists.
    fn summary(&self) -> Option<String> {
        (!self.owners.is_empty()).then(|| match self.jobs {
            0 => "jobs".to_owned(),
            jobs => many(jobs, "job"),
        })
    }

    fn names(&self) -> String {
        some_of(&self.owners.iter().cloned().collect::<Vec<_>>())
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
