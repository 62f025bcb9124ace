//! Users by JSON Web Token (RFC 7519): the password of a client is a token that somebody signed whom
//! the broker trusts.

#![allow(clippy::disallowed_methods, reason = "a shell: tokens count by the clock on the wall")]

mod keys;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, Validation, decode, decode_header};
pub use keys::{JwtKey, JwtKeyError};
use parking_lot::RwLock;
use serde_json::{Map, Value};

use super::{Auth, AuthFuture, Denied, Exchange, Login, Step, StepFuture, User};
use crate::events;
use crate::packet::Text;

/// Clocks of two machines that keep time differ by less.
const LEEWAY: Duration = Duration::from_secs(60);

/// The authentication method by which a client of MQTT 5.0 shows its token, and a new one later.
const METHOD: &str = "JWT";

/// Lets in who has a token: the password is the token, signed by one of some keys.
///
/// A token needs an expiry (`exp`), at which its connection ends (MQTT 5.0: DISCONNECT 0xA0). A client
/// may show a new one before: one of MQTT 5.0 that names the authentication method `JWT`, with the
/// token as its data in place of a password, authenticates again; any other connects again. A token
/// that says for whom it is (`aud`) is refused unless [`Jwt::audience`] names that.
///
/// Clones share their keys.
///
/// ```
/// use edge_mq::access::{Auth, Jwt, JwtKey, Login};
/// # fn read(_: &str) -> &'static str { "-----BEGIN PUBLIC KEY-----
/// # MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7
/// # 6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==
/// # -----END PUBLIC KEY-----" }
/// let users = Jwt::new([JwtKey::es256(&read("issuer.pem"))?.id("2026")])
///     .issuer("https://login.example")
///     .audience("gateway-7");
/// let login = Login::new("device".parse()?);
/// assert!(users.check(b"no.token.atall", &login, std::time::SystemTime::now()).is_err());
///
/// users.set_keys([JwtKey::es256(&read("next.pem"))?.id("2027")]);  // from the next login on
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Jwt {
    keys: Arc<RwLock<Vec<JwtKey>>>,
    issuers: Vec<String>,
    audiences: Vec<String>,
    leeway: Duration,
    name_claim: String,
    groups_claim: String,
    client_id_claim: Option<String>,
    takes_any_username: bool,
}

/// Why a token lets nobody in. A client is told 0x86 in any case, but 0x87 for
/// [`InvalidToken::ClientId`] (3.1.1: 4 and 5).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidToken {
    /// There is none, or it is not three parts of base64 with a header in front; as one that says
    /// that it is not signed at all.
    #[error("it is no signed token")]
    Malformed,
    /// It wants something that every reader has to understand, and this one understands nothing.
    #[error("it has critical header parameters")]
    Critical,
    /// No key is for its algorithm and its key identifier.
    #[error("no key is for it (kid {kid:?})")]
    NoKey {
        /// The key identifier that it names.
        kid: Option<String>,
    },
    /// It was not signed by the key that it names, or not by any.
    #[error("signature is wrong")]
    Signature,
    /// A claim is missing, or of another type.
    #[error("claim `{claim}` is missing or of the wrong type")]
    Claim {
        /// Its name.
        claim: String,
    },
    /// It was valid until then.
    #[error("it has expired")]
    Expired,
    /// It is not valid yet.
    #[error("it is not valid yet")]
    TooEarly,
    /// Somebody else issued it.
    #[error("issuer is none of those that are trusted")]
    Issuer,
    /// It is meant for somebody else.
    #[error("it is meant for another audience")]
    Audience,
    /// The user name of the CONNECT is another one.
    #[error("user name is not that of the token")]
    Username,
    /// The client identifier of the CONNECT is another one.
    #[error("client identifier is not that of the token")]
    ClientId,
}

impl InvalidToken {
    fn claim(name: &str) -> InvalidToken {
        InvalidToken::Claim { claim: name.to_owned() }
    }
}

impl From<InvalidToken> for Denied {
    fn from(invalid: InvalidToken) -> Denied {
        match invalid {
            InvalidToken::ClientId => Denied::NotAuthorized,
            _ => Denied::Credentials,
        }
    }
}

