//! Numbers as Ruby's `Integer` reads them.

/// Reads a whole number from a flag or a variable: `10`, `1_0`, `010` (octal, 8), `0o10`, `0x1F`, `0b101`.
///
/// # Errors
///
/// What Ruby refuses, or a number below 0.
pub(super) fn parse_integer(text: &str) -> Result<u64, String> {
    let refused = || format!("{text:?} is no whole number");
    let unsigned = text.trim();
    let unsigned = unsigned.strip_prefix('+').unwrap_or(unsigned);
    let prefixes = [("0x", 16), ("0X", 16), ("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8), ("0d", 10), ("0D", 10)];
    let of_prefix = prefixes.into_iter().find_map(|(prefix, radix)| Some((unsigned.strip_prefix(prefix)?, radix)));
    let (digits, radix) = of_prefix.unwrap_or_else(|| match unsigned.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => (octal.strip_prefix('_').unwrap_or(octal), 8),
        _ => (unsigned, 10),
    });
    if digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") || digits.starts_with(['+', '-']) {
        return Err(refused());
    }
    u64::from_str_radix(&digits.replace('_', ""), radix).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ruby_reads() {
        for (text, number) in [
            ("10", Some(10)),
            ("010", Some(8)),
            ("0", Some(0)),
            ("00", Some(0)),
            ("0_7", Some(7)),
            ("0x1F", Some(31)),
            ("0b11", Some(3)),
            ("0o17", Some(15)),
            ("1_0", Some(10)),
            ("+5", Some(5)),
            (" 7 ", Some(7)),
            ("08", None),
            ("1__0", None),
            ("_1", None),
            ("5_", None),
            ("-1", None),
            ("0x", None),
            ("0x-1", None),
            ("", None),
            ("5 jobs", None),
            ("5.0", None),
        ] {
            assert_eq!(parse_integer(text).ok(), number, "{text}");
        }
    }
}
