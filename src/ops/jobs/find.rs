use clap::Args;
use ferrokiq::api::Api;

use crate::ops::frame::{Code, Done, Failure, Table, Tool, cell};
use crate::ops::record::Found;

/// Jobs of a page of a queue.
pub(super) const PAGE: usize = 500;

/// Look for jobs in all queues and sets
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
#[command(
    after_help = "Examples:\n  ferrokiq jobs find 6fac50c1db3c621b388a7e46\n  ferrokiq jobs find --match 'ReportJob'\n  \
                  ferrokiq jobs find --match '*\"user\":4711*' --json\n\n\
                  --match compares with the bytes of the payload: text is looked for anywhere, and * in it stands for any text."
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
    fn is(&self, record: &ferrokiq::api::JobRecord) -> bool {
        match self {
            Self::Jid(jid) => record.jid() == jid,
            Self::Glob(glob) => matches(glob, &String::from_utf8_lossy(record.bytes())),
        }
    }
}

/// Goes through all queues, then the sets.
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
    for (place, set) in [("schedule", api.scheduled()), ("retry", api.retries()), ("dead", api.dead())] {
        let mut scan = set.scanner(None);
        while let Some(page) = scan.next().await? {
            for entry in page.iter().filter(|entry| wanted.is(&entry.record)) {
                act(tool, Hit { found: Found::entry(place, entry) }).await?;
            }
        }
    }
    Ok(())
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
