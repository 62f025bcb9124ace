//! A list of rules: the first that concerns what a client wants to do decides.

use std::str::FromStr;

use super::{Acl, Client};
use crate::packet::Text;
use crate::topic::InvalidFilter;
use crate::{TopicFilter, TopicName};

/// An access control list: of its rules, the first one that concerns a client, an action and a topic
/// decides. What none concerns is forbidden.
///
/// ```
/// use edge_mq::access::{Rule, Rules};
/// let rules: Rules = [
///     Rule::deny("secret/#")?,
///     Rule::allow("status/%c/#")?.publish(),          // each client its own
///     Rule::allow("commands/%u")?.read(),             // each user its own
///     Rule::allow("#")?.group("operators".parse()?),
/// ].into();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Rules {
    rules: Vec<Rule>,
}

/// One rule of [`Rules`]. As it begins, it is about everybody and everything they do.
#[derive(Debug, Clone)]
pub struct Rule {
    is_allowed: bool,
    actions: &'static [Action],
    who: Who,
    pattern: Pattern,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Publish,
    Subscribe,
    Receive,
}

#[derive(Debug, Clone)]
enum Who {
    Everybody,
    Anonymous,
    User(Text),
    Client(Text),
    Group(Text),
}

/// A topic filter in which `%c` stands for the client identifier and `%u` for the user name.
#[derive(Debug, Clone)]
struct Pattern(String);

/// Why a string is no filter of a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{filter}` is no topic filter of a rule")]
pub struct InvalidRule {
    filter: String,
    source: InvalidFilter,
}

impl From<Vec<Rule>> for Rules {
    fn from(rules: Vec<Rule>) -> Rules {
        Rules { rules }
    }
}

impl<const N: usize> From<[Rule; N]> for Rules {
    fn from(rules: [Rule; N]) -> Rules {
        Rules { rules: rules.into() }
    }
}

impl Rule {
    /// Allows what is done with topics that a filter matches. In it, `%c` stands for the client's
    /// identifier and `%u` for its user's name. Who has none, or one with `/`, `+` or `#` in it,
    /// the rule does not concern.
    ///
    /// # Errors
    /// When it is no topic filter.
    pub fn allow(filter: &str) -> Result<Rule, InvalidRule> {
        Rule::new(true, filter)
    }

    /// Forbids it. A client may subscribe to a filter that matches more than this one; it does not
    /// receive what this one matches.
    ///
    /// # Errors
    /// When it is no topic filter.
    pub fn deny(filter: &str) -> Result<Rule, InvalidRule> {
        Rule::new(false, filter)
    }

    fn new(is_allowed: bool, filter: &str) -> Result<Rule, InvalidRule> {
        let actions = &[Action::Publish, Action::Subscribe, Action::Receive];
        Ok(Rule { is_allowed, actions, who: Who::Everybody, pattern: filter.parse()? })
    }

    /// Only of publishing.
    pub fn publish(self) -> Rule {
        Rule { actions: &[Action::Publish], ..self }
    }

    /// Only of subscribing and receiving.
    pub fn read(self) -> Rule {
        Rule { actions: &[Action::Subscribe, Action::Receive], ..self }
    }

    /// Only of subscribing: what of it arrives is for other rules to say.
    pub fn subscribe(self) -> Rule {
        Rule { actions: &[Action::Subscribe], ..self }
    }

    /// Only of receiving what a subscription brings.
    pub fn receive(self) -> Rule {
        Rule { actions: &[Action::Receive], ..self }
    }

    /// Only for clients without a user name.
    pub fn anonymous(self) -> Rule {
        Rule { who: Who::Anonymous, ..self }
    }

    /// Only for this user.
    pub fn user(self, name: Text) -> Rule {
        Rule { who: Who::User(name), ..self }
    }

    /// Only for the client with this identifier. A client chooses its identifier itself, unless the
    /// [`Auth`](super::Auth) looks at it.
    pub fn client(self, id: Text) -> Rule {
        Rule { who: Who::Client(id), ..self }
    }

    /// Only for users in this group.
    pub fn group(self, name: Text) -> Rule {
        Rule { who: Who::Group(name), ..self }
    }

    fn concerns(&self, client: Client<'_>, action: Action) -> bool {
        let is_about = match &self.who {
            Who::Everybody => true,
            Who::Anonymous => client.user.name().is_none(),
            Who::User(name) => client.user.name() == Some(name),
            Who::Client(id) => client.id == id,
            Who::Group(name) => client.user.is_in(name.as_str()),
        };
        is_about && self.actions.contains(&action)
    }
}

impl Rules {
    /// The same, and behind them others, which decide about what none of these concerns.
    pub fn then(mut self, others: Rules) -> Rules {
        self.rules.extend(others.rules);
        self
    }

    fn decide(&self, client: Client<'_>, action: Action, wanted: &str) -> bool {
        let decides =
            |rule: &&Rule| rule.concerns(client, action) && rule.pattern.covers(client, wanted);
        self.rules.iter().find(decides).is_some_and(|rule| rule.is_allowed)
    }
}

impl Acl for Rules {
    fn may_publish(&self, client: Client<'_>, topic: &TopicName) -> bool {
        self.decide(client, Action::Publish, topic.as_str())
    }

    fn may_subscribe(&self, client: Client<'_>, filter: &TopicFilter) -> bool {
        self.decide(client, Action::Subscribe, filter.as_str())
    }

    fn may_receive(&self, client: Client<'_>, topic: &TopicName) -> bool {
        self.decide(client, Action::Receive, topic.as_str())
    }
}

impl FromStr for Pattern {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Pattern, InvalidRule> {
        // The names that will stand there have no wildcards and no `/`.
        let example = text.replace("%c", "c").replace("%u", "u");
        match example.parse::<TopicFilter>() {
            Ok(_) => Ok(Pattern(text.to_owned())),
            Err(source) => Err(InvalidRule { filter: text.to_owned(), source }),
        }
    }
}

impl Pattern {
    /// Whether it matches a topic, or all that a filter matches.
    fn covers(&self, client: Client<'_>, wanted: &str) -> bool {
        if wanted.starts_with('$') && self.0.starts_with(['+', '#']) {
            // As wildcards of a subscription do not match the broker's own topics.
            return false;
        }
        let mut wanted = wanted.split('/');
        for level in self.0.split('/') {
            if level == "#" {
                return true;
            }
            match wanted.next() {
                None => return false,
                Some("#") => return false,
                Some(_) if level == "+" => {}
                Some(found) if is_level(level, found, client) => {}
                Some(_) => return false,
            }
        }
        wanted.next().is_none()
    }
}

/// Whether a level of a pattern, with the client's names in it, is this one.
fn is_level(mut pattern: &str, mut found: &str, client: Client<'_>) -> bool {
    while let Some(place) = pattern.find("%c").into_iter().chain(pattern.find("%u")).min() {
        let (literal, rest) = pattern.split_at(place);
        let name = if rest.starts_with("%c") { Some(client.id) } else { client.user.name() };
        let Some(name) = name.map(Text::as_str).filter(|name| is_plain(name)) else { return false };
        let behind = found.strip_prefix(literal).and_then(|found| found.strip_prefix(name));
        let Some(behind) = behind else { return false };
        (pattern, found) = (&rest[2..], behind);
    }
    pattern == found
}

/// Whether a name can stand in a level and be nothing else there.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '+', '#'])
}

#[cfg(test)]
mod tests;
