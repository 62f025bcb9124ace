//! Where every accepted row is.

/// What became of the rows of one Log. At every moment
/// `accepted = landed + pending + dropped`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// The Log.
    pub log: String,
    /// Rows that were in the Log when it was first replicated, or came since.
    pub accepted: u64,
    /// Rows that lie in the landing zone, acknowledged by it.
    pub landed: u64,
    /// Rows that are stored here and not there yet.
    pub pending: u64,
    /// Rows that the Log dropped at its limit before they were sent; a gap marker stands for them.
    pub dropped: u64,
    /// Segments in the landing zone, gap markers included.
    pub segments: u64,
    /// Attempts in a row that the remote did not answer as it should; 0 if all is well.
    pub failing: u32,
    /// What the last of them said, or why the stream has stopped.
    pub trouble: Option<String>,
}
