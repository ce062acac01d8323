//! Text that goes into a payload or a key.

use serde_json::to_string;

/// Characters of an error message that are kept, as Sidekiq does.
#[cfg(feature = "server")]
const MAX_MESSAGE: usize = 10_000;

/// The first 10,000 characters (not bytes) of an error message.
#[cfg(feature = "server")]
pub(crate) fn error_message(message: &str) -> &str {
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => &message[..end],
        None => message,
    }
}

/// Whether a queue name that came in a payload may become part of a key. Ruby takes any text; nobody means a name with
/// control characters or of more than 512 bytes.
#[cfg(any(feature = "api", feature = "server"))]
pub(crate) fn is_routable_queue(name: &str) -> bool {
    (1..=512).contains(&name.len()) && !name.contains(char::is_control)
}

pub(super) fn json_string(text: &str) -> String {
    to_string(text).expect("a string can be written as JSON")
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    #[test]
    fn cuts_messages_by_characters() {
        let long = "é".repeat(10_001);
        assert_eq!(error_message(&long).chars().count(), 10_000);
        assert_eq!(error_message("short"), "short");
    }

    #[test]
    fn refuses_queue_names_that_nobody_means() {
        for name in ["default", "a.b:c-d_E9", "mit Leerzeichen", "über", "x|y"] {
            assert!(is_routable_queue(name), "{name}");
        }
        for name in ["", "a\nb", "a\0", &"q".repeat(513)] {
            assert!(!is_routable_queue(name), "{name}");
        }
    }
}
