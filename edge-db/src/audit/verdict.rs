//! What is said once all entries have been told.

use super::findings::Findings;
use super::{Audit, words};
use crate::catalog::{Kind, Named};
use crate::codec;
use crate::space::Space;
use crate::tree::{FILE, Lost};
use crate::verify::Place;

impl Audit<'_> {
    /// What was found in all.
    pub(crate) fn finish(mut self) -> Findings {
        self.check_catalog();
        let lost = std::mem::take(&mut self.lost);
        for lost in &lost {
            self.tell_lost(lost);
        }
        for log in std::mem::take(&mut self.logs).into_values() {
            log.finish(self.sources.now, &mut self.found);
        }
        for (space, named) in std::mem::take(&mut self.kinds) {
            match named.kind {
                Kind::Count { table } => self.check_count(space, table, &lost),
                Kind::Index { table, .. } => self.check_index(space, table, &named, &lost),
                _ => {}
            }
        }
        self.found
    }

    fn check_count(&mut self, space: Space, table: Space, lost: &[Lost]) {
        let rows = self.rows.get(&table).copied().unwrap_or_default();
        let what = match self.counts.get(&table) {
            Some(stored) if *stored == rows => return,
            Some(stored) => format!("it says {stored}, there are {rows} rows"),
            None if is_touched(lost, Space::COUNTS) => "it may be lost".to_owned(),
            // Counting was not begun.
            None => return,
        };
        let place = Place::Name(words::space(&self.names, space));
        self.found.note(place, what, format!("it becomes {rows}"));
        self.found.put(table.count_key(), codec::number(rows));
    }

    fn check_index(&mut self, space: Space, table: Space, named: &Named, lost: &[Lost]) {
        let wrong = self.indexes.remove(&space).unwrap_or_default();
        let touched = |space: &Space| self.touched.contains(space) || is_touched(lost, *space);
        if wrong.is_any() || [space, table].iter().any(touched) {
            let name = self.names.get(&space).map_or("", String::as_str);
            wrong.rebuild(name, named, &mut self.found);
        }
    }

    fn tell_lost(&mut self, lost: &Lost) {
        let side = |key: &Option<Vec<u8>>, none: &str| {
            key.as_ref().map_or_else(|| none.to_owned(), |key| words::key(&self.names, key))
        };
        let (after, before) = (side(&lost.after, "the beginning"), side(&lost.before, "the end"));
        let own = [Space::CATALOG, Space::LOG_STATE, Space::CURSORS, Space::COUNTS];
        let spaces = own.iter().chain(self.kinds.keys()).filter(|space| touches(lost, **space));
        let spaces: Vec<_> = spaces.map(|space| words::space(&self.names, *space)).collect();
        let of =
            if spaces.is_empty() { "of nothing that has a name".into() } else { spaces.join(", ") };
        let offsets: Vec<_> = lost.offsets.iter().take(8).map(u64::to_string).collect();
        let more = if lost.offsets.len() > offsets.len() { ", .." } else { "" };
        let what = format!(
            "damaged at {}{more}: entries between {after} and {before} cannot be read ({of})",
            offsets.join(", "),
        );
        let offset = lost.offsets.first().copied();
        self.found.file(FILE, offset, what, "what the journal does not have of them is lost");
    }
}

fn is_touched(lost: &[Lost], space: Space) -> bool {
    lost.iter().any(|lost| touches(lost, space))
}

/// Whether entries of a space may be among those that are lost.
fn touches(lost: &Lost, space: Space) -> bool {
    let (from, to) = (space.prefix(), space.next().prefix());
    lost.after.as_deref().is_none_or(|after| after < to.as_slice())
        && lost.before.as_deref().is_none_or(|before| before > from.as_slice())
}