impl Jwt {
    /// Trusts these keys. The user's name is the claim `sub`, groups are the claim `groups`.
    pub fn new(keys: impl IntoIterator<Item = JwtKey>) -> Jwt {
        Jwt {
            keys: Arc::new(RwLock::new(keys.into_iter().collect())),
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway: LEEWAY,
            name_claim: "sub".to_owned(),
            groups_claim: "groups".to_owned(),
            client_id_claim: None,
            takes_any_username: false,
        }
    }

    /// Takes only tokens of this issuer (`iss`), or of one more. Without this `iss` is not looked at.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Jwt {
        self.issuers.push(issuer.into());
        self
    }

    /// Takes only tokens for this audience (`aud`), or for one more. Without this only tokens that
    /// name no audience.
    pub fn audience(mut self, audience: impl Into<String>) -> Jwt {
        self.audiences.push(audience.into());
        self
    }

    /// How far `exp` may be past, and `nbf` to come, as clocks differ; 60 s without this call.
    pub fn leeway(self, leeway: Duration) -> Jwt {
        Jwt { leeway, ..self }
    }

    /// The claim that is the user's name.
    pub fn name_claim(self, claim: impl Into<String>) -> Jwt {
        Jwt { name_claim: claim.into(), ..self }
    }

    /// The claim with the user's groups: a string, or an array of them. Who has none is in none.
    pub fn groups_claim(self, claim: impl Into<String>) -> Jwt {
        Jwt { groups_claim: claim.into(), ..self }
    }

    /// The claim that the client identifier has to equal. Without this a client chooses its own.
    pub fn client_id_claim(self, claim: impl Into<String>) -> Jwt {
        Jwt { client_id_claim: Some(claim.into()), ..self }
    }

    /// Whatever a client has as user name, the token says who it is. Without this a user name has to
    /// be the token's, or empty or missing; MQTT 3.1.1 has no password without one.
    pub fn any_username(self) -> Jwt {
        Jwt { takes_any_username: true, ..self }
    }

    /// Trusts these keys in place of the old ones, from the next login on. Who is connected stays until
    /// the token expires.
    pub fn set_keys(&self, keys: impl IntoIterator<Item = JwtKey>) {
        let keys = keys.into_iter().collect();
        *self.keys.write() = keys;
    }

    /// Who has this token, or why nobody. Costs a signature for each key that may be meant, a fraction
    /// of a millisecond.
    ///
    /// # Errors
    /// See [`InvalidToken`].
    pub fn check(
        &self,
        token: &[u8],
        login: &Login,
        now: SystemTime,
    ) -> Result<User, InvalidToken> {
        let header = decode_header(token).map_err(|_| InvalidToken::Malformed)?;
        if header.crit.is_some() {
            return Err(InvalidToken::Critical);
        }
        let claims = self.signed(token, &header)?;
        let valid_until = self.valid_until(&claims, now)?;
        let name = text(&claims, &self.name_claim)?;
        let given = login.username.as_ref().filter(|given| !given.as_str().is_empty());
        if !self.takes_any_username && given.is_some_and(|given| *given != name) {
            return Err(InvalidToken::Username);
        }
        if let Some(claim) = &self.client_id_claim
            && text(&claims, claim)? != login.client_id
        {
            return Err(InvalidToken::ClientId);
        }
        let groups = self.groups(&claims)?;
        let user = User::named(name).valid_until(valid_until);
        Ok(groups.into_iter().fold(user, User::in_group))
    }

    fn let_in(&self, token: &[u8], login: &Login) -> Result<User, Denied> {
        let checked = self.check(token, login, SystemTime::now());
        checked.map_err(|invalid| {
            events::token_refused(&login.client_id, &invalid);
            invalid.into()
        })
    }

    /// Its claims, if a key that may be meant has signed it for us.
    fn signed(&self, token: &[u8], header: &Header) -> Result<Map<String, Value>, InvalidToken> {
        let keys = self.keys.read();
        let mut meant = keys.iter().filter(|key| key.may_have_signed(header)).peekable();
        if meant.peek().is_none() {
            return Err(InvalidToken::NoKey { kid: header.kid.clone() });
        }
        for key in meant {
            match decode(token, &key.key, &self.validation(key)) {
                Ok(data) => return Ok(data.claims),
                Err(error) => match error.into_kind() {
                    ErrorKind::InvalidSignature => {}
                    ErrorKind::MissingRequiredClaim(claim) => {
                        return Err(InvalidToken::Claim { claim });
                    }
                    ErrorKind::InvalidIssuer => return Err(InvalidToken::Issuer),
                    ErrorKind::InvalidAudience => return Err(InvalidToken::Audience),
                    _ => return Err(InvalidToken::Malformed),
                },
            }
        }
        Err(InvalidToken::Signature)
    }

    fn validation(&self, key: &JwtKey) -> Validation {
        let mut validation = Validation::new(key.algorithm);
        // Times are compared with ours, below.
        validation.validate_exp = false;
        if !self.issuers.is_empty() {
            validation.set_issuer(&self.issuers);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        if !self.audiences.is_empty() {
            validation.set_audience(&self.audiences);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        validation
    }

    /// When it expires for us, if that is to come.
    fn valid_until(
        &self,
        claims: &Map<String, Value>,
        now: SystemTime,
    ) -> Result<SystemTime, InvalidToken> {
        let expiry = time(claims, "exp")?.ok_or_else(|| InvalidToken::claim("exp"))?;
        let valid_until = expiry.checked_add(self.leeway).unwrap_or(expiry);
        if valid_until <= now {
            return Err(InvalidToken::Expired);
        }
        match time(claims, "nbf")?.map(|start| start.duration_since(now)) {
            Some(Ok(early)) if early > self.leeway => Err(InvalidToken::TooEarly),
            _ => Ok(valid_until),
        }
    }

    fn groups(&self, claims: &Map<String, Value>) -> Result<Vec<Text>, InvalidToken> {
        let wrong = || InvalidToken::claim(&self.groups_claim);
        let group = |value: &Value| value.as_str().and_then(|group| group.parse().ok());
        match claims.get(&self.groups_claim) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(all)) => all.iter().map(|one| group(one).ok_or_else(wrong)).collect(),
            Some(one) => Ok(vec![group(one).ok_or_else(wrong)?]),
        }
    }
}

