//! The drop of expired rows beside a writer: only edge-db does it by itself.

use std::thread;
use std::time::{Duration, Instant};

use edge_db::{Db, Table};

use super::{Bench, millis, per_second};
use crate::Result;
use crate::db::Sheet;
use crate::db::rows::Row;
use crate::db::work::Work;
use crate::metric::Metric;

/// Longer than loading takes, so that all of it goes at once.
const AGE: Duration = Duration::from_secs(10);
/// Rows in one durable batch.
const BATCH: u64 = 1_000;

pub(super) fn expire(bench: &Bench, sheet: &mut Sheet) -> Result<()> {
    let dir = bench.folder()?;
    let db = Db::open(dir.path())?;
    let lasting = db.table::<u64, Vec<u8>>("rows")?;
    let expiring = lasting.clone().expire_after(AGE);
    let (loading, count) = (Instant::now(), bench.sizes.rows);
    for first in (0..count).step_by(BATCH.try_into()?) {
        let mut batch = db.batch();
        for number in first..count.min(first + BATCH) {
            batch.insert(&expiring, &number, &Row::new(number).value.to_vec())?;
        }
        batch.commit()?;
    }
    db.checkpoint()?;
    thread::sleep(AGE.saturating_sub(loading.elapsed()) + AGE / 10);

    let start = Instant::now();
    put(&lasting, &db, count)?;
    let (mut longest, mut puts) = (Duration::ZERO, 1);
    thread::scope(|scope| -> Result<()> {
        // Has it look now rather than when so much is written.
        let dropping = scope.spawn(|| db.checkpoint());
        while !dropping.is_finished() || db.stats().expired < count {
            let begun = Instant::now();
            put(&lasting, &db, count + puts)?;
            longest = longest.max(begun.elapsed());
            puts += 1;
        }
        Ok(dropping.join().map_err(|_| "the checkpoint panicked")??)
    })?;
    sheet.record(Work::Expire, Metric::PerSecond, per_second(count, start.elapsed()));
    sheet.record(Work::Expire, Metric::MaxMs, millis(longest));
    match lasting.iter()?.count() as u64 {
        rows if rows == puts => Ok(()),
        rows => Err(format!("{puts} rows were put that do not expire, {rows} are there").into()),
    }
}

fn put(rows: &Table<u64, Vec<u8>>, db: &Db, number: u64) -> Result<()> {
    let mut batch = db.batch();
    batch.insert(rows, &number, &Row::new(number).value.to_vec())?;
    batch.commit()?;
    Ok(())
}
