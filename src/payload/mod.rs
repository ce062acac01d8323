//! The job as it lies in Redis: one JSON object whose raw bytes are the truth.
//!
//! A [`Payload`] keeps the text it was read from and an ordered index of its top-level keys. Known keys are typed
//! accessors, `args` and everything else stay raw JSON. Setting a key splices it in: an existing key keeps its place, a
//! new one goes to the end (the order of a Ruby `Hash`), and every byte that nobody asked to change stays the same byte.
//! Numbers of any size, float spellings, escapes and unknown keys therefore survive any number of retries.

#[cfg(any(feature = "api", feature = "server"))]
mod backtrace;
#[cfg(any(feature = "api", feature = "server"))]
mod count;
mod distinct;
mod encode;
#[cfg(feature = "server")]
mod fetched;
mod finite;
mod gem;
mod index;
mod mold;
#[cfg(feature = "server")]
mod names;
mod raw;
mod retry;
#[cfg(feature = "server")]
mod ruby;
mod scan;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::time::{EpochSecs, StampForm};

pub use crate::jid::Jid;
#[cfg(any(feature = "api", feature = "server"))]
pub use backtrace::{BacktraceError, pack_backtrace, unpack_backtrace};
#[cfg(any(feature = "api", feature = "server"))]
pub(crate) use count::RetryCount;
pub(crate) use distinct::last_wins;
pub(crate) use encode::to_json;
#[cfg(feature = "server")]
pub(crate) use fetched::{Edits, Fetched, LARGE};
pub use gem::Gem;
use index::{Entry, Key, STRING_KEYS, index};
pub(crate) use mold::Mold;
#[cfg(feature = "server")]
pub(crate) use names::names;
use raw::Raw;
pub use retry::Retry;
#[cfg(feature = "server")]
pub(crate) use ruby::unreadable;
pub(crate) use scan::MAX_DEPTH;
#[cfg(feature = "server")]
pub(crate) use text::error_message;
#[cfg(any(feature = "api", feature = "server"))]
pub(crate) use text::is_routable_queue;

/// Classes of the payloads that hold a job of ActiveJob: that of Sidekiq 8, and that of Rails before.
pub(crate) const WRAPPERS: [&str; 2] =
    ["Sidekiq::ActiveJob::Wrapper", "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper"];

/// Bytes a payload may have where nothing else is configured: 16 MiB. A worker moves a larger one to the dead set unread.
pub(crate) const MAX_PAYLOAD: usize = 16 << 20;

/// One job on the wire.
///
/// ```
/// use ferrokiq::Payload;
///
/// let raw = r#"{"class":"Report","args":[123456789012345678901234,1.0e+20],"queue":"low","vip":true}"#;
/// let mut payload = Payload::parse(raw)?;
/// assert_eq!((payload.class(), payload.queue()), ("Report", "low"));
/// assert_eq!(payload.as_str(), raw);
///
/// payload.insert("queue", "high");
/// payload.insert("tenant", 7);
/// assert_eq!(
///     payload.as_str(),
///     r#"{"class":"Report","args":[123456789012345678901234,1.0e+20],"queue":"high","vip":true,"tenant":7}"#,
/// );
/// # Ok::<(), ferrokiq::Error>(())
/// ```
pub struct Payload {
    raw: Raw,
    /// In the order of the text; of keys that stand twice only the last counts, as in Ruby.
    entries: Vec<Entry>,
    /// Whether `entries` says something that `raw` does not.
    edited: bool,
    /// Values of the string keys below whose text holds escapes; nearly always empty.
    unescaped: Vec<(&'static str, Box<str>)>,
}

/// A piece of the text of a payload.
enum Piece<'a> {
    /// A range of the text it was read from.
    Kept(Range<usize>),
    New(&'a str),
}

/// Bytes that are no job payload, kept as they came: they belong in the dead set, where Sidekiq puts them.
#[non_exhaustive]
pub struct Malformed {
    /// What was read.
    pub bytes: Vec<u8>,
    /// Why it is no payload; never quotes the bytes.
    pub reason: String,
}

impl fmt::Debug for Malformed {
    /// Without the bytes: they may be a job after all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, reason } = self;
        write!(f, "Malformed({} bytes, {reason})", bytes.len())
    }
}

