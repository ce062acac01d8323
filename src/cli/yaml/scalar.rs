//! The types of YAML 1.1 by which Psych reads words that stand without quotes.

use saphyr_parser::Tag;

use super::Value;

pub(super) fn value(text: &str, is_plain: bool, tag: Option<&Tag>) -> Result<Value, String> {
    match tag.map(|tag| (tag.is_yaml_core_schema(), tag.suffix.as_str())) {
        None if is_plain => plain(text),
        None | Some((true, "str") | (false, "str" | "ruby/string")) => Ok(Value::Text(text.to_owned())),
        Some((false, "ruby/sym" | "ruby/symbol")) => Ok(Value::Symbol(text.to_owned())),
        Some((false, suffix)) if suffix.starts_with("ruby/") => Err("an object of Ruby is no setting".to_owned()),
        Some((true, "float")) => match plain(text)? {
            Value::Int(number) => Ok(Value::Float(number as f64)),
            other => Ok(other),
        },
        Some((true, "binary")) => Err("a !!binary value is no setting; write it as text".to_owned()),
        Some(_) => plain(text),
    }
}

fn plain(text: &str) -> Result<Value, String> {
    if begins_like_a_word(text) || text.contains('\n') {
        return Ok(word(text));
    }
    if is_date(text) {
        return Err(format!("{text} is a date, which Sidekiq refuses; write it in quotes"));
    }
    match text.to_ascii_lowercase().as_str() {
        "" => return Ok(Value::Null),
        ".inf" | "+.inf" => return Ok(Value::Float(f64::INFINITY)),
        "-.inf" => return Ok(Value::Float(f64::NEG_INFINITY)),
        ".nan" => return Ok(Value::Float(f64::NAN)),
        _ => {}
    }
    if let Some(name) = text.strip_prefix(':').filter(|name| !name.is_empty()) {
        return Ok(Value::Symbol(symbol(name).to_owned()));
    }
    Ok(base_sixty(text)
        .or_else(|| float(text))
        .or_else(|| integer(text))
        .unwrap_or_else(|| Value::Text(text.to_owned())))
}

/// A word that is no number whatever follows: it begins, after one more character at most, with a letter or a sign.
fn begins_like_a_word(text: &str) -> bool {
    let is_of_word = |c: char| c.is_alphabetic() || c.is_whitespace() || "_!@#$%^&*(){}<>|/\\~;=".contains(c);
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return false };
    is_of_word(first)
        || (!first.is_ascii_digit() && !".:-".contains(first) && characters.next().is_some_and(is_of_word))
}

fn word(text: &str) -> Value {
    match text.to_ascii_lowercase().as_str() {
        "~" | "null" => Value::Null,
        "yes" | "true" | "on" => Value::Bool(true),
        "no" | "false" | "off" => Value::Bool(false),
        _ => Value::Text(text.to_owned()),
    }
}

/// The name behind a colon: `"name"` in quotes is `name`.
fn symbol(name: &str) -> &str {
    let quoted = name.chars().next().filter(|first| matches!(first, '"' | '\'')).and_then(|quote| {
        let (text, _) = name[1..].rsplit_once(quote)?;
        Some(text.strip_prefix(':').unwrap_or(text))
    });
    quoted.unwrap_or(name)
}

/// Splits off as many digits as there are, if that is one of these numbers.
fn digits(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<(u32, &str)> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &text[..text.len() - rest.len()];
    if count.contains(&digits.len()) { Some((digits.parse().ok()?, rest)) } else { None }
}

/// `2026-11-27`, with a time of day or without.
fn is_date(text: &str) -> bool {
    let parts = || {
        let (_, rest) = digits(text.strip_prefix('-').unwrap_or(text), 4..=4)?;
        let (month, rest) = digits(rest.strip_prefix('-')?, 1..=2)?;
        let (day, rest) = digits(rest.strip_prefix('-')?, 1..=2)?;
        Some((month, day, rest))
    };
    let Some((month, day, rest)) = parts() else { return false };
    if rest.is_empty() {
        return !text.starts_with('-') && month <= 12 && day <= 31;
    }
    let time = rest.strip_prefix(['T', 't']).or_else(|| {
        let time = rest.trim_start();
        (time.len() < rest.len()).then_some(time)
    });
    time.is_some_and(is_time)
}

