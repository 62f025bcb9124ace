//! What encryption costs: puts and gets a second, with it and without.
//!
//! ```sh
//! cargo run --release -p edge-db --features encryption --example encryption_cost
//! ```
//!
//! Rows of 100 bytes, in a folder of the current directory. Each number is the best of three runs,
//! taken in turns.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use edge_db::{Db, DbBuilder, EncryptionKey, Keyspace};

const LONE_PUTS: u64 = 2_000;
const ROWS: u64 = 500_000;
const BATCH: u64 = 1_000;
const GETS: u64 = 200_000;
const RUNS: usize = 3;

/// What is measured, in the order of [`measure`].
const WHAT: [&str; 4] = [
    "lone durable puts",
    "puts in batches of 1000, settled",
    "gets of cached pages",
    "gets without a cache",
];

type Rates = [f64; 4];
type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut best = [[0.0; 4]; 2];
    for _ in 0..RUNS {
        for (best, is_encrypted) in best.iter_mut().zip([false, true]) {
            let dir = tempfile::tempdir_in(".")?;
            let rates = measure(dir.path(), is_encrypted)?;
            best.iter_mut().zip(rates).for_each(|(best, rate)| *best = rate.max(*best));
        }
    }
    println!("{:34} {:>12} {:>12}", "a second", "plain", "encrypted");
    for (number, what) in WHAT.iter().enumerate() {
        println!("{what:34} {:>12.0} {:>12.0}", best[0][number], best[1][number]);
    }
    Ok(())
}

fn builder(is_encrypted: bool) -> DbBuilder {
    let key = EncryptionKey::from_bytes([7; 32]);
    if is_encrypted { Db::builder().encryption_key(key) } else { Db::builder() }
}

fn measure(dir: &Path, is_encrypted: bool) -> Outcome<Rates> {
    let db = builder(is_encrypted).open(dir)?;
    let rows = db.keyspace("rows")?;
    let lone = rate(LONE_PUTS, || (0..LONE_PUTS).try_for_each(|n| put(&db, &rows, n..n + 1)))?;
    let batches = rate(ROWS, || {
        (0..ROWS).step_by(1_000).try_for_each(|n| put(&db, &rows, n..n + BATCH))?;
        Ok(db.checkpoint()?)
    })?;
    db.shutdown(Duration::from_secs(60))?;
    drop(rows);
    let cached = gets(builder(is_encrypted).memory_bytes(512 << 20).table_bytes(1 << 20), dir)?;
    let read = gets(builder(is_encrypted).memory_bytes(0).table_bytes(0), dir)?;
    Ok([lone, batches, cached, read])
}

/// Of rows in no order; those of a first round are not counted.
fn gets(builder: DbBuilder, dir: &Path) -> Outcome<f64> {
    let db = builder.open(dir)?;
    let rows = db.keyspace("rows")?;
    let get_some = || {
        (0..GETS).try_for_each(|n| {
            let found = rows.get(key(n))?;
            found.map(drop).ok_or_else(|| format!("row {n} is missing").into())
        })
    };
    get_some()?;
    let rate = rate(GETS, get_some)?;
    db.shutdown(Duration::from_secs(60))?;
    Ok(rate)
}

fn put(db: &Db, rows: &Keyspace, numbers: std::ops::Range<u64>) -> Outcome<()> {
    let mut batch = db.batch();
    numbers.for_each(|n| batch.put(rows, key(n), [7; 92]));
    Ok(batch.commit().map(drop)?)
}

/// Neighbours in time are not neighbours in the tree.
fn key(number: u64) -> [u8; 8] {
    (number % ROWS).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()
}

#[allow(clippy::disallowed_methods, clippy::cast_precision_loss, reason = "it measures")]
fn rate(count: u64, work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    let begun = Instant::now();
    work()?;
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}
