//! Users by the certificates of their clients.

use std::collections::HashSet;
use std::sync::Arc;

use super::{AltName, Auth, AuthFuture, Certificate, Denied, Exchange, Login, User};
use crate::packet::Text;

/// The group of everybody who comes in by a certificate.
const GROUP: &str = "certificate";

/// Lets clients in by their certificates: the user has the name that the certificate says, and is in
/// the group `certificate`. User name and password in the CONNECT are not looked at.
///
/// That a certificate is valid, signed by a trusted CA and not revoked, the listener has seen; see
/// [`Tls`](crate::Tls). Who shows none is refused, or asked by another [`Auth`].
///
/// ```
/// # fn users() -> edge_mq::access::Passwords { edge_mq::access::Passwords::new() }
/// use edge_mq::access::Certificates;
/// let auth = Certificates::by_common_name()
///     .except("lost-sensor".parse()?)
///     .or(users());                             // who shows no certificate needs a password
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Certificates {
    by: By,
    except: HashSet<Text>,
    or: Option<Arc<dyn Auth>>,
}

/// What gives the name.
#[derive(Debug, Clone, Copy)]
enum By {
    CommonName,
    Dns,
    Email,
    Uri,
}

impl Certificates {
    /// The user's name is the common name of the subject. A certificate with none, or several, lets
    /// nobody in.
    pub fn by_common_name() -> Certificates {
        Certificates::by(By::CommonName)
    }

    /// The user's name is the host name among the subject's alternative names. A certificate with
    /// none, or several, lets nobody in.
    pub fn by_dns_name() -> Certificates {
        Certificates::by(By::Dns)
    }

    /// The user's name is the mail address among the subject's alternative names. A certificate with
    /// none, or several, lets nobody in.
    pub fn by_email() -> Certificates {
        Certificates::by(By::Email)
    }

    /// The user's name is the URI among the subject's alternative names. A certificate with none, or
    /// several, lets nobody in.
    pub fn by_uri() -> Certificates {
        Certificates::by(By::Uri)
    }

    fn by(by: By) -> Certificates {
        Certificates { by, except: HashSet::new(), or: None }
    }

    /// Lets everybody in but this one. A revocation list does so for who connects anew; this, by
    /// [`Broker::set_auth`](crate::Broker::set_auth), sends away who is connected, too.
    pub fn except(mut self, name: Text) -> Certificates {
        self.except.insert(name);
        self
    }

    /// Lets another one decide about clients without a certificate.
    pub fn or(mut self, other: impl Auth) -> Certificates {
        self.or = Some(Arc::new(other));
        self
    }

    fn user(&self, certificate: &Certificate) -> Result<User, Denied> {
        let name = self.name(certificate).ok_or(Denied::NotAuthorized)?;
        match self.except.contains(name) {
            true => Err(Denied::NotAuthorized),
            false => Ok(User::named(name.clone()).in_group(group())),
        }
    }

    fn name<'a>(&self, certificate: &'a Certificate) -> Option<&'a Text> {
        let mut names = certificate.alt_names().iter().filter_map(|name| match (self.by, name) {
            (By::Dns, AltName::Dns(name))
            | (By::Email, AltName::Email(name))
            | (By::Uri, AltName::Uri(name)) => Some(name),
            _ => None,
        });
        match self.by {
            By::CommonName => certificate.common_name(),
            _ => names.next().filter(|_| names.next().is_none()),
        }
    }
}

impl Auth for Certificates {
    fn authenticate(&self, login: Login) -> AuthFuture<'_> {
        match (&login.certificate, &self.or) {
            (Some(certificate), _) => {
                let user = self.user(certificate);
                Box::pin(async { user })
            }
            (None, Some(other)) => other.authenticate(login),
            (None, None) => Box::pin(async { Err(Denied::NotAuthorized) }),
        }
    }

    fn exchange(&self, method: &str, login: &Login) -> Option<Box<dyn Exchange>> {
        let other = self.or.as_ref().filter(|_| login.certificate.is_none())?;
        other.exchange(method, login)
    }

    fn may_stay(&self, user: &User) -> bool {
        match user.is_in(GROUP) {
            true => user.name().is_some_and(|name| !self.except.contains(name)),
            false => self.or.as_ref().is_some_and(|other| other.may_stay(user)),
        }
    }
}

fn group() -> Text {
    GROUP.parse().expect("a word is a string of MQTT")
}
