//! Topics under other names.

use super::Hooks;
use crate::access::Client;
use crate::message::Message;
use crate::packet::ReasonCode;
use crate::topic::{InvalidFilter, TopicFilter};

/// Puts what clients publish and subscribe to under other topics: old devices stay as they are.
///
/// Each rule is a filter, and a topic in which `{1}` stands for what its first wildcard stands for,
/// `{2}` for the second, and so on. The first rule that matches counts, and only once. Of a
/// subscription, the levels of the filter have to match those of the rule, wildcards only wildcards;
/// a share name stays. Clients get messages under the new topics.
///
/// ```
/// use edge_mq::hooks::Rewrites;
/// let rewrites = Rewrites::new()
///     .rule("home/+/temp", "sites/{1}/climate/temperature")?
///     .rule("legacy/#", "sites/old/{1}")?;
/// assert_eq!(rewrites.apply("home/7/temp").as_deref(), Some("sites/7/climate/temperature"));
/// assert_eq!(rewrites.apply("home/+/temp").as_deref(), Some("sites/+/climate/temperature"));
/// assert_eq!(rewrites.apply("home/7/light"), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct Rewrites {
    rules: Vec<Rewrite>,
}

#[derive(Debug)]
struct Rewrite {
    from: TopicFilter,
    to: Vec<Piece>,
}

/// A part of a new topic.
#[derive(Debug)]
enum Piece {
    Literal(String),
    /// What this wildcard stands for, counted from 0.
    Wildcard(usize),
}

/// Why a rule of [`Rewrites`] is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRewrite {
    /// What is rewritten is no topic filter.
    #[error("`{from}` is no topic filter")]
    From {
        /// The rule's filter.
        from: String,
        /// What is wrong with it.
        source: InvalidFilter,
    },
    /// A number in braces stands for no wildcard.
    #[error(
        "`{{{found}}}` in `{to}` is none of the {wildcards} wildcards, from {{1}} on, of its filter"
    )]
    Wildcard {
        /// The rule's new topic.
        to: String,
        /// What stands in the braces.
        found: String,
        /// How many wildcards the filter has.
        wildcards: usize,
    },
    /// The new topic has wildcards of its own, a brace without its other, or nothing at all.
    #[error("`{to}` is no topic: wildcards are written {{1}}, {{2}} and so on")]
    To {
        /// The rule's new topic.
        to: String,
    },
}

impl Rewrites {
    /// None.
    pub fn new() -> Rewrites {
        Rewrites::default()
    }

    /// Adds a rule behind the others.
    ///
    /// # Errors
    /// When it is none.
    pub fn rule(mut self, from: &str, to: &str) -> Result<Rewrites, InvalidRewrite> {
        let parsed = from.parse();
        let from: TopicFilter =
            parsed.map_err(|source| InvalidRewrite::From { from: from.to_owned(), source })?;
        let wildcards = from.as_str().split('/').filter(|level| is_wild(level)).count();
        let to = pieces(to, wildcards)?;
        self.rules.push(Rewrite { from, to });
        Ok(self)
    }

    /// The new name of a topic, or of a filter; `None` if it keeps its own.
    pub fn apply(&self, topic: &str) -> Option<String> {
        let (share, topic) = split_share(topic);
        // The broker's own topics are not for others to name.
        if topic.starts_with('$') {
            return None;
        }
        let renamed = self.rules.iter().find_map(|rule| rule.apply(topic))?;
        Some(format!("{share}{renamed}"))
    }
}

impl Hooks for Rewrites {
    fn subscribe(&self, _: Client<'_>, filter: TopicFilter) -> Result<TopicFilter, ReasonCode> {
        let Some(renamed) = self.apply(filter.as_str()) else { return Ok(filter) };
        renamed.try_into().map_err(|_| ReasonCode::TOPIC_FILTER_INVALID)
    }

    fn publish(&self, _: Client<'_>, message: Message) -> Result<Option<Message>, ReasonCode> {
        let Some(renamed) = self.apply(message.topic().as_str()) else { return Ok(Some(message)) };
        let topic = renamed.try_into().map_err(|_| ReasonCode::TOPIC_NAME_INVALID)?;
        Ok(Some(message.with_topic(topic)))
    }
}

impl Rewrite {
    fn apply(&self, topic: &str) -> Option<String> {
        let found = wildcards(self.from.as_str(), topic)?;
        let mut to = String::with_capacity(topic.len() + 16);
        for piece in &self.to {
            match piece {
                Piece::Literal(text) => to.push_str(text),
                Piece::Wildcard(at) => match found[*at] {
                    Some(levels) => to.push_str(levels),
                    // `#` stands for no level, and so has no `/` in front of it.
                    None => drop(to.ends_with('/').then(|| to.pop())),
                },
            }
        }
        Some(to)
    }
}