impl Payload {
    /// A job for `class` with positional arguments, to be given a queue, options and a jid by
    /// [`Client::push`](crate::Client::push).
    ///
    /// # Panics
    ///
    /// If an argument cannot be written as JSON; [`try_new`](Self::try_new) returns the error instead.
    ///
    /// ```
    /// use ferrokiq::Payload;
    ///
    /// let payload = Payload::new("Mailer", ["bob".into(), 3.into()]).with_queue("mail");
    /// assert_eq!(payload.as_str(), r#"{"class":"Mailer","args":["bob",3],"queue":"mail"}"#);
    /// ```
    pub fn new(class: &str, args: impl IntoIterator<Item = serde_json::Value>) -> Self {
        let args: Vec<_> = args.into_iter().collect();
        Self::try_new(class, &args).expect("a JSON value can be written as JSON")
    }

    /// As [`new`](Self::new), for arguments of any serialisable type.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Args`](crate::ErrorKind::Args) if `args` is not a JSON array, holds a number JSON cannot write, or is
    /// nested deeper than Ruby reads.
    pub fn try_new(class: &str, args: &impl Serialize) -> Result<Self> {
        let args = encode_args(class, args)?;
        let mut payload = Self::empty();
        payload.insert("class", class);
        payload.insert_raw("args", args);
        Ok(payload)
    }

    pub(crate) fn empty() -> Self {
        Self { raw: Raw::Own("{}".to_owned()), entries: Vec::with_capacity(8), edited: false, unescaped: Vec::new() }
    }

    /// Reads a payload.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Payload`](crate::ErrorKind::Payload) unless `raw` is one JSON object that Ruby would read: nested
    /// at most 100 deep, without lone surrogates, with nothing behind it. Which keys it has does not matter here.
    pub fn parse(raw: impl Into<String>) -> Result<Self> {
        let raw = raw.into();
        let (entries, unescaped) = index(&raw).map_err(Error::payload)?;
        Ok(Self { raw: Raw::Own(raw), entries, edited: false, unescaped })
    }

