use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use serde_json::json;

use super::print::print;
use crate::api::{Api, JobRecord, Neighbour};
use crate::cli::logging::clean;
use crate::client::Client;
use crate::error::Result;
use crate::job::JobError;
use crate::server::{Foreign, ForeignJobs, Owner, Registry, ServerBuilder, foreign_error};
use crate::store::RedisOptions;

/// Read every job that waits as this worker would, and tell which would fail
///
/// Looks at the schedule, the retries and all queues, page by page, and changes nothing. Jobs that run meanwhile are not seen. Arguments
/// are never shown. Ends with 0 if all fit, 1 if some would fail, 2 if Redis cannot be read. Jobs of classes this worker does not know
/// are counted and are no failures. Jobs that hold something of a Ruby gem, such as a lock or a place in a batch, are counted by class and
/// gem: a worker leaves them to Ruby unless `foreign_jobs` is set to something else. The names of up to 200,000 keys show which other gems
/// are in use, and what goes blind or waits where Rust runs their jobs; without the right to SCAN it reports nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Where Redis is [default: what the worker would use]. A password is seen by whoever lists processes: REDIS_URL is safer
    #[arg(long, value_name = "URL")]
    redis: Option<String>,

    /// Print a line of JSON for each job that would fail, and one at the end
    #[arg(long)]
    json: bool,
}

/// Jobs of one page: a round trip each, however large they are.
const PAGE: usize = 250;
/// Names of keys that are looked at for those of gems.
const NAMES: usize = 200_000;
/// Classes that are listed by name.
const NAMED: usize = 20;

impl Check {
    pub(super) async fn run(self, builder: ServerBuilder) -> Result<ExitCode> {
        let (config, registry) = builder.into_registry()?;
        let foreign = Foreign::new(&config);
        let redis = match (&self.redis, config.redis) {
            (Some(url), _) => url.parse::<RedisOptions>()?.with_env()?,
            (None, Some(options)) => options,
            (None, None) => RedisOptions::from_env()?,
        };
        let api = Api::new(&Client::builder().redis(redis).build()?);
        let mut tally = Tally::new(&registry, &foreign, config.max_payload, self.json);
        // Jobs move from here to the queues: what moves meanwhile is seen twice rather than never.
        for (place, set) in [("schedule", api.scheduled()), ("retry", api.retries())] {
            let mut pages = set.pages().of(PAGE);
            while let Some(page) = pages.next().await? {
                page.iter().for_each(|entry| tally.look_at(place, &entry.record));
                tally.show_progress();
            }
        }
        for queue in api.queues().await? {
            let place = format!("queue {}", queue.name);
            let mut pages = api.queue(&queue.name).pages().of(PAGE);
            while let Some(page) = pages.next().await? {
                page.iter().for_each(|record| tally.look_at(&place, record));
                tally.show_progress();
            }
        }
        tally.neighbours = neighbours(&api).await;
        tally.close()
    }
}

/// Returns the gems that keys show to be in use; `None` where keys may not be looked through.
async fn neighbours(api: &Api) -> Option<BTreeSet<&'static Neighbour>> {
    let (mut found, mut names, mut seen) = (BTreeSet::new(), api.key_names(), 0);
    while seen < NAMES
        && let Some(page) = names.next().await.ok()?
    {
        seen += page.len();
        found.extend(page.iter().filter_map(|name| Neighbour::of_key(name)));
    }
    Some(found)
}

/// What was found so far.
struct Tally<'a> {
    registry: &'a Registry,
    foreign: &'a Foreign,
    max_payload: usize,
    json: bool,
    /// Whether somebody watches.
    watched: bool,
    /// Fingerprints of all jobs that were looked at: pages shift while jobs come and go, and a job may lie in two places.
    seen: HashSet<u64>,
    fit: usize,
    fail: usize,
    unknown: BTreeMap<String, usize>,
    /// Jobs that belong to a Ruby gem, by class and gem.
    foreigners: BTreeMap<(String, &'static str), usize>,
    /// Gems that keys show to be in use; `None` if that is not known.
    neighbours: Option<BTreeSet<&'static Neighbour>>,
    /// The first error of a line that was printed.
    printed: Result<()>,
}

impl<'a> Tally<'a> {
    fn new(registry: &'a Registry, foreign: &'a Foreign, max_payload: usize, json: bool) -> Self {
        let watched = std::io::stderr().is_terminal();
        let (seen, unknown, foreigners) = (HashSet::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            registry,
            foreign,
            max_payload,
            json,
            watched,
            seen,
            fit: 0,
            fail: 0,
            unknown,
            foreigners,
            neighbours: None,
            printed: Ok(()),
        }
    }

    /// A job counts once by its id and what it says; the same id with other arguments is another job.
    fn is_new(&mut self, record: &JobRecord) -> bool {
        let mut hasher = DefaultHasher::new();
        match record.payload().filter(|payload| !payload.jid().is_empty()) {
            Some(payload) => (payload.jid(), payload.class(), payload.args()).hash(&mut hasher),
            None => record.bytes().hash(&mut hasher),
        }
        self.seen.insert(hasher.finish())
    }

