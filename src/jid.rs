use std::fmt;

use rand::RngExt;
use serde::{Deserialize, Serialize};

/// A job's id: 24 lower-case hex digits when generated, any string when read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Jid(Box<str>);

impl Jid {
    /// 12 random bytes in hex, as `SecureRandom.hex(12)`.
    pub fn generate() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bytes: [u8; 12] = rand::rng().random();
        let mut text = String::with_capacity(24);
        for byte in bytes {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        Self(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Jid {
    fn from(jid: &str) -> Self {
        Self(jid.into())
    }
}

impl From<String> for Jid {
    fn from(jid: String) -> Self {
        Self(jid.into())
    }
}

impl AsRef<str> for Jid {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generates_24_hex_digits_never_twice() {
        let (one, two) = (Jid::generate(), Jid::generate());
        assert_ne!(one, two);
        assert_eq!(one.as_str().len(), 24);
        assert!(one.as_str().bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    }
}
