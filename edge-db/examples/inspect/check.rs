//! Verifies a folder, plans a repair of it, and repairs.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use edge_db::{DbBuilder, Progress};

/// Says what is wrong, if anything is.
pub(crate) fn verify(builder: DbBuilder, dir: &str) -> Result<ExitCode, Box<dyn Error>> {
    let report = builder.verify(dir, show)?;
    let mut out = std::io::stdout().lock();
    for finding in &report.findings {
        writeln!(out, "{}: {}\n    repair: {}", finding.place, finding.what, finding.repair)?;
    }
    if report.more_findings > 0 {
        writeln!(out, "and {} more of such", report.more_findings)?;
    }
    writeln!(
        out,
        "{} segments with {} commits that have not settled; {} blocks, {} of them torn and not in \
         use; {} entries of {} names, {} KB",
        report.segments,
        report.commits,
        report.blocks,
        report.unused_blocks,
        report.entries,
        report.names,
        report.bytes / 1024
    )?;
    if report.is_clean() {
        writeln!(out, "nothing is wrong")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// Prints the plan; with `agreed`, carries it out.
pub(crate) fn repair(
    builder: DbBuilder,
    dir: &str,
    into: &str,
    agreed: bool,
) -> Result<ExitCode, Box<dyn Error>> {
    let plan = builder.plan_repair(dir, show)?;
    let mut out = std::io::stdout().lock();
    write!(out, "{plan}")?;
    if !agreed {
        writeln!(out, "nothing was written; --yes makes the repaired database in {into}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let made = plan.apply(into, show)?;
    writeln!(out, "{into} has {} keys now, {} KB", made.keys, made.bytes / 1024)?;
    writeln!(out, "{dir} is as it was: put {into} in its place, and keep it until all is well")?;
    Ok(ExitCode::SUCCESS)
}

/// Where somebody is there to see it.
fn show(progress: Progress) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let (done, all) = (progress.done_bytes >> 20, progress.all_bytes >> 20);
        // That it cannot be shown is no reason to stop.
        drop(write!(out, "\r{done} of {all} MB "));
    }
}
