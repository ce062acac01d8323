use std::io;

use serde::Serialize;

/// Text out of Redis for a terminal: what is no printable character could steer it, forge a line or turn its order around.
pub(crate) fn printable(text: &str) -> String {
    if !text.chars().any(is_harmful) {
        return text.to_owned();
    }
    text.chars().map(|c| if is_harmful(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// JSON on one line, with everything escaped that [`printable`] escapes.
pub(crate) fn json_line(value: &impl Serialize) -> io::Result<String> {
    let line = serde_json::to_string(value)?;
    if !line.chars().any(is_harmful) {
        return Ok(line);
    }
    // All of them are below U+10000, and stand in strings: serde writes one line.
    let escaped = |c: char| if is_harmful(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Ok(line.chars().map(escaped).collect())
}

/// JSON without white space between its parts; every number and string stays as it is written.
pub(crate) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for piece in Pieces(json) {
        out.push_str(piece);
    }
    out
}

/// JSON in indented lines; every number and string stays as it is written.
pub(crate) fn indented(json: &str) -> Vec<String> {
    let (mut lines, mut line, mut depth) = (Vec::new(), String::new(), 0_usize);
    let mut pieces = Pieces(json).peekable();
    while let Some(piece) = pieces.next() {
        let next = pieces.peek().copied().unwrap_or_default();
        let begin = |depth: usize| "  ".repeat(depth);
        match piece {
            "{" | "[" if matches!(next, "}" | "]") => line.push_str(piece),
            "{" | "[" => {
                depth += 1;
                lines.push(std::mem::replace(&mut line, begin(depth)) + piece);
            }
            "}" | "]" if line.ends_with(['{', '[']) => line.push_str(piece),
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                lines.push(std::mem::replace(&mut line, begin(depth)));
                line.push_str(piece);
            }
            "," => lines.push(std::mem::replace(&mut line, begin(depth)) + ","),
            ":" => line.push_str(": "),
            other => line.push_str(other),
        }
    }
    lines.push(line);
    lines
}

/// The tokens of JSON: brackets, commas, colons, strings, and all else.
struct Pieces<'a>(&'a str);

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start();
        let first = rest.chars().next()?;
        let end = match first {
            '"' => end_of_string(rest),
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            _ => rest.find(|c: char| c.is_whitespace() || "{}[],:\"".contains(c)).unwrap_or(rest.len()),
        };
        let (piece, left) = rest.split_at(end);
        self.0 = left;
        Some(piece)
    }
}

fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    let closes = |(_, byte): &(usize, u8)| {
        let closes = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        closes
    };
    text.bytes().enumerate().skip(1).find(closes).map_or(text.len(), |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_number_and_string() {
        let json = " {\"a\" : [ 1.0e400,123456789012345678901234, \"x \\\" , y\" ] ,\n \"b\":{ },\"c\":[]} ";
        assert_eq!(compact(json), r#"{"a":[1.0e400,123456789012345678901234,"x \" , y"],"b":{},"c":[]}"#);
        let lines = indented(json).join("\n");
        assert_eq!(
            lines,
            "{\n  \"a\": [\n    1.0e400,\n    123456789012345678901234,\n    \"x \\\" , y\"\n  ],\n  \"b\": {},\n  \"c\": []\n}"
        );
        assert_eq!(compact(&lines), compact(json));
    }

    #[test]
    fn survives_what_is_no_json() {
        for text in ["", "\"open", "}}]]", "{\"a", "\\", "é日\u{1b}"] {
            assert_eq!(compact(text), text);
            assert_eq!(indented(text).concat().replace(' ', ""), text, "{text}");
        }
    }

    #[test]
    fn writes_lines_that_steer_nothing() {
        let line = json_line(&"a\u{1b}\u{9b}\u{202e}\u{2028}é\n").unwrap();
        assert_eq!(line, "\"a\\u001b\\u009b\\u202e\\u2028é\\n\"");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), "a\u{1b}\u{9b}\u{202e}\u{2028}é\n");
    }
}
