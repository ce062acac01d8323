use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::payload::{Malformed, Payload, WRAPPERS, unpack_backtrace};
use crate::store::pages::Seen;
use crate::time::EpochSecs;

/// A job as it lies in Redis; also one that is no payload at all.
#[derive(Clone)]
pub struct JobRecord {
    bytes: Vec<u8>,
    payload: Option<Payload>,
    /// How many jobs were behind it in the queue it was read from: where it is looked for when it is changed.
    place: Option<usize>,
}

impl JobRecord {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let payload = Payload::from_bytes(bytes.clone()).map_err(|Malformed { .. }| ()).ok();
        Self { bytes, payload, place: None }
    }

    /// As it was seen in a queue.
    pub(crate) fn seen(Seen { bytes, place }: Seen) -> Self {
        Self { place: Some(place), ..Self::new(bytes) }
    }

    pub(crate) fn place(&self) -> Option<usize> {
        self.place
    }

    /// Of bytes that are at hand, wherever they come from.
    pub fn of(bytes: &[u8]) -> Self {
        Self::new(bytes.to_vec())
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

    /// The class people know the job by, as `JobRecord#display_class`: `display_class`, what ActiveJob wrapped, or `class`; of a mail
    /// `Mailer#method`.
    pub fn display_class(&self) -> String {
        if let Some(shown) = self.payload().and_then(|payload| payload.decode("display_class")) {
            return shown;
        }
        let Some(wrapped) = self.wrapped() else { return self.class().to_owned() };
        if !MAILERS.contains(&&*wrapped) {
            return wrapped;
        }
        let arguments = self.wrapped_arguments();
        arguments.iter().take(2).map(|part| part.as_str().unwrap_or_default()).collect::<Vec<_>>().join("#")
    }

    /// The arguments as people may see them, as `JobRecord#display_args`: what was encrypted is hidden, and what ActiveJob wrapped is
    /// unwrapped. What is no payload is its own only argument. For showing: numbers of more than 64 bits lose digits.
    pub fn display_args(&self) -> Vec<Value> {
        let Some(payload) = self.payload() else { return vec![String::from_utf8_lossy(&self.bytes).into()] };
        let Some(wrapped) = self.wrapped() else {
            let mut args: Vec<Value> = payload.decode("args").unwrap_or_default();
            let is_encrypted = payload.get("encrypt").is_some_and(|encrypt| !matches!(encrypt, "false" | "null"));
            if let Some(last) = args.last_mut().filter(|_| is_encrypted) {
                *last = "[encrypted data]".into();
            }
            return args;
        };
        // Without `wrapped`, older versions show none.
        if !payload.contains_key("wrapped") {
            return Vec::new();
        }
        let mut arguments = self.wrapped_arguments().into_iter().map(unwrapped);
        match &*wrapped {
            // Mailer, method and `deliver_now` come first.
            "ActionMailer::DeliveryJob" => arguments.skip(3).collect(),
            "ActionMailer::MailDeliveryJob" => {
                let named = arguments.nth(3).unwrap_or_default();
                ["params", "args"].map(|name| named.get(name).cloned().unwrap_or_default()).to_vec()
            }
            _ => arguments.collect(),
        }
    }

    /// The class ActiveJob wrapped.
    fn wrapped(&self) -> Option<String> {
        let payload = self.payload().filter(|payload| WRAPPERS.contains(&payload.class()))?;
        let first = || payload.decode::<Vec<Value>>("args")?.first()?.as_str().map(str::to_owned);
        payload.decode("wrapped").or_else(first)
    }

    fn wrapped_arguments(&self) -> Vec<Value> {
        let args: Vec<Value> = self.payload().and_then(|payload| payload.decode("args")).unwrap_or_default();
        args.first().and_then(|job| job.get("arguments")?.as_array().cloned()).unwrap_or_default()
    }

    /// `jid`; empty for what is no payload.
    pub fn jid(&self) -> &str {
        self.payload().map_or("", Payload::jid)
    }

    /// A moment in the payload, in whatever form it is written: an integer is milliseconds, a float seconds.
    pub fn moment(&self, key: &str) -> Option<EpochSecs> {
        self.payload()?.moment(key)
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

impl fmt::Debug for JobRecord {
    /// Names the job; never prints arguments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.payload {
            Some(payload) => f.debug_tuple("JobRecord").field(payload).finish(),
            None => write!(f, "JobRecord({} bytes that are no payload)", self.bytes.len()),
        }
    }
}

/// Classes of the jobs that deliver mails, of Rails before 6 and since.
const MAILERS: [&str; 2] = ["ActionMailer::DeliveryJob", "ActionMailer::MailDeliveryJob"];

/// An argument of ActiveJob without its serializer's marks; a record is its `GlobalID`.
fn unwrapped(argument: Value) -> Value {
    match argument {
        Value::Array(items) => items.into_iter().map(unwrapped).collect(),
        Value::Object(mut pairs) if pairs.len() == 1 && pairs.contains_key("_aj_globalid") => {
            pairs.remove("_aj_globalid").unwrap_or_default()
        }
        Value::Object(pairs) => pairs
            .into_iter()
            .filter(|(key, _)| !key.starts_with("_aj_"))
            .map(|(key, value)| (key, unwrapped(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        plain => plain,
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
