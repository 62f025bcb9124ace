//! Which messages cross a bridge, and what their topics become.

use super::error::InvalidBridge;
use crate::packet::QoS;
use crate::{TopicFilter, TopicName};

/// How a message waits beside others when the link has less room than there are messages. Each
/// priority has a queue of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Priority {
    /// Of 16 messages for each one of [`Priority::Low`].
    High,
    /// Of 4 messages for each one of [`Priority::Low`].
    #[default]
    Normal,
    /// What may wait longest.
    Low,
}

impl Priority {
    pub(super) const ALL: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

    pub(super) fn name(self) -> &'static str {
        match self {
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Low => "low",
        }
    }

    pub(super) fn weight(self) -> usize {
        match self {
            Priority::High => 16,
            Priority::Normal => 4,
            Priority::Low => 1,
        }
    }
}

/// Messages that cross a bridge in one direction.
///
/// The filter is what both sides have in common: a message of the topic `<local prefix><rest>` here
/// has the topic `<remote prefix><rest>` there, if the filter matches the rest. Of several rules
/// that match a message, the first one decides.
///
/// ```
/// use edge_mq::bridge::Rule;
/// // `line-1/temp` here is `site-7/line-1/temp` there.
/// let rule = Rule::new("line-1/#".parse()?).remote_prefix("site-7/");
/// # Ok::<(), edge_mq::InvalidFilter>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Rule {
    filter: TopicFilter,
    local_prefix: String,
    remote_prefix: String,
    at_least: QoS,
    at_most: QoS,
    retain: bool,
    priority: Priority,
}

impl Rule {
    /// Topics are the same on both sides, QoS and the retain flag stay as they are (QoS 2 becomes 1),
    /// the priority is normal.
    pub fn new(filter: TopicFilter) -> Rule {
        Rule {
            filter,
            local_prefix: String::new(),
            remote_prefix: String::new(),
            at_least: QoS::AtMostOnce,
            at_most: QoS::AtLeastOnce,
            retain: true,
            priority: Priority::Normal,
        }
    }

    /// What topics begin with here.
    pub fn local_prefix(mut self, prefix: impl Into<String>) -> Rule {
        self.local_prefix = prefix.into();
        self
    }

    /// What topics begin with at the remote broker.
    pub fn remote_prefix(mut self, prefix: impl Into<String>) -> Rule {
        self.remote_prefix = prefix.into();
        self
    }

    /// Sends with this QoS what came with a lower one: what devices publish with QoS 0 crosses a
    /// link that is often cut with QoS 1. Has no effect on what is received.
    pub fn at_least(mut self, qos: QoS) -> Rule {
        self.at_least = qos;
        self
    }

    /// Crosses with this QoS what came with a higher one.
    pub fn at_most(mut self, qos: QoS) -> Rule {
        self.at_most = qos;
        self
    }

    /// Whether a retained message is one on the other side, too. MQTT 3.1.1 does not say of a live
    /// message that it is to be retained, so such a remote broker's are received without it.
    pub fn retain(mut self, retain: bool) -> Rule {
        self.retain = retain;
        self
    }

    /// How it waits beside messages of other rules. Has no effect on what is received.
    pub fn priority(mut self, priority: Priority) -> Rule {
        self.priority = priority;
        self
    }
}

/// A rule in one direction, checked.
#[derive(Debug, Clone)]
pub(super) struct Mapping {
    /// Which messages, on the side that they come from.
    pub(super) filter: TopicFilter,
    from: String,
    to: String,
    at_least: QoS,
    at_most: QoS,
    retain: bool,
    pub(super) priority: Priority,
}

impl Mapping {
    pub(super) fn sending(rule: Rule) -> Result<Mapping, InvalidBridge> {
        let (from, to) = (rule.local_prefix.clone(), rule.remote_prefix.clone());
        Mapping::new(rule, from, to)
    }

    pub(super) fn receiving(rule: Rule) -> Result<Mapping, InvalidBridge> {
        let (from, to) = (rule.remote_prefix.clone(), rule.local_prefix.clone());
        Mapping::new(rule, from, to)
    }

