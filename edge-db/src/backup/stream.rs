//! The bytes that backups and increments have in common: a head of 20 bytes, and frames.

use std::io::{self, Read, Write as _};

use bytes::Bytes;
use twox_hash::XxHash3_64;

use super::RestoreError;
use crate::encryption::{Cipher, Place};
use crate::revision::Revision;

const FORMAT: u32 = 1;
/// Bytes of one frame, but for a value that is larger.
pub(super) const FRAME_BYTES: usize = 256 * 1024;
/// No frame is longer: a batch, and so a value, has at most 64 MiB.
const MOST_FRAME_BYTES: usize = 80 * 1024 * 1024;

/// What a stream is of.
pub(super) struct Kind {
    pub(super) magic: &'static [u8; 8],
    pub(super) encrypted_magic: &'static [u8; 8],
    /// In the place of each frame that is encrypted: none can stand in for one of another kind.
    pub(super) mark: u64,
}

/// Reads a head: its revision, and whether what follows is encrypted.
pub(super) fn read_head(
    from: &mut impl Read,
    kind: &Kind,
) -> Result<(Revision, bool), RestoreError> {
    let mut head = [0; 20];
    from.read_exact(&mut head).map_err(|_| RestoreError::Format)?;
    let format = u32::from_le_bytes(head[8..12].try_into().expect("4 bytes"));
    let is_encrypted = &head[..8] == kind.encrypted_magic;
    if !is_encrypted && &head[..8] != kind.magic || format != FORMAT {
        return Err(RestoreError::Format);
    }
    let revision = u64::from_le_bytes(head[12..].try_into().expect("8 bytes"));
    Ok((Revision::new(revision), is_encrypted))
}

/// Frames that are written.
pub(super) struct Frames<W: io::Write> {
    to: io::BufWriter<W>,
    cipher: Option<Cipher>,
    revision: u64,
    /// Of the next frame.
    number: u64,
    mark: u64,
}

impl<W: io::Write> Frames<W> {
    /// Writes the head.
    pub(super) fn begin(
        to: W,
        cipher: Option<Cipher>,
        revision: Revision,
        kind: &Kind,
    ) -> io::Result<Frames<W>> {
        let (mut to, revision) = (io::BufWriter::new(to), revision.get());
        to.write_all(if cipher.is_some() { kind.encrypted_magic } else { kind.magic })?;
        to.write_all(&FORMAT.to_le_bytes())?;
        to.write_all(&revision.to_le_bytes())?;
        Ok(Frames { to, cipher, revision, number: 0, mark: kind.mark })
    }

    /// Writes bytes between head and frames.
    pub(super) fn write_plain(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)
    }

    /// Writes a frame, and leaves its payload empty.
    pub(super) fn write(&mut self, payload: &mut Vec<u8>) -> io::Result<()> {
        let Frames { revision, number, mark, .. } = *self;
        if let Some(cipher) = &self.cipher {
            let place = Place::Frame { revision, number: number | mark };
            cipher.encrypt_behind(0, place, payload)?;
        }
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        self.to.write_all(&length.to_le_bytes())?;
        self.to.write_all(&checksum(revision, number, payload).to_le_bytes())?;
        self.number += 1;
        self.to.write_all(payload)?;
        payload.clear();
        Ok(())
    }

    /// Writes the last frame, which has no payload.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.write(&mut Vec::new())?;
        self.to.flush()
    }
}

/// Frames that are read.
#[derive(Debug)]
pub(super) struct ReadFrames<R> {
    from: R,
    cipher: Option<Cipher>,
    revision: u64,
    /// Of the next frame.
    number: u64,
    mark: u64,
}

impl<R: Read> ReadFrames<R> {
    /// The frames behind a head.
    pub(super) fn new(
        from: R,
        cipher: Option<Cipher>,
        revision: Revision,
        kind: &Kind,
    ) -> ReadFrames<R> {
        ReadFrames { from, cipher, revision: revision.get(), number: 0, mark: kind.mark }
    }

    /// What to say when the next frame turns out to make no sense.
    pub(super) fn damaged(&self) -> RestoreError {
        RestoreError::Damaged { frame: self.number }
    }

    /// The payload of the next frame; empty at the end.
    pub(super) fn next(&mut self) -> Result<Bytes, RestoreError> {
        let ReadFrames { revision, number, mark, .. } = *self;
        let damaged = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => RestoreError::Damaged { frame: number },
            _ => RestoreError::Read(error),
        };
        let mut head = [0; 12];
        self.from.read_exact(&mut head).map_err(damaged)?;
        let length = u32::from_le_bytes(head[..4].try_into().expect("4 bytes")) as usize;
        let expected = u64::from_le_bytes(head[4..].try_into().expect("8 bytes"));
        if length > MOST_FRAME_BYTES {
            return Err(RestoreError::Damaged { frame: number });
        }
        let mut payload = Vec::new();
        self.from.by_ref().take(length as u64).read_to_end(&mut payload).map_err(damaged)?;
        if payload.len() != length || checksum(revision, number, &payload) != expected {
            return Err(RestoreError::Damaged { frame: number });
        }
        self.number += 1;
        let payload = match &self.cipher {
            Some(cipher) => {
                cipher.decrypt_all(Place::Frame { revision, number: number | mark }, payload)
            }
            None => Some(payload),
        };
        payload.map(Bytes::from).ok_or(RestoreError::Damaged { frame: number })
    }
}

fn checksum(revision: u64, number: u64, payload: &[u8]) -> u64 {
    // The revision is in it, so that this is checked, too; and the length, so that an end that was
    // made up is none.
    let seed = revision.wrapping_add(number) ^ ((payload.len() as u64) << 32);
    XxHash3_64::oneshot_with_seed(seed, payload)
}
