//! Who may connect, and who may do what: files of mosquitto.

use std::path::Path;

use edge_mq::access::{
    Auth, AuthFuture, Certificates, Denied, InvalidLine, Login, Passwords, Rules, User,
};

use super::section::Section;

/// What holds where a listener says nothing.
#[derive(Debug, Default)]
pub(super) struct Access {
    users: Option<Passwords>,
    /// A password file is named; there are no users if it is of no use.
    has_password_file: bool,
    allow_anonymous: Option<bool>,
    pub(super) rules: Option<Rules>,
}

impl Access {
    pub(super) fn take(section: Option<&Section<'_>>) -> Access {
        let Some(section) = section else { return Access::default() };
        Access {
            users: users(section),
            has_password_file: section.has("password_file"),
            allow_anonymous: section.get("allow_anonymous"),
            rules: read_lines(section, "acl_file", Rules::from_mosquitto),
        }
    }
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
    allow_anonymous: Option<bool>,
    by: Option<By>,
}

impl Users {
    /// What the listener says, or else the whole file.
    pub(super) fn take(section: &Section<'_>, by: Option<By>, access: &Access) -> Users {
        Users {
            users: users(section).or_else(|| access.users.clone()),
            has_file: section.has("password_file") || access.has_password_file,
            allow_anonymous: section.get("allow_anonymous").or(access.allow_anonymous),
            by,
        }
    }

    /// Somebody comes in, and not everybody where the whole network could, unless it is said.
    pub(super) fn check(&self, section: &Section<'_>, is_local: bool) {
        match (self.has_file || self.by.is_some(), self.allow_anonymous) {
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
        match (named, users) {
            (Some(named), Some(users)) => Entry::Certificates(named.or(users)),
            (Some(named), None) if is_open => Entry::Certificates(named.or(Entry::Everybody)),
            (Some(named), None) => Entry::Certificates(named),
            (None, Some(users)) => Entry::Users(users),
            (None, None) => Entry::Everybody,
        }
    }
}

/// Decides who comes in by a listener.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// Everybody who reaches it, without a name.
    Everybody,
    Users(Passwords),
    Certificates(Certificates),
}

impl Auth for Entry {
    fn authenticate(&self, login: Login) -> AuthFuture<'_> {
        match self {
            Entry::Everybody => Box::pin(async { Ok::<_, Denied>(User::anonymous()) }),
            Entry::Users(users) => users.authenticate(login),
            Entry::Certificates(certificates) => certificates.authenticate(login),
        }
    }

    fn may_stay(&self, user: &User) -> bool {
        match self {
            Entry::Everybody => true,
            Entry::Users(users) => users.may_stay(user),
            Entry::Certificates(certificates) => certificates.may_stay(user),
        }
    }
}
