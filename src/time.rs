//! Moments as Sidekiq writes them.
//!
//! Sidekiq 8 stamps payloads with integer milliseconds, 6 and 7 with float seconds; scores of the sorted sets are float
//! seconds everywhere. A float is seconds and an integer is milliseconds, so the text of a number says which it is and a
//! whole second must keep its `.0`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 with microseconds behind the point: scores, `beat`, `started_at`, and the stamps of Sidekiq ≤ 7.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct EpochSecs(pub f64);

/// Whole milliseconds since 1970: the stamps of Sidekiq 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EpochMillis(pub i64);

impl EpochSecs {
    /// The wall clock now.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// The same moment in whole milliseconds, rounded down as Ruby does.
    pub fn to_millis(self) -> EpochMillis {
        EpochMillis((self.0 * 1_000.0).floor() as i64)
    }

    /// As ISO 8601 writes it in UTC, to the second: `2026-11-23T04:07:00Z`.
    ///
    /// ```
    /// use ferrokiq::time::EpochSecs;
    ///
    /// let at = EpochSecs::from_utc("2026-11-23T04:35:13Z").unwrap();
    /// assert_eq!((at, at.to_utc().as_str()), (EpochSecs(1_795_408_513.0), "2026-11-23T04:35:13Z"));
    /// ```
    pub fn to_utc(self) -> String {
        let Utc { year, month, day, hour, minute } = Utc::from(self);
        let second = self.secs().rem_euclid(60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// Reads what [`to_utc`](Self::to_utc) wrote; `None` for any other text, and for a day or a time of day that does not exist.
    pub fn from_utc(text: &str) -> Option<Self> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let mut parts = date.splitn(3, '-').chain(time.splitn(3, ':')).enumerate();
        let mut next = || {
            let (at, digits) = parts.next()?;
            let fits = if at == 0 { (4..=9).contains(&digits.len()) } else { digits.len() == 2 };
            (fits && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse::<u32>().ok())?
        };
        let (year, month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?, next()?);
        if !(1..=days_of(year.into(), month)).contains(&day) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let days = days_since_1970(year.into(), month, day);
        let secs = days * 86_400 + i64::from(hour * 3_600 + minute * 60 + second);
        Some(Self(secs as f64))
    }

    /// The whole second.
    pub fn secs(self) -> i64 {
        self.0.floor() as i64
    }
}

impl std::ops::Add<Duration> for EpochSecs {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0 + span.as_secs_f64())
    }
}

impl From<SystemTime> for EpochSecs {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(since.as_micros() as f64 / 1e6)
    }
}

impl fmt::Display for EpochSecs {
    /// As Ruby's `Float#to_s` writes it: always with a point, shortest digits that read back the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ruby_float(self.0, f)
    }
}

impl fmt::Display for EpochMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How stamps are written: by the major version of the Sidekiq processes that will read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StampForm {
    /// Integer milliseconds (Sidekiq 8).
    #[default]
    Millis,
    /// Float seconds (Sidekiq 6 and 7; 8 reads them too).
    Secs,
}

impl StampForm {
    /// `now` as a JSON number.
    pub fn stamp(self, now: EpochSecs) -> String {
        match self {
            Self::Millis => now.to_millis().to_string(),
            Self::Secs => now.to_string(),
        }
    }
}

/// How stamps are written now, shared by a server and its client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stamps(Arc<AtomicU8>);

impl Stamps {
    pub(crate) fn form(&self) -> StampForm {
        if self.0.load(Ordering::Relaxed) == 0 { StampForm::Millis } else { StampForm::Secs }
    }

    pub(crate) fn set(&self, form: StampForm) {
        self.0.store(u8::from(form == StampForm::Secs), Ordering::Relaxed);
    }
}

