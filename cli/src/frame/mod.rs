//! What every command has: Redis, a place to print, a way to ask, and how to end.

mod ask;
mod exit;
mod interrupt;
mod lines;
mod progress;
mod screen;
mod table;
mod text;
mod when;

pub(crate) use exit::{Code, Done, Failure};
pub(crate) use interrupt::Interrupt;
pub(crate) use lines::read_line;
pub(crate) use progress::Progress;
pub(crate) use screen::{Screen, Style};
pub(crate) use table::{Table, cell};
pub(crate) use text::{compact, indented, json_line, printable};
pub(crate) use when::{ago, parse_moment, parse_span, span};

use std::io::Write;
use std::time::Duration;

use clap::Args;
use ferrokiq::api::Api;
use ferrokiq::{Client, RedisOptions};

/// Flags of all commands.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Global options",
        help = "Redis; REDIS_PROVIDER or REDIS_URL unless said. Others on this machine can see it: no place for a password"
    )]
    redis: Option<String>,

    /// Lines of JSON instead of tables
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,

    /// Wait for a Redis that is unreachable or loading, at most so many seconds [60 without a number]
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "60",
        help_heading = "Global options"
    )]
    wait: Option<u64>,

    /// Do not ask before anything is taken away
    #[arg(short, long, global = true, help_heading = "Global options")]
    yes: bool,
}

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) screen: Screen,
    pub(crate) interrupt: Interrupt,
    common: Common,
}

impl Tool {
    pub(crate) fn new(common: Common) -> Self {
        Self { screen: Screen::stdout(common.json), interrupt: Interrupt::default(), common }
    }

    /// Pushes; connects when first needed.
    pub(crate) fn client(&self) -> ferrokiq::Result<Client> {
        let options = match &self.common.redis {
            Some(url) => url.parse::<RedisOptions>()?.with_env()?,
            None => RedisOptions::from_env()?,
        };
        if options.is_unverified() {
            let _ = writeln!(
                std::io::stderr(),
                "warning: TLS WITHOUT VERIFICATION: an attacker on the network can read and change every job"
            );
        }
        Client::builder().redis(options).build()
    }

    /// Looks and changes; connects when first needed.
    pub(crate) fn api(&self) -> ferrokiq::Result<Api> {
        Ok(Api::new(&self.client()?))
    }

    /// Waits for Redis for as long as `--wait` allows. Writes the cause to stderr when the wait begins, and every ten seconds.
    pub(crate) async fn wait_for_redis(&self) -> ferrokiq::Result<()> {
        let Some(seconds) = self.common.wait else { return Ok(()) };
        let remark = |cause: &str| drop(writeln!(std::io::stderr(), "waiting for Redis: {}", printable(cause)));
        self.api()?.wait_for_redis(Duration::from_secs(seconds), remark).await
    }

    /// Asks before something destructive, unless `--yes`. What is asked ends in a question mark.
    pub(crate) fn confirm(&self, question: &str) -> Result<(), Failure> {
        if self.common.yes { Ok(()) } else { ask::confirm(question) }
    }

    /// Fails where [`confirm`](Self::confirm) would, since nobody can answer: before work that only the question needs.
    pub(crate) fn check_confirm(&self, question: &str) -> Result<(), Failure> {
        if self.common.yes { Ok(()) } else { ask::check(question) }
    }

    /// Whether what is destructive was confirmed on the command line.
    pub(crate) fn says_yes(&self) -> bool {
        self.common.yes
    }

    /// Prints what is left to print, tells a failure, and gives the exit code.
    pub(crate) fn end(mut self, done: Done) -> std::process::ExitCode {
        let done = done.and_then(|code| Ok(self.screen.flush().map(|()| code)?));
        exit::end(done)
    }
}
