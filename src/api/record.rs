use std::time::Duration;

use crate::payload::{Malformed, Payload, unpack_backtrace};
use crate::time::EpochSecs;

/// A job as it lies in Redis; also one that is no payload at all.
#[derive(Clone, Debug)]
pub struct JobRecord {
    bytes: Vec<u8>,
    payload: Option<Payload>,
}

impl JobRecord {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let payload = Payload::from_bytes(bytes.clone()).map_err(|Malformed { .. }| ()).ok();
        Self { bytes, payload }
    }

    /// The bytes, by which it is taken away.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The payload; `None` if the bytes are none.
    pub fn payload(&self) -> Option<&Payload> {
        self.payload.as_ref()
    }

    /// `class`; empty for what is no payload.
    pub fn class(&self) -> &str {
        self.payload().map_or("", Payload::class)
    }

    /// `jid`; empty for what is no payload.
    pub fn jid(&self) -> &str {
        self.payload().map_or("", Payload::jid)
    }

    /// A moment in the payload, in whatever form it is written: an integer is milliseconds, a float seconds.
    pub fn moment(&self, key: &str) -> Option<EpochSecs> {
        let raw = self.payload()?.get(key)?;
        let value: f64 = raw.parse().ok()?;
        Some(EpochSecs(if raw.contains(['.', 'e', 'E']) { value } else { value / 1_000.0 }))
    }

    /// How long it has waited since it was enqueued, or created.
    pub fn latency(&self) -> Duration {
        let since = self.moment("enqueued_at").or_else(|| self.moment("created_at"));
        let secs = since.map_or(0.0, |since| EpochSecs::now().0 - since.0);
        Duration::try_from_secs_f64(secs).unwrap_or_default()
    }

    /// The lines of `error_backtrace`; empty if there are none or they cannot be read.
    pub fn error_backtrace(&self) -> Vec<String> {
        let packed: Option<String> = self.payload().and_then(|payload| payload.decode("error_backtrace"));
        packed.and_then(|packed| unpack_backtrace(&packed).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_moments_in_both_forms() {
        let record = JobRecord::new(br#"{"class":"A","created_at":1795408384695,"enqueued_at":1795408384.5}"#.to_vec());
        assert_eq!(record.moment("created_at"), Some(EpochSecs(1_795_408_384.695)));
        assert_eq!(record.moment("enqueued_at"), Some(EpochSecs(1_795_408_384.5)));
        assert_eq!(JobRecord::new(b"nonsense".to_vec()).class(), "");
    }
}
