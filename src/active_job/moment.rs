//! Dates and times as Rails writes them: ISO 8601, nanoseconds, with an offset.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::deserialization;
use super::white_space::trimmed;
use crate::job::ArgsError;
use crate::time::{EpochSecs, Utc, days_since_1970};

/// A Ruby `Date`.
///
/// ```
/// use ferrokiq::active_job::Date;
///
/// let date = Date::new(2026, 2, 28)?;
/// assert_eq!((date.to_string(), date.year(), date.month(), date.day()), ("2026-02-28".to_owned(), 2026, 2, 28));
/// assert!(Date::parse("2026-02-30").is_err());
/// # Ok::<(), ferrokiq::job::ArgsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Date {
    text: Box<str>,
    year: i64,
    month: u32,
    day: u32,
}

impl Date {
    /// A day of the calendar; months and days count from 1.
    ///
    /// # Errors
    ///
    /// `ActiveJob::DeserializationError` for a day that does not exist.
    pub fn new(year: i64, month: u32, day: u32) -> Result<Self, ArgsError> {
        Self::parse(&format!("{}-{month:02}-{day:02}", Year(year)))
    }

    /// Reads `2026-02-28`, and the day of what [`Time::parse`] reads; with white space around it or none.
    ///
    /// # Errors
    ///
    /// `ActiveJob::DeserializationError` for anything else.
    pub fn parse(text: &str) -> Result<Self, ArgsError> {
        match date(trimmed(text), 4) {
            Some((year, month, day, rest))
                if day <= days_of(year, month) && (rest.is_empty() || Time::read(text).is_some()) =>
            {
                Ok(Self { text: text.into(), year, month, day })
            }
            _ => Err(deserialization("invalid date")),
        }
    }

    /// The year.
    pub fn year(&self) -> i64 {
        self.year
    }

    /// The month, 1 to 12.
    pub fn month(&self) -> u32 {
        self.month
    }

    /// The day of the month, from 1.
    pub fn day(&self) -> u32 {
        self.day
    }

    /// The day as Rails writes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A Ruby `Time`: a moment to the nanosecond, and the offset of the clock that showed it.
///
/// ```
/// use ferrokiq::active_job::Time;
///
/// let time = Time::parse("2026-01-02T03:04:05.500000000+01:00")?;
/// assert_eq!((time.secs(), time.nanos(), time.offset()), (1_767_319_445, 500_000_000, 3_600));
/// # Ok::<(), ferrokiq::job::ArgsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Time {
    text: Box<str>,
    secs: i64,
    nanos: u32,
    offset: i32,
}

impl Time {
    /// A moment in UTC.
    pub fn utc(time: SystemTime) -> Self {
        let (secs, nanos) = match time.duration_since(UNIX_EPOCH) {
            Ok(since) => (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos()),
            Err(before) => {
                let before = before.duration();
                let (secs, nanos) = (i64::try_from(before.as_secs()).unwrap_or(i64::MAX), before.subsec_nanos());
                if nanos == 0 { (-secs, 0) } else { (-secs - 1, 1_000_000_000 - nanos) }
            }
        };
        let text = format!("{}.{nanos:09}Z", Clock(secs)).into();
        Self { text, secs, nanos, offset: 0 }
    }

    /// Now, in UTC.
    pub fn now() -> Self {
        Self::utc(SystemTime::now())
    }

    /// Reads `2026-01-02T03:04:05.500000000Z` as Ruby's `Time.iso8601` does: any number of digits behind the point, any offset, `t` and `z` in
    /// either case, white space around it. A time without an offset is one of UTC here; Ruby takes the zone of its own process.
    ///
    /// # Errors
    ///
    /// `ActiveJob::DeserializationError` for anything else.
    pub fn parse(text: &str) -> Result<Self, ArgsError> {
        Self::read(text).ok_or_else(|| deserialization("invalid xmlschema date"))
    }

