//! This program as one of the brokers.

use std::collections::HashMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::Arg::Long;
use lexopt::ValueExt;
use rumqttd::{ConnectionSettings, RouterConfig, ServerSettings};

use super::durable::{JOURNALED, LOG, open_log};
use super::peer::{Peer, Setup, Store};
use crate::Result;
use crate::figures::Contender;

/// The hidden subcommand that makes this program one of the brokers.
pub(crate) const SERVE: &str = "serve";

/// Is a broker until standard input ends: `serve ID ADDRESS DIR [--sessions | --journal] [--workers N]`.
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
    let (id, address) = (parser.value()?.string()?, parser.value()?.parse()?);
    let dir = PathBuf::from(parser.value()?);
    let mut setup = Setup::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("sessions") => setup.store = Store::Sessions,
            Long("journal") => setup.store = Store::Journal,
            Long("workers") => setup.workers = Some(parser.value()?.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    match id {
        id if id == Peer::EdgeMq.id() => edge_mq(address, &dir, setup),
        id if id == Peer::Rumqttd.id() => rumqttd(address),
        id => Err(format!("no broker `{id}`").into()),
    }
}

/// edge-mq with its default limits.
fn edge_mq(address: SocketAddr, dir: &Path, setup: Setup) -> Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = setup.workers {
        runtime.worker_threads(workers);
    }
    runtime.enable_all().build()?.block_on(async {
        let mut builder = edge_mq::Broker::builder();
        if setup.store != Store::Nothing {
            builder = builder.db(&open_log(dir)?.0);
        }
        let broker = builder.start().await?;
        if setup.store == Store::Journal {
            broker.journal(JOURNALED.parse()?, LOG).await?;
        }
        // Rules first: nothing is acknowledged without being stored.
        broker.listen(address.into()).await?;
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
