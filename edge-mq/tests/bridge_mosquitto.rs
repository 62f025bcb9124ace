//! A bridge to mosquitto, which we did not write: over a link that is cut a hundred times every QoS 1
//! message arrives in order, in both directions, and none comes back. `.ci/run` installs it; see
//! CONTRIBUTING.md.

#![cfg(feature = "bridge")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/bridge.rs"]
mod support;

#[path = "support/device.rs"]
mod device;

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use device::{Device, Options};
use edge_mq::QoS;
use edge_mq::bridge::{Bridge, Rule};
use edge_mq::packet::Version;
use support::cutter::Cutter;
use support::{FirstTimes, Site, got, message, until};
use tokio::net::TcpStream;

const CUTS: u64 = 100;
const BYTES: u64 = 4000;
const SEED: u64 = 20_260_102;
const VERSIONS: [(device::Version, Version); 2] =
    [(device::Version::V311, Version::V311), (device::Version::V5, Version::V5)];

/// A mosquitto of this test's own.
struct Mosquitto {
    addr: SocketAddr,
    process: Child,
    _config: tempfile::NamedTempFile,
}

impl Mosquitto {
    async fn start() -> Mosquitto {
        let (addr, socket) = support::nobody();
        drop(socket);
        let addr: SocketAddr = addr.parse().unwrap();
        let mut config = tempfile::NamedTempFile::new().unwrap();
        // By default it keeps no more than 1000 messages for somebody who is away.
        let lines = ["allow_anonymous true", "max_queued_messages 0", "persistence false"];
        writeln!(config, "listener {} 127.0.0.1\n{}", addr.port(), lines.join("\n")).unwrap();
        let process = Command::new("mosquitto")
            .arg("-c")
            .arg(config.path())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed");
        while TcpStream::connect(addr).await.is_err() {
            tokio::task::yield_now().await;
        }
        Mosquitto { addr, process, _config: config }
    }

    async fn connect(&self, version: device::Version, name: &str) -> Device {
        Options::new(version, name).connect(self.addr).await
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Publishes with QoS 1 and waits until it is taken.
async fn send(writer: &mut Device, topic: &str, retain: bool, payload: &str) {
    writer.publish(topic, 1, retain, payload).await;
    // mosquitto says so, too, when nobody wants it.
    let taken = writer.acknowledgement().await.or_else(|reason| match &*reason {
        "NoMatchingSubscribers" => Ok(()),
        _ => Err(reason),
    });
    assert_eq!(taken, Ok(()));
}

fn bridge(remote: SocketAddr, version: Version) -> Bridge {
    Bridge::new("bridge")
        .remote(remote.to_string())
        .version(version)
        .retry(Duration::ZERO, Duration::from_millis(50))
}

fn rule(filter: &str) -> Rule {
    Rule::new(filter.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_arrives_in_order_over_a_link_to_mosquitto_that_is_cut_100_times() {
    for (seed, (theirs, ours)) in (SEED..).zip(VERSIONS) {
        let (here, there) = (Site::start().await, Mosquitto::start().await);
        let cutter = Cutter::start(there.addr, seed, CUTS, BYTES).await;
        let mut reader = there.connect(theirs, "reader").await;
        reader.subscribe("site/up/#", 1).await;
        let mut writer = there.connect(theirs, "writer").await;
        send(&mut writer, "site/down/ready", true, "0").await;
        let mut received = here.subscribe("down/#").await;
        let bridge = bridge(cutter.addr, ours)
            .send(rule("up/#").remote_prefix("site/"))
            .receive(rule("down/#").remote_prefix("site/"));
        here.broker.add_bridge(bridge).await.unwrap();
        // It has subscribed when it gets what is retained.
        assert_eq!(got(&mut received).await.0, "down/ready");
        let mut number = 0;
        while cutter.cuts() < CUTS || number < 500 {
            let payload = number.to_string();
            here.publish(message("up/a", &payload, QoS::AtLeastOnce)).await;
            here.publish(message("up/b", &payload, QoS::AtLeastOnce)).await;
            for topic in ["site/down/a", "site/down/b"] {
                send(&mut writer, topic, false, &payload).await;
            }
            number += 1;
        }
        let mut sent = FirstTimes::default();
        while sent.sum() < 2 * number {
            let got = reader.message().await;
            sent.see(got.topic, &got.payload, seed);
        }
        let mut back = FirstTimes::default();
        while back.sum() < 2 * number {
            let (topic, payload, _) = got(&mut received).await;
            if topic != "down/ready" {
                back.see(topic, &payload, seed);
            }
        }
        let status = until(&here, |status| status.queued_messages == 0).await;
        assert_eq!((status.dropped, status.sent), (Default::default(), 2 * number));
    }
}

#[tokio::test]
async fn rule_in_both_directions_brings_nothing_back_from_mosquitto() {
    for (theirs, ours) in VERSIONS {
        let (here, there) = (Site::start().await, Mosquitto::start().await);
        let mut writer = there.connect(theirs, "writer").await;
        send(&mut writer, "a/ready", true, "0").await;
        let mut reader = there.connect(theirs, "reader").await;
        reader.subscribe("a/here", 1).await;
        let mut seen = here.subscribe("a/#").await;
        here.broker
            .add_bridge(bridge(there.addr, ours).send(rule("#")).receive(rule("#")))
            .await
            .unwrap();
        assert_eq!(got(&mut seen).await.0, "a/ready");
        for _ in 0..100 {
            here.publish(message("a/here", "same", QoS::AtLeastOnce)).await;
            send(&mut writer, "a/there", false, "same").await;
        }
        for _ in 0..100 {
            assert_eq!(reader.message().await.payload, "same");
        }
        // What came back would be here before this.
        writer.publish("a/end", 1, false, "").await;
        let (mut own, mut others) = (0, 0);
        loop {
            match &*got(&mut seen).await.0 {
                "a/here" => own += 1,
                "a/there" => others += 1,
                _ => break,
            }
        }
        assert_eq!((own, others), (100, 100), "{ours:?}");
    }
}
