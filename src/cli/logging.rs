use std::fmt;
use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::time::{EpochSecs, Utc};

/// How log lines look; Sidekiq's formatters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum LogFormat {
    /// Level, time, pid, tid, context, message; coloured on a terminal. Without time under `DYNO`.
    #[default]
    Pretty,
    /// As pretty, without time and colour
    Bare,
    /// One JSON object per line
    Json,
}

/// Sends everything that is logged to stdout as Sidekiq's lines. `RUST_LOG` chooses levels; without it INFO, or DEBUG if
/// `verbose`. Does nothing if the program has set up logging of its own.
pub fn init(format: LogFormat, verbose: bool) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(if verbose { "info,ferrokiq=debug" } else { "info" }));
    let dyno = std::env::var_os("DYNO").is_some();
    let lines = Lines {
        format: if dyno && format == LogFormat::Pretty { LogFormat::Bare } else { format },
        colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        pid: std::process::id(),
    };
    let _ = tracing_subscriber::fmt().with_env_filter(filter).event_format(lines).try_init();
}

/// Writes out what was logged, before the process ends without ado.
pub(super) fn flush() {
    let _ = std::io::stdout().flush();
}

struct Lines {
    format: LogFormat,
    colour: bool,
    pid: u32,
}

/// What an event carries, sorted as a line has it.
#[derive(Default)]
struct Parts {
    tid: String,
    message: String,
    context: Vec<(&'static str, Piece)>,
}

enum Piece {
    Text(String),
    Number(String),
    List(Vec<String>),
}

impl Piece {
    /// Tags come as the payload has them: a JSON array.
    fn tags(json: String) -> Self {
        serde_json::from_str(&json).map_or(Self::Text(json), Self::List)
    }
}

impl Parts {
    fn put(&mut self, field: &Field, piece: Piece) {
        match (field.name(), piece) {
            ("message", Piece::Text(text) | Piece::Number(text)) => self.message = text,
            ("tid", Piece::Text(text) | Piece::Number(text)) => self.tid = text,
            ("tags", Piece::Text(json)) => self.context.push(("tags", Piece::tags(json))),
            (name, piece) => self.context.push((name, piece)),
        }
    }
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Piece::Text(value.to_owned()));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Piece::Text(format!("{value:?}")));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Piece::Number(EpochSecs(value).to_string()));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Piece::Number(value.to_string()));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Piece::Number(value.to_string()));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Piece::Number(value.to_string()));
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut parts = Parts::default();
        event.record(&mut parts);
        let level = *event.metadata().level();
        match self.format {
            LogFormat::Json => self.json(&mut out, level, &parts),
            LogFormat::Pretty | LogFormat::Bare => self.text(&mut out, level, &parts),
        }
    }
}

impl Lines {
    fn text(&self, out: &mut Writer<'_>, level: Level, parts: &Parts) -> fmt::Result {
        if self.colour && self.format == LogFormat::Pretty {
            write!(out, "\x1b[1;{}m{:<5}\x1b[0m", colour(level), name(level))?;
        } else {
            write!(out, "{:<5}", name(level))?;
        }
        if self.format == LogFormat::Pretty {
            write!(out, " {Timestamp}")?;
        }
        write!(out, " pid={}", self.pid)?;
        if !parts.tid.is_empty() {
            write!(out, " tid={}", parts.tid)?;
        }
        for (key, piece) in &parts.context {
            match piece {
                Piece::Text(value) | Piece::Number(value) => write!(out, " {key}={}", Clean(value))?,
                Piece::List(values) => write!(out, " {key}={}", Clean(&values.join(",")))?,
            }
        }
        writeln!(out, ": {}", Clean(&parts.message))
    }

    fn json(&self, out: &mut Writer<'_>, level: Level, parts: &Parts) -> fmt::Result {
        let text = |text: &str| serde_json::to_string(text).unwrap_or_default();
        write!(out, r#"{{"ts":"{Timestamp}","pid":{},"tid":{}"#, self.pid, text(&parts.tid))?;
        write!(out, r#","lvl":"{}","msg":{}"#, name(level), text(&parts.message))?;
        for (at, (key, piece)) in parts.context.iter().enumerate() {
            out.write_str(if at == 0 { r#","ctx":{"# } else { "," })?;
            match piece {
                Piece::Text(value) => write!(out, "{}:{}", text(key), text(value))?,
                Piece::Number(value) => write!(out, "{}:{value}", text(key))?,
                Piece::List(values) => {
                    write!(out, "{}:{}", text(key), serde_json::to_string(values).unwrap_or_default())?;
                }
            }
        }
        out.write_str(if parts.context.is_empty() { "}\n" } else { "}}\n" })
    }
}

/// Text from payloads, on one line: what is no printable character cannot forge another line or steer a terminal.
struct Clean<'a>(&'a str);

impl fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(|c: char| c.is_control() && c != '\t') {
            f.write_str(&rest[..at])?;
            let mut after = rest[at..].chars();
            match after.next() {
                // A dump of running jobs has several lines of its own; they are indented.
                Some('\n') => f.write_str("\n  ")?,
                Some(c) => write!(f, "{}", c.escape_default())?,
                None => {}
            }
            rest = after.as_str();
        }
        f.write_str(rest)
    }
}

/// Now, in UTC with milliseconds.
struct Timestamp;

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = EpochSecs::now();
        let Utc { year, month, day, hour, minute } = Utc::from(now);
        let second = now.secs().rem_euclid(60);
        let millis = now.to_millis().0.rem_euclid(1_000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
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
        assert_eq!(Clean("a\u{1b}[31m\r\u{7}b").to_string(), r"a\u{1b}[31m\r\u{7}b");
        assert_eq!(Clean("one\nINFO  forged").to_string(), "one\n  INFO  forged");
        assert_eq!(Clean("plain é\t漢").to_string(), "plain é\t漢");
    }

    #[test]
    fn writes_lines_as_sidekiq_does() {
        let lines = Lines { format: LogFormat::Bare, colour: true, pid: 7 };
        let parts = Parts {
            tid: "6kk".into(),
            message: "done".into(),
            context: vec![
                ("jid", Piece::Text("c1".into())),
                ("tags", Piece::tags(r#"["a","b, c"]"#.into())),
                ("elapsed", Piece::Number("0.0".into())),
            ],
        };
        let mut text = String::new();
        lines.text(&mut Writer::new(&mut text), Level::INFO, &parts).unwrap();
        assert_eq!(text, "INFO  pid=7 tid=6kk jid=c1 tags=a,b, c elapsed=0.0: done\n");

        let mut json = String::new();
        lines.json(&mut Writer::new(&mut json), Level::WARN, &parts).unwrap();
        assert!(json.ends_with(
            ",\"pid\":7,\"tid\":\"6kk\",\"lvl\":\"WARN\",\"msg\":\"done\",\"ctx\":{\"jid\":\"c1\",\"tags\":[\"a\",\"b, c\"],\"elapsed\":0.0}}\n"
        ), "{json}");
        serde_json::from_str::<serde_json::Value>(&json).unwrap();
    }
}
