use clap::Args;
use ferrokiq::{Client, Result};

/// Mark a deploy on the graphs of the Metrics page: `ferrokiq deploy-mark "a1b2c3 Faster invoices"`
#[derive(Debug, Args)]
pub(crate) struct DeployMark {
    /// What is shown at the mark; the last commit unless said
    label: Option<String>,
}

impl DeployMark {
    pub(crate) async fn run(self, client: &Client) -> Result<String> {
        let label = self.label.or_else(last_commit).unwrap_or_else(|| "deploy".to_owned());
        let marked = client.mark_deploy(&label).await?;
        Ok(if marked {
            format!("marked: {label}")
        } else {
            "not marked: there is a mark in this minute already".to_owned()
        })
    }
}

/// Hash and subject, as Sidekiq labels a deploy.
fn last_commit() -> Option<String> {
    let output = std::process::Command::new("git").args(["log", "-1", "--format=%h %s"]).output().ok()?;
    let label = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !label.is_empty()).then_some(label)
}
