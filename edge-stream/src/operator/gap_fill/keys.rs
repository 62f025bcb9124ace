//! The keys whose gaps are filled: their last windows with rows, and what is known of these.
//!
//! They are stored in buckets by the hash of the key, so that a snapshot writes those that have
//! changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::error::DataFusionError;

use super::{Filling, GapColumn, Gaps};
use crate::error::OperatorError;
use crate::operator::buckets::buckets_of;
use crate::operator::packed::Packed;
use crate::operator::state::{columns_as, expect};
use crate::operator::{StateReader, StateWriter};

#[derive(Debug)]
pub(super) struct Keys {
    size_micros: i64,
    /// So many windows of a key are filled in a row.
    windows: i64,
    /// In order, so that the order of what comes out is always the same.
    keys: BTreeMap<Box<[u8]>, Key>,
    names: Packed,
    carried: Packed,
    points: usize,
    /// The types of what is stored: the last window, the key, what is carried, the points.
    types: Vec<DataType>,
    changed: BTreeSet<i64>,
    /// Bytes of each bucket in the stored state.
    stored: BTreeMap<i64, usize>,
}

/// A key's last window with rows.
#[derive(Debug)]
pub(super) struct Key {
    /// Its start.
    window: i64,
    /// Values that windows behind it get.
    carried: Box<[u8]>,
    /// Values from which a line leads to the next window with rows.
    points: Box<[Option<f64>]>,
    bucket: i64,
}

/// A key under its name.
pub(super) type Named = (Box<[u8]>, Key);

/// A window without rows.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) window: i64,
    name: Box<[u8]>,
    carried: Box<[u8]>,
    pub(super) points: Box<[Option<f64>]>,
}

