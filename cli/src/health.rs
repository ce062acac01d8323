use clap::Args;
use ferrokiq::cli::Probe;
use serde_json::json;

use super::frame::{Code, Done, Failure, Tool};

/// Ask a worker on this machine whether it is well
#[derive(Debug, Args)]
#[command(
    after_help = "The worker runs with --health. For probes that run a command; a worker's own program knows this one, too.\n\n\
                        Examples:\n  ferrokiq health\n  ferrokiq health live --at 9090"
)]
pub(crate) struct Health {
    #[command(flatten)]
    probe: Probe,
}

impl Health {
    pub(crate) fn run(self, tool: &mut Tool) -> Done {
        let said = self.probe.ask().map_err(|error| Failure::failed(error.with_causes()))?;
        if tool.screen.is_json() {
            tool.screen.json(&json!({"health": said}))?;
        } else {
            tool.screen.line(&said)?;
        }
        Ok(Code::Fine)
    }
}
