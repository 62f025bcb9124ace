//! The brokers and their settings.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use lexopt::ValueExt;
use rumqttd::{ConnectionSettings, RouterConfig, ServerSettings};

use crate::Result;

/// The hidden subcommand that makes this program one of the brokers.
pub(crate) const SERVE: &str = "serve";

#[derive(Debug, Clone)]
pub(super) enum Peer {
    EdgeMq,
    EdgeMqJournaled,
    Rumqttd,
    Mosquitto {
        program: PathBuf,
        /// With its version.
        name: String,
    },
}

impl Peer {
    /// The mosquitto of this machine.
    pub(super) fn mosquitto() -> Option<Peer> {
        let path = std::env::var_os("PATH")?;
        let mut programs = std::env::split_paths(&path).map(|dir| dir.join("mosquitto"));
        let program = programs.find(|program| program.is_file())?;
        // Begins `mosquitto version 2.0.11`; `-h` ends with 0 or 3 from version to version.
        let help = Command::new(&program).arg("-h").output().ok()?.stdout;
        let version = String::from_utf8_lossy(&help);
        let version = version.split_whitespace().nth(2).unwrap_or("of unknown version");
        Some(Peer::Mosquitto { program, name: format!("mosquitto {version}") })
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Peer::EdgeMq => "edge-mq",
            Peer::EdgeMqJournaled => "edge-mq, journaled",
            Peer::Rumqttd => "rumqttd 0.20",
            Peer::Mosquitto { name, .. } => name,
        }
    }

    /// The process that serves at this address and may keep files in this folder. Our own end
    /// when their standard input does.
    pub(super) fn command(&self, address: SocketAddr, dir: &Path) -> Result<Command> {
        if let Peer::Mosquitto { program, .. } = self {
            let config = dir.join("mosquitto.conf");
            std::fs::write(&config, mosquitto_config(address))?;
            let mut command = Command::new(program);
            // It warns there that it cannot change its user.
            command.arg("-c").arg(config).stderr(Stdio::null());
            return Ok(command);
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.args([OsStr::new(SERVE), self.name().as_ref(), address.to_string().as_ref()]);
        command.arg(dir);
        Ok(command)
    }
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

/// Is a broker until standard input ends: `serve NAME ADDRESS DIR`.
pub(crate) fn serve(mut parser: lexopt::Parser) -> ExitCode {
    // Nobody else may start brokers that outlive the comparison.
    std::thread::spawn(|| {
        let read = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(i32::from(read.is_err()));
    });
    match serve_named(&mut parser) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve_named(parser: &mut lexopt::Parser) -> Result<()> {
    let (name, address) = (parser.value()?.string()?, parser.value()?.parse()?);
    let dir = PathBuf::from(parser.value()?);
    match name.as_str() {
        "edge-mq" => edge_mq(address, None),
        "edge-mq, journaled" => edge_mq(address, Some(&dir)),
        "rumqttd 0.20" => rumqttd(address),
        _ => Err(format!("no broker `{name}`").into()),
    }
}

/// edge-mq with its default limits.
fn edge_mq(address: SocketAddr, journal: Option<&Path>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut builder = edge_mq::Broker::builder().listen(address);
        if let Some(dir) = journal {
            builder = builder.db(&edge_db::Db::open(dir.join("db"))?);
        }
        let broker = builder.start().await?;
        if journal.is_some() {
            broker.journal("load/#".parse()?, "load").await?;
        }
        std::future::pending::<()>().await;
        drop(broker);
        Ok(())
    })
}

/// rumqttd with the settings of its own `rumqttd.toml`.
fn rumqttd(address: SocketAddr) -> Result<()> {
    let connections = ConnectionSettings {
        connection_timeout_ms: 60_000,
        max_payload_size: 20_480,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "v4".to_owned(),
        listen: address,
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    let router = RouterConfig {
        max_connections: 10_010,
        max_outgoing_packet_count: 200,
        max_segment_size: 104_857_600,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let v4 = Some(HashMap::from([("v4".to_owned(), server)]));
    let config = rumqttd::Config { router, v4, ..rumqttd::Config::default() };
    Ok(rumqttd::Broker::new(config).start()?)
}