/// Days from 1970 to a day of the proleptic Gregorian calendar, counted in years that begin with March.
pub(crate) fn days_since_1970(year: i64, month: u32, day: u32) -> i64 {
    let shifted = year - i64::from(month <= 2);
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let day_of_year = i64::from((153 * ((month + 9) % 12) + 2) / 5 + day - 1);
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Days of a month of the proleptic Gregorian calendar; none of a month that does not exist.
fn days_of(year: i64, month: u32) -> u32 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 0,
    }
}

/// Year, month (1-12), day, hour, minute of a moment in UTC: what the keys of statistics and metrics are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Utc {
    pub(crate) year: i64,
    pub(crate) month: u32,
    pub(crate) day: u32,
    pub(crate) hour: u32,
    pub(crate) minute: u32,
}

impl From<EpochSecs> for Utc {
    /// Days to civil date after Howard Hinnant's algorithm, exact for every day of the proleptic Gregorian calendar.
    fn from(at: EpochSecs) -> Self {
        let secs = at.secs();
        let (days, rest) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: month as u32,
            day: (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32,
            hour: (rest / 3_600) as u32,
            minute: (rest / 60 % 60) as u32,
        }
    }
}

/// `Float#to_s`: plain between 1e-4 and 1e15, scientific with a two-digit exponent outside.
fn ruby_float(value: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let magnitude = value.abs();
    if value == 0.0 || (1e-4..1e15).contains(&magnitude) {
        return write!(f, "{value:?}");
    }
    if !value.is_finite() {
        return f.write_str(if value.is_nan() {
            "nan"
        } else if value > 0.0 {
            "inf"
        } else {
            "-inf"
        });
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if digits.contains('.') { "" } else { ".0" };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    write!(f, "{digits}{point}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_floats_as_ruby_does() {
        for (value, text) in [
            (1_795_408_229.559_424_9, "1795408229.5594249"),
            (1_795_408_408.0, "1795408408.0"),
            (0.0, "0.0"),
            (999_999_999_999_999.0, "999999999999999.0"),
            (1e15, "1.0e+15"),
            (1e16, "1.0e+16"),
            (1e-4, "0.0001"),
            (9.999e-5, "9.999e-05"),
            (5e-324, "5.0e-324"),
            (1e20, "1.0e+20"),
        ] {
            assert_eq!(EpochSecs(value).to_string(), text);
        }
    }

    #[test]
    fn knows_the_calendar() {
        let utc = Utc::from(EpochSecs(1_795_408_513.9));
        assert_eq!((utc.year, utc.month, utc.day, utc.hour, utc.minute), (2026, 11, 23, 4, 35));
        let leap = Utc::from(EpochSecs(951_782_400.0));
        assert_eq!((leap.year, leap.month, leap.day), (2000, 2, 29));
    }

    #[test]
    fn reads_moments() {
        for (text, secs) in [
            ("2026-11-23T04:35:13Z", 1_795_408_513.0),
            ("2000-02-29T00:00:00Z", 951_782_400.0),
            ("1970-01-01T00:00:00Z", 0.0),
        ] {
            assert_eq!(EpochSecs::from_utc(text), Some(EpochSecs(secs)));
        }
        for text in [
            "",
            "yesterday",
            "2026-11-23",
            "2026-13-01T00:00:00Z",
            "2026-11-23T04:35:13+01:00",
            "2026-11-23T99:99:99Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T00:60:00Z",
            "2026-11-23T00:00:60Z",
            "2026-11-23T4294967295:00:00Z",
            "2026-02-31T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-+1-01T00:00:00Z",
            "4294967295-01-01T00:00:00Z",
            "2026-1-1T0:0:0Z",
            "2026-01-01T00:00:00.5Z",
            "2026-01-01T00:00:0éZ",
        ] {
            assert_eq!(EpochSecs::from_utc(text), None, "{text}");
        }
    }

    #[test]
    fn keeps_the_point_of_a_whole_second() {
        let now = EpochSecs(1_795_408_408.0);
        assert_eq!(StampForm::Millis.stamp(now), "1795408408000");
        assert_eq!(StampForm::Secs.stamp(now), "1795408408.0");
    }
}
