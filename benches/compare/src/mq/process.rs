//! A broker in a process of its own, so that its CPU time and memory are its alone.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::peer::{Peer, Setup};
use crate::Result;

/// How long a broker may take until it listens.
const START_WITHIN: Duration = Duration::from_secs(10);
/// The unit of `/proc/<pid>/stat` on every Linux (proc(5): `sysconf(_SC_CLK_TCK)`, 100).
const TICK: Duration = Duration::from_millis(10);

/// A running broker; killed when dropped, as rumqttd has no other end.
#[derive(Debug)]
pub(crate) struct Broker {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
}

impl Broker {
    /// Starts it on a free port; it listens when this returns.
    pub(super) fn start(peer: Peer, setup: Setup, dir: &Path) -> Result<Broker> {
        Broker::start_as(dir, |address, dir| peer.command(address, dir, setup))
    }

    /// The same for a process that serves at this address, and keeps its files in this folder.
    pub(crate) fn start_as(
        dir: &Path,
        command: impl FnOnce(SocketAddr, &Path) -> Result<Command>,
    ) -> Result<Broker> {
        let dir = tempfile::tempdir_in(dir)?;
        // Free now; somebody else could take it in between, then the start fails and is shown.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = command(address, dir.path())?;
        // The pipe stays open as long as the `Child` lives.
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let mut broker = Broker { child, address, dir };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            broker.check_running()?;
            if start.elapsed() > START_WITHIN {
                return Err("it does not listen".into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(broker)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it keeps its files.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => Err(format!("broker ended: {status}").into()),
            None => Ok(()),
        }
    }

    /// CPU time of all its threads, in user and kernel mode, until now.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        let stat = self.proc("stat")?;
        // The name before is in parentheses and may hold anything; utime and stime are the
        // fields 14 and 15, the first behind the name is 3.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
        let ticks = ticks.sum::<Result<u32, _>>()?;
        Ok(TICK * ticks)
    }

    /// The most memory that it held at once.
    pub(super) fn peak_mb(&self) -> Result<f64> {
        self.status_mb("VmHWM:")
    }

    /// The memory that it holds now.
    pub(super) fn resident_mb(&self) -> Result<f64> {
        self.status_mb("VmRSS:")
    }

    /// Lets it do what is left to do, and end.
    pub(crate) fn finish(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        match self.child.wait()? {
            status if status.success() => Ok(()),
            status => Err(format!("it ended with {status}").into()),
        }
    }

    /// Kills it with SIGKILL, which it cannot prepare for.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn status_mb(&self, field: &str) -> Result<f64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next());
        let kib: u32 = kib.ok_or_else(|| format!("no {field} in its status"))?.parse()?;
        Ok(f64::from(kib) * 1024.0 / 1e6)
    }

    fn proc(&self, file: &str) -> Result<String> {
        Ok(fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Only fails if it has ended, which is what we want.
        self.kill().ok();
    }
}
