//! Opening a store whose process was killed with a full journal.

use std::path::Path;
use std::time::Duration;

use super::load::load;
use super::{Bench, millis};
use crate::Result;
use crate::db::Sheet;
use crate::db::child::{CRASH, Child};
use crate::db::engine::Memory;
use crate::db::work::Work;
use crate::metric::Metric;

/// Rows in one durable batch while many are loaded; loading is not measured here.
const BATCH: u64 = 10_000;

/// A store of many more rows.
pub(super) fn reopen_big(bench: &Bench, sheet: &mut Sheet) -> Result<()> {
    let dir = bench.folder()?;
    let mut store = sheet.engine.open(dir.path(), Memory::Equal)?;
    load(store.as_mut(), bench.sizes.big_rows, BATCH)?;
    store.close()?;
    reopen(bench, sheet, dir.path(), Work::ReopenBig, bench.sizes.big_rows)
}

/// Kills process after process that writes to the store with this many rows, and keeps the worst
/// time that the next one took until it answered. Each looks for all that was acknowledged to
/// the one before.
pub(super) fn reopen(
    bench: &Bench,
    sheet: &mut Sheet,
    dir: &Path,
    work: Work,
    rows: u64,
) -> Result<()> {
    let mut child = Child::start(CRASH, sheet.engine, dir, &[rows, rows, rows])?;
    // Opened as it was closed: no news.
    child.number("opened")?;
    let (mut first, mut worst) = (rows, 0);
    for _ in 0..bench.sizes.kills {
        let next = child.number("filled")?;
        child.kill()?;
        child = Child::start(CRASH, sheet.engine, dir, &[rows, first, next])?;
        worst = worst.max(child.number("opened")?);
        first = next;
    }
    child.kill()?;
    sheet.record(work, Metric::OpenMs, millis(Duration::from_micros(worst)));
    Ok(())
}
