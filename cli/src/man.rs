use std::path::PathBuf;

use clap::Args;
use clap_mangen::Man as Page;

use super::frame::{Code, Done, Failure, Tool};

/// Print the man page, or write one page for each command into a directory
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ferrokiq man | man -l -\n  ferrokiq man /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Where to write ferrokiq.1, ferrokiq-stats.1 and so on; it must be there
    directory: Option<PathBuf>,
}

impl Man {
    /// Writes the pages of this command line.
    pub(crate) fn run(self, tool: &mut Tool, cli: clap::Command) -> Done {
        match self.directory {
            Some(directory) => {
                clap_mangen::generate_to(cli, &directory).map_err(|error| Failure::file(&directory, &error))?
            }
            None => {
                let mut page = Vec::new();
                Page::new(cli).render(&mut page)?;
                tool.screen.verbatim(&page)?;
            }
        }
        Ok(Code::Fine)
    }
}
