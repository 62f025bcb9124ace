//! Decides what is wrong with the entries of a database, and which writes would mend it.
//!
//! No file, no clock: [`Audit::entry`] is told of all entries in the order of their keys,
//! [`Audit::lost`] of those that cannot be read, [`Audit::finish`] gives the findings. The names
//! come first in that order, then what is known of logs, cursors and counts, then everything else:
//! so one pass is enough, and memory grows with names and findings only.

mod catalog;
pub(crate) mod findings;
mod index;
mod log;
mod verdict;
pub(crate) mod words;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use crate::catalog::{Kind, Named};
use crate::codec::{self, Codec, Stored};
use crate::key::kind::is_key;
use crate::log::LogOptions;
use crate::space::{Space, without_space};
use crate::tree::Lost;
use crate::upkeep::Extract;
use crate::verify::Place;
use crate::{Seq, Time};
use findings::Findings;
use index::{IndexAudit, Wrong, index_key};
use log::LogAudit;

/// What the audit may ask while it is told of entries.
pub(crate) struct Sources<'a> {
    /// What is stored under a key; `None` if that cannot be read.
    pub(crate) get: &'a dyn Fn(&[u8]) -> Option<Option<Bytes>>,
    /// The code of indexes, of those that are open.
    pub(crate) extracts: HashMap<Space, Extract>,
    pub(crate) now: Time,
}

/// What is known so far.
pub(crate) struct Audit<'a> {
    sources: Sources<'a>,
    pub(crate) found: Findings,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    has_format: bool,
    /// A later edge-db wrote this format.
    pub(crate) later_format: Option<u32>,
    kinds: BTreeMap<Space, Named>,
    names: BTreeMap<Space, String>,
    logs: BTreeMap<Space, LogAudit>,
    /// As they are stored.
    counts: BTreeMap<Space, u64>,
    /// As they were counted.
    rows: BTreeMap<Space, u64>,
    indexes: BTreeMap<Space, Wrong>,
    /// Spaces that lose something.
    touched: BTreeSet<Space>,
    /// Spaces that have lost their names.
    nameless: BTreeSet<Space>,
    lost: Vec<Lost>,
    current: Option<Current>,
}

/// The space that entries come from now.
struct Current {
    space: Space,
    name: String,
    what: What,
}

enum What {
    Keyspace,
    Table { key: String, indexes: Vec<(Space, Extract)> },
    Index(Box<IndexAudit>),
    Log,
}

