//! The newest row of each key, in buckets as they are stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;

use super::Partner;
use crate::error::OperatorError;
use crate::operator::interval_join::SidePlan;
use crate::operator::packed::Packed;
use crate::operator::places::Places;
use crate::operator::state::damaged;

/// Keys whose rows are stored together: where one has changed, so many are written.
const BUCKET: u32 = 64;

/// More than the limit of state has bytes for.
const MAX_BUCKETS: u32 = 1 << 20;

#[derive(Debug)]
pub(super) struct Newest {
    schema: SchemaRef,
    keys: Packed,
    rows: Packed,
    places: Places<Entry>,
    /// Keys by the time of their row, where rows are let go of by it.
    by_time: Option<BTreeSet<(i64, u32)>>,
    /// Places of keys with a fresh row.
    seen: Vec<u32>,
    /// Buckets that have changed since they were stored.
    changed: BTreeSet<u32>,
    /// Bytes of each bucket in the stored state.
    stored: BTreeMap<u32, usize>,
}

#[derive(Debug)]
struct Entry {
    time: i64,
    /// The row as `rows` packs it, but for a fresh one.
    row: Box<[u8]>,
    /// A row of those that the watermark has just passed.
    fresh: Option<u32>,
}

/// The keys of some rows.
#[derive(Debug)]
pub(super) struct Keyed {
    columns: Vec<ArrayRef>,
    packed: Vec<Box<[u8]>>,
}

impl Keyed {
    /// A key with a null in it equals none.
    pub(super) fn key(&self, row: usize) -> Option<&[u8]> {
        let is_null = self.columns.iter().any(|column| column.is_null(row));
        (!is_null).then(|| &*self.packed[row])
    }
}

impl Newest {
    pub(super) fn new(of: &SidePlan, are_let_go: bool) -> Result<Newest, DataFusionError> {
        let keys = of.keys.iter().map(|key| key.data_type(&of.schema));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let rows = of.schema.fields().iter().map(|field| field.data_type());
        Ok(Newest {
            schema: SchemaRef::clone(&of.schema),
            keys: Packed::new(&keys)?,
            rows: Packed::new(rows)?,
            places: Places::default(),
            by_time: are_let_go.then(BTreeSet::new),
            seen: Vec::new(),
            changed: BTreeSet::new(),
            stored: BTreeMap::new(),
        })
    }

