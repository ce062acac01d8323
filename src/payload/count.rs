use std::fmt;

use crate::time::EpochSecs;

/// `retry_count` as Ruby counts: an integer stays one, a float stays one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RetryCount {
    Integer(i128),
    Float(f64),
}

impl RetryCount {
    /// Reads a JSON number. `None` for anything else, for an infinite float, and for an integer of more than 38 digits.
    pub(crate) fn from_json(raw: &str) -> Option<Self> {
        if raw.contains(['.', 'e', 'E']) {
            return raw.parse().ok().filter(|count: &f64| count.is_finite()).map(Self::Float);
        }
        raw.parse().ok().map(Self::Integer)
    }

    /// The count after so many more failures.
    pub(crate) fn plus(self, failures: i8) -> Self {
        match self {
            Self::Integer(count) => Self::Integer(count.saturating_add(failures.into())),
            Self::Float(count) => Self::Float(count + f64::from(failures)),
        }
    }

    /// Whether it has reached a limit.
    #[cfg(feature = "server")]
    pub(crate) fn reaches(self, limit: u64) -> bool {
        match self {
            Self::Integer(count) => count >= limit.into(),
            Self::Float(count) => count >= limit as f64,
        }
    }

    #[cfg(feature = "server")]
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Self::Integer(count) => count as f64,
            Self::Float(count) => count,
        }
    }
}

impl fmt::Display for RetryCount {
    /// As Ruby writes it into JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(count) => count.fmt(f),
            Self::Float(count) => EpochSecs(*count).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_as_ruby_does() {
        for (raw, next) in [
            ("0", "1"),
            ("-1", "0"),
            ("-0", "1"),
            ("2.0", "3.0"),
            ("1.5", "2.5"),
            ("-0.0", "1.0"),
            ("1e2", "101.0"),
            ("9223372036854775807", "9223372036854775808"),
        ] {
            assert_eq!(RetryCount::from_json(raw).unwrap().plus(1).to_string(), next, "{raw}");
        }
        for raw in ["\"3\"", "true", "[]", "1e999", "1000000000000000000000000000000000000000"] {
            assert_eq!(RetryCount::from_json(raw), None, "{raw}");
        }
    }

    #[test]
    fn compares_with_a_limit() {
        for (raw, reached) in [("3", true), ("2", false), ("3.0", true), ("2.9", false), ("-1", false)] {
            assert_eq!(RetryCount::from_json(raw).unwrap().reaches(3), reached, "{raw}");
        }
    }
}