impl Keys {
    pub(super) fn new(of: &Gaps) -> Result<Keys, DataFusionError> {
        let fields = of.input.fields().iter().zip(&of.columns);
        let names = fields.filter(|(_, column)| **column == GapColumn::Key);
        let names: Vec<_> = names.map(|(field, _)| field.data_type().clone()).collect();
        let fills = of.output.fields().iter().skip(of.columns.len()).zip(&of.fills);
        let carried = fills.filter(|(_, fill)| fill.how == Filling::Last);
        let carried: Vec<_> = carried.map(|(field, _)| field.data_type().clone()).collect();
        let points = of.fills.len() - carried.len();
        let (packed_names, packed) = (Packed::new(&names)?, Packed::new(&carried)?);
        let types = [DataType::Int64].into_iter().chain(names).chain(carried);
        Ok(Keys {
            size_micros: of.size_micros,
            windows: of.windows,
            keys: BTreeMap::new(),
            names: packed_names,
            carried: packed,
            points,
            types: types.chain(vec![DataType::Float64; points]).collect(),
            changed: BTreeSet::new(),
            stored: BTreeMap::new(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// What rows say of their keys: of each the start of its window, its key, the values to be
    /// carried, and the points of lines.
    pub(super) fn read(
        &self,
        windows: &[i64],
        names: &[ArrayRef],
        carried: &[ArrayRef],
        points: &[ArrayRef],
    ) -> Result<Vec<Named>, DataFusionError> {
        let buckets = buckets_of(names, windows.len())?;
        let names = self.names.pack(names, windows.len())?;
        let carried = self.carried.pack(carried, windows.len())?;
        let points: Vec<_> =
            points.iter().map(|column| column.as_primitive::<Float64Type>()).collect();
        let rows = names.into_iter().zip(carried).zip(windows.iter().zip(buckets)).enumerate();
        let keys = rows.map(|(row, ((name, carried), (window, bucket)))| {
            let of = |points: &&Float64Array| points.is_valid(row).then(|| points.value(row));
            let points = points.iter().map(of).collect();
            (name, Key { window: *window, carried, points, bucket })
        });
        Ok(keys.collect())
    }

    /// The columns of the keys of these rows.
    pub(super) fn names(&self, rows: &[Filled]) -> Result<Vec<ArrayRef>, DataFusionError> {
        self.names.unpack(rows.iter().map(|row| &*row.name))
    }

    /// The columns of the carried values of these rows.
    pub(super) fn carried(&self, rows: &[Filled]) -> Result<Vec<ArrayRef>, DataFusionError> {
        self.carried.unpack(rows.iter().map(|row| &*row.carried))
    }

    /// A window is closed: fills it for the keys that have no rows in it, and lets go of those that
    /// were silent for too long. Where values lie on lines, a gap is filled when it ends.
    pub(super) fn fill(&mut self, window: i64, filled: &mut Vec<Filled>) {
        let (size, windows, waits) = (self.size_micros, self.windows, self.points > 0);
        let changed = &mut self.changed;
        self.keys.retain(|name, key| {
            let silent = (window - key.window) / size;
            let is_over = silent > windows || (silent == windows && !waits);
            if is_over {
                changed.insert(key.bucket);
            }
            let gap = match (waits, is_over) {
                (false, _) => silent.max(1)..silent + 1,
                (true, true) => 1..windows + 1,
                (true, false) => 0..0,
            };
            filled.extend(gap.map(|step| key.filled(name, step * size, |_| None)));
            !is_over
        });
    }

    /// A key has rows in a window, all in front of which are filled.
    pub(super) fn report(&mut self, name: Box<[u8]>, key: Key, filled: &mut Vec<Filled>) {
        self.changed.insert(key.bucket);
        if let Some(before) = self.keys.get(&name).filter(|_| self.points > 0) {
            filled.extend(before.line_to(&name, &key, self.size_micros));
        }
        self.keys.insert(name, key);
    }

    pub(super) fn check_rows(&self, limit_rows: usize) -> Result<(), OperatorError> {
        let (keys, windows) = (self.keys.len(), self.windows.unsigned_abs());
        if (keys as u64).saturating_mul(windows) <= limit_rows as u64 {
            return Ok(());
        }
        Err(OperatorError::GapsFull { keys, windows, limit_rows })
    }

    pub(super) fn stored_bytes(&self) -> usize {
        self.stored.values().sum()
    }

    pub(super) fn snapshot(
        &mut self,
        state: &mut StateWriter<'_>,
        limit_bytes: usize,
    ) -> Result<(), OperatorError> {
        let changed = std::mem::take(&mut self.changed);
        let mut buckets: BTreeMap<i64, Vec<(&[u8], &Key)>> =
            changed.into_iter().map(|bucket| (bucket, Vec::new())).collect();
        for (name, key) in &self.keys {
            if let Some(bucket) = buckets.get_mut(&key.bucket) {
                bucket.push((name, key));
            }
        }
        for (number, keys) in buckets {
            if keys.is_empty() {
                self.stored.remove(&number);
                state.remove(number);
            } else {
                let bytes = state.put(number, &columns_as(self.columns(&keys)?)?)?;
                self.stored.insert(number, bytes);
            }
        }
        let (used_bytes, groups) = (self.stored_bytes(), self.keys.len());
        match used_bytes <= limit_bytes {
            true => Ok(()),
            false => Err(OperatorError::StateFull { groups, used_bytes, limit_bytes }),
        }
    }

    fn columns(&self, keys: &[(&[u8], &Key)]) -> Result<Vec<ArrayRef>, DataFusionError> {
        let windows = Int64Array::from_iter_values(keys.iter().map(|(_, key)| key.window));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(windows)];
        columns.extend(self.names.unpack(keys.iter().map(|(name, _)| *name))?);
        columns.extend(self.carried.unpack(keys.iter().map(|(_, key)| &*key.carried))?);
        for place in 0..self.points {
            let points = keys.iter().map(|(_, key)| key.points[place]);
            columns.push(Arc::new(points.collect::<Float64Array>()));
        }
        Ok(columns)
    }

    pub(super) fn restore(&mut self, state: &StateReader<'_>) -> Result<(), OperatorError> {
        let mut has_moved = false;
        for entry in state.entries() {
            let (number, rows, bytes) = entry?;
            expect(&rows, &self.types)?;
            self.stored.insert(number, bytes);
            let windows = rows.column(0).as_primitive::<Int64Type>().values();
            let (names, rest) = rows.columns()[1..].split_at(self.names.columns());
            let (carried, points) = rest.split_at(self.carried.columns());
            for (name, key) in self.read(windows, names, carried, points)? {
                has_moved |= key.bucket != number;
                self.keys.insert(name, key);
            }
        }
        if has_moved {
            let now = self.keys.values().map(|key| key.bucket);
            self.changed.extend(now.chain(self.stored.keys().copied()));
        }
        Ok(())
    }
}

impl Key {
    fn filled(&self, name: &[u8], behind: i64, point: impl Fn(usize) -> Option<f64>) -> Filled {
        let points = (0..self.points.len()).map(point).collect();
        let window = self.window.saturating_add(behind);
        Filled { window, name: name.into(), carried: self.carried.clone(), points }
    }

    /// The windows between two with rows.
    fn line_to<'a>(
        &'a self,
        name: &'a [u8],
        next: &'a Key,
        size: i64,
    ) -> impl Iterator<Item = Filled> + 'a {
        let steps = (next.window - self.window) / size;
        (1..steps).map(move |step| {
            let share = step as f64 / steps as f64;
            let between = |place: usize| {
                let (from, to) = (self.points[place]?, next.points[place]?);
                Some(from + (to - from) * share)
            };
            self.filled(name, step * size, between)
        })
    }
}
