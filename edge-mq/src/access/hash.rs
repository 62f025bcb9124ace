//! Hashes of passwords: Argon2id, which we make, and those that mosquitto made before it.

use argon2::password_hash::{self, PasswordHashString};
use argon2::{Argon2, PasswordVerifier};
use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

/// More rounds than anybody asks for would only keep a processor busy.
const MOST_ROUNDS: u32 = 10_000_000;

/// What a password is compared with.
#[derive(Clone)]
pub(super) enum Hash {
    /// In PHC string format.
    Argon2(PasswordHashString),
    /// mosquitto's `$7$rounds$salt$hash`, of mosquitto 2: PBKDF2 with HMAC-SHA-512 (RFC 8018).
    Pbkdf2 { rounds: u32, salt: Vec<u8>, hash: Vec<u8> },
    /// mosquitto's `$6$salt$hash`, of mosquitto 1: SHA-512 of password and salt. Quick to guess.
    Sha512 { salt: Vec<u8>, hash: Vec<u8> },
}

impl Hash {
    pub(super) fn parse(text: &str) -> Result<Hash, password_hash::Error> {
        let mut parts = text.split('$');
        if parts.next() != Some("") {
            return Err(password_hash::Error::PhcStringField);
        }
        match (parts.next(), &parts.collect::<Vec<_>>()[..]) {
            (Some("7"), [rounds, salt, hash]) => {
                let rounds =
                    rounds.parse().ok().filter(|rounds| (1..=MOST_ROUNDS).contains(rounds));
                let rounds = rounds.ok_or(password_hash::Error::ParamValueInvalid(
                    password_hash::errors::InvalidValue::InvalidFormat,
                ))?;
                Ok(Hash::Pbkdf2 { rounds, salt: bytes(salt)?, hash: digest(hash)? })
            }
            (Some("6"), [salt, hash]) => {
                Ok(Hash::Sha512 { salt: bytes(salt)?, hash: digest(hash)? })
            }
            (Some("6" | "7"), _) => Err(password_hash::Error::PhcStringField),
            _ => {
                let hash = PasswordHashString::new(text)?;
                match argon2::Algorithm::try_from(hash.algorithm()) {
                    Ok(_) => Ok(Hash::Argon2(hash)),
                    Err(_) => Err(password_hash::Error::Algorithm),
                }
            }
        }
    }

    /// Takes as long whether it is right or not.
    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Hash::Argon2(hash) => {
                Argon2::default().verify_password(password, &hash.password_hash()).is_ok()
            }
            Hash::Pbkdf2 { rounds, salt, hash } => {
                let mut found = [0; 64];
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, *rounds, &mut found);
                found.ct_eq(hash).into()
            }
            Hash::Sha512 { salt, hash } => {
                let found = Sha512::new().chain_update(password).chain_update(salt).finalize();
                found.as_slice().ct_eq(hash).into()
            }
        }
    }
}

fn bytes(text: &str) -> Result<Vec<u8>, password_hash::Error> {
    Base64::decode_vec(text).map_err(password_hash::Error::B64Encoding)
}

/// The 64 bytes of a SHA-512.
fn digest(text: &str) -> Result<Vec<u8>, password_hash::Error> {
    let digest = bytes(text)?;
    if digest.len() == 64 {
        Ok(digest)
    } else {
        Err(password_hash::Error::OutputSize { provided: std::cmp::Ordering::Equal, expected: 64 })
    }
}
