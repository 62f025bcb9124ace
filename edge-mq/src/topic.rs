//! Topic names and topic filters (MQTT 5.0 section 4.7). Parsing is the only way in.

use std::fmt;
use std::str::FromStr;

use crate::packet::{InvalidText, Text};

/// Levels that a filter may have. The subscription tree is as deep as its deepest filter, and it
/// is walked by recursion; topics in the field have fewer than 20 levels.
const MAX_FILTER_LEVELS: usize = 128;

/// What a message is published to: not empty, no wildcard.
///
/// ```
/// use edge_mq::TopicName;
/// assert!("office/lab/climate".parse::<TopicName>().is_ok());
/// assert!("office/+/climate".parse::<TopicName>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Text);

/// What a client subscribes to: a topic name in which `+` may stand for one level, and `#` as the
/// last level for any number of levels, none included. At most 128 levels.
///
/// ```
/// use edge_mq::{TopicFilter, TopicName};
/// let filter: TopicFilter = "office/+/climate/#".parse()?;
/// assert!(filter.matches(&"office/lab/climate".parse()?));
/// assert!(!filter.matches(&"office/climate".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Text);

/// How a filter that asks for a shared subscription begins.
const SHARE: &str = "$share/";

/// How a filter begins that one client at a time may subscribe to, as EMQX has it.
const EXCLUSIVE: &str = "$exclusive/";

/// What a filter shares with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Share {
    /// It is one's own.
    Nothing,
    /// The messages of this filter.
    Of(TopicFilter),
    /// This filter is for one client alone; others may have it without saying so.
    Exclusive(TopicFilter),
    /// It has no share name, or no filter behind that.
    Invalid,
}

impl Share {
    /// The filter behind the prefix, if there is one.
    pub(crate) fn filter(&self) -> Option<&TopicFilter> {
        match self {
            Share::Of(filter) | Share::Exclusive(filter) => Some(filter),
            Share::Nothing | Share::Invalid => None,
        }
    }
}

/// Why a string is no [`TopicName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTopic {
    /// A topic has at least one character.
    #[error("topic name is empty")]
    Empty,
    /// `+` and `#` belong into filters.
    #[error("topic name contains a wildcard")]
    Wildcard,
    /// It is no MQTT string at all.
    #[error("topic name is not an MQTT string")]
    Text(#[from] InvalidText),
}

/// Why a string is no [`TopicFilter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidFilter {
    /// A filter has at least one character.
    #[error("topic filter is empty")]
    Empty,
    /// A wildcard fills its level alone.
    #[error("wildcard in topic filter shares its level with other characters")]
    WildcardInLevel,
    /// Nothing follows `#`.
    #[error("`#` in topic filter is not its last level")]
    HashNotLast,
    /// More levels than the broker takes.
    #[error("topic filter has more than 128 levels")]
    TooDeep,
    /// It is no MQTT string at all.
    #[error("topic filter is not an MQTT string")]
    Text(#[from] InvalidText),
}

impl TopicName {
    /// The topic as a string.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The string behind it, shared.
    pub fn as_text(&self) -> &Text {
        &self.0
    }

    pub(crate) fn from_text(text: Text) -> Result<TopicName, InvalidTopic> {
        if text.as_str().is_empty() {
            return Err(InvalidTopic::Empty);
        }
        if text.as_str().contains(['+', '#']) {
            return Err(InvalidTopic::Wildcard);
        }
        Ok(TopicName(text))
    }

    /// Topics of the broker's own. A filter that begins with a wildcard does not match them.
    pub(crate) fn is_reserved(&self) -> bool {
        self.as_str().starts_with('$')
    }

    pub(crate) fn detached(&self) -> TopicName {
        TopicName(self.0.detached())
    }
}

impl TopicFilter {
    /// The filter as a string.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The string behind it, shared.
    pub fn as_text(&self) -> &Text {
        &self.0
    }

    pub(crate) fn from_text(text: Text) -> Result<TopicFilter, InvalidFilter> {
        if text.as_str().is_empty() {
            return Err(InvalidFilter::Empty);
        }
        let mut ended = false;
        for (depth, level) in text.as_str().split('/').enumerate() {
            if ended {
                return Err(InvalidFilter::HashNotLast);
            }
            if depth == MAX_FILTER_LEVELS {
                return Err(InvalidFilter::TooDeep);
            }
            if level.len() > 1 && level.contains(['+', '#']) {
                return Err(InvalidFilter::WildcardInLevel);
            }
            ended = level == "#";
        }
        Ok(TopicFilter(text))
    }

    /// Whether a message on this topic would be delivered.
    pub fn matches(&self, topic: &TopicName) -> bool {
        if topic.is_reserved() && self.as_str().starts_with(['+', '#']) {
            return false;
        }
        let mut topic = topic.as_str().split('/');
        for level in self.as_str().split('/') {
            if level == "#" {
                return true;
            }
            match topic.next() {
                Some(found) if level == "+" || level == found => {}
                _ => return false,
            }
        }
        topic.next().is_none()
    }

    /// The part that every matching topic begins with, up to the first wildcard. `a/#` also
    /// matches `a`, so the `/` before a wildcard does not belong to it.
    pub(crate) fn literal_prefix(&self) -> &str {
        let wild = self.as_str().find(['+', '#']).unwrap_or(self.as_str().len());
        let prefix = &self.as_str()[..wild];
        if wild < self.as_str().len() { prefix.strip_suffix('/').unwrap_or(prefix) } else { prefix }
    }

    /// Whether it asks for a shared subscription (MQTT 5.0 section 4.8.2).
    pub(crate) fn is_shared(&self) -> bool {
        self.as_str().starts_with(SHARE)
    }

    /// What it shares: `$share/` is followed by a name without wildcards, `/`, and a filter,
    /// `$exclusive/` by a filter.
    pub(crate) fn share(&self) -> Share {
        if let Some(filter) = self.as_str().strip_prefix(EXCLUSIVE) {
            return filter.parse().map_or(Share::Invalid, Share::Exclusive);
        }
        let Some(rest) = self.as_str().strip_prefix(SHARE) else { return Share::Nothing };
        match rest.split_once('/') {
            Some((name, filter)) if !name.is_empty() && !name.contains(['+', '#']) => {
                filter.parse().map_or(Share::Invalid, Share::Of)
            }
            _ => Share::Invalid,
        }
    }

    pub(crate) fn detached(&self) -> TopicFilter {
        TopicFilter(self.0.detached())
    }
}

macro_rules! string_like {
    ($name:ident, $error:ident) => {
        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<$name, $error> {
                $name::from_text(text.parse()?)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = $error;

            fn try_from(text: &str) -> Result<$name, $error> {
                text.parse()
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<$name, $error> {
                $name::from_text(text.try_into()?)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}

string_like!(TopicName, InvalidTopic);
string_like!(TopicFilter, InvalidFilter);

#[cfg(test)]
mod tests;
