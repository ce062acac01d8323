use std::fmt::Display;
use std::io;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Screen, Style, printable};

/// Rows in columns, as they come: the first hundred say how wide the columns are.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    waiting: Vec<Vec<Cell>>,
    widths: Option<Vec<usize>>,
}

#[derive(Debug)]
struct Column {
    title: &'static str,
    to_the_right: bool,
    /// Gives way where the terminal is too narrow.
    bends: bool,
}

/// What stands in one column of a row.
#[derive(Debug)]
pub(crate) struct Cell(String, Style);

/// What can be said, in a cell.
pub(crate) fn cell(what: impl Display) -> Cell {
    Cell(what.to_string(), Style::Plain)
}

impl Cell {
    pub(crate) fn style(self, style: Style) -> Self {
        Self(self.0, style)
    }
}

const ROWS: usize = 100;
const GAP: &str = "  ";
/// No column is made narrower.
const NARROWEST: usize = 8;

impl Table {
    /// A title that begins with `>` makes a column of numbers, with `~` one that may be cut.
    pub(crate) fn new<const N: usize>(titles: [&'static str; N]) -> Self {
        let column = |title: &'static str| {
            let (to_the_right, bends) = (title.starts_with('>'), title.starts_with('~'));
            Column { title: title.trim_start_matches(['>', '~']), to_the_right, bends }
        };
        Self { columns: titles.map(column).into(), waiting: Vec::new(), widths: None }
    }

    pub(crate) fn row<const N: usize>(&mut self, screen: &mut Screen, cells: [Cell; N]) -> io::Result<()> {
        let cells = cells.map(|cell| Cell(printable(&cell.0), cell.1)).into();
        if let Some(widths) = &self.widths {
            return print(screen, &self.columns, widths, cells);
        }
        self.waiting.push(cells);
        if self.waiting.len() == ROWS { self.settle(screen) } else { Ok(()) }
    }

    /// Prints what waits; nothing at all if there was no row.
    pub(crate) fn end(mut self, screen: &mut Screen) -> io::Result<()> {
        if self.widths.is_none() && !self.waiting.is_empty() { self.settle(screen) } else { Ok(()) }
    }

    /// As [`end`](Self::end). On a terminal, prints `nothing` if there was no row.
    pub(crate) fn end_or(self, screen: &mut Screen, nothing: &str) -> io::Result<()> {
        let is_empty = self.widths.is_none() && self.waiting.is_empty();
        if is_empty { screen.nothing(nothing) } else { self.end(screen) }
    }

    fn settle(&mut self, screen: &mut Screen) -> io::Result<()> {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| column.title.len()).collect();
        for row in &self.waiting {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.0.width());
            }
        }
        if let Some(room) = screen.width() {
            self.bend(&mut widths, room);
        }
        let titles = self.columns.iter().map(|column| Cell(column.title.to_owned(), Style::Bold)).collect();
        print(screen, &self.columns, &widths, titles)?;
        for row in self.waiting.drain(..) {
            print(screen, &self.columns, &widths, row)?;
        }
        self.widths = Some(widths);
        Ok(())
    }

    /// Takes from the widest of the columns that bend until all fit.
    fn bend(&self, widths: &mut [usize], room: usize) {
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        loop {
            let taken: usize = widths.iter().sum::<usize>() + gaps;
            let bending = (0..widths.len()).filter(|at| self.columns[*at].bends && widths[*at] > NARROWEST);
            let Some(widest) = bending.max_by_key(|at| widths[*at]).filter(|_| taken > room) else { return };
            widths[widest] = NARROWEST.max(widths[widest].saturating_sub(taken - room));
        }
    }
}

fn print(screen: &mut Screen, columns: &[Column], widths: &[usize], cells: Vec<Cell>) -> io::Result<()> {
    let last = columns.len() - 1;
    for (at, Cell(text, style)) in cells.into_iter().enumerate() {
        let text = if columns[at].bends && screen.width().is_some() { cut(&text, widths[at]) } else { text };
        let space = " ".repeat(widths[at].saturating_sub(text.width()));
        if columns[at].to_the_right {
            screen.piece(Style::Plain, &space)?;
        }
        screen.piece(style, &text)?;
        if at < last {
            screen.piece(Style::Plain, if columns[at].to_the_right { "" } else { &space })?;
            screen.piece(Style::Plain, GAP)?;
        }
    }
    screen.line("")
}

/// As much of a text as fits into so many columns.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut taken = 0;
    let kept: String = text
        .chars()
        .take_while(|c| {
            taken += c.width().unwrap_or(0);
            taken < width
        })
        .collect();
    kept + "…"
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(colour: bool, width: Option<usize>, rows: &[(&str, u32, &str)]) -> String {
        let paper = Paper::default();
        let mut screen = Screen::of(paper.clone(), colour, width);
        let mut table = Table::new(["name", ">size", "~what"]);
        for (name, size, what) in rows {
            table.row(&mut screen, [cell(name), cell(size), cell(what).style(Style::Red)]).unwrap();
        }
        table.end(&mut screen).unwrap();
        screen.flush().unwrap();
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn puts_columns_below_each_other() {
        let rows = [("low", 7, "one"), ("日本", 1000, "a much longer text")];
        assert_eq!(printed(false, None, &rows), "name  size  what\nlow      7  one\n日本  1000  a much longer text\n");
        assert_eq!(printed(false, Some(22), &rows), "name  size  what\nlow      7  one\n日本  1000  a much lo…\n");
        assert_eq!(printed(false, None, &[]), "");
    }

    #[test]
    fn escapes_what_steers_a_terminal_and_colours_only_where_asked() {
        let told = printed(true, None, &[("\x1b[2J\u{9b}x\n\u{202e}", 1, "x")]);
        assert_eq!(told.lines().nth(1).unwrap(), "\\u{1b}[2J\\u{9b}x\\n\\u{202e}     1  \x1b[31mx\x1b[0m");
    }

    #[test]
    fn goes_on_after_the_first_rows() {
        let rows = vec![("a", 1, "b"); 250];
        assert_eq!(printed(false, None, &rows).lines().count(), 251);
    }
}
