//! Gets of random keys and scans of all rows: straight after loading, and once all is settled.

use std::thread;
use std::time::{Duration, Instant};

use super::{Bench, per_second};
use crate::Result;
use crate::db::Sheet;
use crate::db::engine::{Scanned, Store};
use crate::db::rows::{Row, SplitMix, VALUE_BYTES};
use crate::db::work::Work;
use crate::metric::Metric;

/// The reads of a settled store.
pub(super) const SETTLED: [Work; 3] = [Work::Scan, Work::Get1, Work::Get4];

/// Reads what still lies partly in journals and memory tables.
pub(super) fn unsettled(bench: &Bench, sheet: &mut Sheet, store: &mut dyn Store) -> Result<()> {
    let works = [Work::UnsettledScan, Work::UnsettledGet1, Work::UnsettledGet4];
    read(bench, sheet, store, works)
}

/// Reads a store that was closed and opened again.
pub(super) fn settled(bench: &Bench, sheet: &mut Sheet, store: &mut dyn Store) -> Result<()> {
    read(bench, sheet, store, SETTLED)
}

fn read(bench: &Bench, sheet: &mut Sheet, store: &mut dyn Store, works: [Work; 3]) -> Result<()> {
    let (rows, time) = (bench.sizes.rows, bench.time());
    let [scans, lone, four] = works;
    if bench.wants(scans) {
        sheet.record(scans, Metric::PerSecond, scan(store, rows, time)?);
    }
    for (work, threads) in [(lone, 1), (four, 4)] {
        if bench.wants(work) {
            sheet.record(work, Metric::PerSecond, get_threads(store, threads, rows, time)?);
        }
    }
    Ok(())
}

/// Rows per second of whole scans.
fn scan(store: &mut dyn Store, rows: u64, time: Duration) -> Result<f64> {
    let all = Scanned::of(0..rows);
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < time {
        let seen = store.scan()?;
        if seen != all {
            return Err(format!("a scan saw {seen:?} instead of {all:?}").into());
        }
        count += seen.rows;
    }
    Ok(per_second(count, start.elapsed()))
}

/// Gets per second of all threads together.
fn get_threads(store: &dyn Store, threads: u64, rows: u64, time: Duration) -> Result<f64> {
    let handles: Vec<Box<dyn Store>> =
        (0..threads).map(|_| store.handle()).collect::<Result<_>>()?;
    let start = Instant::now();
    let readers: Vec<_> = (1..)
        .zip(handles)
        .map(|(seed, mut handle)| thread::spawn(move || get(handle.as_mut(), seed, rows, time)))
        .collect();
    let mut count = 0;
    for reader in readers {
        count += reader.join().map_err(|_| "a reader panicked")??;
    }
    Ok(per_second(count, start.elapsed()))
}

/// Gets of random rows; how many.
fn get(store: &mut dyn Store, seed: u64, rows: u64, time: Duration) -> Result<u64> {
    // Looks at the clock once for each of these: its cost would show otherwise.
    const AT_ONCE: u64 = 1_000;
    let mut random = SplitMix(u64::MAX / 2 + seed);
    let mut value = Vec::with_capacity(VALUE_BYTES);
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < time {
        for _ in 0..AT_ONCE {
            let number = random.next() % rows;
            if !store.get(&Row::key(number), &mut value)? || !Row::is_value(number, &value) {
                return Err(format!("row {number} is not there with its value").into());
            }
        }
        count += AT_ONCE;
    }
    Ok(count)
}
