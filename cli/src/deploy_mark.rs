use clap::Args;
use serde_json::json;

use super::frame::{Code, Done, Tool};

/// Mark a deploy on the graphs of the Metrics page
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ferrokiq deploy-mark\n  ferrokiq deploy-mark \"a1b2c3 Faster invoices\"")]
pub(crate) struct DeployMark {
    /// What is shown at the mark; the last commit unless said
    label: Option<String>,
}

impl DeployMark {
    pub(crate) async fn run(self, tool: &mut Tool) -> Done {
        let label = self.label.or_else(last_commit).unwrap_or_else(|| "deploy".to_owned());
        let marked = tool.client()?.mark_deploy(&label).await?;
        if tool.screen.is_json() {
            tool.screen.json(&json!({"label": label, "marked": marked}))?;
        } else if marked {
            tool.screen.line(&format!("marked: {label}"))?;
        } else {
            tool.screen.line("not marked: there is a mark in this minute already")?;
        }
        Ok(Code::Fine)
    }
}

/// Hash and subject, as Sidekiq labels a deploy.
fn last_commit() -> Option<String> {
    let output = std::process::Command::new("git").args(["log", "-1", "--format=%h %s"]).output().ok()?;
    let label = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !label.is_empty()).then_some(label)
}
