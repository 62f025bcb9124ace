//! Whom a certificate names.

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{self, Decode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};

use crate::packet::Text;

/// `id-at-commonName` (RFC 5280 appendix A.1).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// A client's certificate. Clones share its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Bytes,
    common_name: Option<Text>,
    names: Vec<AltName>,
}

/// One of the subject's alternative names (RFC 5280 section 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AltName {
    /// A host name.
    Dns(Text),
    /// A mail address.
    Email(Text),
    /// A URI, as a SPIFFE identity is.
    Uri(Text),
    /// An address.
    Ip(IpAddr),
}

/// Why bytes are no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no X.509 certificate in DER")]
pub struct InvalidCertificate {
    #[source]
    reason: der::Error,
}

impl Certificate {
    /// Reads a certificate; whether it is valid, or signed by anybody, is not looked at.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_der(der: impl Into<Bytes>) -> Result<Certificate, InvalidCertificate> {
        let der = der.into();
        let invalid = |reason| InvalidCertificate { reason };
        let read = x509_cert::Certificate::from_der(&der).map_err(invalid)?;
        let read = read.tbs_certificate();
        let alternatives = read.get_extension::<SubjectAltName>().map_err(invalid)?;
        let alternatives = alternatives.map_or_else(Vec::new, |(_, names)| names.0);
        let names = alternatives.iter().filter_map(alt_name).collect();
        let parts = read.subject().iter();
        let mut common_names = parts.filter(|part| part.oid == COMMON_NAME);
        // With several of them it would be a matter of taste which one names somebody.
        let common_name = match (common_names.next(), common_names.next()) {
            (Some(name), None) => text(name),
            _ => None,
        };
        Ok(Certificate { der, common_name, names })
    }

    /// All of it, in DER: for what is not asked for here.
    pub fn der(&self) -> &Bytes {
        &self.der
    }

    /// The common name of its subject; `None` if there is none, or more than one.
    pub fn common_name(&self) -> Option<&Text> {
        self.common_name.as_ref()
    }

    /// The alternative names of its subject, as far as they are of a known kind.
    pub fn alt_names(&self) -> &[AltName] {
        &self.names
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("common_name", &self.common_name)
            .field("alt_names", &self.names)
            .finish_non_exhaustive()
    }
}

fn text(part: &AttributeTypeAndValue) -> Option<Text> {
    part.value.decode_as::<DirectoryString>().ok()?.value().parse().ok()
}

fn alt_name(name: &GeneralName) -> Option<AltName> {
    Some(match name {
        GeneralName::DnsName(name) => AltName::Dns(name.as_str().parse().ok()?),
        GeneralName::Rfc822Name(name) => AltName::Email(name.as_str().parse().ok()?),
        GeneralName::UniformResourceIdentifier(name) => AltName::Uri(name.as_str().parse().ok()?),
        GeneralName::IpAddress(ip) => AltName::Ip(match ip.as_bytes().len() {
            4 => <[u8; 4]>::try_from(ip.as_bytes()).ok()?.into(),
            16 => <[u8; 16]>::try_from(ip.as_bytes()).ok()?.into(),
            _ => return None,
        }),
        _ => return None,
    })
}
