//! One pass over the JSON text, and the limits of Ruby's parser that serde does not have.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Ruby's `JSON` refuses anything nested deeper.
pub(crate) const MAX_DEPTH: usize = 100;

/// Top-level keys of a payload. Sidekiq writes some 25 and gems add a few each; no edit of a payload with as many costs more than some
/// hundred microseconds.
pub(super) const MAX_KEYS: usize = 1_024;
pub(super) const LONE_SURROGATE: &str = "holds half of a surrogate pair";

/// A key between its quotes: lent by the text, or its own where it was written with escapes.
pub(super) enum KeyText<'a> {
    Borrowed(&'a str),
    Owned(String),
}

impl KeyText<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

struct BorrowedKey<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for BorrowedKey<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string key")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(KeyVisitor).map(BorrowedKey)
    }
}

/// Calls `each` for every key and value of the object `raw`, in order. Stops at more than [`MAX_KEYS`].
pub(super) fn top_level(raw: &str, mut each: impl FnMut(KeyText<'_>, &RawValue)) -> Result<(), String> {
    struct Entries<'f, F>(&'f mut F, &'f mut usize);
    impl<'de, F: FnMut(KeyText<'_>, &RawValue)> Visitor<'de> for Entries<'_, F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<BorrowedKey<'de>>()? {
                let value = map.next_value::<&'de RawValue>()?;
                *self.1 += 1;
                if *self.1 > MAX_KEYS {
                    return Err(A::Error::custom("too many keys"));
                }
                match key.0 {
                    Cow::Borrowed(text) => (self.0)(KeyText::Borrowed(text), value),
                    Cow::Owned(text) => (self.0)(KeyText::Owned(text), value),
                }
            }
            Ok(())
        }
    }
    // Said here, since serde's own words for a wrong type would quote the payload.
    if !raw.trim_start_matches([' ', '\n', '\t', '\r']).starts_with('{') {
        return Err("not a JSON object".to_owned());
    }
    let mut keys = 0;
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    let read = deserializer.deserialize_map(Entries(&mut each, &mut keys)).and_then(|()| deserializer.end());
    read.map_err(|error| {
        if keys > MAX_KEYS {
            return format!("has more than {MAX_KEYS} keys");
        }
        format!("not JSON at line {} column {}", error.line(), error.column())
    })
}

/// What one cheap look at a text shows: most payloads need no closer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glance {
    /// Brackets that open an array or an object, or are part of a string.
    brackets: usize,
    /// Whether a string is written with escapes.
    pub(super) has_escapes: bool,
}

impl Glance {
    pub(super) fn at(raw: &str) -> Self {
        let (mut brackets, mut has_escapes) = (0, false);
        // Counted in bytes, and so in wide instructions: a piece has no more than a byte can count.
        for piece in raw.as_bytes().chunks(128) {
            let (mut seen, mut escapes) = (0_u8, 0_u8);
            for byte in piece {
                seen += u8::from(byte | 0x20 == b'{');
                escapes |= u8::from(*byte == b'\\');
            }
            brackets += usize::from(seen);
            has_escapes |= escapes != 0;
        }
        Self { brackets, has_escapes }
    }
}

/// Whether arrays and objects are nested more than `limit` deep.
pub(super) fn deeper_than(raw: &str, glance: Glance, limit: usize) -> bool {
    if glance.brackets <= limit {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in raw.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Whether a `\ud800`-`\udfff` escape stands without its other half: Ruby calls that malformed, serde lets raw text pass.
pub(super) fn has_lone_surrogate(raw: &str, glance: Glance) -> bool {
    let bytes = raw.as_bytes();
    if !glance.has_escapes || (!raw.contains("\\ud") && !raw.contains("\\uD")) {
        return false;
    }
    let unit = |at: usize| -> Option<u16> {
        (bytes.get(at) == Some(&b'\\') && bytes.get(at + 1) == Some(&b'u'))
            .then(|| raw.get(at + 2..at + 6).and_then(|hex| u16::from_str_radix(hex, 16).ok()))
            .flatten()
    };
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        match unit(at) {
            Some(0xD800..=0xDBFF) => match unit(at + 6) {
                Some(0xDC00..=0xDFFF) => at += 12,
                _ => return true,
            },
            Some(0xDC00..=0xDFFF) => return true,
            Some(_) => at += 6,
            None => at += 2,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glance_sees_every_bracket_and_every_escape() {
        for (raw, brackets, has_escapes) in [
            ("", 0, false),
            (r#"{"a":[[],{}]}"#, 4, false),
            (r#"["[{","a\n"]"#, 3, true),
            (&"x".repeat(1_000), 0, false),
            (&format!("{}\\", "é".repeat(1_000)), 0, true),
        ] {
            assert_eq!(Glance::at(raw), Glance { brackets, has_escapes }, "{raw}");
        }
    }
}
