//! Which names there are, and what each of them is.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::error::{DecodeError, OpenError, ReadError};
use crate::log::LogOptions;
use crate::space::{Space, end_of_prefix, without_space};
use crate::upkeep::{Hang, IndexUpkeep, Upkeeps};
use crate::view::{self, View};

pub(crate) const MAX_NAME_BYTES: usize = 255;

/// Under this key of the catalog's space the format is stored; no name is empty.
pub(crate) const FORMAT_KEY: &[u8] = &[];

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Keyspace,
    /// With the encoding of its keys.
    Table(String),
    Log(LogOptions),
    /// Of a table, with the encoding of its own keys.
    Index {
        table: Space,
        is_unique: bool,
        key: String,
        is_ready: bool,
    },
    /// The table's rows are counted.
    Count {
        table: Space,
    },
    /// The table's changes go into this log.
    Capture {
        table: Space,
        log: Space,
    },
}

impl Kind {
    fn describe(&self) -> String {
        match self {
            Kind::Keyspace => "a keyspace".to_owned(),
            Kind::Table(key) => format!("a table with keys of kind {key}"),
            Kind::Log(_) => "a log".to_owned(),
            Kind::Index { is_unique, key, .. } => {
                let unique = if *is_unique { "a unique" } else { "an" };
                format!("{unique} index with keys of kind {key}")
            }
            Kind::Count { .. } => "a count".to_owned(),
            Kind::Capture { .. } => "a change log".to_owned(),
        }
    }

    fn is_same(&self, other: &Kind) -> bool {
        match (self, other) {
            (Kind::Log(_), Kind::Log(_)) | (Kind::Capture { .. }, Kind::Capture { .. }) => true,
            (
                Kind::Index { is_unique, key, .. },
                Kind::Index { is_unique: other_unique, key: other_key, .. },
            ) => is_unique == other_unique && key == other_key,
            _ => self == other,
        }
    }
}

/// One entry, as it is stored under its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) space: Space,
    pub(crate) kind: Kind,
}

/// All names. Spaces are given out once and never again.
#[derive(Debug)]
pub(crate) struct Catalog {
    names: HashMap<String, Named>,
    next: Space,
}

/// What opening a name takes.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is there, and is what was asked for.
    Stored(Named),
    /// It is to be stored first.
    New(Named),
}

impl Catalog {
    fn restore(names: impl IntoIterator<Item = (String, Named)>) -> Catalog {
        let names: HashMap<_, _> = names.into_iter().collect();
        let last = names.values().map(|named| named.space).max();
        Catalog { names, next: last.map_or(Space::FIRST, Space::next) }
    }

    /// All names as they are stored.
    pub(crate) fn read(view: &View) -> Result<Catalog, ReadError> {
        let mut names = Vec::new();
        for entry in entries_below(view, &Space::CATALOG.key(&[]))? {
            let (key, stored) = entry?;
            let name = without_space(&key);
            if name != FORMAT_KEY {
                let name = String::from_utf8_lossy(name).into_owned();
                names.push((name, codec::decode(&stored, 0).map_err(system_error)?));
            }
        }
        Ok(Catalog::restore(names))
    }

    pub(crate) fn find(&self, name: &str, kind: Kind) -> Result<Found, OpenError> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(OpenError::Name { bytes: name.len() });
        }
        match self.names.get(name) {
            Some(named) if named.kind.is_same(&kind) => Ok(Found::Stored(named.clone())),
            Some(named) => Err(OpenError::Kind {
                name: name.to_owned(),
                stored: named.kind.describe(),
                wanted: kind.describe(),
            }),
            None => Ok(Found::New(Named { space: self.next, kind })),
        }
    }

    /// What hangs on tables; indexes without the code that keeps them.
    pub(crate) fn upkeeps(&self) -> Upkeeps {
        let mut upkeeps = Upkeeps::default();
        for (name, named) in &self.names {
            let mut parts = name.split('\0');
            let table: Arc<str> = parts.next().unwrap_or_default().into();
            let index = parts.next_back().unwrap_or_default().into();
            match named.kind {
                Kind::Index { table: space, is_unique, .. } => {
                    let index =
                        IndexUpkeep { name: index, space: named.space, is_unique, extract: None };
                    upkeeps.hang(space, table, Hang::Index(index));
                }
                Kind::Count { table: space } => upkeeps.hang(space, table, Hang::Count),
                Kind::Capture { table: space, log } => {
                    upkeeps.hang(space, table, Hang::Capture(log));
                }
                _ => {}
            }
        }
        upkeeps
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Named> {
        self.names.remove(name)
    }

    /// Notes a name that has been stored.
    pub(crate) fn insert(&mut self, name: &str, named: Named) {
        self.next = self.next.max(named.space.next());
        self.names.insert(name.to_owned(), named);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Named)> {
        self.names.iter().map(|(name, named)| (name.as_str(), named))
    }
}

/// What the database keeps for itself below a key.
pub(crate) fn entries_below(view: &View, prefix: &[u8]) -> Result<view::Range, ReadError> {
    let end = end_of_prefix(prefix);
    let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    Ok(view.range(Bound::Included(prefix), end)?)
}

pub(crate) fn system_error(source: DecodeError) -> ReadError {
    ReadError::Value { name: "the catalog".to_owned(), source }
}
