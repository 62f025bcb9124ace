//! Batches, one after the other, and what the process holds at the end.

use std::fmt;

use edge_mq::Stats;
use tokio::runtime::Runtime;

use crate::broker::Victim;
use crate::chance::Chance;
use crate::codec::{self, Counts};

/// Packets of one batch.
const BATCH: u64 = 100_000;
/// Of so many batches one goes to the broker.
const TO_BROKER: u64 = 2;
/// Batches from one line of progress to the next.
const PROGRESS: u64 = 50;
/// What the process may hold at the end: code, runtime, and the limits of the broker many times.
const MOST_MEMORY_BYTES: u64 = 128 * 1024 * 1024;

/// What to run.
pub(crate) struct Plan {
    pub(crate) packets: u64,
    pub(crate) seed: u64,
    /// This batch alone.
    pub(crate) only: Option<u64>,
}

/// What was run.
pub(crate) struct Report {
    pub(crate) decoder: Counts,
    /// Packets that were sent to the broker, and what it made of them.
    pub(crate) sent: u64,
    pub(crate) stats: Stats,
    memory_bytes: Option<u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { handed, mutated, read, refused } = self.decoder;
        let Stats { received, sent, protocol_errors, .. } = self.stats;
        write!(
            f,
            "decoder: {handed} packets, {mutated} mutated, {read} read, {refused} refusals; "
        )?;
        write!(f, "broker: {} packets, {received} messages in, {sent} out, ", self.sent)?;
        write!(f, "{protocol_errors} clients refused")?;
        self.memory_bytes.map_or(Ok(()), |bytes| write!(f, "; {} MiB resident", bytes >> 20))
    }
}

/// Names the batch when it fails.
struct Naming {
    seed: u64,
    batch: u64,
}

impl Drop for Naming {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed in: --seed {} --batch {}", self.seed, self.batch);
        }
    }
}

/// Runs a plan; `tell` gets lines of progress.
///
/// Panics where something is wrong.
pub(crate) fn run(plan: Plan, tell: impl Fn(String)) -> Report {
    let Plan { packets, seed, only } = plan;
    let runtime = Runtime::new().expect("a runtime");
    let mut victim = runtime.block_on(Victim::start());
    let decoder = Counts::default();
    let mut report = Report { decoder, sent: 0, stats: victim.stats(), memory_bytes: None };
    let batches = only.map_or(0..packets.div_ceil(BATCH), |only| only..only + 1);
    let first = batches.start;
    for batch in batches {
        let naming = Naming { seed, batch };
        let mut chance = Chance::new(seed.wrapping_mul(0xA24B_AED4_963E_E407).wrapping_add(batch));
        let count = match only {
            Some(_) => BATCH,
            None => BATCH.min(packets - (batch - first) * BATCH),
        };
        let packets = usize::try_from(count).expect("a batch is small");
        if batch % TO_BROKER == TO_BROKER - 1 {
            let sent = runtime.block_on(victim.batch(&mut chance, packets));
            report.sent += sent as u64;
        } else {
            codec::batch(&mut chance, packets, &mut report.decoder);
        }
        drop(naming);
        report.stats = victim.stats();
        if batch % PROGRESS == PROGRESS - 1 {
            tell(format!("batch {}: {report}", batch + 1));
        }
    }
    runtime.block_on(victim.stop());
    report.memory_bytes = resident_bytes();
    if let Some(bytes) = report.memory_bytes {
        assert!(bytes <= MOST_MEMORY_BYTES, "{bytes} bytes are resident at the end");
    }
    report
}

/// What the process holds in memory, where the system says it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}
