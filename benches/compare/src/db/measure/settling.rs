//! Lone puts while so much else is written that settling goes on all the time.

use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use super::put::{Puts, check_values};
use super::{Bench, millis, per_second};
use crate::Result;
use crate::db::Sheet;
use crate::db::engine::Store;
use crate::db::rows::rows;
use crate::db::work::Work;
use crate::metric::Metric;

/// Threads that put lone rows and are measured.
const THREADS: Range<u64> = 1..5;
/// Rows of the other writer: in one batch, and how often. 40,000 rows per second, less than redb
/// can take for long: whoever waits then does not wait for want of room.
const BATCH: u64 = 400;
const EVERY: Duration = Duration::from_millis(10);
/// The numbers of its rows, which nobody else uses.
const FIRST: u64 = 1 << 60;
/// Longer than other works: settling is to happen some times.
const TIMES: u32 = 3;

pub(super) fn settling(bench: &Bench, sheet: &mut Sheet, store: &mut dyn Store) -> Result<()> {
    let end = Instant::now() + bench.time() * TIMES;
    let mut handle = store.handle()?;
    let other = thread::spawn(move || write(handle.as_mut(), end));
    let puts = Puts::run(store, THREADS, move |_| Instant::now() < end)?;
    let others = other.join().map_err(|_| "the other writer panicked")??;
    let work = Work::Settling;
    sheet.record(work, Metric::PerSecond, per_second(puts.count(), puts.time));
    sheet.record(work, Metric::P9999Ms, millis(puts.latency(0.9999)));
    sheet.record(work, Metric::MaxMs, millis(puts.latency(1.0)));
    let counters = store.counters();
    if let Some(settlings) = counters.settlings {
        sheet.record(work, Metric::Settlings, settlings as f64);
    }
    if let Some(waits) = counters.settling_waits {
        sheet.record(work, Metric::SettlingWaits, waits as f64);
    }
    puts.check(store)?;
    check_values(store, FIRST..FIRST + others)
}

/// Puts a batch at each tick; those that it is late for are left out. How many rows.
fn write(store: &mut dyn Store, end: Instant) -> Result<u64> {
    let mut count = 0;
    let mut next = Instant::now();
    while next < end {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        store.put(&rows(FIRST + count..FIRST + count + BATCH))?;
        count += BATCH;
        next = Instant::now().max(next + EVERY);
    }
    Ok(count)
}
