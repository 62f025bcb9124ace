//! What verifying found.

use std::fmt;

use crate::audit::words;

/// What [`verify`](crate::verify) looked at and found.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("db");
/// # edge_db::Db::open(&path)?.shutdown(std::time::Duration::from_secs(5))?;
/// let report = edge_db::verify(&path, |_| {})?;
/// for finding in &report.findings {
///     eprintln!("{finding}");
/// }
/// assert!(report.is_clean());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Segments of the journal.
    pub segments: u64,
    /// Commits in them that have not settled.
    pub commits: u64,
    /// Blocks of the data file.
    pub blocks: u64,
    /// Blocks that do not match their checksum and that nobody reads: a power cut leaves such, and
    /// they are no damage.
    pub unused_blocks: u64,
    /// Entries of all kinds, those of the journal included: rows, index entries, chunks of logs,
    /// cursors, names.
    pub entries: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Tables, keyspaces, logs, and what hangs on tables.
    pub names: u64,
    /// What is wrong; the first [`Report::MOST_FINDINGS`] of it.
    pub findings: Vec<Finding>,
    /// How many more findings there were.
    pub more_findings: u64,
}

impl Report {
    /// So many findings are kept; the rest is counted.
    pub const MOST_FINDINGS: usize = 1000;

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// One thing that is wrong, and what [`plan_repair`](crate::plan_repair) would do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What is wrong there.
    pub what: String,
    /// What repair would drop, keep or build anew.
    pub repair: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; repair: {}", self.place, self.what, self.repair)
    }
}

/// Where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A file of the folder.
    File {
        /// Its name.
        name: String,
        /// Where in it, if that can be said.
        offset: Option<u64>,
    },
    /// One entry.
    Entry {
        /// The table, keyspace, index or log.
        name: String,
        /// Its key, encoded.
        key: Vec<u8>,
    },
    /// All of a table, keyspace, index or log.
    Name(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { name, offset: Some(offset) } => write!(f, "{name} at offset {offset}"),
            Place::File { name, offset: None } => f.write_str(name),
            Place::Entry { name, key } => write!(f, "{name}, key {}", words::bytes(key)),
            Place::Name(name) => f.write_str(name),
        }
    }
}
