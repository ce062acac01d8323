//! Text that goes into a payload or a key.

use serde_json::to_string;

/// Characters of an error message that are kept, as Sidekiq does.
const MAX_MESSAGE: usize = 10_000;

/// The first 10,000 characters (not bytes) of an error message.
pub(crate) fn error_message(message: &str) -> &str {
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => &message[..end],
        None => message,
    }
}

/// Whether a queue name that came in a payload may become part of a key: printable ASCII without `|`, at most 128
/// long. Anything else would reach into private lists or be a page of the Web UI that nobody can open.
pub(crate) fn is_routable_queue(name: &str) -> bool {
    (1..=128).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b'|')
}

pub(super) fn json_string(text: &str) -> String {
    to_string(text).expect("a string can be written as JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_messages_by_characters() {
        let long = "é".repeat(10_001);
        assert_eq!(error_message(&long).chars().count(), 10_000);
        assert_eq!(error_message("short"), "short");
    }

    #[test]
    fn refuses_queue_names_that_reach_into_other_keys() {
        for name in ["default", "a.b:c-d_E9"] {
            assert!(is_routable_queue(name), "{name}");
        }
        for name in ["", "a b", "x|y", "über", "a\nb", &"q".repeat(129)] {
            assert!(!is_routable_queue(name), "{name}");
        }
    }
}
