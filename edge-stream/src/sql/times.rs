//! What `WITH (..)` says of the times of a stream's rows.

use std::fmt;

use arrow::compute::kernels::cast_utils::{
    IntervalParseConfig, IntervalUnit, parse_interval_month_day_nano_config,
};

/// A length of time, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) micros: i64,
    text: String,
}

/// How rows stand to the clocks that they come from, and to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Times {
    /// How far an event time may lie ahead of the arrival of its record.
    pub(crate) max_ahead: Option<Span>,
    /// Whether rows behind the watermark are kept apart.
    pub(crate) diverts_late: bool,
    /// How long the stream says nothing until others do not wait for it.
    pub(crate) idle_timeout: Option<Span>,
    /// The column whose values have watermarks of their own, which may be idle, too.
    pub(crate) watermark_by: Option<String>,
}

impl Times {
    /// The names of its options.
    pub(crate) const OPTIONS: [&'static str; 3] = ["max_ahead", "idle_timeout", "watermark_by"];

    /// Takes one of its options.
    ///
    /// # Errors
    /// When the value is none of it: what is wrong, and what would work.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), (String, String)> {
        let refuse = |help: &str| Err((format!("{name} is '{value}'"), help.to_owned()));
        match (name, value, Span::parse(value)) {
            ("watermark_by", ..) => self.watermark_by = Some(value.to_owned()),
            ("max_ahead", "none", _) => self.max_ahead = None,
            ("max_ahead", _, Some(span)) => self.max_ahead = Some(span),
            ("idle_timeout", "none", _) => self.idle_timeout = None,
            ("idle_timeout", _, Some(span)) if span.micros > 0 => self.idle_timeout = Some(span),
            _ => return refuse("use a length of time as in '1 hour', or 'none'"),
        }
        Ok(())
    }

    pub(crate) fn idle_micros(&self) -> Option<i64> {
        self.idle_timeout.as_ref().map(|timeout| timeout.micros)
    }
}

impl Default for Times {
    /// A day leaves room for a clock in a wrong zone, which is 14 hours ahead at most.
    fn default() -> Times {
        let max_ahead = Span::parse("1 day");
        Times { max_ahead, diverts_late: false, idle_timeout: None, watermark_by: None }
    }
}

impl Span {
    /// `None` for what has no fixed length, or less than none.
    pub(crate) fn parse(text: &str) -> Option<Span> {
        let config = IntervalParseConfig::new(IntervalUnit::Second);
        let span = parse_interval_month_day_nano_config(text, config).ok()?;
        let micros = i64::from(span.days).checked_mul(86_400_000_000)?;
        let micros = micros.checked_add(span.nanoseconds / 1000)?;
        let is_fixed = span.months == 0 && micros >= 0;
        is_fixed.then(|| Span { micros, text: text.to_owned() })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_fixed() {
        for (text, seconds) in
            [("1 day", 86_400), ("90 minutes", 5_400), ("1 hour 30 seconds", 3_630), ("30", 30)]
        {
            assert_eq!(Span::parse(text).unwrap().micros, seconds * 1_000_000, "{text}");
        }
        for text in ["", "soon", "1 month", "1 year", "-1 second", "1 day -25 hours"] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }
}
