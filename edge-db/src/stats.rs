//! Numbers to watch a database by.

/// What a [`Db`](crate::Db) has done since it was opened, and what waits in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Groups made durable; each is one sync.
    pub commits: u64,
    /// Batches in them. `batches / commits` is how well waiting writers share.
    pub batches: u64,
    /// Bytes of keys and values in them.
    pub written_bytes: u64,
    /// Bytes written to the device, settling included, in whole pages of 4 KiB.
    /// `device_bytes / written_bytes` is the write amplification.
    pub device_bytes: u64,
    /// Bytes read from the files, in whole pages of 4 KiB, opening included: what the cache of pages
    /// did not have. A reader that leaves this as it is was served from memory.
    pub read_bytes: u64,
    /// Pages of the data file that the cache had when they were asked for, by readers and by what
    /// settles. `cache_hits / (cache_hits + cache_misses)` is the hit rate.
    pub cache_hits: u64,
    /// Pages that were read from the file.
    pub cache_misses: u64,
    /// Bytes that went into the journal and have not settled, but for what settles just now: a new
    /// memory table is begun at half of the journal's limit.
    pub unsettled_journal_bytes: u64,
    /// Bytes that the journal occupies on disk, whatever of it is in use.
    pub journal_bytes: u64,
    /// Bytes that the data file occupies on disk.
    pub file_bytes: u64,
    /// Bytes that count against the disk budget: of the data file without its holes, what is to
    /// settle yet, and the journal at its limit.
    pub used_bytes: u64,
    /// Bytes in memory that have not settled yet.
    pub memory_bytes: u64,
    /// Memory tables that have settled.
    pub settlings: u64,
    /// How long the last one took, beside the writers.
    pub last_settling: std::time::Duration,
    /// Rows, and entries of indexes, that were dropped from the data file because they had expired.
    pub expired: u64,
    /// How often writers waited because both memory tables were full.
    pub stalls: u64,
    /// Batches that wait for the disk.
    pub queued_batches: usize,
    /// Their bytes.
    pub queued_bytes: usize,
}

/// What [`Db::compact`](crate::Db::compact) did to the data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactSummary {
    /// Bytes that it occupied.
    pub before_bytes: u64,
    /// Bytes that it occupies.
    pub after_bytes: u64,
}
