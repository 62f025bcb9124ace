//! Whether what was seen is as it should be.

use crate::run::Outcome;
use crate::sample::{JOBS, Sample};

/// From then on everything that the jobs keep has been full once: a session is open for half an hour at
/// most, and a window for ten minutes.
const WARM_MINUTES: u32 = 60;
/// How much more memory the process may hold at its highest in the second half than in the first. The
/// allocator keeps what was freed for the next, in pieces that differ from run to run, and it has
/// some tens of megabytes in all.
const MEMORY_PERCENT: u64 = 10;
/// And beside that: the database's two tables in memory are full at one time and empty at another.
const MEMORY_BYTES: u64 = 8 << 20;
/// How much more state the jobs may have. Devices are the same in number all the time, and a window
/// is met now a little younger, now older.
const STATE_PERCENT: u64 = 5;

/// Everything that is not as it should be, each as a sentence.
pub(crate) fn wrong(outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let warm = outcome.samples.iter().position(|sample| sample.minute > WARM_MINUTES);
    let warm = &outcome.samples[warm.unwrap_or(outcome.samples.len())..];
    let (first, second) = warm.split_at(warm.len() / 2);
    let most =
        |samples: &[Sample], of: fn(&Sample) -> u64| samples.iter().map(of).max().unwrap_or(0);
    for (what, of, percent, bytes) in [
        ("resident memory", resident as fn(&Sample) -> u64, MEMORY_PERCENT, MEMORY_BYTES),
        ("state", Sample::all_state_bytes, STATE_PERCENT, 0),
    ] {
        let (before, after) = (most(first, of), most(second, of));
        let allowed = before + before * percent / 100 + bytes;
        if after > allowed {
            wrong.push(format!(
                "{what} was {before} bytes at most in the first half, and {after} in the second: more than \
                 {allowed}"
            ));
        }
    }
    if let Some(last) = outcome.samples.last() {
        let late = JOBS.iter().zip(last.late).filter(|(_, late)| *late != last.made_late);
        wrong.extend(late.map(|(job, late)| {
            format!("{late} rows were late for `{job}`, and {} were made so", last.made_late)
        }));
    }
    let in_time = outcome.rows - outcome.made_late;
    for (view, rows) in [("windows", outcome.in_windows), ("sessions", outcome.in_sessions)] {
        if rows != in_time {
            wrong.push(format!("`{view}` has {rows} rows of {in_time} that came in time"));
        }
    }
    wrong
}

fn resident(sample: &Sample) -> u64 {
    sample.resident_bytes
}