    fn new(rule: Rule, from: String, to: String) -> Result<Mapping, InvalidBridge> {
        if let Some(prefix) = [&from, &to].into_iter().find(|prefix| prefix.contains(['+', '#'])) {
            return Err(InvalidBridge::Prefix { prefix: prefix.clone() });
        }
        let invalid =
            |source| InvalidBridge::Filter { filter: format!("{from}{}", rule.filter), source };
        let filter: TopicFilter = format!("{from}{}", rule.filter).try_into().map_err(invalid)?;
        // What the longest topic would be is not known yet, but that the prefix is a string is.
        let invalid =
            |source| InvalidBridge::Filter { filter: format!("{to}{}", rule.filter), source };
        TopicFilter::try_from(format!("{to}{}", rule.filter)).map_err(invalid)?;
        if filter.is_shared() || rule.filter.is_shared() {
            return Err(InvalidBridge::Shared { filter: filter.to_string() });
        }
        let Rule { at_least, at_most, retain, priority, .. } = rule;
        let at_most = at_most.min(QoS::AtLeastOnce);
        Ok(Mapping { filter, from, to, at_least: at_least.min(at_most), at_most, retain, priority })
    }

    /// Whether a message of this topic crosses by it.
    pub(super) fn matches(&self, topic: &TopicName) -> bool {
        // `a/#` matches `a` too, which does not begin with the prefix `a/`.
        topic.as_str().starts_with(&self.from) && self.filter.matches(topic)
    }

    /// The topic on the other side; `None` if it would not be one.
    pub(super) fn topic(&self, topic: &TopicName) -> Option<TopicName> {
        let rest = topic.as_str().strip_prefix(&self.from)?;
        format!("{}{rest}", self.to).try_into().ok()
    }

    pub(super) fn qos(&self, published: QoS) -> QoS {
        published.clamp(self.at_least, self.at_most)
    }

    /// The QoS to subscribe with.
    pub(super) fn granted(&self) -> QoS {
        self.at_most
    }

    pub(super) fn keeps(&self, retain: bool) -> bool {
        retain && self.retain
    }
}

/// The first rule that matches.
pub(super) fn deciding<'a>(rules: &'a [Mapping], topic: &TopicName) -> Option<&'a Mapping> {
    rules.iter().find(|rule| rule.matches(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(filter: &str) -> Rule {
        Rule::new(filter.parse().unwrap())
    }

    fn sent(rule: Rule, topic: &str) -> Option<String> {
        let rules = [Mapping::sending(rule).unwrap()];
        let topic = topic.parse().unwrap();
        deciding(&rules, &topic)?.topic(&topic).map(|topic| topic.to_string())
    }

    #[test]
    fn prefix_of_one_side_becomes_that_of_the_other() {
        for (local, remote, filter, topic, expected) in [
            ("", "", "a/#", "a/b", Some("a/b")),
            ("", "site/", "a/#", "a", Some("site/a")),
            ("here/", "", "#", "here/a/b", Some("a/b")),
            ("here/", "there/", "+/b", "here/a/b", Some("there/a/b")),
            ("here/", "there/", "+/b", "a/b", None),
            // Nothing would be left of the topic.
            ("here/", "", "#", "here/", None),
            // `here/#` matches it, the prefix does not.
            ("here/", "there/", "#", "here", None),
            ("", "there/", "#", "$SYS/x", None),
        ] {
            let mapped = sent(rule(filter).local_prefix(local).remote_prefix(remote), topic);
            assert_eq!(mapped.as_deref(), expected, "{local}|{remote}|{filter}|{topic}");
        }
        let back = Mapping::receiving(rule("+/b").local_prefix("here/").remote_prefix("there/"));
        let topic = "there/a/b".parse().unwrap();
        assert_eq!(back.unwrap().topic(&topic).unwrap().as_str(), "here/a/b");
    }

    #[test]
    fn qos_stays_within_what_the_rule_says_and_is_never_two() {
        use QoS::{AtLeastOnce as One, AtMostOnce as Zero, ExactlyOnce as Two};
        for (at_least, at_most, published, expected) in [
            (Zero, One, Zero, Zero),
            (Zero, One, Two, One),
            (Zero, Two, Two, One),
            (One, One, Zero, One),
            (Two, Zero, One, Zero),
        ] {
            let mapping = Mapping::sending(rule("#").at_least(at_least).at_most(at_most)).unwrap();
            assert_eq!(mapping.qos(published), expected);
        }
    }

    #[test]
    fn rules_that_mean_nothing_are_refused() {
        let refused = [
            rule("a").local_prefix("+/"),
            rule("a").remote_prefix("#"),
            rule("$share/group/a"),
            rule("share/group/a").local_prefix("$"),
            rule("a").remote_prefix("\0"),
        ];
        for rule in refused {
            assert!(Mapping::sending(rule.clone()).is_err(), "{rule:?}");
        }
    }
}
