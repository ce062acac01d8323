use std::collections::HashMap;
use std::collections::hash_map::Entry;

use clap::Args;
use ferrokiq::api::SortedSet;
use ferrokiq::time::EpochSecs;
use serde_json::json;

use super::Kind;
use super::filter::{Filter, since};
use crate::frame::{Code, Done, Progress, Style, Table, Tool, ago, cell};

/// Count the jobs by error and class, the most first
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ferrokiq SET group\n  ferrokiq SET group --where 'age<1d' --json")]
pub(super) struct Group {
    /// Only those a filter takes, see below; several must all take them
    #[arg(long = "where", value_name = "FILTER", value_parser = Filter::parse)]
    filter: Vec<Filter>,
}

/// Groups that are told apart; who writes a new class with every job fills no memory.
const GROUPS: usize = 10_000;

struct Count {
    jobs: u64,
    oldest: EpochSecs,
    newest: EpochSecs,
}

impl Group {
    pub(super) async fn run(self, tool: &mut Tool, kind: Kind, set: &SortedSet) -> Done {
        let (is_dead, now) = (kind == Kind::Dead, EpochSecs::now());
        let mut groups: HashMap<(String, String), Count> = HashMap::new();
        let mut scan = set.scanner(None);
        let mut progress = Progress::new("counting", Some(set.size().await? as u64));
        while let Some(page) = scan.next().await? {
            progress.add(page.len());
            for entry in page.iter().filter(|entry| self.filter.iter().all(|filter| filter.takes(entry, is_dead, now)))
            {
                let error =
                    entry.record.payload().and_then(|payload| payload.decode("error_class")).unwrap_or_default();
                let mut key = (error, entry.record.display_class());
                if groups.len() >= GROUPS && !groups.contains_key(&key) {
                    key = ("and others".to_owned(), String::new());
                }
                let at = since(entry, is_dead);
                match groups.entry(key) {
                    Entry::Vacant(free) => {
                        free.insert(Count { jobs: 1, oldest: at, newest: at });
                    }
                    Entry::Occupied(mut group) => {
                        let group = group.get_mut();
                        group.jobs += 1;
                        group.oldest.0 = group.oldest.0.min(at.0);
                        group.newest.0 = group.newest.0.max(at.0);
                    }
                }
            }
        }
        drop(progress);
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by(|(one, many), (other, few)| few.jobs.cmp(&many.jobs).then_with(|| one.cmp(other)));
        let mut table = Table::new([">jobs", "~error", "~class", ">oldest", ">newest"]);
        for ((error, class), Count { jobs, oldest, newest }) in groups {
            if tool.screen.is_json() {
                tool.screen.json(&json!({"jobs": jobs, "error_class": error, "class": class, "oldest": oldest.0, "newest": newest.0}))?;
                continue;
            }
            let cells = [cell(jobs), cell(error).style(Style::Red), cell(class), cell(ago(oldest)), cell(ago(newest))];
            table.row(&mut tool.screen, cells)?;
        }
        table.end_or(&mut tool.screen, &kind.nothing(self.filter.is_empty()))?;
        Ok(Code::Fine)
    }
}
