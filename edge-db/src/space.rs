//! Where things lie in the one ordered map: a four-byte space in front of every key.
//!
//! | space | key | value |
//! |---|---|---|
//! | 0 catalog | name | what the name stands for |
//! | 1 log state | log's space | first, next, bytes, dropped |
//! | | log's space, 1, a gap's first position | the gap |
//! | 2 cursors | log's space, cursor's name | position |
//! | 3 settled | none; in the tree only | the last commit that the tree has |
//! | 4 counts | table's space | how many rows it has |
//! | 5 history | none | which database this is, for its backups |
//! | 16.. | as the owner says; in a Log the position of a chunk's last record | raw bytes, a value, a chunk |

use std::ops::Bound;

use crate::Seq;

/// Keyspace, Table or Log by number, as the catalog gave it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub(crate) struct Space(u32);

impl Space {
    pub(crate) const CATALOG: Space = Space(0);
    pub(crate) const LOG_STATE: Space = Space(1);
    pub(crate) const CURSORS: Space = Space(2);
    /// Its prefix is the one key.
    pub(crate) const SETTLED: Space = Space(3);
    pub(crate) const COUNTS: Space = Space(4);
    /// Its prefix is the one key.
    pub(crate) const HISTORY: Space = Space(5);
    /// The first one that the catalog gives out.
    pub(crate) const FIRST: Space = Space(16);

    pub(crate) fn next(self) -> Space {
        Space(self.0 + 1)
    }

    pub(crate) fn number(self) -> u32 {
        self.0
    }

    pub(crate) fn prefix(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    /// The space that a complete key lies in.
    pub(crate) fn of(key: &[u8]) -> Option<Space> {
        key.first_chunk().map(|prefix| Space(u32::from_be_bytes(*prefix)))
    }

    /// Whether a complete key is of a keyspace, table or log.
    pub(crate) fn is_users(key: &[u8]) -> bool {
        Space::of(key) >= Some(Space::FIRST)
    }

    /// Complete keys between two bounds as the first of them (included) and what is behind the last
    /// (excluded).
    pub(crate) fn half_open(self, bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>)) -> (Vec<u8>, Vec<u8>) {
        // The next possible key behind one: it with a zero.
        let behind = |key: Vec<u8>| [key, vec![0]].concat();
        let from = match bounds.0 {
            Bound::Included(key) => key,
            Bound::Excluded(key) => behind(key),
            Bound::Unbounded => self.prefix().to_vec(),
        };
        let to = match bounds.1 {
            Bound::Included(key) => behind(key),
            Bound::Excluded(key) => key,
            Bound::Unbounded => self.next().prefix().to_vec(),
        };
        (from, to)
    }

    /// The key of this table's count.
    pub(crate) fn count_key(self) -> Vec<u8> {
        Space::COUNTS.key(&self.prefix())
    }

    /// `key` in this space.
    pub(crate) fn key(self, key: &[u8]) -> Vec<u8> {
        [&self.prefix(), key].concat()
    }

    /// The key that the chunk ending with the record at `last` is stored under.
    pub(crate) fn chunk_key(self, last: Seq) -> Vec<u8> {
        self.key(&last.get().to_be_bytes())
    }

    /// The key of this log's state.
    pub(crate) fn log_state_key(self) -> Vec<u8> {
        Space::LOG_STATE.key(&self.prefix())
    }

    /// The front of the keys that this log's gaps are stored under.
    pub(crate) fn gaps_key(self) -> Vec<u8> {
        let mut key = self.log_state_key();
        key.push(1);
        key
    }

    /// The key of this log's gap that begins at `first`.
    pub(crate) fn gap_key(self, first: Seq) -> Vec<u8> {
        let mut key = self.gaps_key();
        key.extend_from_slice(&first.get().to_be_bytes());
        key
    }

    /// The key of one of this log's cursors, or with an empty name the front of all of them.
    pub(crate) fn cursor_key(self, name: &str) -> Vec<u8> {
        let mut key = Space::CURSORS.key(&self.prefix());
        key.extend_from_slice(name.as_bytes());
        key
    }
}

/// The bytes of `key` behind its space.
pub(crate) fn without_space(key: &[u8]) -> &[u8] {
    key.get(4..).unwrap_or_default()
}

/// The first key behind all that begin with `prefix`; `None` if nothing is behind them.
pub(crate) fn end_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xFF)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_prefix_is_the_first_key_behind_it() {
        assert_eq!(end_of_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(end_of_prefix(&[1, 0xFF]), Some(vec![2]));
        assert_eq!(end_of_prefix(&[0xFF, 0xFF]), None);
        assert_eq!(end_of_prefix(&[]), None);
    }
}
