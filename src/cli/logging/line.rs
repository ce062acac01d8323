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
        self.json = form.format == LogFormat::Json;
        event.record(self);
        self.finish(form, *event.metadata().level());
        self.whole.as_bytes()
    }

    /// Writing to a string cannot fail.
    fn finish(&mut self, form: &Form, level: Level) {
        let Self { tid, message, context, whole, clock, .. } = self;
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
        whole.push('\n');
    }

    fn put_text(&mut self, name: &str, text: &str) {
        match name {
            "message" => self.message.push_str(text),
            "tid" => self.tid.push_str(text),
            // Tags come as the payload has them: a JSON array.
            "tags" => match serde_json::from_str::<Vec<String>>(text) {
                Ok(tags) if self.json => {
                    self.begin(name);
                    self.context.push_str(&serde_json::to_string(&tags).unwrap_or_default());
                }
                Ok(tags) => {
                    self.begin(name);
                    push_clean(&mut self.context, &tags.join(","));
                }
                Err(_) => self.put(name, text),
            },
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
        let _ = write!(text, "{value:?}");
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

fn push_json(out: &mut String, text: &str) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}

/// Text from payloads, on one line: what is no printable character cannot forge another line or steer a terminal.
fn push_clean(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_control() && c != '\t') {
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
    fn tells_the_time() {
        let mut clock = Clock::default();
        assert_eq!(clock.at(EpochSecs(1_795_408_513.907_6)), "2026-11-23T04:35:13.907Z");
        assert_eq!(clock.at(EpochSecs(1_795_408_513.907_9)), "2026-11-23T04:35:13.907Z");
        assert_eq!(clock.at(EpochSecs(1_795_408_514.0)), "2026-11-23T04:35:14.000Z");
    }
}
