//! Measures one fresh store.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::peers::{Peer, Scanned, Store};
use super::rows::{Row, SplitMix, VALUE_BYTES};
use crate::Result;
use crate::options::Options;

/// Rows that are loaded before gets and scans: 23 MB, which every cache here holds.
const LOAD_ROWS: u64 = 200_000;
/// Rows in one durable transaction while loading.
const LOAD_BATCH: u64 = 1_000;
/// Each thread takes row numbers of its own: more than one can put in the longest run.
const ROWS_PER_THREAD: u64 = 1 << 40;

/// What one case measured.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) per_second: f64,
    pub(super) p99_ms: Option<f64>,
    pub(super) max_ms: Option<f64>,
    /// What its files take on disk once it is closed.
    pub(super) file_mb: Option<f64>,
}

impl Sample {
    fn rate(count: u64, time: Duration) -> Sample {
        // Counts of some seconds are far below 2^52.
        let per_second = count as f64 / time.as_secs_f64();
        Sample { per_second, p99_ms: None, max_ms: None, file_mb: None }
    }
}

/// Runs these cases on a new store; a sample for each, in their order.
pub(super) fn run(peer: Peer, cases: &[&str], options: &Options) -> Result<Vec<Sample>> {
    let dir = tempfile::tempdir_in(&options.dir)?;
    let mut store = peer.create(dir.path())?;
    let mut samples = match cases {
        ["put-1"] => vec![put(store.as_mut(), 1, options.time)?],
        ["put-16"] => vec![put(store.as_mut(), 16, options.time)?],
        _ => read(store.as_mut(), cases, options.time)?,
    };
    store.close()?;
    if let Some(place) = cases.iter().position(|case| *case == "load") {
        samples[place].file_mb = Some(disk_bytes(dir.path())? as f64 / 1e6);
    }
    Ok(samples)
}

/// Durable puts of one row each from so many threads.
fn put(store: &mut dyn Store, threads: u64, time: Duration) -> Result<Sample> {
    let handles: Vec<Box<dyn Store>> =
        (0..threads).map(|_| store.handle()).collect::<Result<_>>()?;
    let start = Instant::now();
    let writers: Vec<_> = (0..threads)
        .zip(handles)
        .map(|(number, mut handle)| {
            thread::spawn(move || put_until(handle.as_mut(), number, start + time))
        })
        .collect();
    let mut latencies = Vec::new();
    for writer in writers {
        latencies.extend(writer.join().map_err(|_| "a writer panicked")??);
    }
    let count = latencies.len() as u64;
    let mut sample = Sample::rate(count, start.elapsed());
    latencies.sort_unstable();
    let ms = |latency: &Duration| latency.as_secs_f64() * 1e3;
    sample.p99_ms = latencies.get(latencies.len() * 99 / 100).map(ms);
    sample.max_ms = latencies.last().map(ms);
    let stored = store.scan()?.rows;
    if stored != count {
        return Err(format!("{count} puts were acknowledged, {stored} rows are there").into());
    }
    Ok(sample)
}

fn put_until(store: &mut dyn Store, thread: u64, end: Instant) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    let mut number = thread * ROWS_PER_THREAD;
    loop {
        let row = Row::new(number);
        let start = Instant::now();
        if start >= end {
            return Ok(latencies);
        }
        store.put(&[row])?;
        latencies.push(start.elapsed());
        number += 1;
    }
}

/// Loads the rows, then measures what of gets and scans is asked for.
fn read(store: &mut dyn Store, cases: &[&str], time: Duration) -> Result<Vec<Sample>> {
    let loaded = load(store)?;
    let mut samples = Vec::new();
    for case in cases {
        samples.push(match *case {
            "load" => Sample::rate(LOAD_ROWS, loaded),
            "get" => get(store, time)?,
            _ => scan(store, time)?,
        });
    }
    Ok(samples)
}

fn load(store: &mut dyn Store) -> Result<Duration> {
    let start = Instant::now();
    for first in (0..LOAD_ROWS).step_by(usize::try_from(LOAD_BATCH)?) {
        let rows: Vec<Row> = (first..first + LOAD_BATCH).map(Row::new).collect();
        store.put(&rows)?;
    }
    Ok(start.elapsed())
}

fn get(store: &mut dyn Store, time: Duration) -> Result<Sample> {
    // Looks at the clock once for each of these: its cost would show otherwise.
    const AT_ONCE: u64 = 1_000;
    let mut random = SplitMix(u64::MAX / 2);
    let mut value = Vec::with_capacity(VALUE_BYTES);
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < time {
        for _ in 0..AT_ONCE {
            let key = Row::key(random.next() % LOAD_ROWS);
            if !store.get(&key, &mut value)? || value.len() != VALUE_BYTES {
                return Err("a loaded row is not there".into());
            }
        }
        count += AT_ONCE;
    }
    Ok(Sample::rate(count, start.elapsed()))
}

fn scan(store: &mut dyn Store, time: Duration) -> Result<Sample> {
    let last_bytes = (0..LOAD_ROWS).map(|number| Row::new(number).value[VALUE_BYTES - 1]);
    let bytes = usize::try_from(LOAD_ROWS)? * (size_of::<[u8; 16]>() + VALUE_BYTES);
    let all = Scanned { rows: LOAD_ROWS, bytes, last_bytes: last_bytes.map(u64::from).sum() };
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < time {
        let seen = store.scan()?;
        if seen != all {
            return Err(format!("a scan saw {seen:?} instead of {all:?}").into());
        }
        count += seen.rows;
    }
    Ok(Sample::rate(count, start.elapsed()))
}

/// Blocks, not lengths: files of these stores have holes.
fn disk_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        bytes += entry?.metadata()?.blocks() * 512;
    }
    Ok(bytes)
}
