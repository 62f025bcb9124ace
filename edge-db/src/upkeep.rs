//! What hangs on a table and is kept in the same commit: indexes, a count, a change log.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::codec::DecodeError;
use crate::space::Space;

/// Gives the index key, encoded, of a stored value; `None` if it is not in the index.
pub(crate) type Extract = Arc<dyn Fn(&[u8]) -> Result<Option<Vec<u8>>, DecodeError> + Send + Sync>;

/// The code of the indexes that were opened, by their spaces.
#[derive(Default)]
pub(crate) struct Extracts {
    extracts: Mutex<HashMap<Space, Extract>>,
}

impl Extracts {
    pub(crate) fn note(&self, index: Space, extract: Extract) {
        self.extracts.lock().insert(index, extract);
    }

    pub(crate) fn all(&self) -> HashMap<Space, Extract> {
        self.extracts.lock().clone()
    }
}

impl fmt::Debug for Extracts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extracts").finish_non_exhaustive()
    }
}

/// All tables that something hangs on.
#[derive(Debug, Default)]
pub(crate) struct Upkeeps {
    tables: HashMap<Space, Upkeep>,
}

/// What hangs on one table.
#[derive(Debug, Clone)]
pub(crate) struct Upkeep {
    pub(crate) table: Arc<str>,
    pub(crate) indexes: Vec<IndexUpkeep>,
    pub(crate) is_counted: bool,
    pub(crate) captured: Option<Space>,
}

#[derive(Clone)]
pub(crate) struct IndexUpkeep {
    pub(crate) name: Arc<str>,
    pub(crate) space: Space,
    pub(crate) is_unique: bool,
    /// `None` until somebody has opened the index.
    pub(crate) extract: Option<Extract>,
}

impl fmt::Debug for IndexUpkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexUpkeep").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A change to what hangs on a table.
#[derive(Debug)]
pub(crate) enum Hang {
    Index(IndexUpkeep),
    Count,
    NoCount,
    Capture(Space),
    NoCapture,
    /// The index of this name is gone.
    NoIndex(Arc<str>),
}

impl Upkeeps {
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    pub(crate) fn get(&self, table: Space) -> Option<&Upkeep> {
        self.tables.get(&table)
    }

    pub(crate) fn hang(&mut self, space: Space, table: Arc<str>, hang: Hang) {
        let upkeep = self.tables.entry(space).or_insert_with(|| Upkeep {
            table,
            indexes: Vec::new(),
            is_counted: false,
            captured: None,
        });
        match hang {
            Hang::Index(index) => {
                upkeep.indexes.retain(|other| other.name != index.name);
                upkeep.indexes.push(index);
            }
            Hang::NoIndex(name) => upkeep.indexes.retain(|other| other.name != name),
            Hang::Count => upkeep.is_counted = true,
            Hang::NoCount => upkeep.is_counted = false,
            Hang::Capture(log) => upkeep.captured = Some(log),
            Hang::NoCapture => upkeep.captured = None,
        }
    }
}
