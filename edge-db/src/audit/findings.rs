//! What was found, in words, and what mends it.

use bytes::Bytes;

use crate::space::Space;
use crate::store::Write;
use crate::verify::{Finding, Place, Report};

/// Findings up to a limit, and the writes that repair makes for all of them.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) list: Vec<Finding>,
    pub(crate) more: u64,
    pub(crate) edits: Vec<Write>,
}

impl Findings {
    pub(crate) fn note(
        &mut self,
        place: Place,
        what: impl Into<String>,
        repair: impl Into<String>,
    ) {
        if self.list.len() < Report::MOST_FINDINGS {
            self.list.push(Finding { place, what: what.into(), repair: repair.into() });
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn file(
        &mut self,
        name: &str,
        offset: Option<u64>,
        what: impl Into<String>,
        repair: impl Into<String>,
    ) {
        self.note(Place::File { name: name.to_owned(), offset }, what, repair);
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.edits.push(Write::Put(key.into(), value.into()));
    }

    pub(crate) fn delete(&mut self, key: &[u8]) {
        self.edits.push(Write::Delete(Bytes::copy_from_slice(key)));
    }
    /// Drops everything in a space.
    pub(crate) fn clear(&mut self, space: Space) {
        let [from, to] = [space, space.next()].map(|space| Bytes::copy_from_slice(&space.prefix()));
        self.edits.push(Write::DeleteRange(from, to));
    }
}
