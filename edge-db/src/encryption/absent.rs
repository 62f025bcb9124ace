//! Stands for encryption in a build without it: types of which there are no values.

use std::io;

use super::{Place, SEAL_BYTES, UnlockError, WRAPPED_BYTES};
use crate::disk::Disk;

#[derive(Debug, Clone)]
pub(crate) enum EncryptionKey {}

#[derive(Debug, Clone)]
pub(crate) enum Cipher {}

#[derive(Debug)]
pub(crate) enum Encryption {}

impl Cipher {
    pub(crate) fn encrypt(&self, _: Place, _: &mut [u8]) -> io::Result<[u8; SEAL_BYTES]> {
        match *self {}
    }

    pub(crate) fn decrypt(&self, _: Place, _: &mut [u8], _: &[u8; SEAL_BYTES]) -> bool {
        match *self {}
    }

    pub(crate) fn decrypt_unproven(&self, _: &mut [u8], _: &[u8; SEAL_BYTES]) {
        match *self {}
    }
}

impl Encryption {
    pub(crate) fn generate(key: &EncryptionKey) -> io::Result<Encryption> {
        match *key {}
    }

    pub(crate) fn create(_: &dyn Disk, key: &EncryptionKey) -> io::Result<Encryption> {
        match *key {}
    }

    pub(crate) fn unlock(_: &[u8], key: &EncryptionKey) -> Result<Encryption, UnlockError> {
        match *key {}
    }

    pub(crate) fn store(&self, _: &dyn Disk) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn cipher(&self) -> Cipher {
        match *self {}
    }

    pub(crate) fn wrapped(&self) -> [u8; WRAPPED_BYTES] {
        match *self {}
    }
}
