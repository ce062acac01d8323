mod bulk;

use std::path::PathBuf;

use clap::Args;
use ferrokiq::job::RawArgs;
use ferrokiq::time::EpochSecs;
use ferrokiq::{Payload, Result};
use serde_json::{Value, json};

use super::frame::{Code, Done, Tool, parse_moment, parse_span};

/// Push a job, or one for each line of a file
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ferrokiq push ReportJob '[1, \"monthly\"]' --queue low\n  ferrokiq push ReportJob '[2]' --in 90s\n  \
                  ferrokiq push ReportJob '[3]' --at 2026-12-24T18:00:00Z --retry 3\n  ferrokiq push ReportJob --bulk arguments.jsonl\n  \
                  seq 1 5000 | sed 's/.*/[&]/' | ferrokiq push ReportJob --bulk -\n\n\
                  With --bulk each line of the file is a JSON array: the arguments of one job. A file is checked before anything is pushed; \
                  from - (standard input) the lines before a bad one are pushed, and how many they were is said."
)]
pub(crate) struct Push {
    /// The Ruby class
    class: String,

    /// Its arguments, a JSON array
    #[arg(default_value = "[]", hide_default_value = true)]
    args: String,

    /// The queue
    #[arg(short, long, default_value = "default")]
    queue: String,

    /// Run it so long from now: 90s, 5m, 2h; a plain number is seconds
    #[arg(long = "in", value_name = "SPAN", value_parser = seconds)]
    delay: Option<f64>,

    /// Run it then: epoch seconds, or UTC as in 2026-11-23T04:07:00Z
    #[arg(long, value_name = "MOMENT", value_parser = parse_moment, conflicts_with = "delay")]
    at: Option<EpochSecs>,

    /// Retry it so often; 25 unless said
    #[arg(long, value_name = "TIMES")]
    retry: Option<u64>,

    /// Push one job for each line of a file, - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "args")]
    bulk: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(secs) if secs.is_finite() && secs >= 0.0 => Ok(secs),
        _ => parse_span(text).map(|span| span.as_secs_f64()),
    }
}

impl Push {
    pub(crate) async fn run(self, tool: &mut Tool) -> Done {
        let args = RawArgs::new(self.args.as_str())?;
        let mut payload = self.payload(&args)?;
        let at = self.at.or_else(|| Some(EpochSecs(EpochSecs::now().0 + self.delay?)));
        if let Some(file) = &self.bulk {
            return bulk::push(tool, payload, at, file).await;
        }
        if let Some(at) = at {
            payload.insert("at", at.0);
        }
        let jid = tool.client()?.push(payload).await?;
        let jid = jid.as_ref().map_or("stopped by a middleware", |jid| jid.as_str());
        if tool.screen.is_json() {
            tool.screen.json(&json!({"jid": jid}))?;
        } else {
            tool.screen.line(jid)?;
        }
        Ok(Code::Fine)
    }

    fn payload(&self, args: &RawArgs) -> Result<Payload> {
        // Written out by hand so that numbers keep their digits.
        let quoted = |text: &str| Value::from(text).to_string();
        let (class, queue) = (quoted(&self.class), quoted(&self.queue));
        let mut payload = Payload::parse(format!(r#"{{"class":{class},"args":{},"queue":{queue}}}"#, args.as_str()))?;
        if let Some(times) = self.retry {
            payload.insert("retry", times);
        }
        Ok(payload)
    }
}
