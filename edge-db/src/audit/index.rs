//! Entries of an index, and the rows that they stand for.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::findings::Findings;
use super::{Sources, words};
use crate::catalog::{Kind, Named};
use crate::codec::{self, Codec, Stored};
use crate::key::kind::{is_key, skip};
use crate::space::{Space, without_space};
use crate::upkeep::Extract;
use crate::verify::Place;

/// The way through one index.
pub(super) struct IndexAudit {
    table: Space,
    is_unique: bool,
    /// Of the index, and of the table.
    kinds: [String; 2],
    extract: Option<Extract>,
    /// The index key of the last entry that has not expired.
    last: Option<Vec<u8>>,
}

/// What the index code gives for a stored value; `None` if it cannot tell.
pub(super) fn index_key(extract: &Extract, value: &[u8]) -> Option<Option<Vec<u8>>> {
    // The application's code may panic over a value.
    catch_unwind(AssertUnwindSafe(|| extract(value))).ok()?.ok()
}

impl IndexAudit {
    pub(super) fn new(
        table: Space,
        is_unique: bool,
        kinds: [String; 2],
        extract: Option<Extract>,
    ) -> IndexAudit {
        IndexAudit { table, is_unique, kinds, extract, last: None }
    }

    /// What is wrong with an entry.
    pub(super) fn entry(
        &mut self,
        key: &[u8],
        value: &[u8],
        sources: &Sources<'_>,
    ) -> Option<&'static str> {
        let stored = Stored::parse(value).ok();
        let stored =
            stored.filter(|stored| stored.codec == Codec::Raw as u8 && stored.body.is_empty());
        let Some(stored) = stored else { return Some("an entry has a value") };
        let [index_kind, row_kind] = &self.kinds;
        let whole = without_space(key);
        let mut row = whole;
        match skip(index_kind, &mut row) {
            // A kind of the application's own.
            None => return None,
            Some(true) if is_key(row_kind, row) => {}
            Some(_) => return Some("an entry's key is none of the index's kind"),
        }
        if stored.is_expired(sources.now) {
            return None;
        }
        let found = &whole[..whole.len() - row.len()];
        let last = self.last.replace(found.to_vec());
        if self.is_unique && last.as_deref() == Some(found) {
            return Some("two rows have the same key");
        }
        let stored_row = (sources.get)(&self.table.key(row))?;
        let Some(stored_row) = stored_row else { return Some("an entry has no row") };
        let wanted = self.extract.as_ref().and_then(|extract| index_key(extract, &stored_row))?;
        (wanted.as_deref() != Some(found)).then_some("an entry is not what its row says")
    }
}

/// What is wrong with one index.
#[derive(Debug, Default)]
pub(super) struct Wrong {
    count: u64,
    first: Option<(&'static str, Vec<u8>)>,
}

impl Wrong {
    pub(super) fn add(&mut self, what: &'static str, key: &[u8]) {
        self.count += 1;
        self.first.get_or_insert_with(|| (what, without_space(key).to_vec()));
    }

    pub(super) fn is_any(&self) -> bool {
        self.count > 0
    }

    /// Empties the index, so that it is filled when it is opened.
    pub(super) fn rebuild(self, name: &str, named: &Named, found: &mut Findings) {
        let what = match self.first {
            Some((what, key)) => {
                format!("{what} (key {}); {} such in all", words::bytes(&key), self.count)
            }
            None => "entries of it or of its table are lost".to_owned(),
        };
        let repair = "it is emptied, and built anew when it is opened";
        found.note(Place::Name(words::label(name)), what, repair);
        found.clear(named.space);
        let Kind::Index { table, is_unique, key, .. } = &named.kind else { return };
        let kind =
            Kind::Index { table: *table, is_unique: *is_unique, key: key.clone(), is_ready: false };
        let value = codec::encode(&Named { space: named.space, kind }, 0);
        found.put(Space::CATALOG.key(name.as_bytes()), value.expect("a name always encodes"));
    }
}
