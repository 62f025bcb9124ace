//! Records at the end of a log, in batches, and all of them read again.

use std::time::{Duration, Instant};

use super::{Bench, per_second};
use crate::Result;
use crate::db::Sheet;
use crate::db::engine::{Engine, Memory, Scanned, Store};
use crate::db::rows::Row;
use crate::db::work::Work;
use crate::metric::Metric;

/// Records in one durable batch.
const BATCH: u64 = 100;

pub(super) fn log(bench: &Bench, sheet: &mut Sheet) -> Result<()> {
    let dir = bench.folder()?;
    let mut store = sheet.engine.open(dir.path(), Memory::Equal)?;
    let end = Instant::now() + bench.time();
    let (count, time) = append(store.as_mut(), |_| Instant::now() < end)?;
    sheet.record(Work::LogAppend, Metric::PerSecond, per_second(count, time));
    store.close()?;
    if sheet.engine == Engine::Disk || !bench.wants(Work::LogRead) {
        return Ok(());
    }
    let mut store = sheet.engine.open(dir.path(), Memory::Equal)?;
    read(bench, sheet, store.as_mut(), count)?;
    store.close()?;
    Ok(())
}

/// Appends batches as long as it gets `true` for the number of records so far. How many there
/// are, and how long the calls took.
pub(super) fn append(store: &mut dyn Store, more: impl Fn(u64) -> bool) -> Result<(u64, Duration)> {
    let (mut count, mut time) = (0, Duration::ZERO);
    while more(count) {
        let rows: Vec<Row> = (count..count + BATCH).map(Row::in_order).collect();
        let start = Instant::now();
        store.append(&rows)?;
        time += start.elapsed();
        count += BATCH;
    }
    Ok((count, time))
}

fn read(bench: &Bench, sheet: &mut Sheet, store: &mut dyn Store, count: u64) -> Result<()> {
    let all = Scanned::of(0..count);
    let (mut seen, mut time) = (0, Duration::ZERO);
    while time < bench.time() {
        let start = Instant::now();
        let scanned = store.read_appended()?;
        time += start.elapsed();
        if scanned != all {
            return Err(format!("reading saw {scanned:?} instead of {all:?}").into());
        }
        seen += scanned.rows;
    }
    sheet.record(Work::LogRead, Metric::PerSecond, per_second(seen, time));
    Ok(())
}
