//! Lines of a file that anybody may have made.

use std::io::{self, BufRead, Read};

/// Reads the next line, without its end, into `line`. Returns whether there is one, and whether it has an end.
///
/// # Errors
///
/// What reading fails with; [`InvalidData`](io::ErrorKind::InvalidData) if the line is longer than `most` bytes: no more of it is read.
pub(crate) fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>, most: u64) -> io::Result<Option<bool>> {
    line.clear();
    input.take(most + 1).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Some(true));
    }
    if line.len() as u64 > most {
        let mebibytes = most >> 20;
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line is longer than {mebibytes} MiB")));
    }
    Ok((!line.is_empty()).then_some(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_an_end_is_not_read_for_ever() {
        let (mut endless, mut line) = (io::BufReader::new(io::repeat(b'x')), Vec::new());
        let error = read_line(&mut endless, &mut line, 1 << 20).unwrap_err();
        assert_eq!((error.to_string().as_str(), line.len()), ("a line is longer than 1 MiB", (1 << 20) + 1));
    }

    #[test]
    fn lines_come_one_by_one() {
        let (mut input, mut line, mut lines) = (&b"ab\n\nc"[..], Vec::new(), Vec::new());
        while let Some(ended) = read_line(&mut input, &mut line, 2).unwrap() {
            lines.push((String::from_utf8(line.clone()).unwrap(), ended));
        }
        assert_eq!(lines, [("ab".to_owned(), true), (String::new(), true), ("c".to_owned(), false)]);
    }
}
