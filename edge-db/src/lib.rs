#![doc = include_str!("../README.md")]

mod audit;
mod backup;
mod batch;
mod builder;
mod catalog;
mod change;
mod claim;
mod codec;
mod committer;
mod cursor;
mod db;
mod encryption;
mod error;
mod index;
mod journal;
mod key;
mod keyspace;
mod ledger;
mod log;
mod memory;
mod names;
mod new_folder;
mod queue;
mod repair;
mod resolve;
mod revision;
mod seq;
mod snapshot;
mod space;
mod stats;
mod store;
mod table;
mod transaction;
mod tree;
mod upkeep;
mod varint;
mod verify;
mod view;
mod watch;

#[cfg(feature = "arrow")]
pub mod arrow;
pub mod disk;

pub use backup::{BackupError, BackupSummary, Restore, RestoreError, restore};
pub use batch::{Batch, Receipt};
pub use builder::DbBuilder;
pub use change::{Change, ChangeKind};
pub use claim::Claim;
pub use cursor::Cursor;
pub use db::Db;
#[cfg(feature = "encryption")]
pub use encryption::{EncryptionKey, KeyFileError, RotateKeyError};
pub use error::{
    DecodeError, EncodeError, OpenError, ReadError, ShutdownError, StoreError, WriteError,
};
pub use index::{Index, IndexRows};
pub use key::Key;
pub use keyspace::{Entries, Keyspace};
pub use log::{
    Compression, Entry, Gap, GapReason, Headers, IntoRecords, Log, LogOptions, LogState, MemoryLog,
    Record, RecordRef, RecordRefs, RecordSlice, Records, Tail, WhenFull,
};
pub use names::{NameKind, RawRow, RawRows};
pub use queue::Commit;
pub use repair::{RepairError, RepairPlan, plan_repair};
pub use revision::Revision;
pub use seq::{Seq, Time};
pub use snapshot::Snapshot;
pub use stats::{CompactSummary, Stats};
pub use table::{OldValue, Rows, Table};
pub use transaction::Transaction;
pub use verify::{Finding, Place, Progress, Report, VerifyError, verify, verify_on};
pub use watch::Watch;
