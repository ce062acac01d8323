//! The operator's commands, one file each.

pub(crate) mod cancel;
pub(crate) mod deploy_mark;
pub(crate) mod push;
pub(crate) mod stats;

/// Text out of Redis for a terminal: what is no printable character could steer it, or forge a line.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}
