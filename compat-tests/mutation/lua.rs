//! Splits lines of Lua into tokens: enough to change a line by rule.

use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Number,
    Text,
    Sign,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Range<usize>,
}

/// Returns the tokens of one line, up to its comment.
pub(crate) fn tokens(line: &str) -> Vec<Token> {
    let bytes = line.as_bytes();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let from = at;
        let run = |from: usize, is: fn(u8) -> bool| bytes[from..].iter().take_while(|byte| is(**byte)).count();
        let kind = match bytes[at] {
            b'#' if at == 0 => break,
            b'-' if bytes.get(at + 1) == Some(&b'-') => break,
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                at += run(at, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
                Kind::Word
            }
            byte if byte.is_ascii_digit() => {
                at += run(at, |byte| byte.is_ascii_alphanumeric());
                // `1e-6`
                if bytes[at - 1] == b'e' && bytes.get(at) == Some(&b'-') {
                    at += 1 + run(at + 1, |byte| byte.is_ascii_digit());
                }
                Kind::Number
            }
            b'\'' => {
                at += 2 + bytes[at + 1..].iter().take_while(|byte| **byte != b'\'').count();
                Kind::Text
            }
            _ => {
                at +=
                    if ["==", "~=", "<=", ">=", ".."].iter().any(|sign| line[at..].starts_with(sign)) { 2 } else { 1 };
                Kind::Sign
            }
        };
        tokens.push(Token { kind, span: from..at.min(bytes.len()) });
    }
    tokens
}

/// What a line is as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A statement that ends on its line and can be left out: a call, an assignment, a one-line `if` or `for`, `return` in a block.
    Statement,
    /// `local name = ...` on one line.
    Local,
    Other,
}

pub(crate) fn classify(line: &str, tokens: &[Token]) -> Line {
    let Some(first) = tokens.first() else { return Line::Other };
    let count = |words: &[&str]| tokens.iter().filter(|token| words.contains(&&line[token.span.clone()])).count();
    let is_whole = count(&["(", "{"]) == count(&[")", "}"]) && count(&["do", "then", "function"]) == count(&["end"]);
    let word = &line[first.span.clone()];
    match word {
        _ if !is_whole || first.kind != Kind::Word => Line::Other,
        "local" if count(&["function"]) == 0 => Line::Local,
        "return" | "break" if first.span.start > 0 => Line::Statement,
        "local" | "function" | "else" | "elseif" | "end" | "repeat" | "until" | "return" | "break" => Line::Other,
        _ => Line::Statement,
    }
}
