//! Users with hashed passwords.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{self, PasswordHasher, SaltString};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::hash::Hash;
use super::{Auth, AuthFuture, Denied, Login, User};
use crate::packet::Text;

/// Hashes that are computed at once: each takes a processor for some tens of milliseconds, and
/// 19 MiB.
const AT_ONCE: usize = 2;

/// Users by name, each with the Argon2id hash of a password and its groups.
///
/// A login computes one hash, on a thread of its own; two at once, the others wait. Who is not known
/// costs the same, so that nobody learns by the time which users there are.
///
/// ```
/// # let rt = tokio::runtime::Runtime::new()?;
/// use edge_mq::access::{Auth, Login, Passwords, hash_password};
///
/// // Made once, by `hash_password`, and kept in a file.
/// let hash = hash_password(b"correct horse")?;
/// let users = Passwords::new().user("ann".parse()?, &hash, ["crew".parse()?])?;
/// let mut login = Login::new("phone".parse()?);
/// login.username = Some("ann".parse()?);
/// login.password = Some("correct horse".into());
/// assert!(rt.block_on(users.authenticate(login))?.is_in("crew"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Passwords {
    users: HashMap<Text, Known>,
    is_open: bool,
    /// Stands for a user who is not known.
    nobody: Hash,
    turns: Arc<Semaphore>,
}

#[derive(Clone)]
struct Known {
    hash: Hash,
    user: User,
}

/// Why a hash cannot be used, or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// It is no hash in PHC string format, as `$argon2id$v=19$m=19456,t=2,p=1$..` is, nor one of
    /// mosquitto's.
    #[error(
        "the password hash of `{user}` is neither Argon2 in PHC format nor mosquitto's: {reason}"
    )]
    Hash {
        /// The user.
        user: Text,
        /// What is wrong with it.
        reason: password_hash::Error,
    },
    /// There is no randomness, or no memory.
    #[error("no hash can be made: {0}")]
    Hashing(password_hash::Error),
}

/// The Argon2id hash of a password, with a random salt, for [`Passwords::user`]: 19 MiB, 2 passes,
/// as OWASP recommends. Takes some tens of milliseconds.
///
/// # Errors
/// When there is no memory for it.
pub fn hash_password(password: &[u8]) -> Result<String, PasswordError> {
    let salt = SaltString::generate(&mut OsRng);
    let hash = Argon2::default().hash_password(password, &salt).map_err(PasswordError::Hashing)?;
    Ok(hash.to_string())
}

impl Passwords {
    /// Without users: nobody gets in.
    pub fn new() -> Passwords {
        // No password has this hash, but for one in 2^256.
        const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGlzIGhlcmU\
            $AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let nobody = Hash::parse(NOBODY).expect("a hash in PHC string format");
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Passwords { users: HashMap::new(), is_open: false, nobody, turns }
    }

    /// With one more user, in place of one with the same name. Beside Argon2 hashes in PHC string
    /// format it takes those of mosquitto's password files, `$7$..` and `$6$..`, as they are.
    ///
    /// # Errors
    /// When the hash is none.
    pub fn user(
        mut self,
        name: Text,
        hash: &str,
        groups: impl IntoIterator<Item = Text>,
    ) -> Result<Passwords, PasswordError> {
        let refused = |reason| PasswordError::Hash { user: name.clone(), reason };
        let hash = Hash::parse(hash).map_err(refused)?;
        let user = groups.into_iter().fold(User::named(name.clone()), User::in_group);
        self.users.insert(name, Known { hash, user });
        Ok(self)
    }

    /// Whether clients without a user name get in, as anonymous users.
    pub fn anonymous(mut self, may_enter: bool) -> Passwords {
        self.is_open = may_enter;
        self
    }

    async fn check(&self, login: Login) -> Result<User, Denied> {
        let Some(name) = login.username else {
            return if self.is_open { Ok(User::anonymous()) } else { Err(Denied::Credentials) };
        };
        let known = self.users.get(&name);
        let hash = known.map_or(&self.nobody, |known| &known.hash).clone();
        let password = login.password.unwrap_or_default();
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let is_right = spawn_blocking(move || {
            let is_right = hash.is_of(&password);
            drop(turn);
            is_right
        });
        match (is_right.await, known) {
            (Ok(true), Some(known)) => Ok(known.user.clone()),
            (Ok(_), _) => Err(Denied::Credentials),
            // The runtime is shutting down.
            (Err(_), _) => Err(Denied::Unavailable),
        }
    }
}

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords::new()
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let users: Vec<_> = self.users.values().map(|known| &known.user).collect();
        f.debug_struct("Passwords")
            .field("users", &users)
            .field("anonymous", &self.is_open)
            .finish()
    }
}

impl Auth for Passwords {
    fn authenticate(&self, login: Login) -> AuthFuture<'_> {
        Box::pin(self.check(login))
    }

    /// Who is still there, in the same groups. That a password was changed ends no connection.
    fn may_stay(&self, user: &User) -> bool {
        match user.name() {
            Some(name) => self.users.get(name).is_some_and(|known| known.user == *user),
            None => self.is_open,
        }
    }
}
