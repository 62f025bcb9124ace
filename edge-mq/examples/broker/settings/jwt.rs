//! Users by token: who signs them, and what is in them.

use edge_mq::access::{Jwt, JwtKey, JwtKeyError};

use super::super::mistakes::with_causes;
use super::section::Section;

/// By which a key signs.
#[derive(Debug, Clone, Copy)]
enum Algorithm {
    Hmac(fn(&[u8]) -> Result<JwtKey, JwtKeyError>),
    Public(fn(&str) -> Result<JwtKey, JwtKeyError>),
}

const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("HS256", Algorithm::Hmac(JwtKey::hs256)),
    ("HS384", Algorithm::Hmac(JwtKey::hs384)),
    ("HS512", Algorithm::Hmac(JwtKey::hs512)),
    ("RS256", Algorithm::Public(JwtKey::rs256)),
    ("ES256", Algorithm::Public(JwtKey::es256)),
    ("EdDSA", Algorithm::Public(JwtKey::ed25519)),
];

/// `None` if there is no key of use.
pub(super) fn take(section: &Section<'_>) -> Option<Jwt> {
    let mut keys: Vec<_> = section.tables("key").iter().filter_map(key).collect();
    keys.extend(
        text(section, "jwks_file")
            .and_then(|set| {
                let set = JwtKey::set(&set);
                set.map_err(|error| section.wrong("jwks_file", with_causes(&error))).ok()
            })
            .into_iter()
            .flatten(),
    );
    if !section.has("key") && !section.has("jwks_file") {
        section.wrong("", "tokens need a key: write [[jwt.key]], or set `jwks_file`");
    }
    let has_keys = !keys.is_empty();
    let mut jwt = Jwt::new(keys);
    for issuer in section.get::<Vec<String>>("issuers").into_iter().flatten() {
        jwt = jwt.issuer(issuer);
    }
    for audience in section.get::<Vec<String>>("audiences").into_iter().flatten() {
        jwt = jwt.audience(audience);
    }
    if let Some(leeway) = section.get("leeway") {
        jwt = jwt.leeway(leeway);
    }
    if let Some(claim) = section.get::<String>("user_claim") {
        jwt = jwt.name_claim(claim);
    }
    if let Some(claim) = section.get::<String>("groups_claim") {
        jwt = jwt.groups_claim(claim);
    }
    if let Some(claim) = section.get::<String>("client_id_claim") {
        jwt = jwt.client_id_claim(claim);
    }
    if section.get("any_username").unwrap_or(false) {
        jwt = jwt.any_username();
    }
    has_keys.then_some(jwt)
}

fn key(section: &Section<'_>) -> Option<JwtKey> {
    let algorithm = section.need("algorithm", section.word("algorithm", ALGORITHMS));
    let id: Option<String> = section.get("id");
    let secret = section.file("secret_file").map(|(_, secret)| secret);
    let public = text(section, "public_key_file");
    let (wanted, other, made) = match algorithm? {
        Algorithm::Hmac(make) => {
            let made = secret.map(|secret| make(without_newline(&secret)));
            ("secret_file", "public_key_file", made)
        }
        Algorithm::Public(make) => ("public_key_file", "secret_file", public.map(|pem| make(&pem))),
    };
    if section.has(other) {
        section.wrong(other, format!("`{other}` is not for this algorithm: set `{wanted}`"));
    }
    let key = section.need(wanted, made)?;
    let key = key.map_err(|error| section.wrong(wanted, with_causes(&error))).ok()?;
    Some(match id {
        Some(id) => key.id(id),
        None => key,
    })
}

/// A file of text.
fn text(section: &Section<'_>, key: &'static str) -> Option<String> {
    let (path, content) = section.file(key)?;
    let text = String::from_utf8(content);
    text.map_err(|_| section.wrong(key, format!("`{key}`: {} is no text", path.display()))).ok()
}

/// What an editor puts at the end of a file is not part of the secret.
fn without_newline(secret: &[u8]) -> &[u8] {
    let secret = secret.strip_suffix(b"\n").unwrap_or(secret);
    secret.strip_suffix(b"\r").unwrap_or(secret)
}
