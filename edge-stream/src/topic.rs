//! Topics with named levels: `office/{room}/climate`.

use std::fmt;
use std::str::FromStr;

/// What MQTT can say (section 1.5.4), and what fits into the key of a record.
const MAX_TOPIC_BYTES: usize = 65_535;

/// A topic whose levels in braces are columns. In front of a stream it is a filter, behind a sink
/// it says where each row goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicPattern {
    levels: Vec<Level>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Text(String),
    /// The column of this name.
    Named(String),
    /// `#` at the end: whatever is there and below.
    Rest,
}

/// Why a topic with named levels cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TopicError {
    #[error("topic '{topic}' has an empty level; write it like 'office/{{room}}/climate'")]
    Empty { topic: String },
    #[error(
        "topic '{topic}' has a wildcard; name the level instead: {{room}} in place of +, and # at the end alone"
    )]
    Wildcard { topic: String },
    #[error("level `{level}` of a topic is a {{column}} or a word, not a mixture")]
    Mixture { level: String },
    #[error("level {{{name}}} is in the topic twice")]
    Twice { name: String },
    #[error("a topic has at most {MAX_TOPIC_BYTES} bytes, not {bytes}")]
    TooLong { bytes: usize },
    #[error("a topic cannot have `{value}` as the level {{{name}}}")]
    Value { name: String, value: String },
}

impl TopicPattern {
    /// Whether it stands for topics of any length, so that no row can go there.
    pub(crate) fn is_open(&self) -> bool {
        self.levels.last() == Some(&Level::Rest)
    }

    /// The names of its named levels, from left to right.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().filter_map(|level| match level {
            Level::Named(name) => Some(name.as_str()),
            Level::Text(_) | Level::Rest => None,
        })
    }

    /// The MQTT filter for its topics.
    #[cfg(feature = "mq")]
    pub(crate) fn filter(&self) -> String {
        let levels = self.levels.iter().map(|level| match level {
            Level::Text(text) => text.as_str(),
            Level::Named(_) => "+",
            Level::Rest => "#",
        });
        levels.collect::<Vec<_>>().join("/")
    }

    /// What stands at the named levels of a topic; `None` if it is none of its topics.
    pub(crate) fn values<'a>(&self, topic: &'a str) -> Option<Vec<&'a str>> {
        let mut values = Vec::new();
        let mut found = topic.split('/');
        for level in &self.levels {
            if *level == Level::Rest {
                return Some(values);
            }
            match (level, found.next()?) {
                (Level::Text(text), found) if text == found => {}
                (Level::Text(_), _) => return None,
                (Level::Named(_), found) => values.push(found),
                (Level::Rest, _) => {}
            }
        }
        found.next().is_none().then_some(values)
    }

    /// The topic with these values at its named levels.
    pub(crate) fn render<'a>(
        &self,
        mut value: impl FnMut(&str) -> &'a str,
    ) -> Result<String, TopicError> {
        let mut topic = String::new();
        for (place, level) in self.levels.iter().enumerate() {
            if place > 0 {
                topic.push('/');
            }
            match level {
                Level::Text(text) => topic.push_str(text),
                Level::Rest => return Err(TopicError::Wildcard { topic: self.to_string() }),
                Level::Named(name) => {
                    let value = value(name);
                    if value.is_empty() || value.contains(['/', '+', '#', '\0']) {
                        let (name, value) = (name.clone(), value.to_owned());
                        return Err(TopicError::Value { name, value });
                    }
                    topic.push_str(value);
                }
            }
        }
        match topic.len() {
            0..=MAX_TOPIC_BYTES => Ok(topic),
            bytes => Err(TopicError::TooLong { bytes }),
        }
    }
}

impl FromStr for TopicPattern {
    type Err = TopicError;

    fn from_str(topic: &str) -> Result<TopicPattern, TopicError> {
        let mut levels: Vec<Level> = Vec::new();
        for text in topic.split('/') {
            let named = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
            let inner = named.unwrap_or(text);
            if levels.contains(&Level::Rest) {
                return Err(TopicError::Wildcard { topic: topic.to_owned() });
            }
            if text == "#" {
                levels.push(Level::Rest);
                continue;
            }
            if inner.is_empty() {
                return Err(TopicError::Empty { topic: topic.to_owned() });
            }
            if inner.contains(['+', '#', '\0']) {
                return Err(TopicError::Wildcard { topic: topic.to_owned() });
            }
            if inner.contains(['{', '}']) {
                return Err(TopicError::Mixture { level: text.to_owned() });
            }
            let level = match named {
                Some(name) => Level::Named(name.to_lowercase()),
                None => Level::Text(text.to_owned()),
            };
            if matches!(level, Level::Named(_)) && levels.contains(&level) {
                return Err(TopicError::Twice { name: inner.to_owned() });
            }
            levels.push(level);
        }
        Ok(TopicPattern { levels })
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let levels = self.levels.iter().map(|level| match level {
            Level::Text(text) => text.clone(),
            Level::Named(name) => format!("{{{name}}}"),
            Level::Rest => "#".to_owned(),
        });
        f.write_str(&levels.collect::<Vec<_>>().join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TopicPattern {
        text.parse().unwrap()
    }

    #[test]
    fn named_levels_are_found_in_topics_of_the_pattern_alone() {
        let pattern = pattern("office/{room}/{sensor}/climate");
        assert_eq!(pattern.names().collect::<Vec<_>>(), ["room", "sensor"]);
        assert_eq!(pattern.values("office/lab/a/climate"), Some(vec!["lab", "a"]));
        assert_eq!(pattern.values("office//a/climate"), Some(vec!["", "a"]));
        for other in ["office/lab/a", "office/lab/a/climate/x", "home/lab/a/climate", ""] {
            assert_eq!(pattern.values(other), None, "{other}");
        }
    }

    #[test]
    fn a_row_goes_to_the_topic_of_its_columns() {
        let pattern = pattern("alarm/{room}");
        assert_eq!(pattern.render(|_| "lab"), Ok("alarm/lab".to_owned()));
        let long = "x".repeat(65_530);
        assert_eq!(pattern.render(|_| &long), Err(TopicError::TooLong { bytes: 65_536 }));
        for value in ["", "a/b", "+", "#", "a\0"] {
            assert!(matches!(pattern.render(|_| value), Err(TopicError::Value { .. })), "{value}");
        }
    }

    #[test]
    fn what_is_no_topic_is_refused() {
        for text in
            ["", "a//b", "/a", "a/+/b", "a/#/b", "a#", "{}/a", "a{b}", "{a}b", "{a}/{a}", "{a+}"]
        {
            assert!(text.parse::<TopicPattern>().is_err(), "{text}");
        }
        assert_eq!(pattern("a/{B}/c").to_string(), "a/{b}/c");
    }

    #[test]
    fn a_hash_at_the_end_is_all_below() {
        let pattern = pattern("spBv1.0/{group}/#");
        for topic in ["spBv1.0/g", "spBv1.0/g/NDATA/n", "spBv1.0/g/DDATA/n/d"] {
            assert_eq!(pattern.values(topic), Some(vec!["g"]), "{topic}");
        }
        assert_eq!(pattern.values("other/g/NDATA/n"), None);
        assert_eq!(pattern.to_string(), "spBv1.0/{group}/#");
        assert!(pattern.is_open() && pattern.render(|_| "g").is_err());
    }
}
