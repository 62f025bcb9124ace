//! The newest row of each key, in buckets as they are stored.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;

use super::Partner;
use crate::error::OperatorError;
use crate::operator::interval_join::SidePlan;
use crate::operator::state::damaged;

/// Keys whose rows are stored together: where one has changed, so many are written.
const BUCKET: u32 = 64;

/// More than the limit of state has bytes for.
const MAX_BUCKETS: u32 = 1 << 20;

#[derive(Debug)]
pub(super) struct Newest {
    schema: SchemaRef,
    /// `None` where all rows are of one key.
    keys: Option<RowConverter>,
    rows: RowConverter,
    places: HashMap<Box<[u8]>, u32>,
    entries: Vec<Option<Entry>>,
    /// Places without a key.
    free: BTreeSet<u32>,
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
    key: Box<[u8]>,
    time: i64,
    /// The row in the format of `rows`, but for a fresh one.
    row: Box<[u8]>,
    /// A row of those that the watermark has just passed.
    fresh: Option<u32>,
}

/// The keys of some rows.
#[derive(Debug)]
pub(super) struct Keyed {
    columns: Vec<ArrayRef>,
    bytes: Option<Rows>,
}

impl Keyed {
    /// A key with a null in it equals none.
    pub(super) fn key(&self, row: usize) -> Option<&[u8]> {
        match &self.bytes {
            None => Some(&[]),
            Some(_) if self.columns.iter().any(|column| column.is_null(row)) => None,
            Some(bytes) => Some(bytes.row(row).data()),
        }
    }
}

impl Newest {
    pub(super) fn new(of: &SidePlan, are_let_go: bool) -> Result<Newest, DataFusionError> {
        let keys = of.keys.iter().map(|key| Ok(SortField::new(key.data_type(&of.schema)?)));
        let keys = keys.collect::<Result<Vec<_>, DataFusionError>>()?;
        let keys = if keys.is_empty() { None } else { Some(RowConverter::new(keys)?) };
        let fields = of.schema.fields().iter().map(|field| field.data_type().clone());
        Ok(Newest {
            schema: SchemaRef::clone(&of.schema),
            keys,
            rows: RowConverter::new(fields.map(SortField::new).collect())?,
            places: HashMap::new(),
            entries: Vec::new(),
            free: BTreeSet::new(),
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
        let bytes = self.keys.as_ref().map(|keys| keys.convert_columns(&columns)).transpose()?;
        Ok(Keyed { columns, bytes })
    }

    /// Takes a fresh row as the newest of its key.
    pub(super) fn see(&mut self, keys: &Keyed, row: u32, time: i64) {
        let Some(key) = keys.key(row as usize) else { return };
        let place = match self.places.get(key) {
            Some(place) => *place,
            None => self.insert(key),
        };
        let entry = self.entries[place as usize].as_mut().expect("a place of a key has an entry");
        if entry.fresh.replace(row).is_none() {
            self.seen.push(place);
            if let Some(by_time) = &mut self.by_time {
                by_time.remove(&(entry.time, place));
            }
        }
        entry.time = time;
    }

    fn insert(&mut self, key: &[u8]) -> u32 {
        let entry = Entry { key: key.into(), time: i64::MIN, row: Box::default(), fresh: None };
        let place = self.free.pop_first().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).expect("the limit of state is far below")
        });
        self.entries[place as usize] = Some(entry);
        self.places.insert(key.into(), place);
        place
    }

    /// The newest row of a key that is not older than that.
    pub(super) fn find(&self, key: &[u8], oldest: i64) -> Option<Partner> {
        let place = *self.places.get(key)?;
        let entry = self.entries[place as usize].as_ref()?;
        let found = entry.fresh.map_or(Partner::Kept(place), Partner::Fresh);
        (entry.time >= oldest).then_some(found)
    }

    /// The rows that are kept for the keys of these places, as columns.
    pub(super) fn rows(
        &self,
        places: impl Iterator<Item = u32>,
    ) -> Result<Vec<ArrayRef>, OperatorError> {
        let (parser, entries) = (self.rows.parser(), &self.entries);
        let entries = places.filter_map(|place| entries[place as usize].as_ref());
        let columns = self.rows.convert_rows(entries.map(|entry| parser.parse(&entry.row)))?;
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
        let entries = &self.entries;
        let of = seen.iter().map(|place| entries[*place as usize].as_ref()?.fresh);
        let rows = take_record_batch(fresh, &of.collect::<UInt32Array>())?;
        let rows = self.rows.convert_columns(rows.columns())?;
        for (row, place) in rows.iter().zip(seen) {
            let Some(entry) = &mut self.entries[place as usize] else { continue };
            (entry.fresh, entry.row) = (None, row.data().into());
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
            && let Some(entry) = self.entries[place as usize].take()
        {
            self.places.remove(&entry.key);
            self.free.insert(place);
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
            let is_there = |place: &u32| matches!(self.entries.get(*place as usize), Some(Some(_)));
            let places: Vec<_> = places.filter(is_there).collect();
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
        let known = u32::try_from(self.entries.len()).expect("the limit of state is far below");
        self.free.extend(known..first + BUCKET);
        let len = self.entries.len().max((first + BUCKET) as usize);
        self.entries.resize_with(len, || None);
        let rows = self.rows.convert_columns(rows.columns())?;
        for ((row, time), place) in rows.iter().zip(times).zip(first..) {
            let key = keys.key((place - first) as usize);
            let key = key.ok_or_else(|| damaged("a key has a null in it"))?;
            let (key, row) = (Box::<[u8]>::from(key), row.data().into());
            self.places.insert(key.clone(), place);
            self.entries[place as usize] = Some(Entry { key, time: *time, row, fresh: None });
            self.free.remove(&place);
            if let Some(by_time) = &mut self.by_time {
                by_time.insert((*time, place));
            }
        }
        self.stored.insert(bucket, bytes);
        Ok(())
    }
}