/// `10:00:00`, with a fraction and a zone or without.
fn is_time(text: &str) -> bool {
    let zone = || {
        let (_, rest) = digits(text, 1..=2)?;
        let (_, rest) = digits(rest.strip_prefix(':')?, 2..=2)?;
        let (_, rest) = digits(rest.strip_prefix(':')?, 2..=2)?;
        let rest = rest.strip_prefix('.').map_or(rest, |rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        Some(rest.trim_start())
    };
    let Some(zone) = zone() else { return false };
    let is_offset = || {
        let offset = zone.strip_prefix(['+', '-'])?;
        let size = offset.len() - offset.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        match offset.split_once(':') {
            Some((hours, minutes)) => {
                Some(digits(hours, 1..=2)?.1.is_empty() && (minutes.is_empty() || minutes.len() == 2))
            }
            None => Some(size == offset.len() && (1..=4).contains(&size)),
        }
    };
    zone.is_empty() || zone == "Z" || is_offset() == Some(true)
}

fn without_sign(text: &str) -> &str {
    text.strip_prefix(['+', '-']).unwrap_or(text)
}

/// `1:30`. Psych multiplies the first of two parts by 3,600, too.
fn base_sixty(text: &str) -> Option<Value> {
    let is_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let parts: Vec<&str> = whole.split(':').collect();
    let (first, others) = parts.split_first()?;
    let first = without_sign(first);
    let is_first = first.starts_with(|c: char| c.is_ascii_digit()) && is_digits(&first.replace('_', ""));
    let is_other =
        |part: &&str| is_digits(part) && (part.len() == 1 || (part.len() == 2 && part.as_bytes()[0] <= b'5'));
    let is_fraction = fraction.is_none_or(|digits| is_digits(&digits.replace('_', "")));
    if !(is_first && (1..=2).contains(&others.len()) && others.iter().all(is_other) && is_fraction) {
        return None;
    }
    let factors = [3_600_i64, 60, 1];
    let sum = parts
        .iter()
        .zip(factors)
        .try_fold(0_i64, |sum, (part, factor)| sum.checked_add(leading_integer(part).checked_mul(factor)?))?;
    let last = factors[parts.len() - 1] as f64;
    Some(match fraction {
        None => Value::Int(sum),
        Some(fraction) => {
            let fraction: f64 = format!("0.{}0", fraction.replace('_', "")).parse().ok()?;
            Value::Float(sum as f64 + fraction * last)
        }
    })
}

/// `1.5`, `1_000.0`, `.5`, `1.5e+3`: an exponent has a sign.
fn float(text: &str) -> Option<Value> {
    let (whole, rest) = without_sign(text).split_once('.')?;
    let (fraction, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let is_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let is_whole = whole.is_empty()
        || (whole.starts_with(|c: char| c.is_ascii_digit()) && is_digits(&whole.replace([',', '_'], "")));
    let is_exponent = exponent.is_none_or(|exponent| {
        exponent.strip_prefix(['+', '-']).is_some_and(|digits| !digits.is_empty() && is_digits(digits))
    });
    if !(is_whole && is_digits(fraction) && is_exponent) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    text.replace([',', '_'], "").parse().ok().map(Value::Float)
}

/// `5`, `1_000`, `1,000`, `010` (octal), `0x1F`, `0b101`.
fn integer(text: &str) -> Option<Value> {
    let unsigned = without_sign(text);
    let separated = |digits: &str| digits.replace([',', '_'], "");
    let (digits, radix) = if let Some(digits) = unsigned.strip_prefix("0b") {
        (separated(digits), 2)
    } else if let Some(digits) = unsigned.strip_prefix("0x") {
        (separated(digits), 16)
    } else if let Some(digits) = unsigned.strip_prefix('0') {
        (format!("0{}", separated(digits)), 8)
    } else {
        let is_doubled = unsigned.as_bytes().windows(2).any(|pair| pair.iter().all(|byte| matches!(byte, b',' | b'_')));
        if is_doubled || unsigned.ends_with([',', '_']) || unsigned.starts_with([',', '_']) {
            return None;
        }
        (separated(unsigned), 10)
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    match i64::from_str_radix(&format!("{sign}{digits}"), radix) {
        Ok(number) => Some(Value::Int(number)),
        // Ruby has no largest number; no setting is that large.
        Err(_) => Some(Value::Text(text.to_owned())),
    }
}

/// Reads the digits at the beginning of a text, as Ruby's `to_i`: `"7 times"` is 7, `"high"` is 0. Saturates.
pub(in crate::cli) fn leading_integer(text: &str) -> i64 {
    let text = text.trim_start();
    let unsigned = without_sign(text);
    let mut number = 0_i64;
    let mut before = '_';
    for character in unsigned.chars() {
        match character.to_digit(10) {
            Some(digit) => number = number.saturating_mul(10).saturating_add(digit.into()),
            None if character == '_' && before != '_' => {}
            None => break,
        }
        before = character;
    }
    if text.starts_with('-') { -number } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_words_as_yaml_1_1() {
        let text = |text: &str| Value::Text(text.to_owned());
        let symbol = |name: &str| Value::Symbol(name.to_owned());
        for (given, expected) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("Null", Value::Null),
            ("yes", Value::Bool(true)),
            ("On", Value::Bool(true)),
            ("OFF", Value::Bool(false)),
            ("y", text("y")),
            ("010", Value::Int(8)),
            ("-0x1F", Value::Int(-31)),
            ("0b101", Value::Int(5)),
            ("1_0", Value::Int(10)),
            ("1,000", Value::Int(1000)),
            ("+5", Value::Int(5)),
            ("0", Value::Int(0)),
            ("089", text("089")),
            ("1__0", text("1__0")),
            ("5_", text("5_")),
            ("0o10", text("0o10")),
            ("7.5", Value::Float(7.5)),
            ("1_000.5", Value::Float(1000.5)),
            (".5", Value::Float(0.5)),
            ("1.", Value::Float(1.0)),
            ("1.5e+3", Value::Float(1500.0)),
            ("1.5e3", text("1.5e3")),
            ("1e3", text("1e3")),
            (".", text(".")),
            ("1.2.3", text("1.2.3")),
            ("-.INF", Value::Float(f64::NEG_INFINITY)),
            ("1:30", Value::Int(5400)),
            ("0:1:30", Value::Int(90)),
            ("1:75", text("1:75")),
            ("0:0:1.5", Value::Float(1.5)),
            (":a", symbol("a")),
            (":\"a b\"", symbol("a b")),
            ("::a", symbol(":a")),
            (":", text(":")),
            ("low:", text("low:")),
            ("-", text("-")),
            ("2026-13-27", text("2026-13-27")),
            ("99999999999999999999", text("99999999999999999999")),
        ] {
            assert_eq!(plain(given), Ok(expected), "{given:?}");
        }
    }

    #[test]
    fn refuses_dates() {
        for given in
            ["2026-11-27", "2026-1-7", "2026-11-27 10:00:00", "2026-11-27T10:00:00.5Z", "2026-11-27 1:00:00 +01:00"]
        {
            assert!(plain(given).is_err(), "{given}");
        }
        for given in ["2026-11", "2026-11-27x", "2026-11-27 10:00", "2026-11-27 10:00:00 CET"] {
            assert_eq!(plain(given), Ok(Value::Text(given.to_owned())));
        }
    }

    #[test]
    fn reads_leading_digits() {
        for (given, expected) in
            [("7 times", 7), (" 12", 12), ("-3x", -3), ("1_000", 1000), ("1__0", 1), ("_1", 0), ("high", 0), ("", 0)]
        {
            assert_eq!(leading_integer(given), expected, "{given:?}");
        }
        assert_eq!(leading_integer(&"9".repeat(100)), i64::MAX);
    }
}
