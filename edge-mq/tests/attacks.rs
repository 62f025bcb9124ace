//! What `examples/attack` measures, without a clock: while one client each floods, crawls, never reads,
//! storms the door and sends garbage, all messages of two others arrive in order, and the attacker
//! gets what the limits say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "../examples/attack/attacks.rs"]
mod attacks;
#[path = "../examples/fuzz/chance.rs"]
mod chance;
#[path = "support/device.rs"]
mod device;
#[path = "../examples/attack/guard.rs"]
mod guard;
#[path = "../examples/fuzz/mutate.rs"]
mod mutate;
#[allow(dead_code, reason = "the fuzzer uses all of it")]
#[path = "../examples/fuzz/packets.rs"]
mod packets;
#[path = "../examples/attack/wire.rs"]
mod wire;

use attacks::{ALL, Attack};
use device::{Device, Options, VERSIONS, got};
use edge_mq::{Broker, Stats};

/// What is counted of an attack, at the least.
fn counted(attack: Attack, stats: &Stats) -> bool {
    match attack {
        Attack::Flood { .. } => stats.rate_exceeded > 0,
        // Each says something, but too slowly, and there are too many of them.
        Attack::Crawl => stats.refused_connections > 0 && stats.connect_rate_exceeded > 0,
        Attack::NeverReads => stats.dropped_qos0 > 0 && stats.dropped_full > 0,
        Attack::Storm { .. } => stats.connect_rate_exceeded > 100,
        Attack::Garbage => stats.protocol_errors > 0,
    }
}

async fn exchange(writer: &mut Device, reader: &mut Device) {
    for number in 0..200 {
        writer.publish("pair", 1, false, &number.to_string()).await;
        assert_eq!(reader.message().await, got("pair", &number.to_string(), 1, false));
        assert_eq!(writer.acknowledgement().await, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_get_all_their_messages_and_the_attacker_what_the_limits_say() {
    for (name, attack) in ALL {
        let limits = guard::limits(guard::GUARDED);
        let builder = Broker::builder().limits(limits.clone());
        let broker = builder.listen(([127, 0, 0, 1], 0).into()).start().await.unwrap();
        let addr = broker.local_addr().unwrap();
        let mut writer = Options::new(VERSIONS[1], "writer").connect(addr).await;
        let mut reader = Options::new(VERSIONS[0], "reader").connect(addr).await;
        reader.subscribe("pair", 1).await;
        let attacking = tokio::spawn(attack.run(addr));
        exchange(&mut writer, &mut reader).await;
        while !counted(attack, &broker.stats()) {
            tokio::task::yield_now().await;
        }
        exchange(&mut writer, &mut reader).await;
        let stats = broker.stats();
        assert!(stats.queued_bytes <= guard::most_bytes(&limits, attack.connections()), "{name}");
        assert!(stats.connections <= 50, "{name}: {stats:?}");
        attacking.abort();
    }
}
