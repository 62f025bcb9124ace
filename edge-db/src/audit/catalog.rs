//! The names.

use super::log::LogAudit;
use super::{Audit, words};
use crate::catalog::{FORMAT_KEY, Kind, MAX_NAME_BYTES, Named};
use crate::codec;
use crate::db::FORMAT;
use crate::space::{Space, without_space};
use crate::verify::Place;

impl Audit<'_> {
    /// One entry of the catalog.
    pub(super) fn name(&mut self, key: &[u8], value: &[u8]) {
        let name = without_space(key);
        if name == FORMAT_KEY {
            self.format(value);
            return;
        }
        let text = std::str::from_utf8(name).ok().filter(|name| name.len() <= MAX_NAME_BYTES);
        let named = codec::decode::<Named>(value, 0).ok();
        let named = named.filter(|named| named.space >= Space::FIRST);
        match (text, named) {
            (Some(text), Some(named)) if !self.kinds.contains_key(&named.space) => {
                if matches!(named.kind, Kind::Log(_)) {
                    let log = LogAudit::new(named.space, &words::label(text));
                    self.logs.insert(named.space, log);
                }
                self.names.insert(named.space, text.to_owned());
                self.kinds.insert(named.space, named);
            }
            (Some(_), Some(_)) => {
                self.drop_entry("the names", key, "another name has the same key space");
            }
            _ => self.drop_entry("the names", key, "this is no name"),
        }
    }

    fn format(&mut self, value: &[u8]) {
        match codec::decode::<u32>(value, 0) {
            Ok(found) => {
                self.has_format = true;
                self.later_format = (found != FORMAT).then_some(found);
            }
            Err(_) => {
                self.drop_entry("the names", &Space::CATALOG.key(FORMAT_KEY), "this is no format")
            }
        }
    }

    /// What can be said of the names once all of them are known.
    pub(super) fn check_catalog(&mut self) {
        if !self.has_format && self.entries > 0 {
            let place = Place::Name("the names".to_owned());
            self.found.note(place, "the format is not there", format!("it becomes {FORMAT}"));
            let value = codec::encode(&FORMAT, 0).expect("a number always encodes");
            self.found.put(Space::CATALOG.key(FORMAT_KEY), value);
        }
        // What hangs on a table goes by its name: under another one it hangs on nothing.
        let kind = |space: &Space| {
            let named = self.kinds.get(space).filter(|_| !self.nameless.contains(space));
            named.map(|named| &named.kind)
        };
        let is_table = |space: &Space| matches!(kind(space), Some(Kind::Table(_)));
        let is_log = |space: &Space| matches!(kind(space), Some(Kind::Log(_)));
        let hangs_on_nothing = |named: &Named| match &named.kind {
            Kind::Index { table, .. } | Kind::Count { table } => !is_table(table),
            Kind::Capture { table, log } => !is_table(table) || !is_log(log),
            Kind::Keyspace | Kind::Table(_) | Kind::Log(_) => false,
        };
        let all = self.kinds.iter().filter(|(_, named)| hangs_on_nothing(named));
        let spaces: Vec<Space> = all.map(|(space, _)| *space).collect();
        for space in spaces {
            let Some(name) = self.names.get(&space).cloned() else { continue };
            let place = Place::Name(words::label(&name));
            let what = "the table or log that it belongs to is not there";
            self.found.note(place, what, "it is dropped with its entries");
            self.found.delete(&Space::CATALOG.key(name.as_bytes()));
            self.found.clear(space);
            if let Some(Named { kind: Kind::Count { table }, .. }) = self.kinds.remove(&space) {
                self.found.delete(&table.count_key());
            }
        }
    }
}
