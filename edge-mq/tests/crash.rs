//! `kill -9` of a broker under load, again and again on one database: what was acknowledged reaches a
//! reader that was there and one that was away, QoS 2 once, in order, and the retained message is the
//! last one. The broker is this test binary, started again; the moments come from a seed, which a
//! failure prints.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/talker.rs"]
mod talker;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use edge_mq::{Broker, Limits};
use talker::Talker;

const CHILD: &str = "EDGE_MQ_CRASH_CHILD";
/// Seconds within which the child has QoS 1 messages on disk; a killed process loses nothing by it.
const WITHIN: &str = "EDGE_MQ_CRASH_WITHIN";
const ROUNDS: u64 = 50;
const SEED: u64 = 20_261_124;

/// Not a test by itself: what the child does. Without the variable it has nothing to show.
#[tokio::test]
async fn child_serves_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let db = edge_db::Db::open(dir).unwrap();
    let within = Duration::from_secs(std::env::var(WITHIN).unwrap().parse().unwrap());
    let mut limits = Limits::default();
    limits.delayed_messages = usize::MAX;
    let broker = Broker::builder().db(&db).durable_within(within).limits(limits);
    let broker = broker.listen(([127, 0, 0, 1], 0).into());
    let broker = broker.start().await.unwrap();
    println!("\nlistening on {}", broker.local_addr().unwrap());
    std::future::pending::<()>().await;
}

fn start(dir: &Path, within_s: u64) -> (Child, SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_serves_until_it_is_killed", "--nocapture"])
        .env(CHILD, dir)
        .env(WITHIN, within_s.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let addr = lines.filter_map(|line| line.strip_prefix("listening on ")?.parse().ok()).next();
    (child, addr.expect("the broker starts"))
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) % limit
    }
}

/// Publishes until so many were acknowledged, asks for the end, and goes on until the broker is gone.
fn publish(
    publisher: &mut Talker,
    next: &mut u64,
    (broker, prefix): (SocketAddr, &str),
    (window, until): (usize, usize),
    random: &mut Random,
    enough: &SyncSender<()>,
) {
    let Ok(mut line) = publisher.connect(broker) else { panic!("the broker is there") };
    let (until, mut has_enough) = (line.acknowledged() + until, false);
    loop {
        while line.under_way() < window {
            let (topic, qos, retain) = match next.is_multiple_of(8) {
                true => (kept_topic(kept_qos(*next)), kept_qos(*next), true),
                false => ("n/x", 1 + u8::try_from(random.below(2)).unwrap(), false),
            };
            line.publish(&format!("{prefix}{topic}"), qos, retain, *next);
            *next += 1;
        }
        if line.exchange().is_err() {
            return;
        }
        if line.acknowledged() >= until && !has_enough {
            enough.send(()).unwrap();
            has_enough = true;
        }
    }
}

/// Takes what comes until the broker is gone.
fn read(reader: &mut Talker, broker: SocketAddr) {
    let Ok(mut line) = reader.connect(broker) else { return };
    while line.exchange().is_ok() {}
}

fn subscribe(reader: &mut Talker, broker: SocketAddr) {
    reader.connect(broker).unwrap().subscribe("n/#").unwrap();
}

#[test]
fn what_was_acknowledged_is_delivered_after_kill_9() {
    kill_again_and_again("");
}

#[test]
fn what_was_acknowledged_is_published_later_after_kill_9() {
    kill_again_and_again("$delayed/1/");
}

/// Topics begin with this.
fn kill_again_and_again(prefix: &str) {
    println!("seed {SEED}");
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(SEED);
    let [mut publisher, mut online, mut away] = ["publisher", "online", "away"].map(Talker::new);
    let mut next = 1;
    for round in 0..ROUNDS {
        // Now and then a sync at most once in an hour, which no round sees.
        let (mut broker, addr) = start(dir.path(), [0, 3600][usize::from(round % 4 > 1)]);
        if round == 0 {
            subscribe(&mut online, addr);
            subscribe(&mut away, addr);
        }
        // One message at a time, and as many as go.
        let load = ([1, 256][usize::try_from(round % 2).unwrap()], random.below(400) + 1);
        let load = (load.0, usize::try_from(load.1).unwrap());
        let (enough, ended) = sync_channel(1);
        std::thread::scope(|scope| {
            let (publisher, next, random) = (&mut publisher, &mut next, &mut random);
            scope.spawn(move || publish(publisher, next, (addr, prefix), load, random, &enough));
            scope.spawn(|| read(&mut online, addr));
            ended.recv().expect("the publisher asks for it");
            broker.kill().unwrap();
            broker.wait().unwrap();
        });
    }
    let (mut broker, addr) = start(dir.path(), 0);
    finish(&mut publisher, addr);
    let expected = publisher.acknowledged.clone();
    let last = expected.iter().map(|(_, number)| *number).max().unwrap();
    for (name, reader) in [("online", &mut online), ("away", &mut away)] {
        drain(reader, addr, last);
        check(name, &expected, &reader.got);
    }
    for qos in [1, 2] {
        let acknowledged = expected.iter().map(|(_, number)| *number);
        let kept = acknowledged.filter(|n| n.is_multiple_of(8) && kept_qos(*n) == qos);
        assert_eq!(kept.max(), Some(retained(addr, kept_topic(qos))), "QoS {qos}");
    }
    broker.kill().unwrap();
    broker.wait().unwrap();
}

/// Gets the acknowledgements of all that is under way.
fn finish(publisher: &mut Talker, broker: SocketAddr) {
    let mut line = publisher.connect(broker).unwrap();
    while line.under_way() > 0 {
        line.exchange().unwrap();
    }
}

/// Reads until the last message has come, which may have been before the broker was killed: then
/// those before it may come again, but not the last one, if it has QoS 2.
fn drain(reader: &mut Talker, broker: SocketAddr, last: u64) {
    let mut line = reader.connect(broker).unwrap();
    while !line.got().iter().rev().any(|(_, number)| *number == last) {
        line.exchange().unwrap();
    }
}

fn check(name: &str, acknowledged: &[(u8, u64)], got: &[(u8, u64)]) {
    let mut copies = BTreeMap::new();
    let mut newest = 0;
    for (_, number) in got {
        let count: &mut usize = copies.entry(number).or_default();
        *count += 1;
        if *count == 1 {
            assert!(*number > newest, "{name}: {number} came behind {newest}");
            newest = *number;
        }
    }
    for (qos, number) in acknowledged {
        match (qos, copies.get(number).copied().unwrap_or(0)) {
            (1, 1..) | (2, 1) => {}
            (_, count) => panic!("{name}: {number}, QoS {qos}, came {count} times"),
        }
    }
    assert_eq!(copies.len(), acknowledged.len(), "{name}: all were acknowledged in the end");
    assert!(acknowledged.len() > 5_000, "the broker had little to do");
}

/// Each QoS retains in a topic of its own: a message of QoS 1 that is sent again takes the place of
/// one of QoS 2 behind it, which is not, and that is as it shall be.
fn kept_topic(qos: u8) -> &'static str {
    ["n/kept/1", "n/kept/2"][usize::from(qos) - 1]
}

fn kept_qos(number: u64) -> u8 {
    if number.is_multiple_of(16) { 1 } else { 2 }
}

/// The retained message of a topic, as somebody new gets it.
fn retained(broker: SocketAddr, topic: &'static str) -> u64 {
    let mut reader = Talker::new(topic);
    let mut line = reader.connect(broker).unwrap();
    line.subscribe(topic).unwrap();
    while line.got().is_empty() {
        line.exchange().unwrap();
    }
    line.got()[0].1
}
