//! A bridge of edge-mq to rumqttd, started inside this test: over a link that is cut a hundred times
//! every QoS 1 message arrives, in both directions, and each topic in order.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../edge-mq/tests/support/bridge.rs"]
mod support;

#[path = "../../../edge-mq/tests/support/device.rs"]
mod device;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use device::Options;
use edge_mq::QoS;
use edge_mq::bridge::{Bridge, Rule};
use edge_mq::packet::Version;
use rumqttd::{ConnectionSettings, RouterConfig, ServerSettings};
use support::cutter::Cutter;
use support::{FirstTimes, Site, got, message, until};

const CUTS: u64 = 100;
const BYTES: u64 = 4000;
const SEED: u64 = 20_260_103;

/// rumqttd with the settings of its own `rumqttd.toml`. It cannot be stopped, so it ends with the
/// test.
fn rumqttd(version: Version) -> SocketAddr {
    let (listen, socket) = support::nobody();
    drop(socket);
    let listen: SocketAddr = listen.parse().unwrap();
    let router = RouterConfig {
        max_connections: 10_010,
        max_outgoing_packet_count: 200,
        max_segment_size: 104_857_600,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let connections = ConnectionSettings {
        connection_timeout_ms: 60_000,
        max_payload_size: 1024 * 1024,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "server".to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 0,
        connections,
    };
    let servers = Some(HashMap::from([("server".to_owned(), server)]));
    let (v4, v5) = match version {
        Version::V311 => (servers, None),
        Version::V5 => (None, servers),
    };
    let config = rumqttd::Config { router, v4, v5, ..rumqttd::Config::default() };
    std::thread::spawn(move || rumqttd::Broker::new(config).start().unwrap());
    listen
}

fn rule(filter: &str) -> Rule {
    Rule::new(filter.parse().unwrap()).remote_prefix("site/")
}

async fn crosses(theirs: device::Version, ours: Version, seed: u64) {
    let there = rumqttd(ours);
    while tokio::net::TcpStream::connect(there).await.is_err() {
        tokio::task::yield_now().await;
    }
    let here = Site::start().await;
    let cutter = Cutter::start(there, seed, CUTS, BYTES).await;
    let mut reader = Options::new(theirs, "reader").connect(there).await;
    reader.subscribe("site/up/#", 1).await;
    let mut writer = Options::new(theirs, "writer").connect(there).await;
    writer.publish("site/down/ready", 1, true, "0").await;
    writer.acknowledgement().await.unwrap();
    let mut received = here.subscribe("down/#").await;
    let bridge = Bridge::new("bridge")
        .remote(cutter.addr.to_string())
        .version(ours)
        .retry(Duration::ZERO, Duration::from_millis(50))
        .send(rule("up/#"))
        .receive(rule("down/#"));
    here.broker.add_bridge(bridge).await.unwrap();
    // It has subscribed when it gets what is retained.
    assert_eq!(got(&mut received).await.0, "down/ready");
    let mut number = 0;
    while cutter.cuts() < CUTS || number < 500 {
        let payload = number.to_string();
        here.publish(message("up/a", &payload, QoS::AtLeastOnce)).await;
        here.publish(message("up/b", &payload, QoS::AtLeastOnce)).await;
        for topic in ["site/down/a", "site/down/b"] {
            writer.publish(topic, 1, false, &payload).await;
            writer.acknowledgement().await.unwrap();
        }
        number += 1;
    }
    let mut sent = FirstTimes::default();
    while sent.sum() < 2 * number {
        let got = reader.message().await;
        sent.see(got.topic, &got.payload, seed);
    }
    let status = until(&here, |status| status.queued_messages == 0).await;
    assert_eq!((status.dropped, status.sent), (Default::default(), 2 * number));
    let mut back = FirstTimes::default();
    while back.sum() < 2 * number {
        let (topic, payload, _) = got(&mut received).await;
        if topic != "down/ready" {
            back.see(topic, &payload, seed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_arrives_in_order_over_a_link_to_rumqttd_that_is_cut_100_times() {
    crosses(device::Version::V311, Version::V311, SEED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_arrives_in_order_by_mqtt_5_too() {
    crosses(device::Version::V5, Version::V5, SEED + 1).await;
}
