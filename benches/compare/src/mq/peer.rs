//! The brokers and their settings.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::serve::SERVE;
use crate::Result;
use crate::figures::Contender;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    EdgeMq,
    /// What two worker threads are held against.
    EdgeMqOneWorker,
    Rumqttd,
    Mosquitto,
    /// No broker, but what a durable one waits for.
    Disk,
}

/// How edge-mq is started; others have no such choice.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Setup {
    pub(super) store: Store,
    /// Threads of its runtime; one for each core unless given.
    pub(super) workers: Option<usize>,
}

/// What edge-mq has on disk before it acknowledges a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Store {
    #[default]
    Nothing,
    /// The queues of sessions that outlive their connections.
    Sessions,
    /// A Log of all messages, too.
    Journal,
}

impl Peer {
    /// Ours first.
    pub(super) const ALL: [Peer; 5] =
        [Peer::EdgeMq, Peer::EdgeMqOneWorker, Peer::Rumqttd, Peer::Mosquitto, Peer::Disk];

    /// The process that serves at this address and may keep files in this folder. Our own end
    /// when their standard input does.
    pub(super) fn command(self, address: SocketAddr, dir: &Path, setup: Setup) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(SERVE);
        match self {
            Peer::EdgeMq | Peer::EdgeMqOneWorker => command.arg(Peer::EdgeMq.id()),
            Peer::Rumqttd => command.arg(self.id()),
            Peer::Mosquitto => return mosquitto_command(address, dir),
            Peer::Disk => return Err("the disk is no broker".into()),
        };
        command.arg(address.to_string()).arg(dir);
        match setup.store {
            Store::Nothing => {}
            Store::Sessions => _ = command.arg("--sessions"),
            Store::Journal => _ = command.arg("--journal"),
        }
        if let Some(workers) = setup.workers {
            command.args(["--workers", &workers.to_string()]);
        }
        Ok(command)
    }
}

impl Contender for Peer {
    const OURS: Peer = Peer::EdgeMq;

    fn id(self) -> &'static str {
        match self {
            Peer::EdgeMq => "edge-mq",
            Peer::EdgeMqOneWorker => "edge-mq-1-worker",
            Peer::Rumqttd => "rumqttd",
            Peer::Mosquitto => "mosquitto",
            Peer::Disk => "disk",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Peer::EdgeMq => "edge-mq",
            Peer::EdgeMqOneWorker => "edge-mq, 1 worker",
            Peer::Rumqttd => "rumqttd 0.20",
            Peer::Mosquitto => "mosquitto",
            Peer::Disk => "(the disk itself)",
        }
    }

    // Where mosquitto is not there, its floors do not hold: it can be had everywhere.
    fn is_here(self) -> bool {
        self != Peer::Mosquitto || mosquitto().is_some()
    }
}

/// The mosquitto of this machine.
fn mosquitto() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let path = std::env::var_os("PATH")?;
        // Debian keeps it where only root's PATH leads.
        let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
        dirs.map(|dir| dir.join("mosquitto")).find(|program| program.is_file())
    });
    program.as_deref()
}

/// Which mosquitto is compared, or how to get one.
pub(super) fn about_mosquitto() -> String {
    let Some(program) = mosquitto() else {
        return "mosquitto: none on the PATH, so that its floors do not hold; \
                `apt-get install mosquitto` brings it"
            .to_owned();
    };
    // Begins `mosquitto version 2.0.11`; `-h` ends with 0 or 3 from version to version.
    let help = Command::new(program).arg("-h").output().map(|output| output.stdout);
    let help = help.unwrap_or_default();
    let version = String::from_utf8_lossy(&help);
    let version = version.split_whitespace().nth(2).unwrap_or("of unknown version");
    format!("mosquitto: {version}, {}", program.display())
}

fn mosquitto_command(address: SocketAddr, dir: &Path) -> Result<Command> {
    let config = dir.join("mosquitto.conf");
    std::fs::write(&config, mosquitto_config(address))?;
    let mut command = Command::new(mosquitto().ok_or("there is no mosquitto")?);
    // It warns there that it cannot change its user.
    command.arg("-c").arg(config).stderr(Stdio::null());
    Ok(command)
}

/// No queue limit, and the in-flight window that edge-mq has; its own of 20 would slow it down.
fn mosquitto_config(address: SocketAddr) -> String {
    format!(
        "listener {} {}\nallow_anonymous true\nmax_queued_messages 0\n\
         max_inflight_messages 1024\nset_tcp_nodelay true\nlog_type error\n",
        address.port(),
        address.ip(),
    )
}
