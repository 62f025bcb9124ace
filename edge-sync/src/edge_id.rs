//! The name of one edge in the landing zone.

use std::fmt;
use std::str::FromStr;

/// Names one edge: it stands in the path of every object that the edge writes.
///
/// 1 to 64 ASCII letters, digits, `-` and `_`, so that it means the same to every object store
/// and file system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EdgeId(String);

/// Why a text is no [`EdgeId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no edge id: use 1 to 64 letters, digits, `-` and `_`")]
pub struct EdgeIdError {
    given: String,
}

impl EdgeId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EdgeId {
    type Err = EdgeIdError;

    fn from_str(given: &str) -> Result<EdgeId, EdgeIdError> {
        if is_path_word(given) {
            Ok(EdgeId(given.to_owned()))
        } else {
            Err(EdgeIdError { given: given.to_owned() })
        }
    }
}

impl fmt::Display for EdgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the text can stand between two slashes of a path, everywhere.
pub(crate) fn is_path_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_that_fit_every_path_are_ids() {
        assert_eq!("gateway-1".parse::<EdgeId>().unwrap().to_string(), "gateway-1");
        for wrong in ["", "a/b", "..", "a b", "a=b", "ü", &"x".repeat(65)] {
            assert!(wrong.parse::<EdgeId>().is_err(), "{wrong}");
        }
    }
}
