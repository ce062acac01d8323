//! Values of flags and settings that have a spelling of their own.

use crate::server::MaxRss;

/// Bytes, or a number with `K`, `M` or `G` (of 1,024).
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text)?;
    if bytes < 1 << 20 { Err(format!("{bytes} bytes are less than any process has: 1M at least")) } else { Ok(bytes) }
}

/// As [`parse_size`], or `auto`: by the memory limit of the control group.
pub(super) fn parse_max_rss(text: &str) -> Result<MaxRss, String> {
    match text.trim() {
        "auto" => Ok(MaxRss::Auto),
        size => parse_size(size).map(MaxRss::Bytes),
    }
}

/// As [`parse_size`], for the largest payload; 0 is no limit.
pub(super) fn parse_max_payload(text: &str) -> Result<usize, String> {
    let bytes = parse_bytes(text)?;
    if (1..1_024).contains(&bytes) {
        return Err(format!("{bytes} bytes are too few for a payload: 1K at least, or 0 for no limit"));
    }
    Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    const EXPECTED: &str = "it is a number of bytes, or a number with K, M or G";
    let text = text.trim().trim_end_matches(['b', 'B']).trim_end_matches(['i', 'I']);
    let (number, shift) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let number: u64 = number.trim().parse().map_err(|_| EXPECTED.to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| EXPECTED.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_largest_payload() {
        assert_eq!(parse_max_payload("0"), Ok(0));
        assert_eq!(parse_max_payload("64M"), Ok(64 << 20));
        for text in ["", "1", "1023", "x", "-1"] {
            assert!(parse_max_payload(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_how_much_memory_a_process_may_use() {
        assert_eq!(parse_max_rss("auto"), Ok(MaxRss::Auto));
        assert_eq!(parse_max_rss("64M"), Ok(MaxRss::Bytes(64 << 20)));
        assert!(parse_max_rss("automatic").is_err() && parse_max_rss("512").is_err());
    }

    #[test]
    fn reads_sizes() {
        for (text, bytes) in [
            ("1048576", 1 << 20),
            ("2048K", 2 << 20),
            ("512M", 512 << 20),
            ("2g", 2 << 30),
            ("512MB", 512 << 20),
            ("1 GiB", 1 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "-1M", "1.5G", "1T", "0", "512", "99999999999999999999", "99999999999G", "é"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
