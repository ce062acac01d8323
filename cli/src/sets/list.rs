use clap::Args;
use ferrokiq::api::{SortedEntry, SortedSet};
use ferrokiq::time::EpochSecs;

use super::Kind;
use super::filter::Filter;
use crate::frame::{Code, Done, Failure, Style, Table, Tool, ago, cell};
use crate::record::{Found, retries};

/// Entries of a page.
const PAGE: usize = 500;

/// The jobs, the highest score first: due last, or died last; also without `list`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ferrokiq SET list\n  ferrokiq SET list --where 'class=ReportJob,error~Timeout' --limit 0\n  ferrokiq SET list --json | jq -r .jid"
)]
pub(super) struct List {
    /// Only those a filter takes, see below; several must all take them
    #[arg(long = "where", value_name = "FILTER", value_parser = Filter::parse)]
    filter: Vec<Filter>,

    /// How many at most; 0 is all
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

/// All about jobs: payload, times, and the lines of the backtrace
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ferrokiq SET show 6fac50c1db3c621b388a7e46\n  ferrokiq SET show 6fac50c1db3c621b388a7e46 --json"
)]
pub(super) struct Show {
    /// Their jids
    #[arg(required = true, value_name = "JID")]
    jids: Vec<String>,
}

impl List {
    pub(super) async fn run(self, tool: &mut Tool, kind: Kind, set: &SortedSet) -> Done {
        let mut left = if self.limit == 0 { usize::MAX } else { self.limit };
        let size = if self.filter.is_empty() { PAGE.min(left) } else { PAGE };
        let (mut pages, mut rows, now) = (set.pages().of(size), Rows::new(kind), EpochSecs::now());
        while left > 0
            && let Some(page) = pages.next().await?
        {
            let takes =
                |entry: &&SortedEntry| self.filter.iter().all(|filter| filter.takes(entry, kind == Kind::Dead, now));
            for entry in page.iter().filter(takes).take(left) {
                left -= 1;
                rows.row(tool, entry)?;
            }
        }
        Ok(rows.table.end_or(&mut tool.screen, &kind.nothing(self.filter.is_empty())).map(|()| Code::Fine)?)
    }
}

impl Show {
    pub(super) async fn run(self, tool: &mut Tool, kind: Kind, set: &SortedSet) -> Done {
        for (at, jid) in self.jids.iter().enumerate() {
            let Some(entry) = set.find_job(jid).await? else {
                return Err(Failure::failed(format!("not there: {jid}")));
            };
            if at > 0 && !tool.screen.is_json() {
                tool.screen.line("")?;
            }
            Found::entry(kind.key(), &entry).show(tool)?;
        }
        Ok(Code::Fine)
    }
}

/// Entries in a table, or as lines of JSON.
pub(super) struct Rows {
    kind: Kind,
    table: Table,
}

impl Rows {
    pub(super) fn new(kind: Kind) -> Self {
        let when = if kind == Kind::Dead { ">died" } else { ">due" };
        Self { kind, table: Table::new(["jid", "~queue", "~class", when, ">retries", "~error", "~arguments"]) }
    }

    pub(super) fn row(&mut self, tool: &mut Tool, entry: &SortedEntry) -> Result<(), Failure> {
        let found = Found::entry(self.kind.key(), entry);
        if tool.screen.is_json() {
            return found.json(tool, false);
        }
        let payload = entry.record.payload();
        let cells = [
            cell(entry.record.jid()),
            cell(payload.map_or("", |payload| payload.queue())),
            cell(entry.record.display_class()),
            cell(ago(entry.score)),
            cell(retries(&entry.record)),
            cell(found.error().unwrap_or_default()).style(Style::Red),
            cell(found.arguments()),
        ];
        Ok(self.table.row(&mut tool.screen, cells)?)
    }

    pub(super) fn end(self, tool: &mut Tool) -> Result<(), Failure> {
        Ok(self.table.end(&mut tool.screen)?)
    }
}
