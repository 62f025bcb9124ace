//! How things stand at a moment of event time.

use std::fmt;

use edge_stream::Engine;

/// The jobs that are looked at, in this order.
pub(crate) const JOBS: [&str; 4] = ["readings", "windows", "sessions", "changes"];

/// Numbers at the end of a minute, once all jobs have stored what they had.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub(crate) minute: u32,
    /// Rows that were sent so far.
    pub(crate) rows: u64,
    /// Those of them that were made much too late.
    pub(crate) made_late: u64,
    /// Memory of this process; 0 where the system does not say it.
    pub(crate) resident_bytes: u64,
    /// State and late rows of each of [`JOBS`]; the first one has no state.
    pub(crate) state_bytes: [u64; 4],
    pub(crate) late: [u64; 4],
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{},{}", self.minute, self.rows, self.made_late, self.resident_bytes)?;
        self.state_bytes[1..].iter().chain(&self.late).try_for_each(|n| write!(f, ",{n}"))
    }
}

impl Sample {
    pub(crate) fn take(engine: &Engine, minute: u32, rows: u64, made_late: u64) -> Sample {
        let (mut state_bytes, mut late) = ([0; 4], [0; 4]);
        let resident_bytes = resident_bytes().unwrap_or(0);
        for job in engine.jobs() {
            if let Some(place) = JOBS.iter().position(|name| *name == job.name) {
                (state_bytes[place], late[place]) = (job.state_bytes as u64, job.late);
            }
        }
        Sample { minute, rows, made_late, resident_bytes, state_bytes, late }
    }

    pub(crate) fn all_state_bytes(&self) -> u64 {
        self.state_bytes.iter().sum()
    }
}

/// What the process holds in memory, where the system says it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}
