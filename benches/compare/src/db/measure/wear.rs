//! What reaches the device, settling included: from an empty store to a closed one.

use std::path::Path;

use super::put::Puts;
use super::{Bench, log};
use crate::Result;
use crate::db::Sheet;
use crate::db::engine::{Counters, Memory, Store};
use crate::db::rows::ROW_BYTES;
use crate::db::work::Work;
use crate::device::{self, Device};
use crate::metric::Metric;

pub(super) fn wear_1(bench: &Bench, sheet: &mut Sheet) -> Result<()> {
    wear(bench, sheet, Work::Wear1, 1)
}

pub(super) fn wear_16(bench: &Bench, sheet: &mut Sheet) -> Result<()> {
    wear(bench, sheet, Work::Wear16, 16)
}

fn wear(bench: &Bench, sheet: &mut Sheet, work: Work, threads: u64) -> Result<()> {
    let each = bench.sizes.wear_rows / threads;
    let bytes = written(bench, sheet, |store| {
        Puts::run(store, 0..threads, move |count| count < each).map(drop)
    })?;
    if let Some(bytes) = bytes {
        sheet.record(work, Metric::DeviceBytesPerPut, bytes as f64 / (each * threads) as f64);
    }
    Ok(())
}

pub(super) fn wear_log(bench: &Bench, sheet: &mut Sheet) -> Result<()> {
    let rows = bench.sizes.wear_log_rows;
    let bytes = written(bench, sheet, |store| log::append(store, |count| count < rows).map(drop))?;
    if let Some(bytes) = bytes {
        let payload = rows * ROW_BYTES as u64;
        sheet.record(Work::WearLog, Metric::DeviceBytesPerByte, bytes as f64 / payload as f64);
    }
    Ok(())
}

/// What reaches the device while this fills a new store, until it is closed.
fn written(
    bench: &Bench,
    sheet: &Sheet,
    fill: impl FnOnce(&mut dyn Store) -> Result<()>,
) -> Result<Option<u64>> {
    let dir = bench.folder()?;
    let mut store = sheet.engine.open(dir.path(), Memory::Equal)?;
    let meter = Meter::start(bench, dir.path(), store.counters())?;
    fill(store.as_mut())?;
    meter.stop(bench, dir.path(), store.close()?)
}

/// What was written until now: by the device's count, else by the engine's own.
struct Meter {
    before: Option<u64>,
}

impl Meter {
    fn start(bench: &Bench, dir: &Path, counters: Counters) -> Result<Meter> {
        Ok(Meter { before: read(bench, dir, counters)? })
    }

    fn stop(self, bench: &Bench, dir: &Path, counters: Counters) -> Result<Option<u64>> {
        let after = read(bench, dir, counters)?;
        Ok(after.zip(self.before).map(|(after, before)| after - before))
    }
}

fn read(bench: &Bench, dir: &Path, counters: Counters) -> Result<Option<u64>> {
    device::sync(dir)?;
    count(&bench.device, counters)
}

fn count(device: &Result<Device>, counters: Counters) -> Result<Option<u64>> {
    match device {
        Ok(device) => Ok(Some(device.written_bytes()?)),
        Err(_) => Ok(counters.written_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_device_only_engines_that_count_have_a_figure() {
        let none = Err("tmpfs has no block device that can be seen".into());
        let counters = Counters { written_bytes: Some(5), ..Counters::default() };
        assert_eq!(count(&none, counters).unwrap(), Some(5));
        assert_eq!(count(&none, Counters::default()).unwrap(), None);
    }
}
