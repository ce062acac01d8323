use std::io::Write;

use crate::error::{Error, Result};

/// Writes text to standard output. A reader that closed it has read enough.
///
/// # Errors
///
/// The text could not be written: the disk is full, say.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::config("cannot write to standard output").because(error))
        }
        _ => Ok(()),
    }
}
