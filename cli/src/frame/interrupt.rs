use std::io::{self, IsTerminal, Write};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Code;

/// Ctrl-C while many entries are changed: the work stops between two of them. Until [`watch`](Self::watch) it ends the process as ever.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on the first Ctrl-C is only noted; the second ends the process.
    #[expect(clippy::disallowed_methods, reason = "nothing in it panics")]
    pub(crate) fn watch(&self) {
        let noted = Arc::clone(&self.0);
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                if noted.swap(true, Ordering::Relaxed) {
                    process::exit(Code::Interrupted as i32);
                }
                if io::stderr().is_terminal() {
                    let _ = writeln!(io::stderr(), "\nstopping; once more ends at once");
                }
            }
        });
    }

    pub(crate) fn is_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
