//! Who may connect, and who may do what.
//!
//! An [`Auth`] says at each CONNECT who a client is; an [`Acl`] says for each topic what it may do.
//! Both are traits; [`Passwords`], [`Certificates`], `Jwt` and [`Rules`] are ready implementations of them.
//! Both can be changed while the broker runs, see [`Broker::set_auth`](crate::Broker::set_auth),
//! [`Listening::set_auth`](crate::Listening::set_auth) and
//! [`Broker::set_acl`](crate::Broker::set_acl).

#[cfg(feature = "tls")]
mod certificate;
#[cfg(feature = "tls")]
mod certificates;
mod exchange;
mod guard;
#[cfg(feature = "passwords")]
mod hash;
#[cfg(feature = "jwt")]
mod jwt;
mod mosquitto;
#[cfg(feature = "passwords")]
mod passwords;
mod rules;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
#[cfg(feature = "tls")]
pub use certificate::{AltName, Certificate, InvalidCertificate};
#[cfg(feature = "tls")]
pub use certificates::Certificates;
pub use exchange::{Exchange, Step, StepFuture};
pub(crate) use guard::{Guard, GuardId};
#[cfg(feature = "jwt")]
pub use jwt::{InvalidToken, Jwt, JwtKey, JwtKeyError};
pub use mosquitto::InvalidLine;
#[cfg(feature = "passwords")]
pub use passwords::{PasswordError, Passwords, hash_password};
pub use rules::{InvalidRule, Rule, Rules};
use thin_vec::ThinVec;

use crate::packet::{ReasonCode, Text};
use crate::{TopicFilter, TopicName};

/// What a client says of itself in its CONNECT, and what its connection says.
#[derive(Clone)]
#[non_exhaustive]
pub struct Login {
    /// Empty if the broker is to choose one.
    pub client_id: Text,
    /// The user name, if there is one.
    pub username: Option<Text>,
    /// The password, if there is one. `Debug` does not show it.
    pub password: Option<Bytes>,
    /// Where the connection comes from, if it has an address; behind a proxy that says so, the
    /// address of its client.
    pub address: Option<SocketAddr>,
    /// The certificate that the client has shown and proved to be its own, signed by a CA that its
    /// listener trusts.
    #[cfg(feature = "tls")]
    pub certificate: Option<Certificate>,
}

impl Login {
    /// Somebody without name and password.
    pub fn new(client_id: Text) -> Login {
        Login {
            client_id,
            username: None,
            password: None,
            address: None,
            #[cfg(feature = "tls")]
            certificate: None,
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Login");
        shown
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("has_password", &self.password.is_some())
            .field("address", &self.address);
        #[cfg(feature = "tls")]
        shown.field("certificate", &self.certificate);
        shown.finish()
    }
}

/// Who a client turned out to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    name: Option<Text>,
    groups: ThinVec<Text>,
    /// Milliseconds since 1970: half as much as a `SystemTime`, in each session.
    valid_until_ms: Option<NonZeroU64>,
}

impl User {
    /// Somebody without a name, in no group.
    pub fn anonymous() -> User {
        User::default()
    }

    /// Somebody with a name.
    pub fn named(name: Text) -> User {
        User { name: Some(name), ..User::default() }
    }

    /// The same, in one more group.
    pub fn in_group(mut self, group: Text) -> User {
        self.groups.push(group);
        self
    }

    /// The same, but only until then, as a token says. Its connection ends at that time, unless it has
    /// authenticated again: MQTT 5.0 gets DISCONNECT 0xA0.
    pub fn valid_until(mut self, end: SystemTime) -> User {
        let since_1970 = end.duration_since(UNIX_EPOCH).unwrap_or_default();
        let ms = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        self.valid_until_ms = Some(NonZeroU64::new(ms).unwrap_or(NonZeroU64::MIN));
        self
    }

    /// The name, if there is one.
    pub fn name(&self) -> Option<&Text> {
        self.name.as_ref()
    }

    /// The groups.
    pub fn groups(&self) -> &[Text] {
        &self.groups
    }

