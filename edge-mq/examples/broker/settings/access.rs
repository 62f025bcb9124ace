//! Who may connect, and who may do what: files of mosquitto, tokens, and rules of the file itself.

use std::path::Path;

use edge_mq::access::{
    Auth, AuthFuture, Certificates, Denied, InvalidLine, Login, Passwords, Rule, Rules, User,
};

use super::rule;
use super::section::Section;

/// What holds where a listener says nothing.
#[derive(Debug, Default)]
pub(super) struct Access {
    users: Option<Passwords>,
    /// A password file is named; there are no users if it is of no use.
    has_password_file: bool,
    allow_anonymous: Option<bool>,
    pub(super) rules: Option<Rules>,
    tokens: Option<Tokens>,
    has_tokens: bool,
}

impl Access {
    pub(super) fn take(root: &Section<'_>) -> Access {
        let section = root.table("access");
        let section = section.as_ref();
        let file = section.and_then(|it| read_lines(it, "acl_file", Rules::from_mosquitto));
        let own: Vec<Rule> = root.tables("rule").iter().filter_map(rule::rule).collect();
        let has_rules = root.has("rule") || section.is_some_and(|it| it.has("acl_file"));
        Access {
            users: section.and_then(users),
            has_password_file: section.is_some_and(|it| it.has("password_file")),
            allow_anonymous: section.and_then(|it| it.get("allow_anonymous")),
            rules: has_rules.then(|| Rules::from(own).then(file.unwrap_or_default())),
            tokens: tokens(root),
            has_tokens: root.has("jwt"),
        }
    }
}

#[cfg(feature = "jwt")]
type Tokens = edge_mq::access::Jwt;
/// There are none.
#[cfg(not(feature = "jwt"))]
#[derive(Debug, Clone)]
enum Tokens {}

#[cfg(feature = "jwt")]
fn tokens(root: &Section<'_>) -> Option<Tokens> {
    root.table("jwt").and_then(|section| super::jwt::take(&section))
}

#[cfg(not(feature = "jwt"))]
fn tokens(root: &Section<'_>) -> Option<Tokens> {
    super::not_built(root, "jwt", "tokens", root.table("jwt"));
    None
}

fn users(section: &Section<'_>) -> Option<Passwords> {
    read_lines(section, "password_file", Passwords::from_mosquitto)
}

/// What a file of lines says; its mistakes are at its own lines.
fn read_lines<T>(
    section: &Section<'_>,
    key: &'static str,
    parse: impl FnOnce(&str) -> Result<T, Vec<InvalidLine>>,
) -> Option<T> {
    let (path, content) = section.file(key)?;
    let wrong = |path: &Path, line, what| section.document().mistakes.add(path, line, what);
    match std::str::from_utf8(&content).map(parse) {
        Ok(Ok(parsed)) => Some(parsed),
        Ok(Err(lines)) => {
            lines.into_iter().for_each(|line| wrong(&path, Some(line.line), line.reason));
            None
        }
        Err(error) => {
            wrong(&path, None, format!("this is no text: {error}"));
            None
        }
    }
}

/// What a certificate's user is called by.
#[derive(Debug, Clone, Copy)]
pub(super) enum By {
    CommonName,
    Dns,
    Email,
    Uri,
}

pub(super) const BY: &[(&str, By)] = &[
    ("common name", By::CommonName),
    ("dns name", By::Dns),
    ("email", By::Email),
    ("uri", By::Uri),
];

/// Who comes in, as it is written.
pub(super) struct Users {
    users: Option<Passwords>,
    has_file: bool,
    tokens: Option<Tokens>,
    has_tokens: bool,
    allow_anonymous: Option<bool>,
    by: Option<By>,
}

impl Users {
    /// What the listener says, or else the whole file.
    pub(super) fn take(section: &Section<'_>, by: Option<By>, access: &Access) -> Users {
        Users {
            users: users(section).or_else(|| access.users.clone()),
            has_file: section.has("password_file") || access.has_password_file,
            tokens: access.tokens.clone(),
            has_tokens: access.has_tokens,
            allow_anonymous: section.get("allow_anonymous").or(access.allow_anonymous),
            by,
        }
    }

