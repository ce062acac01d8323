use std::time::Duration;

use ferrokiq::time::EpochSecs;

const UNITS: [(char, f64); 5] = [('s', 1.0), ('m', 60.0), ('h', 3_600.0), ('d', 86_400.0), ('w', 604_800.0)];

/// `90s`, `5m`, `1.5h`, `2d`, `1w`.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let number = |text: &str, unit: f64| {
        let secs = text.parse::<f64>().ok().filter(|number| *number >= 0.0)? * unit;
        Duration::try_from_secs_f64(secs).ok()
    };
    UNITS.iter().find_map(|(unit, secs)| number(text.strip_suffix(*unit)?, *secs)).ok_or_else(|| {
        format!("{text:?} is no time span; expected a number with its unit, such as 90s, 5m, 1.5h, 2d or 1w")
    })
}

/// Epoch seconds, or `2026-11-23T04:07:00Z`.
pub(crate) fn parse_moment(text: &str) -> Result<EpochSecs, String> {
    let secs = text.parse().ok().filter(|secs: &f64| secs.is_finite()).map(EpochSecs);
    secs.or_else(|| EpochSecs::from_utc(text))
        .ok_or_else(|| format!("{text:?} is no moment; expected epoch seconds, or UTC as in 2026-11-23T04:07:00Z"))
}

/// A time span as people say it: `3.2s`, `5m`, `2h`, `12d`.
pub(crate) fn span(secs: f64) -> String {
    let secs = secs.max(0.0);
    match secs {
        _ if secs < 10.0 => format!("{secs:.1}s"),
        _ if secs < 120.0 => format!("{secs:.0}s"),
        _ if secs < 7_200.0 => format!("{:.0}m", secs / 60.0),
        _ if secs < 172_800.0 => format!("{:.0}h", secs / 3_600.0),
        _ => format!("{:.0}d", secs / 86_400.0),
    }
}

/// A moment by how far it is from now.
pub(crate) fn ago(at: EpochSecs) -> String {
    let since = EpochSecs::now().0 - at.0;
    if since < 0.0 { format!("in {}", span(-since)) } else { format!("{} ago", span(since)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_spans_and_moments() {
        for (text, secs) in [("90s", 90.0), ("5m", 300.0), ("1.5h", 5_400.0), ("2d", 172_800.0), ("0s", 0.0)] {
            assert_eq!(parse_span(text), Ok(Duration::from_secs_f64(secs)), "{text}");
        }
        for text in ["", "s", "5", "-1s", "1y", "1e999d", "nans", "5 m"] {
            assert!(parse_span(text).unwrap_err().contains("expected"), "{text}");
        }
        assert_eq!(parse_moment("1795408513.5"), Ok(EpochSecs(1_795_408_513.5)));
        assert_eq!(parse_moment("2026-11-23T04:35:13Z"), Ok(EpochSecs(1_795_408_513.0)));
        for text in ["", "inf", "nan", "tomorrow", "2026-11-23"] {
            assert!(parse_moment(text).unwrap_err().contains("expected"), "{text}");
        }
    }

    #[test]
    fn says_spans_as_people_do() {
        let said: Vec<String> = [-1.0, 3.24, 59.6, 300.0, 7_300.0, 1e6].into_iter().map(span).collect();
        assert_eq!(said, ["0.0s", "3.2s", "60s", "5m", "2h", "12d"]);
    }
}
