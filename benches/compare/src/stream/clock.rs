//! Time, processor time and memory of this process.

use std::time::Instant;

use crate::Result;

/// The unit of `/proc/self/stat` on every Linux (proc(5): `sysconf(_SC_CLK_TCK)`, 100).
const TICKS_PER_SECOND: f64 = 100.0;

/// When the work began.
#[derive(Debug)]
pub(super) struct Clock {
    began: Instant,
    cpu: f64,
}

impl Clock {
    pub(super) fn start() -> Result<Clock> {
        Ok(Clock { began: Instant::now(), cpu: cpu_seconds()? })
    }

    /// Says what it took, as lines for [`Said`](super::child::Said).
    pub(super) fn say(&self) -> Result<()> {
        println!("seconds {}", self.began.elapsed().as_secs_f64());
        println!("cpu {}", cpu_seconds()? - self.cpu);
        println!("peak_kib {}", peak_kib()?);
        Ok(())
    }
}

/// Processor time of all threads until now.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name in front is in parentheses and may hold anything; utime and stime are the fields 14
    // and 15, the first behind the name is 3.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_SECOND)
}

/// The most memory that it held at once.
fn peak_kib() -> Result<u32> {
    status_kib("VmHWM:")
}

/// The memory that it holds now.
pub(super) fn resident_bytes() -> Result<f64> {
    Ok(f64::from(status_kib("VmRSS:")?) * 1024.0)
}

fn status_kib(field: &str) -> Result<u32> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.ok_or_else(|| format!("no {field} in the status of this process"))?.parse()?)
}
