//! What is wrong with one job, by its bytes alone: the damage that ports of Sidekiq do.

use ferrokiq::Payload;
use ferrokiq::api::JobRecord;

use super::finding::{Place, Severity};

/// Beyond this a job holds data that belongs into a database.
const HUGE: usize = 256 * 1024;
/// A number of seconds this large lies in the year 5138: it is milliseconds. Milliseconds smaller than this lie before 1974: they are
/// seconds.
const SPLIT: f64 = 1e11;
const STAMPS: [&str; 4] = ["created_at", "enqueued_at", "failed_at", "retried_at"];

/// A kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Damage {
    NotJson,
    NoClass,
    NoJid,
    NoQueue,
    NoArgs,
    BadArgs,
    NoRetry,
    BadCount,
    NoFailure,
    FloatMillis,
    WholeSeconds,
    TextTimes,
    Huge,
}

impl Damage {
    /// Name, severity, what it is, what to do.
    pub(super) fn words(self) -> (&'static str, Severity, &'static str, &'static str) {
        use Severity::{Error, Warning};
        match self {
            Self::NotJson => {
                ("not-a-job", Error, "no JSON object", "no worker can run it: find who wrote it, then delete it")
            }
            Self::NoClass => ("no-class", Error, "no class", "no worker can run it: push it anew"),
            Self::NoJid => {
                ("no-jid", Error, "no jid, or one that is no text", "Web UI and API cannot find it: mend the producer")
            }
            Self::NoQueue => (
                "no-queue",
                Error,
                "no queue",
                "the Web UI breaks at it, a failed one comes back nowhere: mend the producer",
            ),
            Self::NoArgs => ("no-args", Warning, "args missing or null", "write [] for no arguments"),
            Self::BadArgs => ("bad-args", Error, "args that are no array", "they reach a job in pieces: push it anew"),
            Self::NoRetry => ("no-retry", Warning, "no retry", "Ruby drops it when it fails: mend the producer"),
            Self::BadCount => (
                "bad-retry-count",
                Error,
                "a retry_count that is no number",
                "Ruby loses it when it fails: mend the producer",
            ),
            Self::NoFailure => {
                ("no-failure", Error, "no failed_at", "its page in the Web UI breaks: mend the worker that wrote it")
            }
            Self::FloatMillis => (
                "float-millis",
                Error,
                "times in milliseconds with a point",
                "Sidekiq reads the year 58864: write seconds",
            ),
            Self::WholeSeconds => {
                ("whole-seconds", Error, "times in seconds without a point", "Sidekiq 8 reads 1970: write the point")
            }
            Self::TextTimes => {
                ("text-times", Error, "times that are no numbers", "pages of the Web UI break: mend the producer")
            }
            Self::Huge => ("huge-job", Warning, "more than 256 KiB", "pass ids, not data"),
        }
    }

    /// Whether [`repaired`] mends it.
    pub(super) fn is_repairable(self) -> bool {
        matches!(self, Self::NoArgs | Self::FloatMillis | Self::WholeSeconds)
    }
}

/// All that is wrong with a job at this place.
pub(super) fn damages(record: &JobRecord, place: &Place) -> Vec<Damage> {
    let mut found = Vec::new();
    if record.bytes().len() > HUGE {
        found.push(Damage::Huge);
    }
    let Some(payload) = record.payload() else {
        found.push(Damage::NotJson);
        return found;
    };
    let mut note = |is_so: bool, damage: Damage| {
        if is_so {
            found.push(damage);
        }
    };
    note(payload.class().is_empty(), Damage::NoClass);
    note(payload.jid().is_empty(), Damage::NoJid);
    note(payload.queue().is_empty(), Damage::NoQueue);
    let args = payload.get("args").unwrap_or("null");
    note(args == "null", Damage::NoArgs);
    note(args != "null" && !args.starts_with('['), Damage::BadArgs);
    // The poller adds what is missing to a scheduled job.
    note(matches!(place, Place::Queue(_)) && !payload.contains_key("retry"), Damage::NoRetry);
    note(payload.get("retry_count").is_some_and(|count| count.parse::<i64>().is_err()), Damage::BadCount);
    note(matches!(place, Place::Retry) && !payload.contains_key("failed_at"), Damage::NoFailure);
    let stamps = || STAMPS.into_iter().filter_map(|key| payload.get(key));
    note(stamps().any(|stamp| read(stamp) == Stamp::FloatMillis), Damage::FloatMillis);
    note(stamps().any(|stamp| read(stamp) == Stamp::WholeSeconds), Damage::WholeSeconds);
    note(stamps().any(|stamp| read(stamp) == Stamp::NoNumber), Damage::TextTimes);
    found
}

/// The job with its times as seconds with a point, which every version reads, and `[]` for arguments that are missing; `None` if
/// nothing of this is wrong.
pub(super) fn repaired(record: &JobRecord) -> Option<Payload> {
    let original = record.payload()?;
    let mut payload = original.clone();
    for key in STAMPS {
        let Some(stamp) = original.get(key) else { continue };
        match (read(stamp), stamp.parse::<f64>()) {
            (Stamp::FloatMillis, Ok(millis)) => payload.insert(key, millis / 1_000.0),
            (Stamp::WholeSeconds, Ok(secs)) => payload.insert(key, secs),
            _ => {}
        }
    }
    if original.get("args").is_none_or(|args| args == "null") {
        payload.insert("args", [(); 0]);
    }
    (payload != *original).then_some(payload)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    Fine,
    FloatMillis,
    WholeSeconds,
    NoNumber,
}

fn read(raw: &str) -> Stamp {
    let Ok(value) = raw.parse::<f64>() else {
        return if raw == "null" { Stamp::Fine } else { Stamp::NoNumber };
    };
    let is_float = raw.contains(['.', 'e', 'E']);
    if is_float && value >= SPLIT {
        Stamp::FloatMillis
    } else if !is_float && value < SPLIT {
        Stamp::WholeSeconds
    } else {
        Stamp::Fine
    }
}