    fn look_at(&mut self, place: &str, record: &JobRecord) {
        if !self.is_new(record) {
            return;
        }
        let owner = record.payload().and_then(|payload| self.foreign.owner(payload, self.registry));
        if let Some(owner) = owner {
            *self.foreigners.entry((clean(&record.display_class()), owner.name())).or_default() += 1;
        }
        match self.judge(record, owner) {
            Judgement::Fits => self.fit += 1,
            Judgement::LeftToRuby => {}
            Judgement::Unknown => {
                let class = clean(&record.display_class());
                *self.unknown.entry(class).or_default() += 1;
            }
            Judgement::Fails(error) => {
                self.fail += 1;
                self.tell(place, record, &error);
            }
        }
    }

    /// As the processor would see it.
    fn judge(&self, record: &JobRecord, owner: Option<Owner>) -> Judgement {
        if record.bytes().len() > self.max_payload {
            let message = format!("larger than {} bytes", self.max_payload);
            return Judgement::Fails(JobError::new("JSON::ParserError", message));
        }
        let Some(payload) = record.payload() else {
            return Judgement::Fails(JobError::new("JSON::ParserError", "this is no job payload"));
        };
        match (owner, self.foreign.policy()) {
            (None, _) | (_, ForeignJobs::Run) => {}
            (Some(owner), ForeignJobs::Fail) => return Judgement::Fails(foreign_error(owner)),
            (Some(_), ForeignJobs::Requeue | ForeignJobs::Divert(_)) => return Judgement::LeftToRuby,
        }
        match self.registry.of(payload) {
            Err(error) => Judgement::Fails(error),
            Ok(None) => Judgement::Unknown,
            Ok(Some(registered)) => registered.job.check(payload).map_or_else(Judgement::Fails, |()| Judgement::Fits),
        }
    }

    fn tell(&mut self, place: &str, record: &JobRecord, error: &JobError) {
        let (class, jid) = (record.display_class(), record.jid());
        let line = if self.json {
            let [class, jid, place, kind, error] = [&*class, jid, place, error.class(), error.message()].map(clean);
            json!({"class": class, "jid": jid, "in": place, "error_class": kind, "error": error}).to_string()
        } else {
            let who = if record.payload().is_some() { format!("{class} {jid}") } else { "no payload".to_owned() };
            clean(&format!("would fail: {who} in {place}: {}: {}", error.class(), error.message()).replace('\n', "\\n"))
        };
        self.clear_progress();
        self.say(&line);
    }

    fn show_progress(&self) {
        if self.watched {
            let _ = write!(std::io::stderr(), "\r{} jobs, {} would fail", self.seen.len(), self.fail);
        }
    }

    fn clear_progress(&self) {
        if self.watched {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    /// Prints a line.
    fn say(&mut self, line: &str) {
        let printed = print(&format!("{line}\n"));
        if self.printed.is_ok() {
            self.printed = printed;
        }
    }

    /// Prints the sums.
    ///
    /// # Errors
    ///
    /// Not everything could be printed.
    fn close(mut self) -> Result<ExitCode> {
        self.clear_progress();
        let (fit, fail, unknown) = (self.fit, self.fail, self.unknown.values().sum::<usize>());
        let foreign = self.foreigners.values().sum::<usize>();
        if self.json {
            let of_gems = self.foreigners.iter();
            let of_gems = of_gems.map(|((class, gem), jobs)| json!({"class": class, "gem": gem, "jobs": jobs}));
            let sums = json!({
                "ok": fit, "would_fail": fail, "unknown": unknown, "unknown_classes": self.unknown,
                "foreign": foreign, "foreign_jobs": of_gems.collect::<Vec<_>>(),
                "gems": self.neighbours.as_ref().map(|gems| gems.iter().map(|gem| json!({"gem": gem.gem, "effect": gem.effect})).collect::<Vec<_>>()),
            });
            self.say(&sums.to_string());
        } else {
            if foreign > 0 {
                let names = self.foreigners.iter();
                let names = names.map(|((class, gem), jobs)| (format!("{class} {jobs} of {gem}"), *jobs));
                let fate = match self.foreign.policy() {
                    ForeignJobs::Requeue | ForeignJobs::Divert(_) => "are left to Ruby",
                    ForeignJobs::Fail => "fail here",
                    ForeignJobs::Run => "run here without their gem",
                };
                self.say(&format!("{foreign} hold something of a Ruby gem and {fate}{}", most_first(names)));
            }
            match self.neighbours.take() {
                Some(gems) => gems
                    .iter()
                    .for_each(|gem| self.say(&format!("{} is in use: {}; {}", gem.gem, gem.effect, gem.advice))),
                None => self.say("which gems are in use is not known: SCAN is refused to this user"),
            }
            let names = most_first(self.unknown.iter().map(|(class, jobs)| (format!("{class} {jobs}"), *jobs)));
            self.say(&format!("{fit} ok, {fail} would fail, {unknown} of classes this worker does not know{names}"));
        }
        self.printed?;
        Ok(if fail == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Names in brackets, those of most jobs first, or nothing.
fn most_first(names: impl Iterator<Item = (String, usize)>) -> String {
    let mut names: Vec<_> = names.collect();
    names.sort_by_key(|(_, jobs)| Reverse(*jobs));
    let told: Vec<&str> = names.iter().take(NAMED).map(|(name, _)| &**name).collect();
    match told.len() {
        0 => String::new(),
        n if n < names.len() => format!(" ({}, and {} more)", told.join(", "), names.len() - n),
        _ => format!(" ({})", told.join(", ")),
    }
}

enum Judgement {
    Fits,
    LeftToRuby,
    Fails(JobError),
    Unknown,
}
