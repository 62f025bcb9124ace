//! What tells a block that is as it was written from another one: a checksum, or the tag of its
//! encryption.

use std::borrow::Cow;
use std::io;

use twox_hash::XxHash3_64;

use super::layout::{BLOCK_BYTES, Layout};
use crate::encryption::{Cipher, Place, SEAL_BYTES};

/// Stand in place of block 0's entry: what the file is, and its format. That block, redb's header,
/// is overwritten in place: with an entry of its own a power cut between the two would lose it.
const MAGIC: &[u8; 4] = b"EDP1";
const ENCRYPTED_MAGIC: &[u8; 4] = b"EDX1";

const SUM_BYTES: usize = 4;

/// How the blocks of a file are sealed.
#[derive(Debug, Clone)]
pub(super) struct Seal {
    cipher: Option<Cipher>,
}

impl Seal {
    /// Checksums, or with a cipher encryption.
    pub(super) fn new(cipher: Option<Cipher>) -> Seal {
        Seal { cipher }
    }

    pub(super) fn layout(&self) -> Layout {
        Layout { entry_bytes: if self.cipher.is_some() { SEAL_BYTES } else { SUM_BYTES } }
    }

    /// The entry of block 0.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = magic(self.cipher.is_some()).to_vec();
        head.resize(self.layout().entry_bytes, 0);
        head
    }

    /// What is written in place of these blocks, and their entries.
    pub(super) fn seal<'a>(
        &self,
        first: usize,
        blocks: &'a [u8],
    ) -> io::Result<(Cow<'a, [u8]>, Vec<u8>)> {
        assert!(blocks.len().is_multiple_of(BLOCK_BYTES), "redb writes whole blocks");
        let places = first..first + blocks.len() / BLOCK_BYTES;
        let mut entries = Vec::with_capacity(places.len() * self.layout().entry_bytes);
        let Some(cipher) = &self.cipher else {
            for (block, bytes) in places.zip(blocks.chunks_exact(BLOCK_BYTES)) {
                entries.extend(sum_of(block, bytes).to_le_bytes());
            }
            return Ok((Cow::Borrowed(blocks), entries));
        };
        let mut sealed = blocks.to_vec();
        for (block, bytes) in places.zip(sealed.chunks_exact_mut(BLOCK_BYTES)) {
            entries.extend(cipher.encrypt(Place::Block(block as u64), bytes)?);
        }
        Ok((Cow::Owned(sealed), entries))
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.cipher.is_some()
    }

    /// Makes of a block that was read and does not open what may have been written: of use to find
    /// what proves itself, as the pages do that it led to. One without an entry stays as it is.
    pub(super) fn guess(&self, bytes: &mut [u8], entry: &[u8]) {
        if let (Some(cipher), Ok(seal)) = (&self.cipher, entry.try_into())
            && is_written(entry)
        {
            cipher.decrypt_unproven(bytes, seal);
        }
    }

    /// Makes of a block that was read the one that was written; false if it is another one.
    pub(super) fn open(&self, block: usize, bytes: &mut [u8], entry: &[u8]) -> bool {
        let Some(cipher) = &self.cipher else {
            let sum = entry.try_into().map_or(0, u32::from_le_bytes);
            // What was never written is zeros; what was has a checksum, or lost it.
            return if sum == 0 {
                bytes.iter().all(|&byte| byte == 0)
            } else {
                sum == sum_of(block, bytes)
            };
        };
        // redb reads no block that it has not written: one without an entry was robbed of it.
        let entry = entry.try_into();
        entry.is_ok_and(|entry| cipher.decrypt(Place::Block(block as u64), bytes, entry))
    }
}

/// Whether this is the entry of a block that was ever written.
pub(super) fn is_written(entry: &[u8]) -> bool {
    entry.iter().any(|&byte| byte != 0)
}

fn magic(is_encrypted: bool) -> &'static [u8; 4] {
    if is_encrypted { ENCRYPTED_MAGIC } else { MAGIC }
}

/// Whether a file that begins with these bytes is encrypted; `None` if it is no data file.
pub(super) fn is_encrypted(front: [u8; 4]) -> Option<bool> {
    [false, true].into_iter().find(|is_encrypted| *magic(*is_encrypted) == front)
}

/// Never 0. A block counts at its own place only.
fn sum_of(block: usize, bytes: &[u8]) -> u32 {
    let sum = XxHash3_64::oneshot_with_seed(block as u64, bytes);
    u32::try_from(sum & u64::from(u32::MAX)).expect("masked").max(1)
}
