//! Encoded keys by the name of their kind, where no type is at hand.

use super::Key;
use crate::{Seq, Time};

/// Takes one key of this kind off the front: whether there is one. `None` if the kind is not one
/// of this crate's, so that nobody can tell.
pub(crate) fn skip(kind: &str, rest: &mut &[u8]) -> Option<bool> {
    if let Some(parts) = kind.strip_prefix('(').and_then(|kind| kind.strip_suffix(')')) {
        for part in parts_of(parts) {
            if !skip(part, rest)? {
                return Some(false);
            }
        }
        return Some(true);
    }
    Some(match kind {
        "u8" => u8::decode(rest).is_some(),
        "u16" => u16::decode(rest).is_some(),
        "u32" => u32::decode(rest).is_some(),
        "u64" => u64::decode(rest).is_some(),
        "u128" => u128::decode(rest).is_some(),
        "i8" => i8::decode(rest).is_some(),
        "i16" => i16::decode(rest).is_some(),
        "i32" => i32::decode(rest).is_some(),
        "i64" => i64::decode(rest).is_some(),
        "i128" => i128::decode(rest).is_some(),
        "f32" => f32::decode(rest).is_some(),
        "f64" => f64::decode(rest).is_some(),
        "bool" => bool::decode(rest).is_some(),
        "text" => String::decode(rest).is_some(),
        "bytes" => Vec::<u8>::decode(rest).is_some(),
        "seq" => Seq::decode(rest).is_some(),
        "time" => Time::decode(rest).is_some(),
        _ => return None,
    })
}

/// Whether `encoded` is one key of this kind and nothing else; true where nobody can tell.
pub(crate) fn is_key(kind: &str, mut encoded: &[u8]) -> bool {
    skip(kind, &mut encoded).is_none_or(|there| there && encoded.is_empty())
}

/// The parts of a tuple, which may be tuples.
fn parts_of(parts: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    parts.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_other_bytes_by_their_kind() {
        let mut encoded = Vec::new();
        let key = ((7u32, "a\0b".to_owned()), true);
        key.encode(&mut encoded);
        let kind = <((u32, String), bool)>::kind();
        assert!(is_key(&kind, &encoded));
        assert!(!is_key(&kind, &encoded[..encoded.len() - 1]));
        assert!(!is_key("u32", &encoded));
        assert!(is_key("something else", &encoded));
        let mut rest = encoded.as_slice();
        assert_eq!((skip("(u32,text)", &mut rest), rest), (Some(true), &[1][..]));
    }
}
