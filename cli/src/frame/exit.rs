use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use ferrokiq::{Error, ErrorKind, RedisFault};

use super::printable;

/// How a command ends. Where `sysexits.h` has a number for it, it is that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Fine = 0,
    Failed = 1,
    Usage = 2,
    Input = 65,
    Unreachable = 69,
    Later = 75,
    NotSidekiq = 76,
    Denied = 77,
    Config = 78,
    Interrupted = 130,
}

impl Code {
    pub(crate) const ALL: [(Self, &'static str); 10] = [
        (Self::Fine, "done; also if the reader of the output went away"),
        (Self::Failed, "not all of it could be done, something was not there, or was found wrong"),
        (Self::Usage, "the command line makes no sense, or there was nobody to ask and no --yes"),
        (Self::Input, "a file, or a job to push, is not what it must be"),
        (Self::Unreachable, "Redis cannot be reached, or went away"),
        (Self::Later, "Redis does not want to now: a read-only replica, loading, out of memory"),
        (Self::NotSidekiq, "a key holds what Sidekiq never keeps there"),
        (Self::Denied, "wrong password, or the user may not"),
        (Self::Config, "REDIS_URL, REDIS_PROVIDER or --redis cannot be used"),
        (Self::Interrupted, "Ctrl-C: what was said to be done is done, the rest is as it was"),
    ];

    /// All of them, for `--help`.
    pub(crate) fn explained() -> String {
        let lines: Vec<String> = Self::ALL.iter().map(|(code, what)| format!("  {:<4} {what}", *code as u8)).collect();
        format!("Exit codes:\n{}", lines.join("\n"))
    }
}

/// What a command gives back.
pub(crate) type Done = Result<Code, Failure>;

/// Why a command could not be done.
#[derive(Debug)]
pub(crate) enum Failure {
    Library(Error),
    /// In a line of our own.
    Told(Code, String),
    /// Standard output.
    Output(io::Error),
}

impl Failure {
    /// Exit code 1.
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self::Told(Code::Failed, why.into())
    }

    /// Exit code 2.
    pub(crate) fn usage(why: impl Into<String>) -> Self {
        Self::Told(Code::Usage, why.into())
    }

    /// Exit code 65.
    pub(crate) fn input(why: impl Into<String>) -> Self {
        Self::Told(Code::Input, why.into())
    }

    /// A file of the user's that cannot be read or written.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Self::input(format!("{}: {error}", path.display()))
    }

    /// Redis went silent: what was being done may be done.
    pub(crate) fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Library(error) if error.is_ambiguous())
    }

    /// As it is told: one line.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Library(error) => error.with_causes(),
            Self::Told(_, why) => why.clone(),
            Self::Output(error) => format!("cannot print: {error}"),
        }
    }

    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Library(error) => code_of(error),
            Self::Told(code, _) => *code,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Code::Fine,
            Self::Output(_) => Code::Failed,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn code_of(error: &Error) -> Code {
    match (error.kind(), error.redis_fault()) {
        (_, Some(RedisFault::Denied)) => Code::Denied,
        (_, Some(RedisFault::WrongType)) => Code::NotSidekiq,
        (_, Some(RedisFault::Unwilling)) => Code::Later,
        (_, Some(RedisFault::Unreachable)) | (ErrorKind::Ambiguous, _) => Code::Unreachable,
        (ErrorKind::Config, _) => Code::Config,
        (ErrorKind::Payload | ErrorKind::Args, _) => Code::Input,
        _ => Code::Failed,
    }
}

pub(super) fn end(done: Done) -> ExitCode {
    let code = match done {
        Ok(code) => code,
        Err(failure) => {
            if failure.code() != Code::Fine {
                let _ = writeln!(io::stderr(), "error: {}", printable(&failure.line()));
            }
            failure.code()
        }
    };
    ExitCode::from(code as u8)
}
