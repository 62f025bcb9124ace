//! Keys by which tokens are signed.

use std::error::Error;

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Header};

/// Of an RSA modulus, as RFC 7518 section 3.3 has it: 2048 bits.
const RSA_BYTES: usize = 256;
/// What DER puts around such a modulus and the exponent 65,537.
const RSA_DER_BYTES: usize = RSA_BYTES + 14;

/// One key that signs tokens, and the one algorithm by which it does: a token that names another one
/// is not tried with it, so that a public key is never taken for a secret.
#[derive(Debug, Clone)]
pub struct JwtKey {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// Why a key is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwtKeyError {
    /// It is no public key of this algorithm in PEM.
    #[error("no public key in PEM for {algorithm}")]
    Pem {
        /// The algorithm.
        algorithm: &'static str,
        /// What is wrong with it, if it is a public key at all.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// It is shorter than its algorithm asks for, and may be guessed.
    #[error("key of {bytes} bytes is shorter than the {least} that {algorithm} asks for")]
    Weak {
        /// The algorithm.
        algorithm: &'static str,
        /// Bytes of the secret, or of the modulus.
        bytes: usize,
        /// What RFC 7518 asks for.
        least: usize,
    },
    /// It is no set of keys in JSON (RFC 7517, section 5).
    #[error("no set of keys")]
    Set(#[source] Box<dyn Error + Send + Sync>),
    /// The set has no key that can be used here.
    #[error("set of {keys} keys has none for signatures by a known algorithm")]
    NoneOfUse {
        /// How many it has.
        keys: usize,
    },
}

impl JwtKey {
    /// A secret for HMAC with SHA-256, of 32 bytes or more.
    ///
    /// # Errors
    /// When it is shorter.
    pub fn hs256(secret: &[u8]) -> Result<JwtKey, JwtKeyError> {
        JwtKey::checked(Algorithm::HS256, DecodingKey::from_secret(secret))
    }

    /// A secret for HMAC with SHA-384, of 48 bytes or more.
    ///
    /// # Errors
    /// When it is shorter.
    pub fn hs384(secret: &[u8]) -> Result<JwtKey, JwtKeyError> {
        JwtKey::checked(Algorithm::HS384, DecodingKey::from_secret(secret))
    }

    /// A secret for HMAC with SHA-512, of 64 bytes or more.
    ///
    /// # Errors
    /// When it is shorter.
    pub fn hs512(secret: &[u8]) -> Result<JwtKey, JwtKeyError> {
        JwtKey::checked(Algorithm::HS512, DecodingKey::from_secret(secret))
    }

    /// A public key in PEM for RSA with PKCS #1 and SHA-256, of 2048 bits or more.
    ///
    /// # Errors
    /// When it is none, or shorter.
    pub fn rs256(pem: &str) -> Result<JwtKey, JwtKeyError> {
        JwtKey::public(Algorithm::RS256, pem, DecodingKey::from_rsa_pem)
    }

    /// A public key in PEM for ECDSA on the curve P-256 with SHA-256.
    ///
    /// # Errors
    /// When it is none.
    pub fn es256(pem: &str) -> Result<JwtKey, JwtKeyError> {
        JwtKey::public(Algorithm::ES256, pem, DecodingKey::from_ec_pem)
    }

    /// A public key in PEM for EdDSA on the curve Ed25519.
    ///
    /// # Errors
    /// When it is none.
    pub fn ed25519(pem: &str) -> Result<JwtKey, JwtKeyError> {
        JwtKey::public(Algorithm::EdDSA, pem, DecodingKey::from_ed_pem)
    }

    /// All keys of a set in JSON (RFC 7517), as identity providers publish it, that are for signatures
    /// by a known algorithm: those above, and RS384, RS512, PS256, PS384, PS512 and ES384 where a key
    /// says so. Others are passed over, as section 5 asks for.
    ///
    /// # Errors
    /// When it is no set, one of its keys is too short, or it has none of use.
    pub fn set(jwks: &str) -> Result<Vec<JwtKey>, JwtKeyError> {
        let set: JwkSet =
            serde_json::from_str(jwks).map_err(|error| JwtKeyError::Set(error.into()))?;
        let keys: Vec<_> = set.keys.iter().filter_map(of_set).collect::<Result<_, _>>()?;
        match keys.is_empty() {
            true => Err(JwtKeyError::NoneOfUse { keys: set.keys.len() }),
            false => Ok(keys),
        }
    }

    /// Is for tokens that name this key identifier (`kid`), or none. Without it, for all.
    pub fn id(self, id: impl Into<String>) -> JwtKey {
        JwtKey { id: Some(id.into()), ..self }
    }

    fn public(
        algorithm: Algorithm,
        pem: &str,
        parse: impl Fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>,
    ) -> Result<JwtKey, JwtKeyError> {
        let wrong = |source| JwtKeyError::Pem { algorithm: name(algorithm), source };
        // Some would take a private key, too, and then find no signature right.
        if !pem.contains("PUBLIC KEY-----") {
            return Err(wrong(None));
        }
        let key = parse(pem.as_bytes()).map_err(|error| wrong(Some(error.into())))?;
        JwtKey::checked(algorithm, key)
    }

    fn checked(algorithm: Algorithm, key: DecodingKey) -> Result<JwtKey, JwtKeyError> {
        let least = match (algorithm, key.kind()) {
            (Algorithm::HS256, _) => 32,
            (Algorithm::HS384, _) => 48,
            (Algorithm::HS512, _) => 64,
            (Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA, _) => 0,
            (_, DecodingKeyKind::SecretOrDer(_)) => RSA_DER_BYTES,
            (_, DecodingKeyKind::RsaModulusExponent { .. }) => RSA_BYTES,
        };
        let bytes = match key.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => bytes.len(),
            DecodingKeyKind::RsaModulusExponent { n, .. } => n.len(),
        };
        match bytes < least {
            true => Err(JwtKeyError::Weak { algorithm: name(algorithm), bytes, least }),
            false => Ok(JwtKey { id: None, algorithm, key }),
        }
    }

    /// Whether a token with this header may have been signed by it.
    pub(super) fn may_have_signed(&self, header: &Header) -> bool {
        let is_named = match (&self.id, &header.kid) {
            (Some(id), Some(kid)) => id == kid,
            _ => true,
        };
        is_named && self.algorithm == header.alg
    }
}

/// A key of a set; `None` if it is for something else.
fn of_set(jwk: &Jwk) -> Option<Result<JwtKey, JwtKeyError>> {
    let common = &jwk.common;
    let signs = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let operations = common.key_operations.as_ref();
    let verifies = operations.is_none_or(|all| all.contains(&KeyOperations::Verify));
    let algorithm = match common.key_algorithm {
        Some(algorithm) => Algorithm::try_from(algorithm).ok()?,
        None => usual(&jwk.algorithm)?,
    };
    let key = DecodingKey::from_jwk(jwk).ok()?;
    if !(signs && verifies && key.family() == algorithm.family()) {
        return None;
    }
    let with_id = |key| match &common.key_id {
        Some(id) => JwtKey::id(key, id),
        None => key,
    };
    Some(JwtKey::checked(algorithm, key).map(with_id))
}

/// What a key that names no algorithm is used with; a secret has to name one.
fn usual(parameters: &AlgorithmParameters) -> Option<Algorithm> {
    match parameters {
        AlgorithmParameters::RSA(_) => Some(Algorithm::RS256),
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            Some(Algorithm::ES256)
        }
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => {
            Some(Algorithm::ES384)
        }
        AlgorithmParameters::OctetKeyPair(_) => Some(Algorithm::EdDSA),
        _ => None,
    }
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HS256 => "HS256",
        Algorithm::HS384 => "HS384",
        Algorithm::HS512 => "HS512",
        Algorithm::ES256 => "ES256",
        Algorithm::EdDSA => "EdDSA",
        // The only others that can be too short.
        _ => "RSA",
    }
}
