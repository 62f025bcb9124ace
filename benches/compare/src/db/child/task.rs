//! What the child process does. It tells its parent by lines on standard output.

use std::io::{Read, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lexopt::ValueExt;

use crate::Result;
use crate::db::engine::{Engine, Memory, Store};
use crate::db::measure::check_values;
use crate::db::rows::{ROW_BYTES, Row, SplitMix, rows};

/// Says `program BYTES`, its memory so far; opens with default settings, gets random rows, says
/// `peak BYTES`: `ROWS MILLIS`.
pub(in crate::db) const MEMORY: &str = "memory";
/// Opens, says `opened MICROS` and finds all that was acknowledged, then fills the journal and
/// says `filled NEXT`, the number after the last acknowledged row; writes on until killed:
/// `ROWS FIRST NEXT`, rows from FIRST up to NEXT being what the process before wrote.
pub(in crate::db) const CRASH: &str = "crash";

/// Rows in one batch while the journal is filled.
const BATCH: u64 = 1_000;
/// A journal that says it is fuller than this is full: one more batch could empty it.
const FULL: f64 = 0.9;
/// Enough for any journal; one that is never full ends the filling here.
const MOST_BYTES: u64 = 512 << 20;
/// Loaded rows that are looked for after a crash; of what the crashed process wrote, all are.
const SAMPLES: u64 = 1_000;

/// Is the child process: `child TASK ENGINE DIR NUMBERS..`.
pub(crate) fn child(mut parser: lexopt::Parser) -> ExitCode {
    // It must not outlive a parent that was interrupted.
    std::thread::spawn(|| {
        let read = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(i32::from(read.is_err()));
    });
    match run(&mut parser) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("child: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(parser: &mut lexopt::Parser) -> Result<()> {
    let task = parser.value()?.string()?;
    let engine = Engine::of_id(&parser.value()?.string()?)?;
    let dir = PathBuf::from(parser.value()?);
    let mut number = || -> Result<u64> { Ok(parser.value()?.parse()?) };
    match task.as_str() {
        MEMORY => {
            let (rows, millis) = (number()?, number()?);
            say("program", peak_bytes()?)?;
            let mut store = engine.open(&dir, Memory::Default)?;
            get(store.as_mut(), rows, Duration::from_millis(millis))?;
            say("peak", peak_bytes()?)
        }
        CRASH => {
            let (rows, acknowledged) = (number()?, number()?..number()?);
            let start = Instant::now();
            let mut store = engine.open(&dir, Memory::Equal)?;
            check_values(store.as_mut(), 0..1)?;
            let opened = start.elapsed();
            let next = acknowledged.end;
            check(store.as_mut(), rows, acknowledged)?;
            say("opened", opened.as_micros().try_into()?)?;
            write_until_killed(store.as_mut(), engine, next)
        }
        _ => Err(format!("no task `{task}`").into()),
    }
}

fn say(word: &str, number: u64) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word} {number}")?;
    Ok(out.flush()?)
}

fn get(store: &mut dyn Store, rows: u64, time: Duration) -> Result<()> {
    let mut random = SplitMix(u64::MAX / 3);
    let start = Instant::now();
    while start.elapsed() < time {
        let number = random.next() % rows;
        check_values(store, number..number + 1)?;
    }
    Ok(())
}

/// Whether the store lost nothing: some of the loaded rows, and all of these.
fn check(store: &mut dyn Store, rows: u64, acknowledged: Range<u64>) -> Result<()> {
    let mut random = SplitMix(u64::MAX / 5);
    for _ in 0..SAMPLES {
        let number = random.next() % rows;
        check_values(store, number..number + 1)?;
    }
    check_values(store, acknowledged)
}

fn write_until_killed(store: &mut dyn Store, engine: Engine, mut next: u64) -> Result<()> {
    let mut written = 0;
    while !is_full(store, engine, written) {
        store.put(&rows(next..next + BATCH))?;
        next += BATCH;
        written += BATCH * ROW_BYTES as u64;
    }
    say("filled", next)?;
    loop {
        store.put(&[Row::new(next)])?;
        next += 1;
    }
}

fn is_full(store: &dyn Store, engine: Engine, written: u64) -> bool {
    match store.counters().journal_used {
        Some(used) => used >= FULL || written >= MOST_BYTES,
        None => written >= engine.journal_bytes() as u64,
    }
}

/// The most memory that this process held at once.
fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.ok_or("no VmHWM in its status")?.parse::<u64>()? * 1024)
}
