//! What a listener shows and asks for by TLS.

use edge_mq::{Pem, Tls, TlsBuilder};

use super::super::mistakes::with_causes;
use super::section::Section;

/// Tried out once; `None` if it is of no use.
pub(super) fn take(section: &Section<'_>) -> Option<TlsBuilder> {
    // All files are looked at before the first that is missing ends it.
    let file = |key| section.file(key).map(|(path, _)| Pem::file(path));
    let certificate = section.need("certificate", file("certificate"));
    let key = section.need("key", file("key"));
    let client_ca = file("client_ca");
    let is_optional: bool = section.get("client_certificate_optional").unwrap_or(false);
    let revoked = file("revoked");
    if !section.has("client_ca") {
        for key in ["client_certificate_optional", "revoked", "users_by"] {
            if section.has(key) {
                section
                    .wrong(key, format!("`{key}` is about clients' certificates: set `client_ca`"));
            }
        }
        if section.has("revoked") {
            return None;
        }
    } else if client_ca.is_none() || (section.has("revoked") && revoked.is_none()) {
        return None;
    }
    let mut tls = Tls::builder(certificate?, key?);
    if let Some(authority) = client_ca {
        tls = tls.client_ca(authority);
    }
    if is_optional {
        tls = tls.optional();
    }
    if let Some(lists) = revoked {
        tls = tls.revoked(lists);
    }
    match tls.clone().build() {
        Ok(_) => Some(tls),
        Err(error) => {
            section.wrong("certificate", with_causes(&error));
            None
        }
    }
}