    /// Reads what came out of Redis; gives the bytes back if they are no payload.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), and for bytes that are not UTF-8.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Malformed> {
        let raw = String::from_utf8(bytes)
            .map_err(|error| Malformed { reason: "not UTF-8".to_owned(), bytes: error.into_bytes() })?;
        match index(&raw) {
            Ok((entries, unescaped)) => Ok(Self { raw: Raw::Own(raw), entries, edited: false, unescaped }),
            Err(reason) => Err(Malformed { bytes: raw.into_bytes(), reason }),
        }
    }

    /// The JSON text: the very bytes that were read, but for the keys set since.
    pub fn as_str(&self) -> Cow<'_, str> {
        if self.edited { Cow::Owned(self.render()) } else { Cow::Borrowed(&self.raw) }
    }

    /// [`as_str`](Self::as_str), consuming the payload.
    pub fn into_string(self) -> String {
        if self.edited { self.render() } else { self.raw.into_string() }
    }

    fn render(&self) -> String {
        let grown: usize = self.entries.iter().filter_map(|entry| entry.new.as_ref()).map(|new| new.len() + 24).sum();
        let mut out = String::with_capacity(self.raw.len() + grown);
        self.pieces(|piece| match piece {
            Piece::Kept(range) => out.push_str(&self.raw[range]),
            Piece::New(text) => out.push_str(text),
        });
        out
    }

    /// Calls `each` for every piece of the text, in order.
    fn pieces(&self, mut each: impl FnMut(Piece<'_>)) {
        let raw = &*self.raw;
        // Up to where `raw` is copied or left out; the end of the last value; whether a key of `raw` was kept.
        let (mut copied, mut end, mut kept) = (0, 0, false);
        for entry in &self.entries {
            let Some(at) = entry.at else { continue };
            if entry.removed && kept {
                // With the comma in front of it.
                each(Piece::Kept(copied..end));
                copied = at.end();
            } else if entry.removed {
                // Nothing is in front of it: with the comma behind it.
                if copied == 0 {
                    each(Piece::Kept(0..raw.find('{').unwrap_or(0) + 1));
                }
                let rest = &raw[at.end()..];
                let gap = rest.len() - rest.trim_start_matches([' ', '\n', '\t', '\r']).len();
                copied = at.end() + if rest[gap..].starts_with(',') { gap + 1 } else { 0 };
            } else {
                if let Some(new) = &entry.new {
                    each(Piece::Kept(copied..at.start()));
                    each(Piece::New(new));
                    copied = at.end();
                }
                kept = true;
            }
            end = at.end();
        }
        let brace = raw.rfind('}').unwrap_or(raw.len());
        each(Piece::Kept(copied..brace));
        for entry in self.entries.iter().filter(|entry| entry.at.is_none()) {
            if std::mem::replace(&mut kept, true) {
                each(Piece::New(","));
            }
            each(Piece::New(&text::json_string(self.key_text(entry))));
            each(Piece::New(":"));
            each(Piece::New(self.raw_of(entry)));
        }
        each(Piece::Kept(brace..raw.len()));
    }

    fn key_text<'a>(&'a self, entry: &'a Entry) -> &'a str {
        entry.key.text(&self.raw)
    }

    fn position(&self, key: &str) -> Option<usize> {
        let text: &str = &self.raw;
        self.entries.iter().rposition(|entry| !entry.removed && entry.key.is(text, key))
    }

    fn raw_of<'a>(&'a self, entry: &'a Entry) -> &'a str {
        match (&entry.new, entry.at) {
            (Some(new), _) => new,
            (None, Some(at)) => at.of(&self.raw),
            (None, None) => "null",
        }
    }

    /// The raw JSON of a key, if the payload has it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.position(key).map(|entry| self.raw_of(&self.entries[entry]))
    }

    /// Whether the payload has this key, be it `null`.
    pub fn contains_key(&self, key: &str) -> bool {
        self.position(key).is_some()
    }

    /// The length of the JSON text in bytes.
    pub(crate) fn size(&self) -> usize {
        self.as_str().len()
    }

    /// Whether the JSON text may have more bytes than this. Reads no value, and is wrong only where a large value was replaced or removed.
    pub(crate) fn may_exceed(&self, bytes: usize) -> bool {
        let new = |entry: &Entry| entry.new.as_ref().map_or(0, |new| new.len() + self.key_text(entry).len() + 4);
        self.raw.len() + self.entries.iter().map(new).sum::<usize>() > bytes
    }

    /// A key besides `args` that was set to a value nested deeper than Ruby reads.
    pub(crate) fn key_too_deep(&self) -> Option<&str> {
        let others = self.entries.iter().filter(|entry| !entry.removed && self.key_text(entry) != "args");
        let mut set = others.filter_map(|entry| Some((entry, entry.new.as_ref()?)));
        set.find(|(_, new)| is_too_deep(new)).map(|(entry, _)| self.key_text(entry))
    }

    /// The keys in their order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(|entry| !entry.removed).map(|entry| self.key_text(entry))
    }

    /// Each key once with its raw JSON, in the order of a Ruby `Hash`. To look at every key, use this: a [`get`](Self::get) for each would
    /// be quadratic.
    pub(crate) fn distinct(&self) -> Vec<(&str, &str)> {
        let there = self.entries.iter().filter(|entry| !entry.removed);
        last_wins(there.map(|entry| (self.key_text(entry), self.raw_of(entry))))
    }

    /// Sets a key: in its place if the payload has it, at the end if not.
    ///
    /// # Panics
    ///
    /// If `value` cannot be written as JSON that Ruby reads; [`try_insert`](Self::try_insert) returns the error instead.
    pub fn insert(&mut self, key: &str, value: impl Serialize) {
        self.try_insert(key, value).expect("the value of a payload key can be written as JSON");
    }

    /// As [`insert`](Self::insert), for a value that may be impossible to write.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Args`](crate::ErrorKind::Args), and the payload is as before, for NaN and the infinities, a map whose keys are no
    /// strings, a `RawValue` with half of a surrogate pair, and an error of the value's own `Serialize`.
    pub fn try_insert(&mut self, key: &str, value: impl Serialize) -> Result<()> {
        let value = to_json(&value)?;
        self.insert_raw(key, value);
        Ok(())
    }

    /// Sets a key to JSON text that is known to be valid.
    pub(crate) fn insert_raw(&mut self, key: &str, value: impl Into<Box<str>>) {
        match self.position(key) {
            Some(entry) => {
                let value = value.into();
                self.note_escapes(key, &value);
                self.entries[entry].new = Some(value);
                self.edited = true;
            }
            None => self.append_raw(key, value),
        }
    }

    /// Adds a key that the payload does not have, without looking for it: what is built key by key is built in linear time.
    pub(crate) fn append_raw(&mut self, key: &str, value: impl Into<Box<str>>) {
        let value = value.into();
        self.note_escapes(key, &value);
        self.entries.push(Entry { key: Key::Own(key.into()), at: None, new: Some(value), removed: false });
        self.edited = true;
    }

    fn note_escapes(&mut self, key: &str, value: &str) {
        let Some(known) = STRING_KEYS.into_iter().find(|known| *known == key) else { return };
        self.unescaped.retain(|(old, _)| *old != known);
        if value.contains('\\')
            && let Ok(text) = serde_json::from_str(value)
        {
            self.unescaped.push((known, text));
        }
    }

    /// Removes a key and gives back its raw JSON. Every other key and the space around it stay as they are.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        let last = self.position(key)?;
        let value = self.raw_of(&self.entries[last]).to_owned();
        // A key that stands twice goes twice.
        let Self { raw, entries, .. } = self;
        entries.retain_mut(|entry| {
            if entry.key.text(raw) != key {
                return true;
            }
            entry.removed = true;
            entry.at.is_some()
        });
        self.unescaped.retain(|(known, _)| *known != key);
        self.edited = true;
        Some(value)
    }

    /// The same payload on another queue.
    #[must_use]
    pub fn with_queue(mut self, queue: &str) -> Self {
        self.insert("queue", queue);
        self
    }

    /// A string value; `None` where the key is absent or holds something else.
    fn string(&self, key: &'static str) -> Option<&str> {
        if let Some((_, text)) = self.unescaped.iter().find(|(unescaped, _)| *unescaped == key) {
            return Some(text);
        }
        self.get(key)?.strip_prefix('"')?.strip_suffix('"')
    }

    /// `class`: the Ruby constant path, the name a job is registered under. Empty if absent or not a string.
    pub fn class(&self) -> &str {
        self.string("class").unwrap_or("")
    }

    /// The class that logs and metrics show: `wrapped`, else `job_class` of the data of an ActiveJob, else `class`.
    pub fn display_class(&self) -> &str {
        self.string("wrapped").unwrap_or_else(|| {
            let class = self.class();
            if WRAPPERS.contains(&class) { self.job_class().unwrap_or(class) } else { class }
        })
    }

    /// `job_class` of the data of an ActiveJob.
    pub(crate) fn job_class(&self) -> Option<&str> {
        #[derive(Deserialize)]
        struct Data<'a> {
            job_class: &'a str,
        }
        let (data,): (Data<'_>,) = serde_json::from_str(self.get("args")?).ok()?;
        Some(data.job_class)
    }

    /// `queue`, without prefix. Empty if absent or not a string.
    pub fn queue(&self) -> &str {
        self.string("queue").unwrap_or("")
    }

    /// `jid`, as it stands. Empty if absent or not a string.
    pub fn jid(&self) -> &str {
        self.string("jid").unwrap_or("")
    }

    /// `bid`: the batch this job is part of.
    pub fn bid(&self) -> Option<&str> {
        self.string("bid")
    }

    /// `retry_queue`: where retries go instead of the queue the job was fetched from.
    pub fn retry_queue(&self) -> Option<&str> {
        self.string("retry_queue")
    }

    /// `args` as raw JSON. `[]` if absent or `null`: Ruby calls such a job without arguments.
    pub fn args(&self) -> &str {
        self.get("args").filter(|args| *args != "null").unwrap_or("[]")
    }

    /// `tags`; empty if absent or not an array of strings.
    pub fn tags(&self) -> Vec<String> {
        self.decode("tags").unwrap_or_default()
    }

    /// `retry`: whether and how often a failed job is tried again.
    pub fn retry(&self) -> Retry {
        self.get("retry").map_or(Retry::Absent, Retry::from_json)
    }

    /// `retry_count`: 0 after the first failure. `None` before it, or if it is no integer.
    pub fn retry_count(&self) -> Option<i64> {
        self.decode("retry_count")
    }

    /// What keeps Ruby from reading the values and writing them again; `None` if it can. Whether a key of the payload's own stands twice is not
    /// looked at: see [`drop_repeated_keys`](Self::drop_repeated_keys).
    #[cfg(feature = "server")]
    pub(crate) fn unwritable(&self) -> Option<&'static str> {
        let values = self.entries.iter().filter(|entry| !entry.removed).map(|entry| self.raw_of(entry));
        values.filter(|value| !value.starts_with('"')).find_map(ruby::unwritable)
    }

    /// Leaves each top-level key once: its last value, where it stood first, as Ruby reads it.
    #[cfg(any(feature = "api", feature = "server"))]
    pub(crate) fn drop_repeated_keys(&mut self) {
        if !self.has_repeated_keys() {
            return;
        }
        let mut once = Self::empty();
        for (key, value) in self.distinct() {
            once.append_raw(key, value);
        }
        *self = once;
    }

    #[cfg(any(feature = "api", feature = "server"))]
    fn has_repeated_keys(&self) -> bool {
        if self.entries.len() > FEW_KEYS {
            return self.distinct().len() < self.keys().count();
        }
        self.keys().enumerate().any(|(at, key)| self.keys().take(at).any(|other| other == key))
    }

    /// A key decoded into a type; `None` if it is absent, `null`, or something else.
    pub fn decode<'a, T: serde::Deserialize<'a>>(&'a self, key: &str) -> Option<T> {
        serde_json::from_str(self.get(key)?).ok()
    }

    /// A moment in the payload, in whatever form it is written: an integer is milliseconds, a float seconds. A float of 1e11 or more
    /// is milliseconds too: as seconds it would be in the year 5138, and some ports write milliseconds with a point.
    pub fn moment(&self, key: &str) -> Option<EpochSecs> {
        let raw = self.get(key)?;
        let value: f64 = raw.parse().ok()?;
        let is_secs = raw.contains(['.', 'e', 'E']) && value < MILLIS;
        Some(EpochSecs(if is_secs { value } else { value / 1_000.0 }))
    }

    /// How this payload's own `created_at` is written, if it has one.
    pub fn stamp_form(&self) -> Option<StampForm> {
        let value: f64 = self.get("created_at")?.parse().ok()?;
        // Numbers below are seconds, even whole ones: old ports dropped the point.
        Some(if value >= MILLIS { StampForm::Millis } else { StampForm::Secs })
    }
}

