use std::collections::{BTreeSet, HashSet};

use clap::Args;
use ferrokiq::api::{Api, JobRecord};

use crate::frame::{Code, Done, Failure, Table, Tool, cell};
use crate::keepers::Keeper;
use crate::record::Found;

/// Jobs of a page of a queue.
pub(super) const PAGE: usize = 500;
/// Names of keys among which lists of running jobs of other fetchers are looked for.
const NAMES: usize = 200_000;

/// Look for jobs in all queues and sets, and among those that run
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
#[command(
    after_help = "Examples:\n  ferrokiq jobs find 6fac50c1db3c621b388a7e46\n  ferrokiq jobs find --match 'ReportJob'\n  \
                  ferrokiq jobs find --match '*\"user\":4711*' --json\n\n\
                  --match compares with the bytes of the payload: text is looked for anywhere, and * in it stands for any text.\n\n\
                  Jobs that run are in private lists of ferrokiq's workers (ferrokiq:batch:...), in lists of other fetchers such as GitLab's\n\
                  (working:queue:...), for which the names of up to 200,000 keys are read, or only in the work set of their process (IDENTITY:work)."
)]
pub(super) struct Find {
    /// A jid
    jid: Option<String>,

    /// Text of the payload; with * a pattern for all of it
    #[arg(long = "match", value_name = "TEXT")]
    text: Option<String>,
}

/// What is looked for.
#[derive(Debug)]
pub(super) enum Wanted {
    Jid(String),
    /// A pattern for all of the payload.
    Glob(String),
}

/// A job that is what was looked for.
pub(super) struct Hit<'a> {
    pub(super) found: Found<'a>,
}

impl Find {
    pub(super) async fn run(self, tool: &mut Tool, api: &Api) -> Done {
        let wanted = match (self.jid, self.text) {
            (Some(jid), _) => Wanted::Jid(jid),
            (None, Some(text)) if text.contains('*') => Wanted::Glob(text),
            (None, text) => Wanted::Glob(format!("*{}*", text.unwrap_or_default())),
        };
        let mut table = Table::new(["~in", "jid", "~class", "~arguments"]);
        let mut any = false;
        each(tool, api, &wanted, async |tool: &mut Tool, Hit { found }: Hit<'_>| {
            any = true;
            if tool.screen.is_json() {
                return found.json(tool, false);
            }
            let cells = [
                cell(found.place),
                cell(found.record.jid()),
                cell(found.record.display_class()),
                cell(found.arguments()),
            ];
            Ok(table.row(&mut tool.screen, cells)?)
        })
        .await?;
        table.end(&mut tool.screen)?;
        if any { Ok(Code::Fine) } else { Err(Failure::failed("no job was found")) }
    }
}

impl Wanted {
    fn is(&self, record: &JobRecord) -> bool {
        match self {
            Self::Jid(jid) => record.jid() == jid,
            Self::Glob(glob) => matches(glob, &String::from_utf8_lossy(record.bytes())),
        }
    }
}

/// Goes through all queues, then the jobs that run, then the sets: the way jobs take.
pub(super) async fn each(
    tool: &mut Tool,
    api: &Api,
    wanted: &Wanted,
    mut act: impl AsyncFnMut(&mut Tool, Hit<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for queue in api.queues().await? {
        let place = format!("queue:{}", queue.name);
        let mut pages = api.queue(&queue.name).pages().of(PAGE);
        while let Some(page) = pages.next().await? {
            for record in page.iter().filter(|record| wanted.is(record)) {
                act(tool, Hit { found: Found::queued(&place, record) }).await?;
            }
        }
    }
    running(tool, api, wanted, &mut act).await?;
    let mut sets = vec![("schedule", api.scheduled()), ("retry", api.retries()), ("dead", api.dead())];
    // GitLab's fetcher writes it. Access lists that are older than this do not allow to read it.
    if api.key_kinds(&["interrupted".to_owned()]).await?.iter().flatten().any(|kind| kind == "zset") {
        sets.push(("interrupted", api.interrupted()));
    }
    for (place, set) in sets {
        let mut scan = set.scanner(None);
        while let Some(page) = scan.next().await? {
            for entry in page.iter().filter(|entry| wanted.is(&entry.record)) {
                act(tool, Hit { found: Found::entry(place, entry) }).await?;
            }
        }
    }
    Ok(())
}

/// Goes through the jobs that run. One that is in a list of its fetcher and in the work set of its process counts once.
async fn running(
    tool: &mut Tool,
    api: &Api,
    wanted: &Wanted,
    act: &mut impl AsyncFnMut(&mut Tool, Hit<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut in_lists = HashSet::new();
    for place in running_lists(api).await? {
        let mut pages = api.list(&place);
        while let Some(page) = pages.next().await? {
            for record in page.iter().filter(|record| wanted.is(record)) {
                in_lists.insert(record.bytes().to_vec());
                act(tool, Hit { found: Found::queued(&place, record) }).await?;
            }
        }
    }
    for work in
        api.work().await?.iter().filter(|work| wanted.is(&work.record) && !in_lists.contains(work.record.bytes()))
    {
        let place = format!("{}:work", work.identity);
        act(tool, Hit { found: Found::queued(&place, &work.record) }).await?;
    }
    Ok(())
}

/// Lists in which fetchers keep running jobs: those on the indexes of our workers, and what the names of keys show.
async fn running_lists(api: &Api) -> Result<BTreeSet<String>, Failure> {
    let queues: HashSet<String> = api.queue_names().await?.into_iter().collect();
    let mut lists: BTreeSet<String> = api.private_lists().await?.into_iter().collect();
    let (mut names, mut seen) = (api.key_names(), 0);
    while seen < NAMES
        && let Some(page) = names.next().await?
    {
        seen += page.len();
        let is_queue = |key: &str| key.strip_prefix("queue:").is_some_and(|name| queues.contains(name));
        let keeps = |key: &String| key.starts_with("ferrokiq:batch:") || (Keeper::of(key).is_some() && !is_queue(key));
        lists.extend(page.into_iter().filter(keeps));
    }
    // Only lists can be read as such, and only those that the rights of the user include.
    let lists: Vec<String> = lists.into_iter().collect();
    let mut kept = BTreeSet::new();
    for some in lists.chunks(PAGE) {
        let kinds = api.key_kinds(some).await?.into_iter().zip(some);
        kept.extend(kinds.filter(|(kind, _)| kind.as_deref() == Some("list")).map(|(_, key)| key.clone()));
    }
    Ok(kept)
}

/// Whether all of a text is what a pattern says, in which `*` stands for any text.
fn matches(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn matches_as_a_shell_does() {
        for (glob, text, does) in [
            ("*b*", "abc", true),
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "abd", false),
            ("a*b*c", "a-c-b-c", true),
            ("ab*ba", "aba", false),
            ("*é*", "xéx", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
        ] {
            assert_eq!(matches(glob, text), does, "{glob} {text}");
        }
    }
}
