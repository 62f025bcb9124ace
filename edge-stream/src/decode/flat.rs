//! JSON objects of plain values, read straight into columns: no tape in between, and no text for what
//! becomes a number or a time.
//!
//! It decides nothing. What is out of the ordinary, and all that is wrong, it leaves to the reader that
//! takes every schema ([`Objects`](super::objects::Objects)); what it takes, that one takes, and gives
//! the same columns. A row costs half as much here.

mod column;
mod scan;

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::datatypes::FieldRef;

use super::time::TimeFormat;
use column::{Column, Kind};
use scan::Scan;

/// A bit for each column says whether an object has had it.
const MAX_COLUMNS: usize = 64;

/// The columns, in the order in which objects are expected to have them.
#[derive(Debug, Clone)]
pub(super) struct Flat {
    fields: Vec<FlatField>,
    times: TimeFormat,
}

#[derive(Debug, Clone)]
struct FlatField {
    name: String,
    /// The name as most encoders write it: in quotes, and with the colon.
    head: Vec<u8>,
    kind: Kind,
}

impl Flat {
    /// `None` if a column has a path or type that is not plain.
    pub(super) fn new(
        fields: &[FieldRef],
        paths: &BTreeMap<String, Vec<String>>,
        times: TimeFormat,
    ) -> Option<Flat> {
        if fields.len() > MAX_COLUMNS {
            return None;
        }
        let flat = fields.iter().map(|field| {
            let name = match paths.get(field.name()).map(Vec::as_slice) {
                None => field.name(),
                Some([name]) => name,
                Some(_) => return None,
            };
            // Such a name stands in JSON with an escape.
            if name.contains(|letter: char| matches!(letter, '"' | '\\') || letter < ' ') {
                return None;
            }
            let kind = Kind::of(field.data_type())?;
            let head = format!("\"{name}\":").into_bytes();
            Some(FlatField { name: name.clone(), head, kind })
        });
        Some(Flat { fields: flat.collect::<Option<_>>()?, times })
    }

    /// The columns of payloads of one object each; `None` if one of them is for others to read.
    pub(super) fn read<'a>(
        &self,
        payloads: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Option<Vec<ArrayRef>> {
        let columns = self.fields.iter().map(|field| Column::new(field.kind, payloads.len()));
        let mut columns: Vec<_> = columns.collect();
        for payload in payloads {
            self.object(std::str::from_utf8(payload).ok()?, &mut columns)?;
        }
        Some(columns.into_iter().map(Column::finish).collect())
    }

    fn object(&self, text: &str, columns: &mut [Column]) -> Option<()> {
        let mut scan = Scan::new(text);
        scan.expect(b'{')?;
        let (mut seen, mut next) = (0u64, 0);
        let mut has_more = !scan.takes(b'}');
        while has_more {
            match self.key(&mut scan, next)? {
                None => scan.skip_value()?,
                // The last one of a name counts, and columns cannot take back the first.
                Some(place) if seen & (1 << place) != 0 => return None,
                Some(place) => {
                    columns[place].read(&mut scan, self.times)?;
                    seen |= 1 << place;
                    next = place + 1;
                }
            }
            has_more = scan.takes(b',');
            if !has_more {
                scan.expect(b'}')?;
            }
        }
        for (place, column) in columns.iter_mut().enumerate() {
            if seen & (1 << place) == 0 {
                column.null();
            }
        }
        scan.is_at_end().then_some(())
    }

    /// The place of the column that this key names, if one has it. `next` is a good guess.
    fn key(&self, scan: &mut Scan<'_>, next: usize) -> Option<Option<usize>> {
        if self.fields.get(next).is_some_and(|field| scan.takes_all(&field.head)) {
            return Some(Some(next));
        }
        scan.expect(b'"')?;
        let key = scan.plain_string()?;
        scan.expect(b':')?;
        Some(self.fields.iter().position(|field| field.name == key))
    }
}

#[cfg(test)]
mod tests;
