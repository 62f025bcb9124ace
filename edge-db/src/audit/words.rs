//! Keys and names in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::space::{Space, without_space};

/// Longer keys are cut.
const MOST_BYTES: usize = 48;

/// Bytes as text if they are such, else in hex.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(MOST_BYTES)];
    let rest = if shown.len() < bytes.len() { ".." } else { "" };
    if !shown.is_empty() && shown.iter().all(|byte| (0x20..0x7F).contains(byte)) {
        return format!("\"{}\"{rest}", String::from_utf8_lossy(shown));
    }
    let mut hex = String::from("0x");
    for byte in shown {
        write!(hex, "{byte:02x}").expect("a string takes everything");
    }
    hex + rest
}

/// What a name of the catalog names.
pub(super) fn label(name: &str) -> String {
    let mut parts = name.split('\0');
    let table = parts.next().unwrap_or_default();
    match (parts.next(), parts.next()) {
        (Some("index"), Some(index)) => format!("index `{index}` of `{table}`"),
        (Some("count"), _) => format!("count of `{table}`"),
        (Some("capture"), _) => format!("change log of `{table}`"),
        _ => format!("`{table}`"),
    }
}

/// What lies in a space.
pub(super) fn space(names: &BTreeMap<Space, String>, space: Space) -> String {
    match space {
        Space::CATALOG => "the names".to_owned(),
        Space::LOG_STATE => "the states of logs".to_owned(),
        Space::CURSORS => "the cursors".to_owned(),
        Space::SETTLED => "the position of the data file".to_owned(),
        Space::COUNTS => "the counts".to_owned(),
        _ => names
            .get(&space)
            .map_or_else(|| format!("key space {}", space.number()), |name| label(name)),
    }
}

/// A complete key.
pub(super) fn key(names: &BTreeMap<Space, String>, key: &[u8]) -> String {
    let Some(found) = Space::of(key) else { return bytes(key) };
    format!("{} of {}", bytes(without_space(key)), space(names, found))
}
