//! The files of mosquitto in which it is said who may connect and do what: they mean the same here.

use super::{Rule, Rules};
use crate::packet::Text;

#[cfg(feature = "passwords")]
use super::Passwords;

/// A line of a file that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
#[non_exhaustive]
pub struct InvalidLine {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

#[cfg(feature = "passwords")]
impl Passwords {
    /// The users of a mosquitto password file, as `mosquitto_passwd` writes it: in each line a user
    /// name, a colon, and a hash. Empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// All lines that are no user.
    pub fn from_mosquitto(file: &str) -> Result<Passwords, Vec<InvalidLine>> {
        let mut users = Passwords::new();
        let mut wrong = Vec::new();
        for (line, text) in lines(file) {
            match user(users.clone(), text) {
                Ok(more) => users = more,
                Err(reason) => wrong.push(InvalidLine { line, reason }),
            }
        }
        if wrong.is_empty() { Ok(users) } else { Err(wrong) }
    }
}

#[cfg(feature = "passwords")]
fn user(users: Passwords, line: &str) -> Result<Passwords, String> {
    let (name, hash) = line.split_once(':').ok_or("it is no user name and hash: no colon")?;
    if !hash.starts_with('$') {
        return Err(format!(
            "the password of `{name}` is not hashed: `mosquitto_passwd -U FILE` does that"
        ));
    }
    let name = Text::try_from(name).map_err(|error| error.to_string())?;
    users.user(name, hash, []).map_err(|error| error.to_string())
}

impl Rules {
    /// The rules of a mosquitto ACL file. What stands there above the first `user` is for clients
    /// without a user name. What is denied is denied, wherever it stands; what is said of a user
    /// goes before what `pattern` says of all. As in mosquitto, everybody may subscribe to anything,
    /// and receives of it what may be read.
    ///
    /// # Errors
    /// All lines that say nothing.
    pub fn from_mosquitto(file: &str) -> Result<Rules, Vec<InvalidLine>> {
        let (mut own, mut patterns, mut wrong) =
            (Section::default(), Section::default(), Vec::new());
        let mut who = None;
        for (line, text) in lines(file) {
            if let Err(reason) = entry(text, &mut who, &mut own, &mut patterns) {
                wrong.push(InvalidLine { line, reason });
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let anything =
            ["#", "$SYS/#"].map(|filter| Rule::allow(filter).expect("a topic filter").subscribe());
        Ok([own.denied, own.allowed, patterns.denied, patterns.allowed, anything.into()]
            .concat()
            .into())
    }
}

#[derive(Default)]
struct Section {
    denied: Vec<Rule>,
    allowed: Vec<Rule>,
}

fn entry(
    text: &str,
    who: &mut Option<Text>,
    own: &mut Section,
    patterns: &mut Section,
) -> Result<(), String> {
    let (keyword, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match keyword {
        "user" if rest.is_empty() => Err("a user without a name".into()),
        "user" => {
            *who = Some(Text::try_from(rest).map_err(|error| error.to_string())?);
            Ok(())
        }
        "topic" => {
            let about = |rule: Rule| match &*who {
                Some(name) => rule.user(name.clone()),
                None => rule.anonymous(),
            };
            add(own, rest, about)
        }
        "pattern" => add(patterns, rest, |rule| rule),
        other => Err(format!("`{other}` is none of `user`, `topic` and `pattern`")),
    }
}

/// Adds `[read|write|readwrite|deny] TOPIC`.
fn add(section: &mut Section, text: &str, about: impl Fn(Rule) -> Rule) -> Result<(), String> {
    let (access, topic) = match text.split_once(char::is_whitespace) {
        Some((access @ ("read" | "write" | "readwrite" | "deny"), topic)) => (access, topic.trim()),
        _ => ("readwrite", text),
    };
    if topic.is_empty() {
        return Err("there is no topic".into());
    }
    let wrong = |error: super::InvalidRule| match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    let rule = about(
        if access == "deny" { Rule::deny(topic) } else { Rule::allow(topic) }.map_err(wrong)?,
    );
    match access {
        // Whoever subscribes to it gets nothing of it.
        "deny" => section.denied.extend([rule.clone().publish(), rule.receive()]),
        "read" => section.allowed.push(rule.receive()),
        "write" => section.allowed.push(rule.publish()),
        _ => section.allowed.extend([rule.clone().publish(), rule.receive()]),
    }
    Ok(())
}

/// The lines that say something, with their numbers.
fn lines(file: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = file.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests;