/// A claim that has to be there, as text of MQTT.
fn text(claims: &Map<String, Value>, name: &str) -> Result<Text, InvalidToken> {
    let text = claims.get(name).and_then(Value::as_str).and_then(|text| text.parse().ok());
    text.ok_or_else(|| InvalidToken::claim(name))
}

/// A claim that is a time: seconds since 1970, perhaps with a fraction (RFC 7519, section 2).
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<SystemTime>, InvalidToken> {
    let Some(claim) = claims.get(name) else { return Ok(None) };
    let since_1970 = claim.as_f64().and_then(|secs| Duration::try_from_secs_f64(secs).ok());
    let time = since_1970.and_then(|since| UNIX_EPOCH.checked_add(since));
    time.map(Some).ok_or_else(|| InvalidToken::claim(name))
}

impl Auth for Jwt {
    fn authenticate(&self, login: Login) -> AuthFuture<'_> {
        let token = login.password.clone().unwrap_or_default();
        Box::pin(async move { self.let_in(&token, &login) })
    }

    fn exchange(&self, method: &str, login: &Login) -> Option<Box<dyn Exchange>> {
        let shown = Shown { users: self.clone(), login: login.clone() };
        (method == METHOD).then(|| Box::new(shown) as Box<dyn Exchange>)
    }

    /// Who came by a token that has not expired, whoever had checked it.
    fn may_stay(&self, user: &User) -> bool {
        user.time_left(SystemTime::now()).is_some_and(|left| !left.is_zero())
    }
}

/// Waits for the token, which is the first and last thing that a client says.
#[derive(Debug)]
struct Shown {
    users: Jwt,
    login: Login,
}

impl Exchange for Shown {
    fn step(self: Box<Shown>, data: Option<Bytes>) -> StepFuture {
        Box::pin(async move {
            let token = data.unwrap_or_default();
            let user = self.users.let_in(&token, &self.login)?;
            Ok(Step::Done { user, data: None })
        })
    }
}

#[cfg(test)]
mod tests;
