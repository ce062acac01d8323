//! `contract` of a worker's command line: what its jobs take, told to Ruby, and held against what waits in Redis.

mod check;
mod described;
mod json_schema;
mod print;
mod quoted;
mod rbs;
mod ruby;
mod types;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Result;
use crate::server::ServerBuilder;
use check::Check;
use described::Described;
use print::print;

/// What the jobs of this worker take: for Ruby, and held against what waits in Redis.
#[derive(Debug, Parser)]
#[command(arg_required_else_help = true)]
struct Contract {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print Ruby classes that enqueue the jobs
    Ruby(Ruby),
    /// Print RBS signatures of these classes
    Rbs,
    /// Print a JSON Schema (draft 2020-12) of the payloads, by class
    JsonSchema,
    Check(Check),
}

#[derive(Debug, clap::Args)]
struct Ruby {
    /// Write a file for each class into this directory instead, named as Rails expects them
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Have the classes check number and types of the arguments before anything is enqueued
    #[arg(long)]
    checked: bool,
}

/// The command line of a contract, if this is one.
pub(super) fn asked_for(arguments: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut arguments = arguments.into_iter();
    let worker = arguments.next()?;
    if arguments.next()? != "contract" {
        return None;
    }
    let name = std::path::Path::new(&worker).file_name().unwrap_or(&worker).to_string_lossy();
    Some(std::iter::once(format!("{name} contract").into()).chain(arguments).collect())
}

/// Does what was asked and returns the exit code: 0, 1 if jobs that wait would fail, 2 if it could not be done.
pub(super) async fn run(builder: ServerBuilder, arguments: Vec<OsString>) -> ExitCode {
    let Contract { what } = match Contract::try_parse_from(arguments) {
        Ok(contract) => contract,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match what {
        What::Check(check) => check.run(builder).await,
        other => tell(builder, &other).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        super::complain(&error);
        ExitCode::from(2)
    })
}

fn tell(builder: ServerBuilder, what: &What) -> Result<()> {
    let classes = Described::all(&builder.into_registry()?.1)?;
    let text = match what {
        What::Ruby(Ruby { out: Some(dir), checked }) => return ruby::write(dir, &classes, *checked),
        What::Ruby(Ruby { out: None, checked }) => ruby::text(&classes, *checked),
        What::Rbs => rbs::text(&classes),
        What::JsonSchema | What::Check(_) => json_schema::text(&classes),
    };
    print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(Into::into).collect()
    }

    #[test]
    fn leaves_the_flags_of_a_worker_alone() {
        for line in ["worker", "worker -q contract", "worker -c 5 contract", "worker --help"] {
            assert_eq!(asked_for(words(line)), None, "{line}");
        }
        let asked = asked_for(words("/srv/app/worker contract ruby --checked")).unwrap();
        assert_eq!(asked[0], "worker contract");
        assert!(matches!(Contract::try_parse_from(asked).unwrap().what, What::Ruby(Ruby { out: None, checked: true })));
    }

    #[test]
    fn has_help_for_each() {
        for what in ["", "ruby", "rbs", "json-schema", "check"] {
            let line = format!("worker contract {what} --help");
            let help =
                Contract::try_parse_from(asked_for(line.split_whitespace().map(Into::into)).unwrap()).unwrap_err();
            assert!(help.exit_code() == 0 && help.to_string().contains("Usage: worker contract"), "{help}");
        }
    }
}
