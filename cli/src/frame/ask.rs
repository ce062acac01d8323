use std::io::{self, BufRead, IsTerminal, Write};

use super::{Code, Failure, printable};

/// Fails if nobody can answer a question.
pub(super) fn check(question: &str) -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage(format!("{question} There is nobody to ask: say --yes")))
}

/// Goes on only after a yes.
pub(super) fn confirm(question: &str) -> Result<(), Failure> {
    check(question)?;
    let _ = write!(io::stderr(), "{} [y/N] ", printable(question));
    let mut answer = String::new();
    let heard = io::stdin().lock().read_line(&mut answer);
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" if heard.is_ok() => Ok(()),
        _ => Err(Failure::Told(Code::Failed, "nothing was done".to_owned())),
    }
}