/// What the wildcards of a filter stand for, if it matches; `None` in it is a `#` that stands for no
/// level.
fn wildcards<'a>(filter: &str, topic: &'a str) -> Option<Vec<Option<&'a str>>> {
    let (mut found, mut rest) = (Vec::new(), Some(topic));
    for level in filter.split('/') {
        if level == "#" {
            found.push(rest);
            return Some(found);
        }
        let (first, behind) = match rest?.split_once('/') {
            Some((first, behind)) => (first, Some(behind)),
            None => (rest?, None),
        };
        match level {
            // A `#` stands for more than one level.
            "+" if first != "#" => found.push(Some(first)),
            level if level == first => {}
            _ => return None,
        }
        rest = behind;
    }
    rest.is_none().then_some(found)
}

/// The parts of a new topic: `{1}` is the first wildcard.
fn pieces(to: &str, wildcards: usize) -> Result<Vec<Piece>, InvalidRewrite> {
    let invalid = || InvalidRewrite::To { to: to.to_owned() };
    if to.is_empty() || to.contains(['+', '#', '\0']) {
        return Err(invalid());
    }
    let (mut pieces, mut rest) = (Vec::new(), to);
    while let Some((literal, behind)) = rest.split_once('{') {
        let (number, behind) = behind.split_once('}').ok_or_else(invalid)?;
        let at = number.parse().ok().filter(|number| (1..=wildcards).contains(number));
        let at: usize = at.ok_or_else(|| InvalidRewrite::Wildcard {
            to: to.to_owned(),
            found: number.to_owned(),
            wildcards,
        })?;
        pieces.push(Piece::Literal(literal.to_owned()));
        pieces.push(Piece::Wildcard(at - 1));
        rest = behind;
    }
    if rest.contains('}') {
        return Err(invalid());
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    Ok(pieces)
}

fn is_wild(level: &str) -> bool {
    matches!(level, "+" | "#")
}

/// `$share/name/` and the filter behind it.
fn split_share(filter: &str) -> (&str, &str) {
    let shared = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    let Some((_, behind)) = shared else { return ("", filter) };
    filter.split_at(filter.len() - behind.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_filters_get_the_name_of_the_first_rule_that_matches() {
        let rewrites = Rewrites::new()
            .rule("a/+/b/+", "n/{2}/{1}/{2}")
            .and_then(|rewrites| rewrites.rule("a/#", "rest/{1}"))
            .and_then(|rewrites| rewrites.rule("x", "y"))
            .and_then(|rewrites| rewrites.rule("+/z", "{1}z"))
            .unwrap();
        let cases = [
            ("a/1/b/2", Some("n/2/1/2")),
            ("a/1/b/2/3", Some("rest/1/b/2/3")),
            ("a/1", Some("rest/1")),
            ("a", Some("rest")),
            ("a/", Some("rest/")),
            ("x", Some("y")),
            ("x/1", None),
            ("b", None),
            ("", None),
            ("/z", Some("z")),
            ("a/+/b/+", Some("n/+/+/+")),
            ("a/1/#", Some("rest/1/#")),
            ("a/#", Some("rest/#")),
            ("$share/g/a/1/b/2", Some("$share/g/n/2/1/2")),
            ("$share/g/b", None),
            ("$share/a", None),
            ("$SYS/z", None),
            // Not the whole of what the rule says, nor less than the filter.
            ("+/1/b/2", None),
            ("#", None),
        ];
        for (topic, expected) in cases {
            assert_eq!(rewrites.apply(topic).as_deref(), expected, "{topic}");
        }
        // A `#` is more than the one level of a `+`.
        let one = Rewrites::new().rule("a/+", "b/{1}").unwrap();
        assert_eq!(one.apply("a/#"), None);
    }

    #[test]
    fn rules_that_cannot_be_are_told_apart() {
        let wrong = |from: &str, to: &str| Rewrites::new().rule(from, to).unwrap_err().to_string();
        assert_eq!(wrong("a/b+", "c"), "`a/b+` is no topic filter");
        assert_eq!(
            wrong("a/+", "c/{2}"),
            "`{2}` in `c/{2}` is none of the 1 wildcards, from {1} on, of its filter"
        );
        assert!(wrong("a/+", "c/{0}").starts_with("`{0}`"));
        assert!(wrong("a/+", "c/{}").starts_with("`{}`"));
        for to in ["", "c/+", "c/#", "c/{1", "c}", "c\0"] {
            assert!(wrong("a/+", to).contains("is no topic"), "{to}");
        }
    }
}
