use clap::Args;
use clap_complete::Shell;

use super::frame::{Code, Done, Tool};

/// Print what a shell needs to complete commands and flags
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ferrokiq completions bash > /etc/bash_completion.d/ferrokiq\n  ferrokiq completions zsh > ~/.zfunc/_ferrokiq"
)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the script for this command line.
    pub(crate) fn run(self, tool: &mut Tool, mut cli: clap::Command) -> Done {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut cli, "ferrokiq", &mut script);
        tool.screen.verbatim(&script)?;
        Ok(Code::Fine)
    }
}