    /// Somebody comes in, and not everybody where the whole network could, unless it is said.
    pub(super) fn check(&self, section: &Section<'_>, is_local: bool) {
        match (self.has_file || self.has_tokens || self.by.is_some(), self.allow_anonymous) {
            (false, Some(false)) => section.wrong(
                "allow_anonymous",
                "`allow_anonymous = false` without a `password_file` lets nobody in",
            ),
            (false, None) if !is_local => section.wrong(
                "bind_address",
                "everybody could come in who reaches this address: set `password_file`, or say that \
                 it is wanted by `allow_anonymous = true`",
            ),
            _ => {}
        }
    }

    pub(super) fn entry(self) -> Entry {
        let is_open = self.allow_anonymous == Some(true);
        let users = self.users.map(|users| users.anonymous(is_open));
        let named = self.by.map(|by| match by {
            By::CommonName => Certificates::by_common_name(),
            By::Dns => Certificates::by_dns_name(),
            By::Email => Certificates::by_email(),
            By::Uri => Certificates::by_uri(),
        });
        let others = match users {
            Some(users) => Entry::Users(users),
            // Nobody is anonymous where somebody has a name, unless it is said.
            None if is_open || (named.is_none() && self.tokens.is_none()) => Entry::Everybody,
            None => Entry::Nobody,
        };
        let others = with_tokens(others, self.tokens);
        match (named, others) {
            (Some(named), Entry::Nobody) => Entry::Certificates(named),
            (Some(named), others) => Entry::Certificates(named.or(others)),
            (None, others) => others,
        }
    }
}

#[cfg(feature = "jwt")]
fn with_tokens(others: Entry, tokens: Option<Tokens>) -> Entry {
    match tokens {
        Some(tokens) => Entry::Tokens(tokens, Box::new(others)),
        None => others,
    }
}

#[cfg(not(feature = "jwt"))]
fn with_tokens(others: Entry, _: Option<Tokens>) -> Entry {
    others
}

/// Decides who comes in by a listener.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// Everybody who reaches it, without a name.
    Everybody,
    Nobody,
    Users(Passwords),
    /// Whose password is a token, or who authenticates by one; about all others somebody else decides.
    #[cfg(feature = "jwt")]
    Tokens(Tokens, Box<Entry>),
    Certificates(Certificates),
}

impl Auth for Entry {
    fn authenticate(&self, login: Login) -> AuthFuture<'_> {
        match self {
            Entry::Everybody => Box::pin(async { Ok::<_, Denied>(User::anonymous()) }),
            Entry::Nobody => Box::pin(async { Err(Denied::Credentials) }),
            Entry::Users(users) => users.authenticate(login),
            #[cfg(feature = "jwt")]
            Entry::Tokens(tokens, _) if is_token(&login) => tokens.authenticate(login),
            #[cfg(feature = "jwt")]
            Entry::Tokens(_, others) => others.authenticate(login),
            Entry::Certificates(certificates) => certificates.authenticate(login),
        }
    }

    #[cfg(feature = "jwt")]
    fn exchange(&self, method: &str, login: &Login) -> Option<Box<dyn edge_mq::access::Exchange>> {
        match self {
            Entry::Tokens(tokens, _) => tokens.exchange(method, login),
            Entry::Certificates(certificates) => certificates.exchange(method, login),
            Entry::Everybody | Entry::Nobody | Entry::Users(_) => None,
        }
    }

    fn may_stay(&self, user: &User) -> bool {
        match self {
            Entry::Everybody => true,
            Entry::Nobody => false,
            Entry::Users(users) => users.may_stay(user),
            #[cfg(feature = "jwt")]
            Entry::Tokens(tokens, others) => tokens.may_stay(user) || others.may_stay(user),
            Entry::Certificates(certificates) => certificates.may_stay(user),
        }
    }
}

/// Whether the password is three parts of base 64, of which the first begins as JSON does: a password
/// that is none of it is for others to look at.
#[cfg(feature = "jwt")]
fn is_token(login: &Login) -> bool {
    let password = login.password.as_deref().unwrap_or_default();
    password.starts_with(b"eyJ") && password.iter().filter(|byte| **byte == b'.').count() == 2
}
