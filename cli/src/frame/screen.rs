use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};

use serde::Serialize;

use super::{json_line, printable};

/// Standard output: text for people, or JSON for programs. Everything it is given is escaped here, so nobody can forget to.
pub(crate) struct Screen {
    out: BufWriter<Box<dyn Write>>,
    json: bool,
    is_terminal: bool,
    colour: bool,
    /// Columns of the terminal; `None` if it is none: then nothing is cut.
    width: Option<usize>,
}

/// How text looks on a terminal with colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Style {
    #[default]
    Plain,
    Bold,
    Dim,
    Red,
    Yellow,
    Green,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Red => "\x1b[31m",
            Self::Yellow => "\x1b[33m",
            Self::Green => "\x1b[32m",
        }
    }
}

impl Screen {
    pub(crate) fn stdout(json: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)).filter(|_| is_terminal);
        Self { out: BufWriter::new(Box::new(io::stdout())), json, is_terminal, colour: is_terminal && wanted, width }
    }

    #[cfg(test)]
    pub(crate) fn of(out: impl Write + 'static, colour: bool, width: Option<usize>) -> Self {
        Self { out: BufWriter::new(Box::new(out)), json: false, is_terminal: width.is_some(), colour, width }
    }

    /// Whether `--json` was asked for.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn width(&self) -> Option<usize> {
        self.width
    }

    /// One line for people.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.styled(Style::Plain, text)
    }

    /// A line in the place of an empty list: on a terminal alone, since a program that reads text counts lines.
    pub(crate) fn nothing(&mut self, text: &str) -> io::Result<()> {
        if self.is_terminal && !self.json { self.styled(Style::Dim, text) } else { Ok(()) }
    }

    pub(crate) fn styled(&mut self, style: Style, text: &str) -> io::Result<()> {
        self.piece(style, text)?;
        self.out.write_all(b"\n")
    }

    /// Part of a line.
    pub(crate) fn piece(&mut self, style: Style, text: &str) -> io::Result<()> {
        let text = printable(text);
        if self.colour && style != Style::Plain {
            write!(self.out, "{}{text}\x1b[0m", style.code())
        } else {
            self.out.write_all(text.as_bytes())
        }
    }

    /// One line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        writeln!(self.out, "{}", json_line(value)?)
    }

    /// Text that is ours alone and may have many lines: help, scripts.
    pub(crate) fn verbatim(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("json", &self.json).field("width", &self.width).finish_non_exhaustive()
    }
}
