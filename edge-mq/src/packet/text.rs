//! Strings as MQTT allows them.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use bytestring::ByteString;

/// A UTF-8 string of at most 65,535 bytes without U+0000 (MQTT 5.0 section 1.5.4).
///
/// A string that came in a packet shares the bytes of that packet; cloning never copies.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(ByteString);

/// Why bytes are no [`Text`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidText {
    /// The bytes are no UTF-8.
    #[error("string is not UTF-8")]
    NotUtf8,
    /// MQTT forbids U+0000 in strings.
    #[error("string contains U+0000")]
    Nul,
    /// The length does not fit the two bytes that MQTT has for it.
    #[error("string has {0} bytes, MQTT allows 65535")]
    TooLong(usize),
}

impl Text {
    /// The string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its bytes, shared.
    pub fn to_bytes(&self) -> Bytes {
        self.0.as_bytes().clone()
    }

    pub(crate) fn from_bytes(bytes: Bytes) -> Result<Text, InvalidText> {
        if bytes.contains(&0) {
            return Err(InvalidText::Nul);
        }
        if bytes.len() > usize::from(u16::MAX) {
            return Err(InvalidText::TooLong(bytes.len()));
        }
        ByteString::try_from(bytes).map(Text).map_err(|_| InvalidText::NotUtf8)
    }

    /// The same string in an allocation of its own, so that keeping it does not keep a whole
    /// read buffer.
    pub(crate) fn detached(&self) -> Text {
        Text(ByteString::from(self.as_str().to_owned()))
    }
}

impl FromStr for Text {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Text, InvalidText> {
        Text::from_bytes(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl TryFrom<&str> for Text {
    type Error = InvalidText;

    fn try_from(text: &str) -> Result<Text, InvalidText> {
        text.parse()
    }
}

impl TryFrom<String> for Text {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Text, InvalidText> {
        Text::from_bytes(Bytes::from(text))
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
