//! Rules that stand in the file itself: who may do what.

use edge_mq::Text;
use edge_mq::access::{InvalidRule, Rule};

use super::section::Section;

/// What a rule is about.
#[derive(Debug, Clone, Copy)]
enum To {
    All,
    Publish,
    Read,
    Subscribe,
    Receive,
}

const TO: &[(&str, To)] = &[
    ("all", To::All),
    ("publish", To::Publish),
    ("read", To::Read),
    ("subscribe", To::Subscribe),
    ("receive", To::Receive),
];

/// Whom a rule is about, of which there is one.
const WHO: [&str; 4] = ["user", "client", "group", "anonymous"];

/// `None` if it is none.
pub(super) fn rule(section: &Section<'_>) -> Option<Rule> {
    let pattern = |key, make: fn(&str) -> Result<Rule, InvalidRule>| section.parsed(key, make);
    let (allow, deny) = (pattern("allow", Rule::allow), pattern("deny", Rule::deny));
    match (section.has("allow"), section.has("deny")) {
        (true, true) => section.wrong("deny", "`allow` and `deny` are two rules"),
        (false, false) => section.wrong("", "`allow` or `deny` is missing in [[rule]]"),
        _ => {}
    }
    let to = section.word("to", TO);
    let name = |key| section.parsed(key, str::parse::<Text>);
    let (user, client, group) = (name("user"), name("client"), name("group"));
    let anonymous = section.get::<bool>("anonymous").unwrap_or(false);
    let mut said = WHO.into_iter().filter(|key| section.has(key));
    if let (Some(first), Some(second)) = (said.next(), said.next()) {
        section.wrong(second, format!("`{first}` and `{second}`: a rule is about one of them"));
    }
    let rule = allow.or(deny)?;
    let rule = match to.unwrap_or(To::All) {
        To::All => rule,
        To::Publish => rule.publish(),
        To::Read => rule.read(),
        To::Subscribe => rule.subscribe(),
        To::Receive => rule.receive(),
    };
    Some(match (user, client, group) {
        (Some(user), ..) => rule.user(user),
        (_, Some(client), _) => rule.client(client),
        (.., Some(group)) => rule.group(group),
        _ if anonymous => rule.anonymous(),
        _ => rule,
    })
}
