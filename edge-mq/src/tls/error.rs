//! What is wrong with certificates, keys and lists.

use std::error::Error;
use std::io;
use std::path::PathBuf;

/// Why certificates, keys or lists are not in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file is not there, or may not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Nothing of the kind is in it.
    #[error("{place} holds no {wanted} in PEM")]
    Missing {
        /// The file, or that the text was given.
        place: String,
        /// What was looked for.
        wanted: &'static str,
    },
    /// It is there, and no good.
    #[error("{place} holds a {wanted} that cannot be used")]
    Unusable {
        /// The file, or that the text was given.
        place: String,
        /// What it is.
        wanted: &'static str,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The key is another certificate's. Files that are replaced one after the other do so for a
    /// moment: load them again.
    #[error("the key in {key} is not that of the certificate in {certificate}")]
    Mismatch {
        /// Where the certificate is.
        certificate: String,
        /// Where the key is.
        key: String,
    },
    /// There are revocation lists, and nothing that they could be about: no CA of clients.
    #[error("there are revocation lists, but no CA of clients")]
    NoClientCa,
}
