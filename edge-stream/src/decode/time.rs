//! Times as devices write them.

use std::str::FromStr;

use arrow::compute::kernels::cast_utils::string_to_datetime;

/// How numbers in TIMESTAMP columns are read. Text is read as RFC 3339 whatever this says, and
/// text that is a number as that number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TimeFormat {
    /// By magnitude: seconds below 10^11, milliseconds below 10^14, microseconds below 10^17, else
    /// nanoseconds. Right for all times from 1973 to 5138, and for seconds from 1970.
    #[default]
    Auto,
    Seconds,
    Millis,
    Micros,
    Nanos,
}

/// The ends of what counts as seconds, milliseconds, microseconds.
const AUTO_SECONDS: u64 = 100_000_000_000;
const AUTO_MILLIS: u64 = 100_000_000_000_000;
const AUTO_MICROS: u64 = 100_000_000_000_000_000;

impl FromStr for TimeFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<TimeFormat, ()> {
        Ok(match text {
            "auto" => TimeFormat::Auto,
            "s" => TimeFormat::Seconds,
            "ms" => TimeFormat::Millis,
            "us" | "µs" => TimeFormat::Micros,
            "ns" => TimeFormat::Nanos,
            _ => return Err(()),
        })
    }
}

impl TimeFormat {
    /// Microseconds since 1970; `None` for what is no time.
    pub(crate) fn parse(self, text: &str) -> Option<i64> {
        if let Ok(number) = text.parse() {
            return self.number(number);
        }
        // A zone is honoured; a time without one is UTC.
        if let Ok(time) = string_to_datetime(&chrono::Utc, text) {
            return Some(time.timestamp_micros());
        }
        self.fraction(text.trim().parse().ok()?)
    }

    /// A whole number.
    pub(crate) fn number(self, number: i64) -> Option<i64> {
        match self.unit_of(number.unsigned_abs()) {
            TimeFormat::Seconds => number.checked_mul(1_000_000),
            TimeFormat::Millis => number.checked_mul(1_000),
            TimeFormat::Nanos => Some(number.div_euclid(1_000)),
            TimeFormat::Micros | TimeFormat::Auto => Some(number),
        }
    }

    /// A number with a fraction or an exponent; what is finer than a microsecond is rounded.
    #[expect(clippy::cast_possible_truncation, reason = "the magnitude was looked at")]
    fn fraction(self, number: f64) -> Option<i64> {
        if !number.is_finite() || number.abs() >= 9.2e18 {
            return None;
        }
        let micros = match self.unit_of(number.abs() as u64) {
            TimeFormat::Seconds => number * 1e6,
            TimeFormat::Millis => number * 1e3,
            TimeFormat::Nanos => number / 1e3,
            TimeFormat::Micros | TimeFormat::Auto => number,
        };
        (micros.abs() < 9.2e18).then(|| micros.round() as i64)
    }

    fn unit_of(self, magnitude: u64) -> TimeFormat {
        match self {
            TimeFormat::Auto if magnitude < AUTO_SECONDS => TimeFormat::Seconds,
            TimeFormat::Auto if magnitude < AUTO_MILLIS => TimeFormat::Millis,
            TimeFormat::Auto if magnitude < AUTO_MICROS => TimeFormat::Micros,
            TimeFormat::Auto => TimeFormat::Nanos,
            unit => unit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW_YEAR: i64 = 1_767_225_600_000_000;

    #[test]
    fn one_moment_has_many_spellings() {
        let spellings = [
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00",
            "2026-01-01T02:00:00+02:00",
            "2026-01-01",
            "1767225600",
            "1767225600.0",
            "1.7672256e9",
            "1767225600000",
            "1767225600000000",
            "1767225600000000000",
        ];
        for text in spellings {
            assert_eq!(TimeFormat::Auto.parse(text), Some(NEW_YEAR), "{text}");
        }
        assert_eq!(TimeFormat::Auto.parse("1767225600.25"), Some(NEW_YEAR + 250_000));
        assert_eq!(TimeFormat::Auto.parse("-1.5"), Some(-1_500_000));
    }

    #[test]
    fn what_the_option_says_goes_before_magnitude() {
        let table = [("s", 5_000_000), ("ms", 5_000), ("us", 5), ("ns", 0), ("auto", 5_000_000)];
        for (name, micros) in table {
            assert_eq!(name.parse::<TimeFormat>().unwrap().parse("5"), Some(micros), "{name}");
        }
        assert_eq!(TimeFormat::Seconds.parse("1767225600000"), Some(NEW_YEAR * 1000));
        assert_eq!(TimeFormat::Nanos.parse("-1"), Some(-1));
        assert!("minutes".parse::<TimeFormat>().is_err());
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in ["", "yesterday", "NaN", "inf", "1e300", "2026-13-01", "2026-01-01T25:00:00"] {
            assert_eq!(TimeFormat::Auto.parse(text), None, "{text}");
        }
        assert_eq!(TimeFormat::Seconds.parse("9223372036854775807"), None);
    }
}
