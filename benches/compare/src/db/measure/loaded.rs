//! All that is done to a store with many rows, so that they are loaded once for all of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::load::load;
use super::put::check_rows;
use super::{Bench, memory, per_second, read, reopen, settling};
use crate::Result;
use crate::db::Sheet;
use crate::db::engine::{Engine, Memory, Store};
use crate::db::work::Work;
use crate::metric::Metric;

/// Rows in one durable batch.
const BATCH: u64 = 1_000;

pub(super) fn loaded(bench: &Bench, sheet: &mut Sheet) -> Result<()> {
    let (engine, rows) = (sheet.engine, bench.sizes.rows);
    if engine == Engine::Disk && !bench.wants(Work::Load) {
        return Ok(());
    }
    let dir = bench.folder()?;
    let mut store = engine.open(dir.path(), Memory::Equal)?;
    let time = load(store.as_mut(), rows, BATCH)?;
    sheet.record(Work::Load, Metric::PerSecond, per_second(rows, time));
    check_rows(store.as_mut(), rows)?;
    if engine == Engine::Disk {
        return Ok(());
    }
    read::unsettled(bench, sheet, store.as_mut())?;
    store.close()?;
    sheet.record(Work::Load, Metric::FileMb, disk_bytes(dir.path())? as f64 / 1e6);
    settled(bench, sheet, dir.path())
}

/// What is measured of a store that was closed after loading.
fn settled(bench: &Bench, sheet: &mut Sheet, dir: &Path) -> Result<()> {
    let open = |sheet: &Sheet| -> Result<Box<dyn Store>> { sheet.engine.open(dir, Memory::Equal) };
    if read::SETTLED.iter().any(|work| bench.wants(*work)) {
        let mut store = open(sheet)?;
        read::settled(bench, sheet, store.as_mut())?;
        store.close()?;
    }
    if bench.wants(Work::Memory) {
        memory::memory(bench, sheet, dir)?;
    }
    if bench.wants(Work::Reopen) {
        reopen::reopen(bench, sheet, dir, Work::Reopen, bench.sizes.rows)?;
    }
    if bench.wants(Work::Settling) {
        let mut store = open(sheet)?;
        settling::settling(bench, sheet, store.as_mut())?;
        store.close()?;
    }
    Ok(())
}

/// Blocks, not lengths: files of these stores have holes.
fn disk_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let metadata = entry?;
        bytes += match metadata.file_type()?.is_dir() {
            true => disk_bytes(&metadata.path())?,
            false => metadata.metadata()?.blocks() * 512,
        };
    }
    Ok(bytes)
}
