use clap::Args;
use serde_json::json;

use super::frame::{Code, Done, Tool};

/// Ask an iterable job to end before its next item
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ferrokiq cancel 6fac50c1db3c621b388a7e46")]
pub(crate) struct Cancel {
    /// Its jid
    jid: String,
}

impl Cancel {
    pub(crate) async fn run(self, tool: &mut Tool) -> Done {
        let at = tool.client()?.cancel(&self.jid.as_str().into()).await?;
        if tool.screen.is_json() {
            tool.screen.json(&json!({"jid": self.jid, "cancelled_at": at.secs()}))?;
        } else {
            tool.screen.line(&format!("{} is cancelled since {}", self.jid, at.to_utc()))?;
        }
        Ok(Code::Fine)
    }
}
