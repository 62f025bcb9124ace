//! Reads past snapshots, while nothing is in flight: each answers what the model says.

use std::collections::BTreeMap;
use std::ops::Bound;

use edge_db::{Key, ReadError};

use crate::handles::{Handles, compare_record};
use crate::model::{CURSORS, Model, Which};
use crate::rng::Rng;
use crate::workload;

pub(crate) fn look(handles: &Handles, model: &Model, rng: &mut Rng) -> Result<(), ReadError> {
    table(handles, model, rng)?;
    what_hangs_on_tables(handles, model)?;
    // What has expired counts until it leaves the file.
    assert!(handles.notes[1].count()? >= model.state.notes.len() as u64, "notes are missing");
    cells(handles, model, rng)?;
    for (cursor, (_, name)) in handles.cursors.iter().zip(CURSORS) {
        assert_eq!(cursor.name(), name);
    }
    for (cursor, expected) in handles.cursors.iter().zip(model.state.cursors) {
        assert_eq!(cursor.position()?.get(), expected, "cursor {}", cursor.name());
    }
    for which in [Which::Kept, Which::Rolling] {
        log(handles, model, which, rng)?;
    }
    Ok(())
}

fn table(handles: &Handles, model: &Model, rng: &mut Rng) -> Result<(), ReadError> {
    let (rows, expected) = (&handles.table, &model.state.table);
    let backwards = rows.iter()?.rev().collect::<Result<Vec<_>, _>>()?;
    let expected_backwards = expected.iter().rev().map(|(key, value)| (*key, value.clone()));
    assert!(backwards.into_iter().eq(expected_backwards), "the table read backwards is another");
    let (from, to) = (workload::table_key(rng), workload::table_key(rng));
    let (from, to) = (from.min(to), from.max(to));
    let range = rows.range(from..to)?.collect::<Result<Vec<_>, _>>()?;
    let expected = expected.range(from..to).map(|(key, value)| (*key, value.clone()));
    assert!(range.into_iter().eq(expected), "rows {from}..{to} are others");
    Ok(())
}

/// Counts, indexes and change log say what the tables say.
pub(crate) fn what_hangs_on_tables(handles: &Handles, model: &Model) -> Result<(), ReadError> {
    let rows = &model.state.table;
    assert_eq!(handles.table.count()?, rows.len() as u64, "count of the table");
    let found = handles.index.range(0..)?.map(|row| row.map(|(key, _)| key));
    let mut expected: Vec<u32> = rows.keys().copied().collect();
    expected.sort_by_key(|key| (rows[key].first(), *key));
    assert_eq!(found.collect::<Result<Vec<_>, _>>()?, expected, "rows in the order of the index");

    let found = handles.by_badge.range(..)?.collect::<Result<Vec<_>, _>>()?;
    let mut expected: Vec<_> =
        model.state.members.iter().map(|(key, badge)| (*key, *badge)).collect();
    expected.sort_by_key(|(_, badge)| *badge);
    assert_eq!(found, expected, "members in the order of their badges");

    // The log may have dropped its oldest; the last change of a row that it has is the row.
    let mut last = BTreeMap::new();
    let mut position = handles.changes.bounds()?.start;
    loop {
        let records = handles.changes.read(position, 100)?;
        if records.is_empty() {
            break;
        }
        position = records.next();
        for record in records {
            let key = u32::decode(&mut record.key().as_ref()).expect("a key of the table");
            let is_put = record.header("change").is_some_and(|change| change == "put");
            last.insert(key, is_put.then(|| record.value().clone()));
        }
    }
    for (key, told) in last {
        let row = rows.get(&key);
        let is_same = match (&told, row) {
            // Behind codec, version and length.
            (Some(told), Some(row)) => told.ends_with(row) && told.len() <= row.len() + 8,
            (told, row) => told.is_none() && row.is_none(),
        };
        assert!(is_same, "the change log tells {told:?} of row {key}, which is {row:?}");
    }
    Ok(())
}

fn cells(handles: &Handles, model: &Model, rng: &mut Rng) -> Result<(), ReadError> {
    let expected = &model.state.cells;
    let key = workload::cell_key(rng);
    let prefix = &key[..1];
    let found = handles.cells.prefix(prefix)?.collect::<Result<Vec<_>, _>>()?;
    let below: Vec<_> = expected.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
    let is_same = found.iter().map(|(key, value)| (&key[..], &value[..]));
    let is_same = is_same.eq(below.iter().map(|(key, value)| (&key[..], &value[..])));
    assert!(is_same, "cells below {prefix:?} are others");
    // From both ends at once, until they meet.
    let behind = (Bound::Excluded(key.clone()), Bound::Unbounded);
    let mut found = handles.cells.range(behind.clone())?;
    let mut expected = expected.range(behind);
    loop {
        let at_front = rng.chance(50);
        let next = if at_front { found.next() } else { found.next_back() }.transpose()?;
        let should = if at_front { expected.next() } else { expected.next_back() };
        let next = next.as_ref().map(|(key, value)| (&key[..], &value[..]));
        assert_eq!(next, should.map(|(key, value)| (&key[..], &value[..])), "behind {key:?}");
        if next.is_none() {
            return Ok(());
        }
    }
}

fn log(handles: &Handles, model: &Model, which: Which, rng: &mut Rng) -> Result<(), ReadError> {
    let (log, expected) = (handles.log(which), &model.logs[which as usize]);
    let state = log.state()?;
    let (first, next) = (state.first.get(), state.next.get());
    assert_eq!(next, model.state.ends[which as usize], "end of log {which:?}");
    assert_eq!(state.bytes, expected.bytes(first, next), "bytes that log {which:?} holds");
    assert_eq!(state.appended_bytes, expected.bytes(0, next), "bytes that log {which:?} had");
    assert!(state.dropped <= first, "log {which:?} dropped more than it had");
    let from = first + rng.below(next - first + 1);
    let most = rng.index(30);
    let records = log.read(edge_db::Seq::new(from), most)?;
    let left = usize::try_from(next - from).expect("small");
    assert_eq!(records.len(), left.min(most), "records of log {which:?} behind {from}");
    records.iter().for_each(|record| compare_record(record, which, expected));
    Ok(())
}