    /// Keys that have a row.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn stored_bytes(&self) -> usize {
        self.stored.values().sum()
    }

    pub(super) fn keyed(
        &self,
        keys: &[Arc<dyn PhysicalExpr>],
        rows: &RecordBatch,
    ) -> Result<Keyed, OperatorError> {
        let columns = keys.iter().map(|key| key.evaluate(rows)?.into_array(rows.num_rows()));
        let columns = columns.collect::<Result<Vec<_>, DataFusionError>>()?;
        let packed = self.keys.pack(&columns, rows.num_rows())?;
        Ok(Keyed { columns, packed })
    }

    /// Takes a fresh row as the newest of its key.
    pub(super) fn see(&mut self, keys: &Keyed, row: u32, time: i64) {
        let Some(key) = keys.key(row as usize) else { return };
        let new = || Entry { time: i64::MIN, row: Box::default(), fresh: None };
        let place = self.places.place_of(key, new);
        let Some(entry) = self.places.get_mut(place) else { return };
        if entry.fresh.replace(row).is_none() {
            self.seen.push(place);
            if let Some(by_time) = &mut self.by_time {
                by_time.remove(&(entry.time, place));
            }
        }
        entry.time = time;
    }

    /// The newest row of a key that is not older than that.
    pub(super) fn find(&self, key: &[u8], oldest: i64) -> Option<Partner> {
        let place = self.places.find(key)?;
        let entry = self.places.get(place)?;
        let found = entry.fresh.map_or(Partner::Kept(place), Partner::Fresh);
        (entry.time >= oldest).then_some(found)
    }

    /// The rows that are kept for the keys of these places, as columns.
    pub(super) fn rows(
        &self,
        places: impl Iterator<Item = u32>,
    ) -> Result<Vec<ArrayRef>, OperatorError> {
        let entries = places.filter_map(|place| self.places.get(place));
        let columns = self.rows.unpack(entries.map(|entry| &*entry.row))?;
        let declared = columns.iter().zip(self.schema.fields());
        Ok(declared
            .map(|(column, field)| cast(column, field.data_type()))
            .collect::<Result<_, _>>()?)
    }

    /// Keeps what is fresh of these rows.
    pub(super) fn settle(&mut self, fresh: &RecordBatch) -> Result<(), OperatorError> {
        if self.seen.is_empty() {
            return Ok(());
        }
        let seen = std::mem::take(&mut self.seen);
        let of = seen.iter().map(|place| self.places.get(*place)?.fresh);
        let rows = take_record_batch(fresh, &of.collect::<UInt32Array>())?;
        let rows = self.rows.pack(rows.columns(), rows.num_rows())?;
        for (row, place) in rows.into_iter().zip(seen) {
            let Some(entry) = self.places.get_mut(place) else { continue };
            (entry.fresh, entry.row) = (None, row);
            self.changed.insert(place / BUCKET);
            if let Some(by_time) = &mut self.by_time {
                by_time.insert((entry.time, place));
            }
        }
        Ok(())
    }

    /// Lets go of keys whose row lies in front of a time.
    pub(super) fn forget(&mut self, before: i64) {
        let Some(by_time) = &mut self.by_time else { return };
        while by_time.first().is_some_and(|(time, _)| *time < before)
            && let Some((_, place)) = by_time.pop_first()
        {
            self.places.remove(place);
            self.changed.insert(place / BUCKET);
        }
    }

    /// Calls `put` with the rows of each bucket that has changed, and without for one that has none
    /// any more. `put` returns bytes.
    pub(super) fn store(
        &mut self,
        mut put: impl FnMut(Option<&RecordBatch>, u64) -> Result<usize, OperatorError>,
    ) -> Result<(), OperatorError> {
        for bucket in std::mem::take(&mut self.changed) {
            let places = bucket * BUCKET..(bucket + 1) * BUCKET;
            let places = places.filter(|place| self.places.get(*place).is_some());
            let places: Vec<_> = places.collect();
            if !places.is_empty() {
                let columns = self.rows(places.into_iter())?;
                let rows = RecordBatch::try_new(SchemaRef::clone(&self.schema), columns)?;
                self.stored.insert(bucket, put(Some(&rows), bucket.into())?);
            } else if self.stored.remove(&bucket).is_some() {
                put(None, bucket.into())?;
            }
        }
        Ok(())
    }

    /// Takes over a bucket.
    pub(super) fn restore(
        &mut self,
        bucket: u64,
        (rows, times): (&RecordBatch, &[i64]),
        keys: &Keyed,
        bytes: usize,
    ) -> Result<(), OperatorError> {
        let bucket = u32::try_from(bucket).ok().filter(|bucket| *bucket < MAX_BUCKETS);
        let bucket = bucket.filter(|_| times.len() <= BUCKET as usize);
        let bucket = bucket.ok_or_else(|| damaged("a bucket of it has too many rows"))?;
        let first = bucket * BUCKET;
        let rows = self.rows.pack(rows.columns(), rows.num_rows())?;
        for ((row, time), place) in rows.into_iter().zip(times).zip(first..) {
            let key = keys.key((place - first) as usize);
            let key = key.ok_or_else(|| damaged("a key has a null in it"))?;
            let entry = Entry { time: *time, row, fresh: None };
            self.places.insert(place, key.into(), entry);
            if let Some(by_time) = &mut self.by_time {
                by_time.insert((*time, place));
            }
        }
        self.stored.insert(bucket, bytes);
        Ok(())
    }
}