    fn read(text: &str) -> Option<Self> {
        let (year, month, day, rest) = date(trimmed(text), 1).filter(|_| !trimmed(text).starts_with('+'))?;
        let rest = rest.strip_prefix(['T', 't'])?;
        let (hour, rest) = two_digits(rest)?;
        let (minute, rest) = two_digits(rest.strip_prefix(':')?)?;
        let (second, rest) = two_digits(rest.strip_prefix(':')?)?;
        let is_midnight = hour == 24 && minute == 0 && second == 0;
        if !(hour < 24 || is_midnight) || minute > 59 || second > 60 {
            return None;
        }
        let (fraction, zone) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(rest.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(rest.len())),
            None => ("0", rest),
        };
        if fraction.is_empty() {
            return None;
        }
        let nanos = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
        let nanos = nanos.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
        let offset = offset(zone)?;
        // A day that its month does not have is one of the next month, as in Ruby.
        let days = days_since_1970(year, month, day);
        let secs = days * 86_400 + i64::from(hour * 3_600 + minute * 60 + second) - i64::from(offset);
        Some(Self { text: text.into(), secs, nanos, offset })
    }

    /// Whole seconds since 1970, rounded down.
    pub fn secs(&self) -> i64 {
        self.secs
    }

    /// Nanoseconds of the second.
    pub fn nanos(&self) -> u32 {
        self.nanos
    }

    /// Seconds its clock is ahead of UTC.
    pub fn offset(&self) -> i32 {
        self.offset
    }

    /// The moment as the system's clock counts it; `None` if that does not reach so far.
    pub fn to_system_time(&self) -> Option<SystemTime> {
        let whole = Duration::from_secs(self.secs.unsigned_abs());
        let second = if self.secs < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) }?;
        second.checked_add(Duration::from_nanos(self.nanos.into()))
    }

    /// The moment as a score: seconds, as Ruby's `Time#to_f`.
    pub(super) fn to_epoch(&self) -> EpochSecs {
        EpochSecs(self.secs as f64 + f64::from(self.nanos) / 1e9)
    }

    /// The second it is in, as Rails before 7.1 writes it: `2026-01-02T03:04:05Z`.
    #[cfg(any(feature = "server", feature = "testing"))]
    pub(super) fn whole_second(&self) -> String {
        format!("{}Z", Clock(self.secs))
    }

    /// The moment as Rails writes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        Self::utc(time)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A Ruby `DateTime`. A day before October 1582 is of the Julian calendar in Ruby; here its text is the truth, and its seconds are those of
/// the Gregorian one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DateTime(pub Time);

impl DateTime {
    /// Reads what [`Time::parse`] reads if the day exists, and a day alone, as of midnight.
    ///
    /// # Errors
    ///
    /// `ActiveJob::DeserializationError` for anything else.
    pub fn parse(text: &str) -> Result<Self, ArgsError> {
        Self::read(text).ok_or_else(|| deserialization("invalid date"))
    }

    fn read(text: &str) -> Option<Self> {
        let (year, month, day, rest) = date(trimmed(text), 4)?;
        if day > days_of(year, month) {
            return None;
        }
        if rest.is_empty() {
            let secs = days_since_1970(year, month, day) * 86_400;
            return Some(Self(Time { text: text.into(), secs, nanos: 0, offset: 0 }));
        }
        Time::read(text).map(Self)
    }
}

/// An `ActiveSupport::TimeWithZone`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimeWithZone {
    /// The moment.
    pub time: Time,
    /// The zone, `"America/New_York"`. Rails before 7.0 does not write it; Ruby takes the job's `timezone` then.
    pub zone: Option<String>,
}

/// Year of so many digits at least, month and day in front, and what is behind them. The day is 1 to 31, whatever the month. Ruby takes a year of
/// fewer than four digits for itself in a `Time`, and for one of this century in a `Date`.
fn date(text: &str, least: usize) -> Option<(i64, u32, u32, &str)> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let end = digits.find(|digit: char| !digit.is_ascii_digit())?;
    let (year, rest) = digits.split_at(end);
    // Beyond nine digits the seconds would not fit.
    if !(least..=9).contains(&year.len()) {
        return None;
    }
    let year = sign * year.parse::<i64>().ok()?;
    let (month, rest) = two_digits(rest.strip_prefix('-')?)?;
    let (day, rest) = two_digits(rest.strip_prefix('-')?)?;
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some((year, month, day, rest))
}

fn days_of(year: i64, month: u32) -> u32 {
    // Until 1582 every fourth year was a leap year.
    let is_leap = year % 4 == 0 && (year <= 1582 || year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 0,
    }
}

fn two_digits(text: &str) -> Option<(u32, &str)> {
    let digits = text.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some((digits.parse().ok()?, &text[2..]))
}

