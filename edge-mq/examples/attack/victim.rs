//! The broker, in a process of its own, so that the memory of that process is the broker's.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use edge_mq::{Broker, Stats};

use crate::guard;

/// A broker that was started by this process.
pub(crate) struct Victim {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) addr: SocketAddr,
}

impl Victim {
    pub(crate) fn start(limits: &str) -> io::Result<Victim> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--role", "broker", "--limits", limits]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take().expect("it was asked for");
        let mut answers = BufReader::new(child.stdout.take().expect("it was asked for"));
        let addr = line(&mut answers)?.parse().map_err(io::Error::other)?;
        Ok(Victim { child, orders, answers, addr })
    }

    /// What it counted of those who attack it.
    pub(crate) fn counted(&mut self) -> io::Result<String> {
        self.orders.write_all(b"\n")?;
        line(&mut self.answers)
    }

    /// A line of the status of its process in KB, as `VmRSS`; 0 where the system has none.
    pub(crate) fn memory_kb(&self, name: &str) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = found.and_then(|line| line.trim().strip_suffix(" kB"));
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may be gone already, which is for others to notice.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// What the child does: answers each line with what it has counted.
pub(crate) fn serve(limits: &str) -> io::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let builder = Broker::builder().listen(([127, 0, 0, 1], 0).into());
    let start = builder.limits(guard::limits(limits)).start();
    let broker = runtime.block_on(start).map_err(io::Error::other)?;
    println!("{}", broker.local_addr().expect("it listens"));
    for order in io::stdin().lines() {
        order?;
        println!("{}", counts(&broker.stats()));
    }
    Ok(())
}

fn counts(stats: &Stats) -> String {
    let counts = [
        ("received", stats.received),
        ("too fast", stats.rate_exceeded),
        ("connected too fast", stats.connect_rate_exceeded),
        ("too many connections", stats.refused_connections),
        ("breaches", stats.protocol_errors),
        ("dropped QoS 0", stats.dropped_qos0),
        ("dropped QoS 1", stats.dropped_full),
    ];
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    counts.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}
