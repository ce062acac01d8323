use serde::{Serialize, Serializer};

/// What `retry` says: whether and how often a failed job is tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// The key is not there: the option of the registered class decides.
    #[default]
    Absent,
    /// `null`: as absent.
    Null,
    /// `false`: never, and not into the dead set either.
    Never,
    /// `true`, or anything else Ruby holds for true: as often as the server's `max_retries` (25).
    Default,
    /// At most so many times. `0` sends the job to the dead set at its first failure.
    Times(u64),
}

impl Retry {
    pub(super) fn from_json(raw: &str) -> Self {
        match raw {
            "null" => Self::Null,
            "false" => Self::Never,
            // Only an integer is a limit: `"7"` and `7.0` are true to Ruby and mean the default.
            _ if raw.bytes().all(|byte| byte.is_ascii_digit()) => raw.parse().map_or(Self::Default, Self::Times),
            // An integer below zero is exceeded by the first failure already.
            _ if raw.strip_prefix('-').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit())) => {
                Self::Times(0)
            }
            _ => Self::Default,
        }
    }
}

impl Serialize for Retry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent | Self::Null => serializer.serialize_unit(),
            Self::Never => serializer.serialize_bool(false),
            Self::Default => serializer.serialize_bool(true),
            Self::Times(times) => serializer.serialize_u64(*times),
        }
    }
}

impl From<bool> for Retry {
    fn from(retry: bool) -> Self {
        if retry { Self::Default } else { Self::Never }
    }
}

impl From<u64> for Retry {
    fn from(times: u64) -> Self {
        Self::Times(times)
    }
}

impl From<u32> for Retry {
    fn from(times: u32) -> Self {
        Self::Times(times.into())
    }
}

impl From<i32> for Retry {
    /// Below zero counts as zero.
    fn from(times: i32) -> Self {
        Self::Times(times.max(0).unsigned_abs().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ruby_holds_for_true() {
        for (raw, retry) in [
            ("true", Retry::Default),
            ("false", Retry::Never),
            ("null", Retry::Null),
            ("0", Retry::Times(0)),
            ("7", Retry::Times(7)),
            ("-1", Retry::Times(0)),
            ("\"7\"", Retry::Default),
            ("7.5", Retry::Default),
            ("[]", Retry::Default),
            ("99999999999999999999999", Retry::Default),
        ] {
            assert_eq!(Retry::from_json(raw), retry, "{raw}");
        }
    }
}
