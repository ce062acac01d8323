//! A job as it is shown, wherever it lies.

use ferrokiq::api::{JobRecord, SortedEntry};
use ferrokiq::time::EpochSecs;
use serde::Serialize;
use serde_json::value::RawValue;

use super::frame::{Failure, Style, Tool, ago, compact, indented};

/// A job, and where it is.
#[derive(Debug)]
pub(super) struct Found<'a> {
    /// `retry`, `schedule`, `dead`, `queue:NAME`.
    pub(super) place: &'a str,
    pub(super) record: &'a JobRecord,
    pub(super) score: Option<EpochSecs>,
}

/// One line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    r#in: &'a str,
    jid: &'a str,
    class: &'a str,
    display_class: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    wrapped: Option<String>,
    queue: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<f64>,
    /// Seconds since a job in a queue was enqueued.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_count: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_class: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Box<RawValue>>,
    /// What is no payload, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    malformed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backtrace: Vec<String>,
}

impl<'a> Found<'a> {
    pub(super) fn entry(place: &'a str, entry: &'a SortedEntry) -> Self {
        Self { place, record: &entry.record, score: Some(entry.score) }
    }

    pub(super) fn queued(place: &'a str, record: &'a JobRecord) -> Self {
        Self { place, record, score: None }
    }

    /// One line of JSON, with all there is to know if `whole`.
    pub(super) fn json(&self, tool: &mut Tool, whole: bool) -> Result<(), Failure> {
        let payload = self.record.payload();
        let raw = |json: &str| RawValue::from_string(compact(json)).ok();
        // As the payload has it, also where it is no value of Sidekiq's own.
        let value =
            |key: &str| payload.and_then(|payload| payload.get(key)).filter(|json| *json != "null").and_then(raw);
        let queue = self.place.strip_prefix("queue:");
        tool.screen.json(&Line {
            r#in: self.place,
            jid: self.record.jid(),
            class: self.record.class(),
            display_class: self.record.display_class(),
            wrapped: payload.and_then(|payload| payload.decode("wrapped")),
            queue: queue.or_else(|| Some(payload?.queue())).unwrap_or_default(),
            at: self.score.map(|score| score.0),
            latency: queue.map(|_| self.record.latency().as_secs_f64()),
            retry_count: value("retry_count"),
            error_class: value("error_class"),
            error_message: value("error_message"),
            args: payload.and_then(|payload| raw(payload.args())),
            malformed: payload.is_none().then(|| self.malformed()),
            payload: payload.filter(|_| whole).and_then(|payload| raw(&payload.as_str())),
            backtrace: if whole { self.record.error_backtrace() } else { Vec::new() },
        })?;
        Ok(())
    }

    /// All there is to know.
    pub(super) fn show(&self, tool: &mut Tool) -> Result<(), Failure> {
        if tool.screen.is_json() {
            return self.json(tool, true);
        }
        let screen = &mut tool.screen;
        screen.piece(Style::Bold, self.record.jid())?;
        screen.line(&format!(" in {}", self.place))?;
        let Some(payload) = self.record.payload() else {
            screen.styled(Style::Red, "no job payload:")?;
            screen.line(&self.malformed())?;
            return Ok(());
        };
        let mut times: Vec<(&str, EpochSecs)> = ["created_at", "enqueued_at", "failed_at", "retried_at"]
            .into_iter()
            .filter_map(|key| Some((key, self.record.moment(key)?)))
            .collect();
        let of_score = if self.place == "dead" { "died" } else { "due" };
        times.extend(self.score.map(|score| (of_score, score)));
        for (name, at) in times {
            screen.piece(Style::Dim, &format!("{name:<12}"))?;
            screen.line(&format!("{} ({})", at.to_utc(), ago(at)))?;
        }
        if let Some(error) = self.error() {
            screen.piece(Style::Dim, "error       ")?;
            screen.styled(Style::Red, &error)?;
        }
        for line in indented(&without_backtrace(payload)) {
            screen.line(&line)?;
        }
        let backtrace = self.record.error_backtrace();
        if !backtrace.is_empty() {
            screen.styled(Style::Dim, "backtrace")?;
        }
        for frame in &backtrace {
            screen.line(&format!("  {frame}"))?;
        }
        Ok(())
    }

    /// Class and message of its last failure.
    pub(super) fn error(&self) -> Option<String> {
        error(self.record)
    }

    /// Its arguments on one line; what is no payload, itself.
    pub(super) fn arguments(&self) -> String {
        let args: Vec<String> = self.record.display_args().iter().map(ToString::to_string).collect();
        args.join(", ")
    }

    fn malformed(&self) -> String {
        String::from_utf8_lossy(self.record.bytes()).into_owned()
    }
}

/// Returns class and message of the last failure of a job, or the one of them that the payload has.
pub(super) fn error(record: &JobRecord) -> Option<String> {
    match (text(record, "error_class"), text(record, "error_message")) {
        (Some(class), Some(message)) if !message.is_empty() => Some(format!("{class}: {message}")),
        (class, message) => class.or(message),
    }
}

/// Returns `retry_count` as the Web UI shows it: as the payload has it, 0 after the first failure. Empty if the payload has none.
pub(super) fn retries(record: &JobRecord) -> String {
    text(record, "retry_count").unwrap_or_default()
}

/// Returns a value of the payload as text; `None` if it is absent or `null`.
pub(super) fn text(record: &JobRecord, key: &str) -> Option<String> {
    let payload = record.payload()?;
    payload.decode(key).or_else(|| payload.get(key).filter(|json| *json != "null").map(compact))
}

/// The payload without the packed lines, which are shown below it.
fn without_backtrace(payload: &ferrokiq::Payload) -> String {
    let mut payload = payload.clone();
    payload.remove("error_backtrace");
    payload.into_string()
}
