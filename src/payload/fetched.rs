//! The bytes of a job as they came out of Redis, and payloads that share them.

use std::ops::Range;
use std::sync::Arc;

use super::index::index;
use super::raw::Raw;
use super::{Malformed, Payload, Piece};

/// Bytes from which on a job is large: its payloads share one copy of the text, and it is settled without sending its bytes back to Redis.
/// Copying a smaller one costs less than sharing it.
pub(crate) const LARGE: usize = 128 * 1_024;

/// The bytes of one job, as fetched.
pub(crate) enum Fetched {
    /// Each payload that is read from it copies them. Also what is large and no UTF-8, which no payload is read from.
    Copied(Vec<u8>),
    /// Each payload that is read from it shares them.
    Shared(Arc<String>),
}

/// How the text of a payload differs from the text it was read from: in order, a range of the old text, and new text behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edits(Vec<(Range<usize>, String)>);

impl Fetched {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        if bytes.len() < LARGE {
            return Self::Copied(bytes);
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self::Shared(Arc::new(text)),
            Err(error) => Self::Copied(error.into_bytes()),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Shared(text) => text.as_bytes(),
        }
    }

    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// As [`Payload::from_bytes`]. The error does not hold the bytes.
    pub(crate) fn payload(&self) -> Result<Payload, Malformed> {
        match self {
            Self::Copied(bytes) if bytes.len() < LARGE => Payload::from_bytes(bytes.clone()),
            Self::Copied(_) => Err(Malformed { bytes: Vec::new(), reason: "not UTF-8".to_owned() }),
            Self::Shared(text) => match index(text) {
                Ok((entries, unescaped)) => {
                    Ok(Payload { raw: Raw::Shared(Arc::clone(text)), entries, edited: false, unescaped })
                }
                Err(reason) => Err(Malformed { bytes: Vec::new(), reason }),
            },
        }
    }

    /// How the text of `payload` differs from these bytes; without one, nothing does. `None` for a small job, and for a payload that does not
    /// share these bytes.
    pub(crate) fn edits(&self, payload: Option<&Payload>) -> Option<Edits> {
        match (self, payload) {
            _ if self.bytes().len() < LARGE => None,
            (_, None) => Some(Edits::none(self.bytes().len())),
            (Self::Shared(bytes), Some(payload)) => match &payload.raw {
                Raw::Shared(text) if Arc::ptr_eq(bytes, text) => Some(Edits::of(payload)),
                _ => None,
            },
            (Self::Copied(_), Some(_)) => None,
        }
    }
}

impl Edits {
    /// No difference to a text of so many bytes.
    pub(crate) fn none(bytes: usize) -> Self {
        Self(vec![(0..bytes, String::new())])
    }

    fn of(payload: &Payload) -> Self {
        if !payload.edited {
            return Self::none(payload.raw.len());
        }
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        payload.pieces(|piece| match piece {
            Piece::Kept(range) => edits.push((range, String::new())),
            Piece::New(text) => match edits.last_mut() {
                Some((_, new)) => new.push_str(text),
                None => edits.push((0..0, text.to_owned())),
            },
        });
        Self(edits)
    }

    /// Ranges of the old text, each with the new text behind it.
    pub(crate) fn pieces(&self) -> &[(Range<usize>, String)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large() -> String {
        format!(r#"{{"queue":"low", "gone":1,"class":"A","args":["{}"],"retry":true}}"#, "é".repeat(LARGE))
    }

    fn apply(edits: &Edits, old: &str) -> String {
        edits.pieces().iter().map(|(range, new)| format!("{}{new}", &old[range.clone()])).collect()
    }

    #[test]
    fn payloads_of_a_large_job_share_its_bytes() {
        let fetched = Fetched::new(large().into_bytes());
        let (one, other) = (fetched.payload().unwrap(), fetched.payload().unwrap());
        let place = |payload: &Payload| payload.raw.as_ptr();
        assert_eq!(place(&one), fetched.bytes().as_ptr());
        assert_eq!(place(&one), place(&other));
        assert_eq!(place(&one), place(&one.clone()));
        assert_eq!(one.into_string(), large());
    }

    #[test]
    fn edits_make_the_text_that_the_payload_has() {
        let fetched = Fetched::new(large().into_bytes());
        let mut payload = fetched.payload().unwrap();
        assert_eq!(fetched.edits(Some(&payload)), Some(Edits::none(large().len())));
        payload.insert("queue", "high");
        payload.remove("gone");
        payload.insert("retry", 5);
        payload.insert("error_message", "a \"quote\" and ü");
        payload.insert("retry_count", 0);
        let edits = fetched.edits(Some(&payload)).unwrap();
        assert_eq!(apply(&edits, &large()), payload.as_str());
        let new: usize = edits.pieces().iter().map(|(_, new)| new.len()).sum();
        assert!(new < 200, "{new} bytes");
    }

    #[test]
    fn large_bytes_without_a_payload_stay_as_they_are() {
        for byte in [b'\xff', b'7'] {
            assert_eq!(Fetched::new(vec![byte; LARGE]).edits(None), Some(Edits::none(LARGE)));
        }
        assert_eq!(Fetched::new(b"{}".to_vec()).edits(None), None);
    }

    #[test]
    fn a_payload_of_other_bytes_has_no_edits() {
        let (fetched, same) = (Fetched::new(large().into_bytes()), Fetched::new(large().into_bytes()));
        assert_eq!(fetched.edits(Some(&same.payload().unwrap())), None);
        assert_eq!(fetched.edits(Some(&Payload::parse(large()).unwrap())), None);
        let small = Fetched::new(b"{}".to_vec());
        assert_eq!(small.edits(Some(&small.payload().unwrap())), None);
    }

    #[test]
    fn large_bytes_that_are_no_payload_are_reported_without_a_copy() {
        for (byte, reason) in [(b'\xff', "not UTF-8"), (b'7', "not a JSON object")] {
            let malformed = Fetched::new(vec![byte; LARGE]).payload().unwrap_err();
            assert_eq!((malformed.bytes.len(), &*malformed.reason), (0, reason));
        }
    }
}
