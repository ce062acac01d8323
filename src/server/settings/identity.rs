use std::fmt::Write;

use rand::RngExt;

/// A name for a server: `HOST:PID:NONCE`, new for every server, so that two in one process, and two lives of a process, never
/// take each other's jobs for their own. `HOST` is `DYNO` or the host's name.
pub(crate) fn identity() -> String {
    let mut identity = format!("{}:{}:", hostname(), std::process::id());
    for byte in rand::rng().random::<[u8; 6]>() {
        let _ = write!(identity, "{byte:02x}");
    }
    identity
}

/// `DYNO`, or what the system calls itself.
pub(crate) fn hostname() -> String {
    std::env::var("DYNO").ok().filter(|dyno| !dyno.is_empty()).unwrap_or_else(|| {
        let name = hostname::get().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // The name becomes part of keys that are split at `|` and `:`.
        if name.is_empty() || name.contains('|') { "localhost".to_owned() } else { name }
    })
}