    /// How long it is this user yet; `None` for ever.
    pub(crate) fn time_left(&self, now: SystemTime) -> Option<Duration> {
        let end = Duration::from_millis(self.valid_until_ms?.get());
        Some(end.saturating_sub(now.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }

    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|found| found.as_str() == group)
    }
}

/// Why a client does not get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// User name or password is missing or wrong, or an answer of an [`Exchange`]: CONNACK 0x86
    /// (3.1.1: 4).
    #[error("user name or password is missing or wrong")]
    Credentials,
    /// It is known and not wanted: CONNACK 0x87 (3.1.1: 5).
    #[error("client is not authorized")]
    NotAuthorized,
    /// Nobody can tell at the moment: CONNACK 0x88 (3.1.1: 3). It may try later.
    #[error("nobody can tell at the moment whether the client is authorized")]
    Unavailable,
}

impl Denied {
    pub(crate) fn reason(self) -> ReasonCode {
        match self {
            Denied::Credentials => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
            Denied::NotAuthorized => ReasonCode::NOT_AUTHORIZED,
            Denied::Unavailable => ReasonCode::SERVER_UNAVAILABLE,
        }
    }

    /// What a DISCONNECT says of it, which has fewer words.
    pub(crate) fn later_reason(self) -> ReasonCode {
        match self {
            Denied::Credentials | Denied::NotAuthorized => ReasonCode::NOT_AUTHORIZED,
            Denied::Unavailable => ReasonCode::SERVER_BUSY,
        }
    }
}

/// The answer of an [`Auth`], later.
pub type AuthFuture<'a> = Pin<Box<dyn Future<Output = Result<User, Denied>> + Send + 'a>>;

/// Decides who connects.
pub trait Auth: fmt::Debug + Send + Sync + 'static {
    /// Says who this is, or why not. It may take its time, up to
    /// [`Limits::connect_within`](crate::Limits::connect_within), or
    /// [`Listener::connect_within`](crate::Listener::connect_within) of the client's listener:
    /// nobody else waits for it, but its connection counts in
    /// [`Limits::connections`](crate::Limits::connections) meanwhile. So many may be under way at
    /// once. What blocks, or computes for long, belongs on a thread of its own.
    fn authenticate(&self, login: Login) -> AuthFuture<'_>;

    /// Begins an authentication in several steps for a client that names a method, which is most
    /// often one of SASL (MQTT 5.0 section 4.12). `None` if there is no such method: CONNACK 0x8C.
    /// A client that names a method does not come to [`Auth::authenticate`].
    ///
    /// There are none, if an implementation does not say otherwise.
    fn exchange(&self, method: &str, login: &Login) -> Option<Box<dyn Exchange>> {
        let _: (&str, &Login) = (method, login);
        None
    }

    /// Whether a user who got in may stay: asked of everybody who is connected when this takes the
    /// place of another one, and of each client once more when it comes in, for the other one may
    /// have let it in. It must be quick, and take nothing from the broker.
    fn may_stay(&self, user: &User) -> bool;
}

/// A client, to whom asks what it may do.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Client<'a> {
    /// The client identifier.
    pub id: &'a Text,
    /// Who it is.
    pub user: &'a User,
}

/// Decides who may do what.
///
/// Its answers must be quick, and take nothing from the broker: they are wanted in the middle of a
/// message's way. The application itself may do everything.
pub trait Acl: fmt::Debug + Send + Sync + 'static {
    /// Whether a client may publish to a topic, its will included.
    fn may_publish(&self, client: Client<'_>, topic: &TopicName) -> bool;

    /// Whether a client may subscribe to a filter; of a shared subscription the one behind the
    /// share name.
    fn may_subscribe(&self, client: Client<'_>, filter: &TopicFilter) -> bool;

    /// Whether a client gets a message of a topic that it subscribed to: a filter may match more
    /// than it may see.
    fn may_receive(&self, client: Client<'_>, topic: &TopicName) -> bool;
}
