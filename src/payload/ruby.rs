//! Valid JSON that one of Ruby's readers or writers refuses.

use std::borrow::Cow;

/// Returns what keeps Ruby from reading `raw`, valid JSON, and writing it again, or `None` if it can. It reads a float that is too large for
/// 64 bits as Infinity, which it does not write; the json gem from 3.0 on refuses a key that stands twice in one object.
pub(super) fn unwritable(raw: &str) -> Option<&'static str> {
    let bytes = raw.as_bytes();
    // The keys of each object that is open, and `None` for an array.
    let mut open: Vec<Option<Vec<Cow<'_, str>>>> = Vec::new();
    let (mut at, mut is_key) = (0, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' => {
                open.push(Some(Vec::new()));
                is_key = true;
            }
            b'[' => {
                open.push(None);
                is_key = false;
            }
            b'}' | b']' => {
                if let Some(Some(keys)) = open.pop()
                    && has_twins(keys)
                {
                    return Some("a key that stands twice");
                }
            }
            b',' => is_key = matches!(open.last(), Some(Some(_))),
            b'"' => {
                let end = end_of_string(bytes, at);
                if std::mem::take(&mut is_key)
                    && let Some(Some(keys)) = open.last_mut()
                {
                    keys.push(key(raw.get(at..=end).unwrap_or_default()));
                }
                at = end;
            }
            b'0'..=b'9' => {
                let digits = bytes[at..]
                    .iter()
                    .take_while(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
                let number = &raw[at..at + digits.count()];
                // Integers have no limit in Ruby.
                if number.contains(['.', 'e', 'E']) && number.parse().is_ok_and(f64::is_infinite) {
                    return Some("a number beyond all floats");
                }
                at += number.len() - 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The bytes of what is no payload, for the dead set. To JSON that is no object a remark is added: Sidekiq's pages and its API show text that
/// is no JSON as it is, but raise on an array or a number.
pub(crate) fn unreadable(bytes: &[u8]) -> Cow<'_, [u8]> {
    let is_object = bytes.trim_ascii_start().starts_with(b"{");
    if is_object || serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_err() {
        return Cow::Borrowed(bytes);
    }
    Cow::Owned([bytes, b" (not a job)"].concat())
}

/// The index of the quote that ends the string which begins at `at`.
fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while let Some(byte) = bytes.get(end) {
        match byte {
            b'"' => return end,
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
    bytes.len()
}

fn key(quoted: &str) -> Cow<'_, str> {
    let text = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if !quoted.contains('\\') {
        return Cow::Borrowed(text);
    }
    serde_json::from_str(quoted).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn has_twins(mut keys: Vec<Cow<'_, str>>) -> bool {
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_no_json_in_the_dead_set_that_is_no_object() {
        for (bytes, stored) in [
            ("[1]", "[1] (not a job)"),
            (" 7", " 7 (not a job)"),
            ("null", "null (not a job)"),
            ("[1", "[1"),
            ("{}", "{}"),
            ("text", "text"),
            ("", ""),
        ] {
            assert_eq!(*unreadable(bytes.as_bytes()), *stored.as_bytes());
        }
    }

    #[test]
    fn finds_floats_beyond_all_floats() {
        for raw in ["[1e400]", "[-1E+999]", r#"{"a":[{"b":2e308}]}"#, &format!("[{}.0]", "9".repeat(400))] {
            assert_eq!(unwritable(raw), Some("a number beyond all floats"), "{raw}");
        }
        for raw in ["[1e308]", r#"["1e400","\\","x\"1e400"]"#, r#"{"1e400":1}"#, "[1e-400]", &"9".repeat(400)] {
            assert_eq!(unwritable(raw), None, "{raw}");
        }
    }

    #[test]
    fn finds_keys_that_stand_twice_in_one_object() {
        for raw in [r#"{"a":1,"a":2}"#, r#"[0,{"b":{"a":"x","c":[],"\u0061":2}}]"#, r#"{"a" : [1,2] , "a":{}}"#] {
            assert_eq!(unwritable(raw), Some("a key that stands twice"), "{raw}");
        }
        for raw in [
            r#"{"a":{"a":["a","a"]},"b":"a"}"#,
            r#"[{"a":1},{"a":1}]"#,
            r#"{"a":"b","b":"a","c":["c","c"]}"#,
            "{}",
            "7",
        ] {
            assert_eq!(unwritable(raw), None, "{raw}");
        }
    }
}
