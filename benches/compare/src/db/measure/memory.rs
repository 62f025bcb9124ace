//! The memory of a process that only opens a store and reads it.

use std::path::Path;

use super::Bench;
use crate::Result;
use crate::db::Sheet;
use crate::db::child::{Child, MEMORY};
use crate::db::work::Work;
use crate::metric::Metric;

pub(super) fn memory(bench: &Bench, sheet: &mut Sheet, dir: &Path) -> Result<()> {
    let millis = bench.time().as_millis().try_into()?;
    let mut child = Child::start(MEMORY, sheet.engine, dir, &[bench.sizes.rows, millis])?;
    // A part of the peak that is not the engine's: all engines are in this program.
    let program = child.number("program")?;
    sheet.record(Work::Memory, Metric::ProgramMb, program as f64 / 1e6);
    let peak = child.number("peak")?;
    sheet.record(Work::Memory, Metric::PeakMb, peak as f64 / 1e6);
    child.kill()
}