impl<'a> Audit<'a> {
    pub(crate) fn new(sources: Sources<'a>, found: Findings) -> Audit<'a> {
        Audit {
            sources,
            found,
            entries: 0,
            bytes: 0,
            has_format: false,
            later_format: None,
            kinds: BTreeMap::new(),
            names: BTreeMap::new(),
            logs: BTreeMap::new(),
            counts: BTreeMap::new(),
            rows: BTreeMap::new(),
            indexes: BTreeMap::new(),
            touched: BTreeSet::new(),
            nameless: BTreeSet::new(),
            lost: Vec::new(),
            current: None,
        }
    }

    /// How many names there are.
    pub(crate) fn names(&self) -> u64 {
        self.kinds.len() as u64
    }

    /// Entries between two others cannot be read.
    pub(crate) fn lost(&mut self, lost: Lost) {
        self.lost.push(lost);
    }

    /// One entry.
    pub(crate) fn entry(&mut self, key: &[u8], value: &[u8]) {
        self.entries += 1;
        self.bytes += (key.len() + value.len()) as u64;
        match Space::of(key) {
            Some(Space::CATALOG) => self.name(key, value),
            Some(Space::LOG_STATE) => self.log_state(key, value),
            Some(Space::CURSORS) => self.cursor(key, value),
            Some(Space::SETTLED) if key.len() == 4 => {}
            Some(Space::HISTORY) if key.len() == 4 && codec::decode::<u64>(value, 0).is_ok() => {}
            Some(Space::COUNTS) => self.count(key, value),
            Some(space) if space >= Space::FIRST => self.row(space, key, value),
            _ => self.drop_entry("no space", key, "nothing is stored under such keys"),
        }
    }

    /// Notes that an entry is wrong and is left out.
    fn drop_entry(&mut self, name: &str, key: &[u8], what: &str) {
        let stored_key = if key.len() < 4 { key } else { without_space(key) };
        let place = Place::Entry { name: name.to_owned(), key: stored_key.to_vec() };
        self.found.note(place, what, "it is dropped");
        self.found.delete(key);
        self.touched.extend(Space::of(key));
    }

    fn log_state(&mut self, key: &[u8], value: &[u8]) {
        let log = Space::of(without_space(key)).and_then(|space| self.logs.get_mut(&space));
        let is_good = match (log, key.len()) {
            (Some(log), 8) => log.stored_state(value),
            (Some(log), 17) => log.stored_gap(key, value),
            _ => false,
        };
        if !is_good {
            self.drop_entry("the states of logs", key, "this is no state of a log there is");
        }
    }

    fn cursor(&mut self, key: &[u8], value: &[u8]) {
        let space = Space::of(without_space(key));
        let log = space.and_then(|space| self.logs.get_mut(&space));
        let name = key.get(8..).and_then(|name| std::str::from_utf8(name).ok());
        let position = codec::decode::<Seq>(value, 0).ok();
        match (log, name, position) {
            (Some(log), Some(name), Some(position)) => log.cursor(name, position),
            _ => self.drop_entry("the cursors", key, "this is no cursor of a log there is"),
        }
    }

    fn count(&mut self, key: &[u8], value: &[u8]) {
        let table = Space::of(without_space(key)).filter(|_| key.len() == 8);
        let is_counted =
            |kept: &Named| matches!(kept.kind, Kind::Count { table: of } if Some(of) == table);
        match (table, codec::decode(value, 0)) {
            (Some(table), Ok(count)) if self.kinds.values().any(is_counted) => {
                self.counts.insert(table, count);
            }
            _ => self.drop_entry("the counts", key, "this is no count that is kept"),
        }
    }

    fn row(&mut self, space: Space, key: &[u8], value: &[u8]) {
        if self.current.as_ref().is_none_or(|current| current.space != space) {
            self.current = Some(self.begin(space, value));
        }
        let Some(mut current) = self.current.take() else { return };
        let Current { name, what, .. } = &mut current;
        match what {
            What::Keyspace => {
                if codec::body(value, Codec::Raw, 0).is_err() {
                    self.drop_entry(name, key, "its value is no value of a keyspace");
                }
            }
            What::Table { key: kind, indexes } => {
                let codecs = [Codec::Bincode as u8, Codec::Postcard as u8];
                let stored = Stored::parse(value).ok();
                let stored = stored.filter(|stored| codecs.contains(&stored.codec));
                if !is_key(kind, without_space(key)) {
                    self.drop_entry(name, key, "the key is none of the table's kind");
                } else if let Some(stored) = stored {
                    *self.rows.entry(space).or_default() += 1;
                    if !stored.is_expired(self.sources.now) {
                        self.check_indexed(indexes, key, value);
                    }
                } else {
                    self.drop_entry(name, key, "its value is no value of a table");
                }
            }
            What::Index(index) => {
                let wrong = index.entry(key, value, &self.sources);
                if let Some(what) = wrong {
                    self.indexes.entry(space).or_default().add(what, key);
                }
            }
            What::Log => {
                let log = self.logs.entry(space).or_insert_with(|| LogAudit::new(space, name));
                log.chunk(key, value, &mut self.found);
            }
        }
        self.current = Some(current);
    }

    /// The rows of a table have the entries that the code of its indexes gives.
    fn check_indexed(&mut self, indexes: &[(Space, Extract)], key: &[u8], value: &[u8]) {
        for (index, extract) in indexes {
            let Some(Some(found)) = index_key(extract, value) else { continue };
            let entry = [index.key(&found).as_slice(), without_space(key)].concat();
            if (self.sources.get)(&entry) == Some(None) {
                self.indexes.entry(*index).or_default().add("a row has no entry", key);
            }
        }
    }

    fn begin(&mut self, space: Space, value: &[u8]) -> Current {
        if !self.kinds.contains_key(&space) {
            self.name_anew(space, value);
        }
        let kind = self.kinds.get(&space).map(|named| named.kind.clone());
        let what = match kind {
            Some(Kind::Table(key)) => What::Table { key, indexes: self.open_indexes(space) },
            Some(Kind::Log(_)) => What::Log,
            Some(Kind::Index { table, is_unique, key, .. }) => {
                let extract = self.sources.extracts.get(&space).cloned();
                let row = self.kinds.get(&table).map(|named| named.kind.clone());
                let row = if let Some(Kind::Table(row)) = row { row } else { String::new() };
                What::Index(Box::new(IndexAudit::new(table, is_unique, [key, row], extract)))
            }
            _ => What::Keyspace,
        };
        Current { space, name: words::space(&self.names, space), what }
    }

    fn open_indexes(&self, of: Space) -> Vec<(Space, Extract)> {
        let indexes = self.kinds.iter().filter_map(|(space, named)| match named.kind {
            Kind::Index { table, is_ready: true, .. } if table == of => {
                Some((*space, self.sources.extracts.get(space)?.clone()))
            }
            _ => None,
        });
        indexes.collect()
    }

    /// Gives a name to a space that has lost its own.
    fn name_anew(&mut self, space: Space, value: &[u8]) {
        let kind = match value.first().map(|codec| codec & 0x7F) {
            Some(codec) if codec == Codec::Chunk as u8 => Kind::Log(LogOptions::new()),
            Some(codec) if codec == Codec::Raw as u8 => Kind::Keyspace,
            _ => Kind::Table("unknown".to_owned()),
        };
        let name = format!("recovered-{}", space.number());
        let old = words::space(&self.names, space);
        let repair = format!("they are kept under the name `{name}`");
        self.found.note(Place::Name(old), "its entries have no name", repair);
        let named = Named { space, kind };
        let value = codec::encode(&named, 0).expect("a name always encodes");
        self.found.put(Space::CATALOG.key(name.as_bytes()), value);
        if matches!(named.kind, Kind::Log(_)) {
            self.logs.insert(space, LogAudit::new(space, &words::label(&name)));
        }
        self.names.insert(space, name);
        self.kinds.insert(space, named);
        self.nameless.insert(space);
    }
}

#[cfg(test)]
mod tests;
