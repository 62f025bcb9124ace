//! Numbers to watch a database by.

/// What a [`Db`](crate::Db) has done since it was opened, and what waits in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Transactions made durable; each is one sync.
    pub commits: u64,
    /// Batches in them. `batches / commits` is how well waiting writers share.
    pub batches: u64,
    /// Bytes of keys and values that were given to the file.
    pub written_bytes: u64,
    /// Bytes that the data file occupies on disk.
    pub file_bytes: u64,
    /// Batches that wait for the disk.
    pub queued_batches: usize,
    /// Their bytes.
    pub queued_bytes: usize,
}
