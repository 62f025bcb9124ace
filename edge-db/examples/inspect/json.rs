//! Stored bytes as JSON.

use std::fmt::Write as _;

use edge_db::{Key, Seq, Time};

/// A JSON string.
pub(crate) fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if u32::from(c) < 0x20 => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("a string takes everything");
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Bytes as text if they are such, else in hex.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') => {
            string(text)
        }
        _ => {
            let mut out = String::from("\"0x");
            for byte in bytes {
                write!(out, "{byte:02x}").expect("a string takes everything");
            }
            out.push('"');
            out
        }
    }
}

/// An encoded key by its kind, as `Key::kind` names it; in hex if it is not of that kind.
pub(crate) fn key(kind: &str, encoded: &[u8]) -> String {
    let mut rest = encoded;
    match part(kind, &mut rest) {
        Some(text) if rest.is_empty() => text,
        _ => bytes(encoded),
    }
}

fn part(kind: &str, rest: &mut &[u8]) -> Option<String> {
    if let Some(parts) = kind.strip_prefix('(').and_then(|kind| kind.strip_suffix(')')) {
        let parts: Option<Vec<_>> = split(parts).into_iter().map(|kind| part(kind, rest)).collect();
        return Some(format!("[{}]", parts?.join(",")));
    }
    Some(match kind {
        "u8" => u8::decode(rest)?.to_string(),
        "u16" => u16::decode(rest)?.to_string(),
        "u32" => u32::decode(rest)?.to_string(),
        "u64" => u64::decode(rest)?.to_string(),
        "u128" => u128::decode(rest)?.to_string(),
        "i8" => i8::decode(rest)?.to_string(),
        "i16" => i16::decode(rest)?.to_string(),
        "i32" => i32::decode(rest)?.to_string(),
        "i64" => i64::decode(rest)?.to_string(),
        "i128" => i128::decode(rest)?.to_string(),
        "f32" => number(f64::from(f32::decode(rest)?)),
        "f64" => number(f64::decode(rest)?),
        "bool" => bool::decode(rest)?.to_string(),
        "text" => string(&String::decode(rest)?),
        "bytes" => bytes(&Vec::<u8>::decode(rest)?),
        "seq" => Seq::decode(rest)?.to_string(),
        "time" => Time::decode(rest)?.micros().to_string(),
        _ => return None,
    })
}

/// JSON knows no NaN and no infinity.
fn number(number: f64) -> String {
    if number.is_finite() { number.to_string() } else { string(&number.to_string()) }
}

/// The parts of a tuple, which may be tuples.
fn split(parts: &str) -> Vec<&str> {
    let (mut depth, mut start) = (0, 0);
    let mut found = Vec::new();
    for (at, c) in parts.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&parts[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&parts[start..]);
    found
}
