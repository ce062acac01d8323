use std::fmt;

use super::error::deserialization;
use super::white_space::trimmed;
use crate::job::ArgsError;
use crate::time::EpochSecs;

/// A Ruby `Integer` or `Float` as it was written: no digit is lost, whatever its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number(pub(super) Box<str>);

impl Number {
    /// The number as JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether Ruby reads it as a `Float`.
    pub fn is_float(&self) -> bool {
        self.0.contains(['.', 'e', 'E'])
    }

    /// An integer that fits; `None` for a `Float` and for one that is too large.
    pub fn to_integer<T: std::str::FromStr>(&self) -> Option<T> {
        self.0.parse().ok()
    }

    /// The nearest float, of an `Integer` too. Infinite where it is beyond all floats.
    pub fn to_f64(&self) -> f64 {
        self.0.parse().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<f64> for Number {
    /// Spelled as Ruby spells a `Float`. One that is not finite cannot be written: enqueueing it is an error, as in Ruby.
    fn from(value: f64) -> Self {
        Self(EpochSecs(value).to_string().into())
    }
}

macro_rules! from_integers {
    ($($integer:ty)+) => {$(
        impl From<$integer> for Number {
            fn from(value: $integer) -> Self {
                Self(value.to_string().into())
            }
        }
    )+};
}

from_integers!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);

/// A Ruby `BigDecimal` as it was written, for the decimal type of your choice to parse.
///
/// ```
/// use ferrokiq::active_job::BigDecimal;
///
/// let price = BigDecimal::parse("19.90")?;
/// assert_eq!(price.as_str(), "19.90");
/// # Ok::<(), ferrokiq::job::ArgsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BigDecimal(Box<str>);

impl BigDecimal {
    /// Reads `"12.50"`, `"0.125e2"`, `"NaN"`, `"Infinity"` or `"-Infinity"`, and what else Ruby's `BigDecimal()` takes: `" .5 "`, `"1_000"`, `"1d5"`.
    ///
    /// # Errors
    ///
    /// `ActiveJob::DeserializationError` for anything else.
    pub fn parse(text: &str) -> Result<Self, ArgsError> {
        let bare = trimmed(text);
        if !matches!(bare, "NaN" | "Infinity" | "+Infinity" | "-Infinity") && !is_decimal(bare) {
            return Err(deserialization("invalid value for BigDecimal()"));
        }
        Ok(Self(text.into()))
    }

    /// The number as Ruby wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest float.
    pub fn to_f64(&self) -> f64 {
        trimmed(&self.0).replace('_', "").replace(['d', 'D'], "e").parse().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for BigDecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Digits, perhaps a point and an exponent.
fn is_decimal(text: &str) -> bool {
    // One underscore between two digits.
    let digits =
        |text: &str| text.split('_').all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()));
    let unsigned = |text: &str| text.strip_prefix(['+', '-']).unwrap_or(text).to_owned();
    let text = unsigned(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E', 'd', 'D']) {
        Some((mantissa, exponent)) => (mantissa, Some(unsigned(exponent))),
        None => (text.as_str(), None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some(("", fraction)) => ("0", fraction),
        Some(parts) => parts,
        None => (mantissa, "0"),
    };
    digits(whole) && digits(fraction) && exponent.is_none_or(|exponent| digits(&exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_digit() {
        let huge = Number("123456789012345678901234567890".into());
        assert_eq!((huge.to_integer::<i64>(), huge.is_float()), (None, false));
        assert_eq!(huge.to_f64(), 1.234_567_890_123_456_8e29);
        assert_eq!(Number::from(1e20).as_str(), "1.0e+20");
        assert_eq!(Number::from(u64::MAX).to_integer::<u64>(), Some(u64::MAX));
        assert_eq!(Number::from(u64::MAX).to_integer::<i64>(), None);
        assert!(Number::from(2.0).is_float());
    }

    #[test]
    fn knows_decimals() {
        for text in
            ["1.1", "-0.0", "0.125e2", "1_000.5", "NaN", "-Infinity", "5", "+5.5E-3", ".5", "-.5", " 1\n", "1d5"]
        {
            assert!(BigDecimal::parse(text).is_ok(), "{text}");
        }
        assert_eq!(BigDecimal::parse(" 1_0.5D1 ").unwrap().to_f64(), 105.0);
        for text in ["", "x", "1.", "1__0", "_1", ".", "1e", "1,5", "0x10", "Inf", "- 1"] {
            assert_eq!(BigDecimal::parse(text).unwrap_err().class(), "ActiveJob::DeserializationError", "{text}");
        }
    }
}
