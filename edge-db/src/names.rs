//! What there is in a database, for tools that do not know its types.

use std::ops::Bound;

use bytes::Bytes;

use crate::catalog::{Kind, entries_below, system_error};
use crate::codec::{self, Stored};
use crate::error::{DecodeError, ReadError};
use crate::space::{Space, without_space};
use crate::view;
use crate::{Db, Log, Seq};

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameKind {
    /// A [`Keyspace`](crate::Keyspace).
    Keyspace,
    /// A [`Table`](crate::Table).
    Table {
        /// The encoding of its keys, as [`Key::kind`](crate::Key::kind) names it.
        key: String,
    },
    /// A [`Log`].
    Log,
    /// An [`Index`](crate::Index) of a table.
    Index {
        /// The table.
        table: String,
        /// The encoding of its keys.
        key: String,
        /// Whether no two rows have the same key.
        is_unique: bool,
    },
}

impl Db {
    /// All names and what they stand for, in order. Indexes have the name that they were opened
    /// with.
    pub fn names(&self) -> Vec<(String, NameKind)> {
        let mut names: Vec<_> = self
            .with_catalog(|catalog| {
                let names = catalog.iter();
                names.map(|(name, named)| (name.to_owned(), named.kind.clone())).collect::<Vec<_>>()
            })
            .into_iter()
            .filter_map(|(name, kind)| {
                let mut parts = name.split('\0').map(str::to_owned);
                let first = parts.next().unwrap_or_default();
                Some(match kind {
                    Kind::Keyspace => (first, NameKind::Keyspace),
                    Kind::Table(key) => (first, NameKind::Table { key }),
                    Kind::Log(_) => (first, NameKind::Log),
                    Kind::Index { key, is_unique, .. } => {
                        let index = parts.next_back().unwrap_or_default();
                        (index, NameKind::Index { table: first, key, is_unique })
                    }
                    Kind::Count { .. } | Kind::Capture { .. } => return None,
                })
            })
            .collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        names
    }

    /// The rows of a keyspace or table as they are stored, in order; nothing if there is none of
    /// this name. Rows that have expired are still among them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn raw_rows(&self, name: &str) -> Result<RawRows, ReadError> {
        let found = self.with_catalog(|catalog| {
            let found = catalog.iter().find(|(found, _)| *found == name);
            found.map(|(_, named)| (named.space, named.kind.clone()))
        });
        let view = self.view()?;
        let range = match found {
            Some((space, Kind::Keyspace | Kind::Table(_))) => {
                let (from, to) = (space.prefix(), space.next().prefix());
                view.range(Bound::Included(&from), Bound::Excluded(&to))?
            }
            _ => view.range(Bound::Included(&[]), Bound::Excluded(&[]))?,
        };
        Ok(RawRows { range })
    }
}

impl Log {
    /// Its cursors and where they stand, by name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn cursors(&self) -> Result<Vec<(String, Seq)>, ReadError> {
        let prefix: Vec<u8> = Space::cursor_key(self.space(), "");
        let view = self.db().view()?;
        let cursors = entries_below(&view, &prefix)?.map(|entry| {
            let (key, stored) = entry?;
            let name = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
            Ok((name, codec::decode(&stored, 0).map_err(system_error)?))
        });
        cursors.collect()
    }
}

/// Stored rows; from [`Db::raw_rows`].
pub struct RawRows {
    range: view::Range,
}

impl std::fmt::Debug for RawRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawRows").finish_non_exhaustive()
    }
}

/// A row as it is stored.
#[derive(Debug, Clone)]
pub struct RawRow {
    key: Bytes,
    stored: Bytes,
}

impl Iterator for RawRows {
    type Item = Result<RawRow, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.range.next()?;
        Some(entry.map_err(ReadError::from).map(|(key, stored)| {
            let key = key.slice_ref(without_space(&key));
            RawRow { key, stored }
        }))
    }
}

impl RawRow {
    /// Its key, encoded.
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// The schema version of its value.
    ///
    /// # Errors
    /// When the value has no header.
    pub fn version(&self) -> Result<u8, DecodeError> {
        Ok(Stored::parse(&self.stored)?.version)
    }

    /// Its value behind the header, as the codec wrote it.
    ///
    /// # Errors
    /// When the value has no header.
    pub fn value(&self) -> Result<&[u8], DecodeError> {
        Ok(Stored::parse(&self.stored)?.body)
    }
}
