//! A link that is cut a hundred times, at bytes that a seed gives: every QoS 1 message arrives, in
//! both directions and both versions of MQTT, each topic in order; QoS 2 is not lost either.

#![cfg(feature = "bridge")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/bridge.rs"]
mod support;

use std::time::Duration;

use edge_mq::bridge::{Bridge, Rule};
use edge_mq::{LocalClient, LocalSubscription, QoS};
use support::cutter::Cutter;
use support::{FirstTimes, Site, VERSIONS, got, message, until};

const CUTS: u64 = 100;
/// A connection takes some 100 bytes to begin, a message some 20.
const BYTES: u64 = 4000;
const SEED: u64 = 20_260_101;
const TOPICS: u64 = 3;

/// Numbers on topics, until the link was cut often enough. Returns how many each topic got.
async fn publish(client: LocalClient, prefix: &'static str, cutter: &Cutter) -> u64 {
    let mut number = 0;
    while cutter.cuts() < CUTS || number < 500 {
        for topic in 0..TOPICS {
            let qos = if number % 5 == 0 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
            let topic = format!("{prefix}/{topic}");
            client.publish(message(&topic, &number.to_string(), qos)).await.unwrap();
        }
        number += 1;
    }
    number
}

/// Receives until each topic has had so many numbers.
async fn receive(subscription: &mut LocalSubscription, wanted: u64, seed: u64) {
    let mut seen = FirstTimes::default();
    while seen.sum() < TOPICS * wanted {
        let (topic, payload, _) = got(subscription).await;
        seen.see(topic, &payload, seed);
    }
    assert_eq!(subscription.dropped(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_arrives_in_order_over_a_link_that_is_cut_100_times() {
    for (seed, version) in (SEED..).zip(VERSIONS) {
        let (here, there) = (Site::start().await, Site::start().await);
        let cutter = Cutter::start(there.socket(), seed, CUTS, BYTES).await;
        let mut sent = there.subscribe("site/up/#").await;
        let mut received = here.subscribe("down/#").await;
        // Each message waits for a commit there, too, so that the link keeps up with them.
        there.broker.journal("site/down/#".parse().unwrap(), "down").await.unwrap();
        let bridge = Bridge::new("bridge")
            .remote(cutter.addr.to_string())
            .version(version)
            .retry(Duration::ZERO, Duration::ZERO)
            .send(Rule::new("up/#".parse().unwrap()).remote_prefix("site/"))
            .receive(Rule::new("down/#".parse().unwrap()).remote_prefix("site/"));
        here.broker.add_bridge(bridge).await.unwrap();
        // What came before the bridge has subscribed would not be for it.
        while there.stats().subscriptions < 2 {
            tokio::task::yield_now().await;
        }
        let (up, down) = tokio::join!(
            publish(here.broker.local(), "up", &cutter),
            publish(there.broker.local(), "site/down", &cutter),
        );
        assert!(cutter.cuts() >= CUTS);
        assert_eq!(there.stats().dropped_full, 0);
        receive(&mut sent, up, seed).await;
        receive(&mut received, down, seed).await;
        let status = until(&here, |status| status.queued_messages == 0).await;
        assert_eq!((status.dropped, status.sent), (Default::default(), TOPICS * up));
        assert!(status.connections > CUTS / 2, "seed {seed}: {status:?}");
    }
}
