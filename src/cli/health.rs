use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::error::Result;
use crate::probe::Probe;

/// The command `health` of a worker.
#[derive(Clone, Debug, Args)]
pub(super) struct Health {
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
    /// Asks the worker; returns one line if all is well.
    pub(super) fn ask(self) -> Result<String> {
        let probe = self.at.timeout(Duration::from_secs(self.wait));
        match self.question {
            Question::Live => probe.live(),
            Question::Ready => probe.ready(),
        }
    }
}
