//! Rounds of quiet and attack, and what came of them.

use std::io;
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use crate::attacks::{ALL, Attack};
use crate::guard;
use crate::pair::{Latency, Pair};
use crate::victim::Victim;

/// As the broker has them without a word.
pub(crate) const DEFAULT: &str = "default";

/// What the 99th percentile may grow to.
const MOST_RATIO: f64 = 3.0;
/// Until an attack is in full swing, or its traces are gone.
const CHANGE: Duration = Duration::from_millis(500);
/// What is left of the processors when nobody else wants them, as on real networks the attacker has
/// its own. With a mere `nice` Linux lets the others wait for its time slice.
const IDLE: [&str; 3] = ["chrt", "--idle", "0"];

pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
    pub(crate) limits: Option<String>,
    pub(crate) only: Option<String>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { rounds: 5, seconds: 2, limits: None, only: None }
    }
}

/// An attacker that was started by this process.
struct Attacker(Child);

impl Attacker {
    fn start(name: &str, broker: SocketAddr) -> io::Result<Attacker> {
        let mut command = Command::new(IDLE[0]);
        command.args(&IDLE[1..]).arg(std::env::current_exe()?);
        command.args(["--role", "attacker", "--only", name, "--broker", &broker.to_string()]);
        command.spawn().map(Attacker)
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        // It ends no other way, so there is nothing to learn from an error.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What the attacker does, in one thread, until it is killed.
pub(crate) fn attacker(name: Option<&str>, broker: SocketAddr) -> io::Result<()> {
    let attack = ALL.into_iter().find(|(known, _)| Some(*known) == name);
    let (_, attack) = attack.ok_or(io::ErrorKind::InvalidInput)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(attack.run(broker));
    Ok(())
}

/// What one attack did.
struct Outcome {
    quiet: Latency,
    attacked: Latency,
    ratio: f64,
    memory_kb: usize,
    most_kb: usize,
    counted: String,
}

/// Whether the broker held.
pub(crate) fn attack_all(plan: &Plan) -> io::Result<bool> {
    let mut has_held = true;
    for limits in [guard::GUARDED, DEFAULT] {
        if plan.limits.as_deref().is_some_and(|only| only != limits) {
            continue;
        }
        println!("\nlimits: {limits}");
        println!(
            "| attack | quiet p50 / p99 µs | attacked | ratio of p99 | memory MB, of | counted |"
        );
        println!("|---|---|---|---|---|---|");
        for (name, attack) in ALL {
            if plan.only.as_deref().is_some_and(|only| only != name) {
                continue;
            }
            let outcome = measure(plan, limits, name, attack)?;
            let is_slow = outcome.ratio > MOST_RATIO && limits == guard::GUARDED;
            has_held &= !is_slow && outcome.memory_kb <= outcome.most_kb;
            outcome.print(name);
        }
    }
    Ok(has_held)
}

fn measure(plan: &Plan, limits: &str, name: &str, attack: Attack) -> io::Result<Outcome> {
    let time = Duration::from_secs(plan.seconds.into());
    let mut victim = Victim::start(limits)?;
    let idle_kb = victim.memory_kb("VmRSS");
    let mut pair = Pair::connect(victim.addr)?;
    // The first second is for caches and page tables.
    pair.measure(Duration::from_secs(1))?;
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        let quiet = pair.measure(time)?;
        let attacker = Attacker::start(name, victim.addr)?;
        thread::sleep(CHANGE);
        let attacked = pair.measure(time)?;
        drop(attacker);
        thread::sleep(CHANGE);
        rounds.push((quiet, attacked));
    }
    let most_kb = idle_kb + guard::most_bytes(&guard::limits(limits), attack.connections()) / 1024;
    Ok(Outcome {
        quiet: middle(&mut rounds.iter().map(|(quiet, _)| *quiet).collect::<Vec<_>>()),
        attacked: middle(&mut rounds.iter().map(|(_, attacked)| *attacked).collect::<Vec<_>>()),
        ratio: middle_ratio(&rounds),
        memory_kb: victim.memory_kb("VmHWM"),
        most_kb,
        counted: victim.counted()?,
    })
}

/// The one with the middle 99th percentile.
fn middle(latencies: &mut [Latency]) -> Latency {
    latencies.sort_by_key(|latency| latency.p99);
    latencies[latencies.len() / 2]
}

fn middle_ratio(rounds: &[(Latency, Latency)]) -> f64 {
    let ratio = |(quiet, attacked): &(Latency, Latency)| {
        attacked.p99.as_secs_f64() / quiet.p99.as_secs_f64()
    };
    let mut ratios: Vec<f64> = rounds.iter().map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

impl Outcome {
    fn print(&self, name: &str) {
        let shown =
            |latency: Latency| format!("{} / {}", latency.p50.as_micros(), latency.p99.as_micros());
        let (quiet, attacked) = (shown(self.quiet), shown(self.attacked));
        let (memory, most) = (self.memory_kb / 1024, self.most_kb / 1024);
        let (ratio, counted) = (self.ratio, &self.counted);
        println!("| {name} | {quiet} | {attacked} | {ratio:.1} | {memory}, {most} | {counted} |");
    }
}
