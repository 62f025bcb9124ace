//! Values of keys: what may be written, and how.

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// Something that a key can be.
pub(crate) trait Value: Sized {
    /// What it is, for whoever wrote something else.
    const WANTED: &'static str;

    fn read(value: &DeValue<'_>) -> Option<Self>;
}

impl Value for bool {
    const WANTED: &'static str = "true or false";

    fn read(value: &DeValue<'_>) -> Option<bool> {
        value.as_bool()
    }
}

impl Value for String {
    const WANTED: &'static str = "a text in quotes";

    fn read(value: &DeValue<'_>) -> Option<String> {
        value.as_str().map(str::to_owned)
    }
}

impl Value for Vec<String> {
    const WANTED: &'static str = "a list of texts, as [\"a\", \"b\"]";

    fn read(value: &DeValue<'_>) -> Option<Vec<String>> {
        value.as_array()?.iter().map(|item| String::read(item.get_ref())).collect()
    }
}

macro_rules! numbers {
    ($($number:ty: $wanted:literal,)+) => {$(
        impl Value for $number {
            const WANTED: &'static str = $wanted;

            fn read(value: &DeValue<'_>) -> Option<$number> {
                let number = value.as_integer()?;
                <$number>::from_str_radix(number.as_str(), number.radix()).ok()
            }
        }
    )+};
}

numbers! {
    u16: "a whole number up to 65535",
    u32: "a whole number up to 4294967295",
    u64: "a whole number",
    usize: "a whole number",
}

/// Seconds and longer, with their unit.
impl Value for Duration {
    const WANTED: &'static str =
        "a time with its unit in quotes, as \"10 s\" (ms, s, min, h, days)";

    fn read(value: &DeValue<'_>) -> Option<Duration> {
        let (count, unit) = count_and_unit(value.as_str()?)?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1000,
            "min" => 60 * 1000,
            "h" => 3600 * 1000,
            "d" | "day" | "days" => 24 * 3600 * 1000,
            _ => return None,
        };
        count.checked_mul(millis).map(Duration::from_millis)
    }
}

/// A number of bytes, with or without a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl Value for Bytes {
    const WANTED: &'static str = "a number of bytes, or one with its unit in quotes, as \"16 MiB\"";

    fn read(value: &DeValue<'_>) -> Option<Bytes> {
        let Some(text) = value.as_str() else { return u64::read(value).map(Bytes) };
        let (count, unit) = count_and_unit(text)?;
        let bytes = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        count.checked_mul(bytes).map(Bytes)
    }
}

fn count_and_unit(text: &str) -> Option<(u64, &str)> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(unit_at);
    Some((count.parse().ok()?, unit.trim()))
}

/// A value as it may stand in a file, on one line.
pub(crate) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| shown(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(table) => shown_table(table),
    }
}

/// The same of a table.
pub(crate) fn shown_table(table: &DeTable<'_>) -> String {
    let one = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        format!("{} = {}", key.get_ref(), shown(value.get_ref()))
    };
    format!("{{{}}}", table.iter().map(one).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Value>(text: &str) -> Option<T> {
        T::read(DeValue::parse(text).unwrap().get_ref())
    }

    #[test]
    fn times_have_a_unit() {
        for (text, expected) in [
            ("'10 s'", Some(10_000)),
            ("'10s'", Some(10_000)),
            ("'500 ms'", Some(500)),
            ("'7 days'", Some(7 * 24 * 3_600_000)),
            ("'2 h'", Some(7_200_000)),
            ("10", None),
            ("'10'", None),
            ("'s'", None),
            ("'-1 s'", None),
            ("'1.5 s'", None),
            ("'99999999999999999999 s'", None),
            ("'18446744073709551615 days'", None),
        ] {
            assert_eq!(read(text), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn bytes_may_have_a_unit() {
        for (text, expected) in [
            ("1024", Some(1024)),
            ("'16 MiB'", Some(16 << 20)),
            ("'1GiB'", Some(1 << 30)),
            ("'5 B'", Some(5)),
            ("'5 MB'", None),
            ("'16 EiB'", None),
            ("-1", None),
        ] {
            assert_eq!(read(text), expected.map(Bytes), "{text}");
        }
    }

    #[test]
    fn numbers_have_a_largest() {
        assert_eq!(read::<u16>("65_535"), Some(65_535));
        assert_eq!(read::<u16>("65536"), None);
        assert_eq!(read::<u16>("0x10"), Some(16));
        assert_eq!(read::<u32>("1.0"), None);
    }
}
