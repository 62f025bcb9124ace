//! Durable puts of lone rows.

use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{Bench, millis, per_second};
use crate::Result;
use crate::db::Sheet;
use crate::db::engine::{Engine, Memory, Store};
use crate::db::rows::Row;
use crate::db::work::Work;
use crate::metric::Metric;
use crate::rounds::percentile;

/// Puts that one thread starts before it waits for the first of them.
const IN_FLIGHT: usize = 1_000;
/// Each thread takes row numbers of its own: more than one can put in the longest run.
const ROWS_PER_THREAD: u64 = 1 << 40;

pub(super) fn put_1(bench: &Bench, sheet: &mut Sheet) -> Result<()> {
    put(bench, sheet, Work::Put1, 1)
}

pub(super) fn put_16(bench: &Bench, sheet: &mut Sheet) -> Result<()> {
    put(bench, sheet, Work::Put16, 16)
}

fn put(bench: &Bench, sheet: &mut Sheet, work: Work, threads: u64) -> Result<()> {
    let dir = bench.folder()?;
    let mut store = sheet.engine.open(dir.path(), Memory::Equal)?;
    let end = Instant::now() + bench.time();
    let puts = Puts::run(store.as_ref(), 0..threads, move |_| Instant::now() < end)?;
    sheet.record(work, Metric::PerSecond, per_second(puts.count(), puts.time));
    sheet.record(work, Metric::P99Ms, millis(puts.latency(0.99)));
    sheet.record(work, Metric::MaxMs, millis(puts.latency(1.0)));
    check_rows(store.as_mut(), puts.count())?;
    store.close()?;
    Ok(())
}

pub(super) fn put_async(bench: &Bench, sheet: &mut Sheet) -> Result<()> {
    let dir = bench.folder()?;
    let mut store = sheet.engine.open(dir.path(), Memory::Equal)?;
    let start = Instant::now();
    let count = store.put_async(IN_FLIGHT, start + bench.time())?;
    let count = count.ok_or("it has no such call")?;
    sheet.record(Work::Async, Metric::PerSecond, per_second(count, start.elapsed()));
    check_rows(store.as_mut(), count)?;
    store.close()?;
    Ok(())
}

/// How long puts of lone rows take one thread with an empty store, shortest first.
pub(in crate::db) fn lone_puts(engine: Engine, dir: &Path, end: Instant) -> Result<Vec<Duration>> {
    let store = engine.open(dir, Memory::Equal)?;
    let puts = Puts::run(store.as_ref(), 0..1, move |_| Instant::now() < end)?;
    store.close()?;
    Ok(puts.latencies)
}

/// Whether a store that was empty holds each row that was acknowledged.
pub(super) fn check_rows(store: &mut dyn Store, acknowledged: u64) -> Result<()> {
    match store.scan()?.rows {
        rows if rows == acknowledged => Ok(()),
        rows => Err(format!("{acknowledged} puts were acknowledged, {rows} rows are there").into()),
    }
}

/// What some threads have put.
#[derive(Debug)]
pub(super) struct Puts {
    /// Rows of each thread.
    threads: Vec<(u64, u64)>,
    /// Of all threads, shortest first.
    latencies: Vec<Duration>,
    pub(super) time: Duration,
}

impl Puts {
    /// Each of these threads puts lone rows as long as it gets `true` for the number it has put.
    pub(super) fn run(
        store: &dyn Store,
        threads: Range<u64>,
        more: impl Fn(u64) -> bool + Copy + Send + 'static,
    ) -> Result<Puts> {
        let handles: Vec<(u64, Box<dyn Store>)> =
            threads.map(|thread| Ok((thread, store.handle()?))).collect::<Result<_>>()?;
        let start = Instant::now();
        let writers: Vec<_> = handles
            .into_iter()
            .map(|(thread, mut handle)| {
                (thread, thread::spawn(move || put_while(handle.as_mut(), thread, more)))
            })
            .collect();
        let mut puts = Puts { threads: Vec::new(), latencies: Vec::new(), time: Duration::ZERO };
        for (thread, writer) in writers {
            let latencies = writer.join().map_err(|_| "a writer panicked")??;
            puts.threads.push((thread, latencies.len() as u64));
            puts.latencies.extend(latencies);
        }
        puts.time = start.elapsed();
        puts.latencies.sort_unstable();
        Ok(puts)
    }

    pub(super) fn count(&self) -> u64 {
        self.latencies.len() as u64
    }

    /// What so much of the puts, from 0 to 1, did not exceed.
    pub(super) fn latency(&self, share: f64) -> Duration {
        percentile(&self.latencies, share)
    }

    /// Whether each row is there with its value.
    pub(super) fn check(&self, store: &mut dyn Store) -> Result<()> {
        for (thread, count) in &self.threads {
            let first = thread * ROWS_PER_THREAD;
            check_values(store, first..first + count)?;
        }
        Ok(())
    }
}

/// Whether rows of all these numbers are there with their values.
pub(in crate::db) fn check_values(store: &mut dyn Store, numbers: Range<u64>) -> Result<()> {
    let mut value = Vec::new();
    for number in numbers {
        let row = Row::new(number);
        if !store.get(&row.key, &mut value)? {
            return Err(format!("row {number} was acknowledged and is not there").into());
        }
        if value != row.value {
            return Err(format!("row {number} has another value").into());
        }
    }
    Ok(())
}

fn put_while(
    store: &mut dyn Store,
    thread: u64,
    more: impl Fn(u64) -> bool,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    let first = thread * ROWS_PER_THREAD;
    let mut count = 0;
    while more(count) {
        let row = Row::new(first + count);
        let start = Instant::now();
        store.put(&[row])?;
        latencies.push(start.elapsed());
        count += 1;
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_and_foreign_rows_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Engine::EdgeDb.open(dir.path(), Memory::Equal).unwrap();
        let puts = Puts::run(store.as_ref(), 0..2, |count| count < 10).unwrap();
        assert_eq!(puts.count(), 20);
        puts.check(store.as_mut()).unwrap();
        check_rows(store.as_mut(), 20).unwrap();
        assert!(check_rows(store.as_mut(), 21).is_err());
        assert!(check_values(store.as_mut(), 9..11).is_err());
        store.put(&[Row { key: Row::key(3), value: Row::value(4) }]).unwrap();
        assert!(puts.check(store.as_mut()).is_err());
    }
}