/// So few keys are compared each with each: that takes a quarter of the time of a hash table.
#[cfg(any(feature = "api", feature = "server"))]
const FEW_KEYS: usize = 32;

/// Stamps from here on are milliseconds, however they are spelled: 1973 in milliseconds, 5138 in seconds.
const MILLIS: f64 = 1e11;

impl Clone for Payload {
    /// With room for the keys of a failure: a job is mostly cloned to be changed.
    fn clone(&self) -> Self {
        let mut entries = Vec::with_capacity(self.entries.len() + 8);
        entries.extend_from_slice(&self.entries);
        Self { raw: self.raw.clone(), entries, edited: self.edited, unescaped: self.unescaped.clone() }
    }
}

impl fmt::Debug for Payload {
    /// Names the job; never prints arguments, which are the users' own business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("class", &self.class())
            .field("jid", &self.jid())
            .field("queue", &self.queue())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Payload {
    /// Equal bytes.
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl From<&Payload> for serde_json::Value {
    /// For looking around in; numbers beyond 64 bits lose digits here, and only here.
    fn from(payload: &Payload) -> Self {
        serde_json::from_str(&payload.as_str()).unwrap_or(Self::Null)
    }
}

/// Arguments as a JSON array that Ruby reads.
pub(crate) fn encode_args(class: &str, args: &impl Serialize) -> Result<String> {
    let args = to_json(args).map_err(|error| {
        Error::args(format!("arguments of {class} cannot be written as JSON: {error}")).because(error)
    })?;
    if !args.starts_with('[') {
        return Err(Error::args(format!("arguments of {class} must be a JSON array")));
    }
    check_args(class, &args)?;
    Ok(args)
}

/// Makes sure that Ruby can read a JSON array as the arguments of a job.
pub(crate) fn check_args(class: &str, args: &str) -> Result<()> {
    if is_too_deep(args) {
        return Err(Error::args(format!("arguments of {class} are nested deeper than {} levels", scan::MAX_DEPTH - 2)));
    }
    if scan::has_lone_surrogate(args, scan::Glance::at(args)) {
        return Err(Error::args(format!(
            "arguments of {class} cannot be read by Ruby: what is there {}",
            scan::LONE_SURROGATE
        )));
    }
    Ok(())
}

/// Whether the value of a top-level key is nested deeper than Ruby reads; the object that holds it is one level itself.
pub(crate) fn is_too_deep(value: &str) -> bool {
    scan::deeper_than(value, scan::Glance::at(value), scan::MAX_DEPTH - 1)
}

/// How many comparisons of keys a test took: time must not be measured.
#[cfg(test)]
pub(crate) mod steps {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn count() {
        STEPS.set(STEPS.get() + 1);
    }

    /// Keys that were looked at on this thread while `f` ran.
    pub(crate) fn of<T>(f: impl FnOnce() -> T) -> (usize, T) {
        let before = STEPS.get();
        let result = f();
        (STEPS.get() - before, result)
    }
}

#[cfg(test)]
mod tests;
