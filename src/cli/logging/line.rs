//! One event as one line of text.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::LogFormat;
use crate::time::{EpochSecs, Utc};

/// What is the same for all lines.
pub(super) struct Form {
    pub(super) format: LogFormat,
    pub(super) colour: bool,
    pub(super) pid: u32,
}

/// A line in the making.
#[derive(Default)]
pub(super) struct Line {
    tid: String,
    message: String,
    /// The other fields as the line has them.
    context: String,
    /// The causes, which follow the message: see [`is_cause`].
    causes: String,
    json: bool,
    /// A value on its way into the line.
    value: String,
    whole: String,
    clock: Clock,
}

impl Line {
    /// The line with its end.
    pub(super) fn write(&mut self, form: &Form, event: &Event<'_>) -> &[u8] {
        self.tid.clear();
        self.message.clear();
        self.context.clear();
        self.causes.clear();
        self.json = form.format == LogFormat::Json;
        event.record(self);
        self.finish(form, *event.metadata().level());
        self.whole.as_bytes()
    }

    /// Writing to a string cannot fail.
    fn finish(&mut self, form: &Form, level: Level) {
        let Self { tid, message, context, causes, whole, clock, .. } = self;
        whole.clear();
        if form.format == LogFormat::Json {
            let _ = write!(whole, r#"{{"ts":"{}","pid":{},"tid":"#, clock.now(), form.pid);
            push_json(whole, tid);
            let _ = write!(whole, r#","lvl":"{}","msg":"#, name(level));
            push_json(whole, message);
            if !context.is_empty() {
                whole.push_str(r#","ctx":{"#);
                whole.push_str(context);
                whole.push('}');
            }
            whole.push_str("}\n");
            return;
        }
        if form.colour && form.format == LogFormat::Pretty {
            let _ = write!(whole, "\x1b[1;{}m{:<5}\x1b[0m", colour(level), name(level));
        } else {
            let _ = write!(whole, "{:<5}", name(level));
        }
        if form.format == LogFormat::Pretty {
            whole.push(' ');
            whole.push_str(clock.now());
        }
        let _ = write!(whole, " pid={}", form.pid);
        if !tid.is_empty() {
            whole.push_str(" tid=");
            whole.push_str(tid);
        }
        whole.push_str(context);
        whole.push_str(": ");
        push_clean(whole, message);
        whole.push_str(causes);
        whole.push('\n');
    }

    fn put_text(&mut self, name: &str, text: &str) {
        let room = room(name);
        if text.len() > room
            && let Some((end, _)) = text.char_indices().nth(room)
        {
            return self.put_whole(name, &format!("{}…", &text[..end]));
        }
        self.put_whole(name, text);
    }

    fn put_whole(&mut self, name: &str, text: &str) {
        match name {
            "message" => self.message.push_str(text),
            "tid" => self.tid.push_str(text),
            // Tags come as the payload has them: a JSON array.
            "tags" => match serde_json::from_str::<Vec<String>>(text) {
                Ok(tags) if self.json => {
                    self.begin(name);
                    push_steerless(&mut self.context, &serde_json::to_string(&tags).unwrap_or_default());
                }
                Ok(tags) => {
                    self.begin(name);
                    push_clean(&mut self.context, &tags.join(","));
                }
                Err(_) => self.put(name, text),
            },
            name if !self.json && is_cause(name) => {
                if !text.is_empty() {
                    self.causes.push_str(": ");
                    push_clean(&mut self.causes, text);
                }
            }
            _ => self.put(name, text),
        }
    }

    fn put(&mut self, name: &str, text: &str) {
        self.begin(name);
        if self.json { push_json(&mut self.context, text) } else { push_clean(&mut self.context, text) }
    }

    fn put_number(&mut self, name: &str, number: impl fmt::Display) {
        let _ = match name {
            "message" => write!(self.message, "{number}"),
            "tid" => write!(self.tid, "{number}"),
            _ => {
                self.begin(name);
                write!(self.context, "{number}")
            }
        };
    }

    fn begin(&mut self, name: &str) {
        if self.json {
            if !self.context.is_empty() {
                self.context.push(',');
            }
            push_json(&mut self.context, name);
            self.context.push(':');
        } else {
            self.context.push(' ');
            self.context.push_str(name);
            self.context.push('=');
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field.name(), value);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = std::mem::take(&mut self.value);
        text.clear();
        let _ = write!(Bounded { text: &mut text, room: room(field.name()) }, "{value:?}");
        self.put_text(field.name(), &text);
        self.value = text;
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put_number(field.name(), EpochSecs(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put_number(field.name(), value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put_number(field.name(), value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put_number(field.name(), value);
    }
}

/// Whether a field is long text that gives the reason for a message. In the text formats it follows the message, which would be hard to find
/// behind it; in JSON it is a field like any other.
fn is_cause(field: &str) -> bool {
    matches!(field, "error" | "why" | "panic" | "reason" | "hint")
}

/// Characters a field may have: a class name of a megabyte makes no line of a megabyte.
fn room(field: &str) -> usize {
    match field {
        // As much of an error as its payload keeps; a dump has a line for each job.
        "error" | "why" => 10_000,
        "message" => 100_000,
        _ => 1_000,
    }
}

/// Stops whoever formats once there is more than will be shown.
struct Bounded<'a> {
    text: &'a mut String,
    room: usize,
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.push_str(text);
        // No character has more bytes than four.
        if self.text.len() > 4 * self.room { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Whether a character does something to the line or the terminal that shows it, instead of being shown: control characters, and
/// those that turn the direction of what follows.
fn steers(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON without what JSON does not mind, but a terminal does.
fn push_steerless(out: &mut String, json: &str) {
    for c in json.chars() {
        if steers(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
}

fn push_json(out: &mut String, text: &str) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        push_steerless(out, &serde_json::to_string(text).unwrap_or_default());
    }
}

/// Text from payloads, on one line: what is no printable character cannot forge another line or steer a terminal.
pub(super) fn push_clean(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(steers) {
        out.push_str(&rest[..at]);
        let mut after = rest[at..].chars();
        match after.next() {
            // A dump of running jobs has several lines of its own; they are indented.
            Some('\n') => out.push_str("\n  "),
            Some(c) => out.extend(c.escape_default()),
            None => {}
        }
        rest = after.as_str();
    }
    out.push_str(rest);
}

/// The time in UTC with milliseconds, spelt out anew only when it has changed.
#[derive(Default)]
struct Clock {
    millis: i64,
    text: String,
}

impl Clock {
    fn now(&mut self) -> &str {
        self.at(EpochSecs::now())
    }

    fn at(&mut self, now: EpochSecs) -> &str {
        let millis = now.to_millis().0;
        if millis != self.millis || self.text.is_empty() {
            let Utc { year, month, day, hour, minute } = Utc::from(now);
            let second = now.secs().rem_euclid(60);
            self.text.clear();
            let _ = write!(
                self.text,
                "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
                millis.rem_euclid(1_000)
            );
            self.millis = millis;
        }
        &self.text
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    }
}

fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 34,
        Level::DEBUG | Level::TRACE => 32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_no_payload_forge_a_line_or_steer_a_terminal() {
        let clean = |text: &str| {
            let mut out = String::new();
            push_clean(&mut out, text);
            out
        };
        assert_eq!(clean("a\u{1b}[31m\r\u{7}b"), r"a\u{1b}[31m\r\u{7}b");
        assert_eq!(clean("one\nINFO  forged"), "one\n  INFO  forged");
        assert_eq!(clean("plain é\t漢"), "plain é\t漢");
    }

    #[test]
    fn writes_lines_as_sidekiq_does() {
        let written = |format, tags: &str| {
            let mut line = Line { json: format == LogFormat::Json, ..Line::default() };
            line.put_text("message", "done");
            line.put_text("tid", "6kk");
            line.put_text("jid", "c1");
            line.put_text("tags", tags);
            line.put_number("elapsed", EpochSecs(0.0));
            line.finish(&Form { format, colour: true, pid: 7 }, Level::INFO);
            line.whole
        };
        let tags = r#"["a","b, c"]"#;
        assert_eq!(written(LogFormat::Bare, tags), "INFO  pid=7 tid=6kk jid=c1 tags=a,b, c elapsed=0.0: done\n");
        assert_eq!(written(LogFormat::Bare, "{}"), "INFO  pid=7 tid=6kk jid=c1 tags={} elapsed=0.0: done\n");

        let json = written(LogFormat::Json, tags);
        assert!(json.ends_with(
            ",\"pid\":7,\"tid\":\"6kk\",\"lvl\":\"INFO\",\"msg\":\"done\",\"ctx\":{\"jid\":\"c1\",\"tags\":[\"a\",\"b, c\"],\"elapsed\":0.0}}\n"
        ), "{json}");
        serde_json::from_str::<serde_json::Value>(&json).unwrap();
        let pretty = written(LogFormat::Pretty, tags);
        assert!(
            pretty.starts_with("\u{1b}[1;34mINFO \u{1b}[0m 20") && pretty.contains("Z pid=7 tid=6kk jid=c1"),
            "{pretty}"
        );
    }

    #[test]
    fn shows_nothing_that_steers_and_no_more_than_fits() {
        let written = |format, hostile: &str| {
            let mut line = Line { json: format == LogFormat::Json, ..Line::default() };
            line.put_text("message", hostile);
            for field in ["jid", "class", "error", "queue"] {
                line.put_text(field, hostile);
            }
            line.put_text("tags", &serde_json::to_string(&[hostile, hostile]).unwrap());
            line.finish(&Form { format, colour: false, pid: 7 }, Level::WARN);
            line.whole
        };
        for hostile in [
            "\u{1b}]0;title\u{7}\u{1b}[2Jx",
            "\u{9b}31mred",
            "a\rb\u{8}\u{8}c\u{7f}",
            "x\nERROR pid=1 tid=a: forged",
            "\u{202e}txt.exe",
            "nul\0",
        ] {
            for format in [LogFormat::Pretty, LogFormat::Bare, LogFormat::Json] {
                let line = written(format, hostile);
                let (body, end) = line.split_at(line.len() - 1);
                assert_eq!(end, "\n");
                assert!(!body.chars().any(|c| c != '\n' && steers(c)), "{body:?}");
                assert!(!body.contains("\nERROR"), "{body:?}");
            }
            let json: serde_json::Value = serde_json::from_str(&written(LogFormat::Json, hostile)).unwrap();
            assert_eq!((&json["msg"], &json["ctx"]["class"]), (&hostile.into(), &hostile.into()));
            assert_eq!(json["ctx"]["tags"][1], hostile);
        }
        for megabyte in ["x".repeat(1 << 20), "é".repeat(1 << 20), "\u{1b}".repeat(1 << 20)] {
            for format in [LogFormat::Pretty, LogFormat::Json] {
                let line = written(format, &megabyte);
                assert!(line.len() < 1 << 20 && line.contains('…'), "{}", line.len());
            }
        }
        let mut text = String::new();
        let stopped =
            write!(Bounded { text: &mut text, room: 10 }, "{}{}{}", "x".repeat(30), "y".repeat(30), "z".repeat(30));
        assert!(stopped.is_err() && text.len() == 60);
    }

    #[test]
    fn says_what_happened_before_it_says_why() {
        let written = |format| {
            let mut line = Line { json: format == LogFormat::Json, ..Line::default() };
            for (name, text) in
                [("message", "it failed"), ("error", "A: b\n\u{1b}"), ("jid", "j1"), ("why", ""), ("hint", "c")]
            {
                line.put_text(name, text);
            }
            line.finish(&Form { format, colour: false, pid: 7 }, Level::WARN);
            line.whole
        };
        assert_eq!(written(LogFormat::Bare), "WARN  pid=7 jid=j1: it failed: A: b\n  \\u{1b}: c\n");
        let json: serde_json::Value = serde_json::from_str(&written(LogFormat::Json)).unwrap();
        assert_eq!((&json["msg"], &json["ctx"]["error"]), (&"it failed".into(), &"A: b\n\u{1b}".into()));
    }

    #[test]
    fn tells_the_time() {
        let mut clock = Clock::default();
        assert_eq!(clock.at(EpochSecs(1_795_408_513.907_6)), "2026-11-23T04:35:13.907Z");
        assert_eq!(clock.at(EpochSecs(1_795_408_513.907_9)), "2026-11-23T04:35:13.907Z");
        assert_eq!(clock.at(EpochSecs(1_795_408_514.0)), "2026-11-23T04:35:14.000Z");
    }
}
