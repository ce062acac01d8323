use std::time::Duration;

use clap::{Args, ValueEnum};
use ferrokiq::probe::Probe;
use serde_json::json;

use super::frame::{Code, Done, Failure, Tool};

/// Ask a worker on this machine whether it is well
#[derive(Debug, Args)]
#[command(
    after_help = "The worker runs with --health. For probes that run a command; a worker's own program knows this one, too.\n\n\
                        Examples:\n  ferrokiq health\n  ferrokiq health live --at 9090"
)]
pub(crate) struct Health {
    /// Where the worker listens
    #[arg(long, value_name = "[HOST:]PORT", default_value = "127.0.0.1:7433")]
    at: Probe,

    /// What to ask: whether it moves, or whether it takes work
    #[arg(value_enum, default_value = "ready")]
    question: Question,

    /// Seconds to wait for an answer
    #[arg(long, value_name = "SECS", default_value = "2", value_parser = clap::value_parser!(u64).range(1..=255))]
    wait: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Question {
    Live,
    Ready,
}

impl Health {
    pub(crate) fn run(self, tool: &mut Tool) -> Done {
        let probe = self.at.timeout(Duration::from_secs(self.wait));
        let answer = match self.question {
            Question::Live => probe.live(),
            Question::Ready => probe.ready(),
        };
        let answer = answer.map_err(|error| Failure::failed(error.with_causes()))?;
        if tool.screen.is_json() {
            tool.screen.json(&json!({"health": answer}))?;
        } else {
            tool.screen.line(&answer)?;
        }
        Ok(Code::Fine)
    }
}