/// Nothing, `Z`, `+01:00`, `+0100` or `+01`, in seconds.
fn offset(zone: &str) -> Option<i32> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'-' => -1,
        b'+' => 1,
        _ => return None,
    };
    let (hours, rest) = two_digits(&zone[1..])?;
    let (minutes, rest) = if rest.is_empty() { (0, rest) } else { two_digits(rest.strip_prefix(':').unwrap_or(rest))? };
    if !rest.is_empty() || hours > 23 || minutes > 59 {
        return None;
    }
    Some(sign * i32::try_from(hours * 3_600 + minutes * 60).ok()?)
}

/// A year of four digits at least.
struct Year(i64);

impl fmt::Display for Year {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{:04}", self.0.unsigned_abs())
    }
}

/// A whole second in UTC, `2026-01-02T03:04:05`.
struct Clock(i64);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Utc { year, month, day, hour, minute } = Utc::from(EpochSecs(self.0 as f64));
        write!(f, "{}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}", Year(year), self.0.rem_euclid(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times() {
        for (text, secs, nanos, offset) in [
            ("1970-01-01T00:00:00Z", 0, 0, 0),
            ("2026-01-02T03:04:05.500000000Z", 1_767_323_045, 500_000_000, 0),
            ("2026-01-02T03:04:05.000000001-05:00", 1_767_341_045, 1, -18_000),
            ("1969-12-31T23:59:59.250000000Z", -1, 250_000_000, 0),
            ("2026-01-02T03:04:05.1234567891234+0530", 1_767_303_245, 123_456_789, 19_800),
            ("10000-01-01T00:00:00Z", 253_402_300_800, 0, 0),
            ("-0001-01-01T00:00:00Z", -62_198_755_200, 0, 0),
            ("2016-12-31T23:59:60Z", 1_483_228_800, 0, 0),
            ("2026-01-01T24:00:00Z", 1_767_312_000, 0, 0),
            ("2026-01-02T03:04:05", 1_767_323_045, 0, 0),
            ("2026-01-02T03:04:05.5", 1_767_323_045, 500_000_000, 0),
            ("2026-01-02t03:04:05z", 1_767_323_045, 0, 0),
            (" 2026-01-02T03:04:05Z\n", 1_767_323_045, 0, 0),
            ("2026-02-30T00:00:00Z", 1_772_409_600, 0, 0),
        ] {
            let time = Time::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((time.secs(), time.nanos(), time.offset(), time.as_str()), (secs, nanos, offset, text));
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "x",
            "2026-01-02",
            "2026-01-02T03:04:05.Z",
            "2026-13-02T03:04:05Z",
            "2026-02-32T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "+2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05 Z",
            "2026-01-02T24:00:01Z",
            "2026-01-02T03:60:05Z",
            "2026-01-02 03:04:05Z",
            "2026-01-02T03:04:05Zx",
            "2026-01-02T03:04:05+1:00",
            "99999999999999999999-01-02T03:04:05Z",
            "2026-01-02T03:04:05é",
            "2026-01-0é",
            "2026-01-02T03:04:05+99:00",
        ] {
            assert_eq!(Time::parse(text).unwrap_err().class(), "ActiveJob::DeserializationError", "{text}");
        }
    }

    #[test]
    fn writes_moments() {
        for secs in [0, 1_795_408_404, 951_782_400, 253_402_300_800] {
            let time = Time::utc(UNIX_EPOCH + Duration::new(secs, 42));
            assert_eq!(Time::parse(time.as_str()).unwrap(), time);
            assert_eq!(time.to_system_time(), Some(UNIX_EPOCH + Duration::new(secs, 42)));
        }
        let before = Time::utc(UNIX_EPOCH - Duration::from_millis(250));
        assert_eq!(before.as_str(), "1969-12-31T23:59:59.750000000Z");
        assert_eq!(Time::parse(before.as_str()).unwrap(), before);
    }

    #[test]
    fn knows_the_days() {
        for text in ["2024-02-29", "1900-02-28", "1500-02-29", "-0004-02-29", "12026-01-01"] {
            assert_eq!(Date::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "2026-02-29",
            "1900-02-29",
            "2026-00-01",
            "2026-01-00",
            "2026-04-31",
            "2026-1-1",
            "20260101",
            "2026-01-01T",
        ] {
            assert!(Date::parse(text).is_err(), "{text}");
        }
    }
}
