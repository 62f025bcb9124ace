//! What can go wrong, one enum for each family of calls.

use std::fmt;
use std::sync::Arc;

use crate::Seq;
pub use crate::codec::DecodeError;

/// What the file below the store answered. The cause is linked as the source.
#[derive(Clone)]
pub struct StoreError {
    doing: &'static str,
    cause: Arc<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    pub(crate) fn new(
        doing: &'static str,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        StoreError { doing, cause: Arc::from(cause.into()) }
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreError({}: {})", self.doing, self.cause)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store failed to {}", self.doing)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.cause)
    }
}

/// Why a database, or a part of it, was not opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder cannot be created, read or written.
    #[error("cannot use {place} as a database folder")]
    Folder {
        /// The folder that was asked for.
        place: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another process, or another [`Db`](crate::Db) in this one, has the folder open.
    #[error("database {place} is in use: {holder} has it open")]
    InUse {
        /// The folder that was asked for.
        place: String,
        /// Who has it open, as far as is known.
        holder: String,
    },
    /// A file is no part of a database, or does not match its checksums. [`verify`](crate::verify)
    /// says what is lost; restore a backup, or make of it what is left by
    /// [`plan_repair`](crate::plan_repair).
    #[error("database {place} is damaged: verify says what is lost, restore a backup or repair")]
    Damaged {
        /// The folder.
        place: String,
        /// What does not hold.
        source: StoreError,
    },
    /// A newer edge-db wrote the file. Open it with that version.
    #[error("database has format {found}, this build knows formats up to {known}")]
    Format {
        /// The format in the file.
        found: u32,
        /// The newest format that this build reads.
        known: u32,
    },
    /// The database is encrypted, and no key was given. Open it with the key it was created with, or
    /// last rotated to.
    #[error("database {place} is encrypted: open it with its key")]
    KeyNeeded {
        /// The folder.
        place: String,
    },
    /// The database is encrypted by another key than this one.
    #[error("database {place} is encrypted by another key than the one given")]
    WrongKey {
        /// The folder.
        place: String,
    },
    /// A key was given, but the database was created without one. Open it without.
    #[error("database {place} is not encrypted: open it without a key")]
    NotEncrypted {
        /// The folder.
        place: String,
    },
    /// The database is encrypted, and this build cannot decrypt. Build edge-db with the cargo
    /// feature `encryption`.
    #[error("database {place} is encrypted, this build cannot: cargo feature `encryption` is off")]
    EncryptionOff {
        /// The folder.
        place: String,
    },
    /// The name belongs to something else.
    #[error("`{name}` is stored as {stored}, it cannot be opened as {wanted}")]
    Kind {
        /// The name that was asked for.
        name: String,
        /// What it is.
        stored: String,
        /// What it was asked for as.
        wanted: String,
    },
    /// The log is to be compressed in a way that this build cannot. Build edge-db with that cargo
    /// feature.
    #[error("log `{name}` cannot be compressed by this build: cargo feature `{feature}` is off")]
    Compression {
        /// The log that was asked for.
        name: String,
        /// The cargo feature that has it.
        feature: &'static str,
    },
    /// The disk budget has no room for the journal and what settles. Raise it, or lower
    /// `journal_bytes` or `memory_bytes`.
    #[error(
        "a disk budget of {budget_bytes} bytes is too small: \
         journal and memory tables need {least_bytes}"
    )]
    Budget {
        /// What was asked for.
        budget_bytes: u64,
        /// The least that works with the other options.
        least_bytes: u64,
    },
    /// A name is 1 to 255 bytes long, none of them zero.
    #[error("a name has 1 to 255 bytes, none of them zero; this one has {bytes}")]
    Name {
        /// How long the name is.
        bytes: usize,
    },
    /// The new name could not be stored.
    #[error("could not store the new name")]
    Write(#[from] WriteError),
    /// The database could not be read.
    #[error("could not read the database")]
    Read(#[from] ReadError),
}

/// Why nothing was read. The database is as it was.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file could not be read.
    #[error("could not read")]
    Store(#[from] StoreError),
    /// What is stored is no value of the type that was asked for.
    #[error("could not decode a value of `{name}`")]
    Value {
        /// The table or log.
        name: String,
        /// What does not fit.
        source: DecodeError,
    },
    /// A stored key is no key of the table's type.
    #[error("a key of `{name}` is damaged")]
    Key {
        /// The table.
        name: String,
    },
    /// The database was shut down.
    #[error("database is closed")]
    Closed,
}

/// Why a full log drops nothing.
fn kept_for(slowest: Option<&str>) -> String {
    match slowest {
        Some(cursor) => format!("kept for its slowest cursor `{cursor}`"),
        None => "and no cursor reads it: open one and advance it, or use `WhenFull::DropOldest`"
            .to_owned(),
    }
}

/// Why a batch was not stored: nothing of it was.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The log has reached its limit, and it refuses rather than drops. Room comes when its
    /// slowest cursor advances or is removed, by trimming it, with a higher limit, or if it may drop
    /// its oldest records. A batch that is larger than the limit never fits.
    #[error("log `{log}` is full: {used_bytes} of {limit_bytes} bytes, {}", kept_for(slowest.as_deref()))]
    LogFull {
        /// The log.
        log: String,
        /// Bytes that it holds.
        used_bytes: u64,
        /// The limit that it was opened with.
        limit_bytes: u64,
        /// The cursor that is furthest behind. Without one nobody has read anything, and all is kept
        /// for whoever comes.
        slowest: Option<Box<str>>,
    },
    /// The disk budget is used up. Batches that only remove are taken, and make room.
    #[error("disk budget is used up: {used_bytes} of {budget_bytes} bytes; remove something")]
    Full {
        /// Bytes in use.
        used_bytes: u64,
        /// The budget that the database was opened with.
        budget_bytes: u64,
    },
    /// A cursor may not point behind the end of its log.
    #[error("cursor `{cursor}` cannot advance to {to}: log `{log}` ends at {end}")]
    CursorBeyondEnd {
        /// The log.
        log: String,
        /// The cursor.
        cursor: String,
        /// Where it was to go.
        to: Seq,
        /// Where the log ends after this batch.
        end: Seq,
    },
    /// A batch, a key or a value is longer than the store takes. Split it.
    #[error("{what} has {bytes} bytes, the limit is {limit_bytes}")]
    TooLarge {
        /// What is too long.
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit_bytes: usize,
    },
    /// What a batch expected of a value is not so any more: somebody else was first. Read again
    /// and decide anew.
    #[error("`{table}` was changed by somebody else")]
    Conflict {
        /// The table or keyspace.
        table: String,
    },
    /// Another row has this value of a unique index.
    #[error("another row of `{table}` has the same value of the unique index `{index}`")]
    NotUnique {
        /// The table.
        table: String,
        /// Its index.
        index: String,
    },
    /// A count is kept of the table, and expiry is no commit that could change it: its rows
    /// cannot expire.
    #[error("rows of `{table}` cannot expire: a count is kept of them")]
    CountedExpires {
        /// The table.
        table: String,
    },
    /// A table has an index that was not opened since the database was: how it is kept is not
    /// known. Open it, or remove it.
    #[error("`{table}` has the index `{index}`: open it before writing to the table")]
    IndexNotOpen {
        /// The table.
        table: String,
        /// Its index.
        index: String,
    },
    /// A value that the batch looks at, to change it or to keep an index, cannot be decoded.
    #[error("could not decode a value of `{table}`")]
    Value {
        /// The table.
        table: String,
        /// What does not fit.
        source: DecodeError,
    },
    /// A function given to an update or an index panicked.
    #[error("a function that `{table}` was given panicked")]
    Panicked {
        /// The table.
        table: String,
    },
    /// A changed value cannot be encoded.
    #[error("could not encode a value of `{table}`")]
    Encode {
        /// The table.
        table: String,
        /// Why.
        source: EncodeError,
    },
    /// A handle in the batch came from another database.
    #[error("batch mixes handles of two databases")]
    ForeignHandle,
    /// The database was shut down, or its last handle was dropped, before the batch was stored.
    #[error("database is closed")]
    Closed,
    /// The disk refused. What was acknowledged is safe, reads go on, and writes are taken again
    /// once the disk takes them. Nothing of this batch can be seen now; only if the process or
    /// the power ends before the next batch is stored may it be found stored at the next open.
    #[error("could not write")]
    Store(#[from] StoreError),
}

/// Why a value did not become bytes; the batch is as it was.
#[derive(Debug, Clone, thiserror::Error)]
#[error("value cannot be encoded: {reason}")]
pub struct EncodeError {
    reason: String,
}

impl EncodeError {
    pub(crate) fn new(error: impl fmt::Display) -> EncodeError {
        EncodeError { reason: error.to_string() }
    }
}

/// Why a shutdown was not complete at its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} batches still waited for the disk at the deadline")]
pub struct ShutdownError {
    /// Batches that were not stored yet. They may or may not be after this.
    pub waiting: usize,
}
