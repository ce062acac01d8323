//! Whose job some bytes are that cannot be read as a payload.

use super::scan;

/// Bytes that are read from the start, and characters that are kept of a name.
const HEAD: usize = 1 << 20;
const LONGEST: usize = 256;
/// Bytes that are searched at the end of what is longer.
const TAIL: usize = 4_096;

/// The `jid` and the `class` of bytes that are no payload, for a log line; empty where they cannot be read.
pub(crate) fn names(bytes: &[u8]) -> (String, String) {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD)]);
    let (mut jid, mut class) = (String::new(), String::new());
    // Keys before a fault are read all the same.
    let _ = scan::top_level(&head, |key, value| {
        let place = match key.as_str() {
            "jid" => &mut jid,
            "class" => &mut class,
            _ => return,
        };
        *place = serde_json::from_str(value.get()).unwrap_or_default();
    });
    if bytes.len() > HEAD {
        let tail = String::from_utf8_lossy(&bytes[bytes.len() - TAIL..]);
        for (key, place) in [("\"jid\":\"", &mut jid), ("\"class\":\"", &mut class)] {
            if place.is_empty()
                && let Some((_, rest)) = tail.rsplit_once(key)
                && let Some((name, _)) = rest.split_once('"')
            {
                name.clone_into(place);
            }
        }
    }
    let short = |name: String| name.chars().take(LONGEST).collect();
    (short(jid), short(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8]) -> (String, String) {
        names(bytes)
    }

    #[test]
    fn finds_jid_and_class_where_they_can_be_read() {
        let both = ("j1".to_owned(), "A".to_owned());
        assert_eq!(found(b"{\"class\":\"A\",\"args\":[\"caf\xe9\"],\"jid\":\"j1\"}"), both);
        assert_eq!(found(b"{\"class\":\"A\",\"jid\":\"j1\",\"args\":[\"cut"), both);
        assert_eq!(found(b"{\"args\":[{\"jid\":\"inner\"}],\"class\":7}"), (String::new(), String::new()));
        assert_eq!(found(b"no payload"), (String::new(), String::new()));
        let large = format!("{{\"args\":[\"{}\"],\"class\":\"A\",\"jid\":\"j1\"}}", "x".repeat(2 * HEAD));
        assert_eq!(found(large.as_bytes()), both);
    }
}
