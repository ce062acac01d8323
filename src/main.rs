//! The operator's tool: talks to any Sidekiq's Redis, needs no app.

mod ops;

use std::error::Error as _;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ferrokiq::{Client, Error};

/// Look at and push Sidekiq jobs from the command line, on the Redis that REDIS_URL names.
#[derive(Debug, Parser)]
#[command(name = "ferrokiq", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Push(ops::push::Push),
    Cancel(ops::cancel::Cancel),
    DeployMark(ops::deploy_mark::DeployMark),
    Stats(ops::stats::Stats),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let said = match Client::from_env() {
        Ok(client) => match command {
            Command::Push(push) => push.run(&client).await,
            Command::Cancel(cancel) => cancel.run(&client).await,
            Command::DeployMark(mark) => mark.run(&client).await,
            Command::Stats(stats) => stats.run(&client).await,
        },
        Err(error) => Err(error),
    };
    match said {
        Ok(line) => {
            let _ = writeln!(std::io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {}", explain(&error));
            ExitCode::FAILURE
        }
    }
}

fn explain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    ops::printable(&text)
}
