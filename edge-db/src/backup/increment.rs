//! What was committed after a backup, as a stream of bytes.
//!
//! ```text
//!  0  8  "EDGEINCR"
//!  8  4  format, 1
//! 12  8  the revision that it follows on
//! 20     frames as in a full backup, their checksums seeded by that revision. The first one is 8
//!        bytes, the history. Then one or more for each commit: a byte, 1 if the commit goes on in
//!        the next frame, else 0; then writes as in a record of the journal. The last frame has no
//!        payload
//! ```
//! Of an encrypted database it begins with "EDGEINCX", and each payload is encrypted as in a full
//! backup, its place marked as one of an increment.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, Read};

use bytes::Bytes;

use super::stream::{self, FRAME_BYTES, Frames, Kind, ReadFrames};
use super::{BackupError, BackupSummary, RestoreError};
use crate::catalog::system_error;
use crate::codec::{self, DecodeError};
use crate::encryption::{Cipher, Encryption};
use crate::error::{ReadError, StoreError};
use crate::journal::{ArchiveError, record};
use crate::revision::Revision;
use crate::space::Space;
use crate::store::Write;
use crate::{Db, Time};

const INCREMENT: Kind = Kind { magic: b"EDGEINCR", encrypted_magic: b"EDGEINCX", mark: 1 << 63 };

impl Db {
    /// Writes all commits behind `since`, up to the last one that is durable, while writing goes
    /// on: what [`Restore`](crate::Restore) applies to a full backup. `since` is the revision of
    /// the backup or increment before. Reads the journal, and nothing of the data file.
    ///
    /// The journal forgets what has settled, but for
    /// [`DbBuilder::keep_journal_bytes`](crate::DbBuilder::keep_journal_bytes).
    ///
    /// # Errors
    /// [`BackupError::Gap`] when the journal has not all of them any more, also if it is they that
    /// are overwritten meanwhile. After an error what was written is of no use.
    pub fn backup_since(
        &self,
        since: Revision,
        to: impl io::Write,
    ) -> Result<BackupSummary, BackupError> {
        let end = *self.shared().end.lock();
        let mut summary = BackupSummary { revision: end.revision, ..BackupSummary::default() };
        if since > end.revision {
            return Err(BackupError::Ahead { since, last: end.revision });
        }
        let failed = |error| BackupError::Read(StoreError::new("read", error).into());
        let stored = self.view()?.get(&Space::HISTORY.prefix()).map_err(ReadError::from)?;
        let history = history(stored).map_err(|error| BackupError::Read(system_error(error)))?;
        let cipher = self.shared().store.encryption().map(Encryption::cipher);
        let mut out = Frames::begin(to, cipher, since, &INCREMENT)?;
        out.write(&mut history.to_le_bytes().to_vec())?;
        for commit in self.shared().store.commits(since, end)? {
            let commit = commit.map_err(|error| match error {
                ArchiveError::Io(error) => failed(error),
                ArchiveError::Gap { oldest } => BackupError::Gap { since, oldest },
            })?;
            for write in record::writes(&commit).into_iter().flatten() {
                summary.keys += 1;
                summary.bytes += write.bytes() as u64;
            }
            write_commit(&mut out, &commit)?;
        }
        out.end()?;
        Ok(summary)
    }
}

fn write_commit<W: io::Write>(out: &mut Frames<W>, commit: &[u8]) -> io::Result<()> {
    let mut parts = commit.chunks(FRAME_BYTES).peekable();
    while let Some(part) = parts.next() {
        let goes_on = u8::from(parts.peek().is_some());
        out.write(&mut [&[goes_on], part].concat())?;
    }
    Ok(())
}

/// Says which history of commits a database has: the same revision of another one is another
/// commit.
pub(crate) fn new_history() -> u64 {
    // The standard library seeds its hashes with random bits.
    RandomState::new().hash_one(Time::now())
}

/// What is stored of it; 0 in a database that was made without.
pub(crate) fn history(stored: Option<Bytes>) -> Result<u64, DecodeError> {
    stored.map_or(Ok(0), |stored| codec::decode(&stored, 0))
}

/// An increment that is being read.
#[derive(Debug)]
pub(super) struct Increment<R> {
    frames: ReadFrames<R>,
    since: Revision,
    history: u64,
    /// Of the last commit that was read.
    revision: Revision,
}

impl<R: Read> Increment<R> {
    /// Opens one that follows on a backup with this cipher.
    pub(super) fn open(mut from: R, cipher: Option<Cipher>) -> Result<Increment<R>, RestoreError> {
        let (since, is_encrypted) = stream::read_head(&mut from, &INCREMENT)?;
        if is_encrypted != cipher.is_some() {
            return Err(RestoreError::OtherDatabase);
        }
        let mut frames = ReadFrames::new(from, cipher, since, &INCREMENT);
        let history = frames.next()?.as_ref().try_into().map(u64::from_le_bytes);
        let history = history.map_err(|_| RestoreError::Damaged { frame: 0 })?;
        Ok(Increment { frames, since, history, revision: since })
    }

    /// The revision that it follows on.
    pub(super) fn since(&self) -> Revision {
        self.since
    }

    pub(super) fn history(&self) -> u64 {
        self.history
    }

    /// The next commit; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(Revision, Vec<Write>)>, RestoreError> {
        let mut commit = Vec::new();
        loop {
            let damaged = self.frames.damaged();
            let frame = self.frames.next()?;
            match frame.split_first() {
                None if commit.is_empty() => return Ok(None),
                Some((1, part)) => commit.extend_from_slice(part),
                Some((0, part)) => {
                    commit.extend_from_slice(part);
                    self.revision = self.revision.next();
                    let writes = record::writes(&commit.into()).ok_or(damaged)?;
                    return Ok(Some((self.revision, writes)));
                }
                _ => return Err(damaged),
            }
        }
    }
}
