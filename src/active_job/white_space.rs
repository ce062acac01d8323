//! White space that Ruby ignores around numbers, dates and times.

/// Returns a text without it.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}'])
}
