//! `kill -9` on either side of a bridge, in the middle of a stream of messages: what was acknowledged
//! to a publisher arrives, each topic in order. A child process (this test binary, started again)
//! is the one side, and is killed and started again; the parent is the other.

#![cfg(feature = "bridge")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/bridge.rs"]
mod support;

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use edge_db::{Db, Seq};
use edge_mq::bridge::{Bridge, BridgeStatus, Rule};
use edge_mq::packet::Version;
use edge_mq::{Broker, Listener, LocalClient, QoS};
use support::{FOR_EVER, Site, VERSIONS, message, nobody, until};
use tokio::sync::watch;
use tokio::time::timeout;

/// Folder of the child's database.
const DIR: &str = "EDGE_MQ_CRASH_DIR";
/// Of the bridging child: where the remote broker is, and its version.
const REMOTE: &str = "EDGE_MQ_CRASH_REMOTE";
const VERSION: &str = "EDGE_MQ_CRASH_VERSION";
/// Of the child that is the remote broker: where to listen.
const LISTEN: &str = "EDGE_MQ_CRASH_LISTEN";

const KILLS: usize = 10;

fn bridge(remote: String, version: Version) -> Bridge {
    Bridge::new("bridge")
        .remote(remote)
        .version(version)
        .retry(Duration::ZERO, Duration::from_millis(50))
        .send(Rule::new("up/#".parse().unwrap()))
        .receive(Rule::new("down/#".parse().unwrap()))
}

async fn site(dir: &str) -> (Db, Broker) {
    let db = Db::open(dir).unwrap();
    let broker = Broker::builder().db(&db).start().await.unwrap();
    (db, broker)
}

/// One write call for a line, so that a kill leaves no half of one behind.
fn say(line: &str) {
    std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

/// Not a test by itself: what the child does that has the bridge. It publishes numbers, says each one
/// that was acknowledged, and stores what it gets.
#[tokio::test]
async fn child_bridges_until_it_is_killed() {
    let Ok(remote) = std::env::var(REMOTE) else { return };
    let version = if std::env::var(VERSION).unwrap() == "5" { Version::V5 } else { Version::V311 };
    let (db, broker) = site(&std::env::var(DIR).unwrap()).await;
    // What the one before had stored, acknowledged or not.
    let numbers = db.log("numbers").unwrap();
    broker.journal("up/#".parse().unwrap(), "numbers").await.unwrap();
    broker.journal("down/#".parse().unwrap(), "got").await.unwrap();
    let next = numbers.bounds().unwrap().end.get();
    broker.add_bridge(bridge(remote, version)).await.unwrap();
    for number in next.. {
        let message = message("up/a", &number.to_string(), QoS::AtLeastOnce);
        broker.local().publish(message).await.unwrap();
        say(&format!("acked {number}"));
    }
}

/// Not a test by itself: what the child does that is the remote broker. It stores what it gets.
#[tokio::test]
async fn child_is_the_remote_broker_until_it_is_killed() {
    let Ok(listen) = std::env::var(LISTEN) else { return };
    let (db, broker) = site(&std::env::var(DIR).unwrap()).await;
    broker.journal("up/#".parse().unwrap(), "got").await.unwrap();
    let listening =
        broker.listen(Listener::tcp(listen.parse::<SocketAddr>().unwrap())).await.unwrap();
    let addr = listening.local_addr().unwrap();
    say(&format!("listening {addr}"));
    let got = db.log("got").unwrap();
    let mut tail = got.tail(got.bounds().unwrap().end);
    loop {
        for record in tail.next(100).await.unwrap() {
            say(&format!("got {}", String::from_utf8_lossy(record.value())));
        }
    }
}

struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(test: &str, variables: &[(&str, &str)]) -> Running {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { child, lines }
    }

    /// The rest of the next line that begins so.
    fn next(&mut self, word: &str) -> Option<String> {
        let mut lines = self.lines.by_ref().map(Result::unwrap);
        lines.find_map(|line| Some(line.strip_prefix(word)?.trim().to_owned()))
    }

    /// The last number that it said, after `kill -9`.
    fn kill(mut self, word: &str) -> Option<u64> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut last = None;
        while let Some(number) = self.next(word) {
            last = Some(number.parse().unwrap());
        }
        last
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Unless it was killed before.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn remote(dir: &str, listen: &str) -> Running {
    let variables = [(LISTEN, listen), (DIR, dir)];
    Running::start("child_is_the_remote_broker_until_it_is_killed", &variables)
}

/// Numbers from 0 on, until it is told to stop. Returns how many.
async fn publish(local: LocalClient, topic: &str, stopped: watch::Receiver<bool>) -> u64 {
    let mut number = 0;
    while !*stopped.borrow() {
        let message = message(topic, &number.to_string(), QoS::AtLeastOnce);
        local.publish(message).await.unwrap();
        number += 1;
    }
    number
}

/// All numbers from 0 on are there, first in their order; how many.
fn check(numbers: impl Iterator<Item = u64>) -> u64 {
    let mut next = 0;
    for number in numbers {
        assert!(number <= next, "{next} is missing in front of {number}");
        next = next.max(number + 1);
    }
    next
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_crosses_both_ways_though_the_bridging_process_is_killed() {
    for version in VERSIONS {
        let there = Site::start().await;
        there.broker.journal("up/#".parse().unwrap(), "got").await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (addr, path) = (there.addr(), dir.path().display().to_string());
        let number = if version == Version::V5 { "5" } else { "4" };
        let variables = [(REMOTE, &*addr), (DIR, &*path), (VERSION, number)];
        let (stop, stopped) = watch::channel(false);
        // Each waits for a commit there, so that the session's queue does not overflow.
        there.broker.journal("down/#".parse().unwrap(), "down").await.unwrap();
        let broker = there.broker.clone();
        let publishing = tokio::spawn(async move {
            // What comes before the bridge has subscribed is not for it.
            while broker.stats().subscriptions == 0 {
                tokio::task::yield_now().await;
            }
            publish(broker.local(), "down/a", stopped).await
        });
        let mut acknowledged = 0_u64;
        for kill in 0..KILLS {
            let mut child = Running::start("child_bridges_until_it_is_killed", &variables);
            // Uneven numbers, so that the kill meets different moments.
            let last = tokio::task::spawn_blocking(move || {
                for _ in 0..50 + 37 * (kill % 5) {
                    acknowledged = child.next("acked ").unwrap().parse().unwrap();
                }
                child.kill("acked ").unwrap_or(acknowledged)
            });
            acknowledged = timeout(FOR_EVER, last).await.unwrap().unwrap();
        }
        // The last one has time to send what waits.
        let (db, broker) = site(&path).await;
        let here = Site { broker, db, _dir: dir };
        here.broker.add_bridge(bridge(addr.clone(), version)).await.unwrap();
        stop.send_replace(true);
        let published = publishing.await.unwrap();
        let through = |status: &BridgeStatus| status.connected && status.queued_messages == 0;
        until(&here, through).await;
        assert!(check(got(&there.db)) > acknowledged, "{acknowledged} was acknowledged");
        while check(got(&here.db)) < published {
            tokio::task::yield_now().await;
        }
    }
}

fn got(db: &Db) -> impl Iterator<Item = u64> {
    let (log, mut at) = (db.log("got").unwrap(), Seq::ZERO);
    std::iter::from_fn(move || {
        let record = log.read(at, 1).unwrap().into_iter().next()?;
        at = record.seq().next();
        Some(String::from_utf8_lossy(record.value()).parse().unwrap())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_crosses_though_the_remote_process_is_killed() {
    for version in VERSIONS {
        let here = Site::start().await;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display().to_string();
        let (listen, socket) = nobody();
        drop(socket);
        here.broker.add_bridge(bridge(listen.clone(), version)).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let publishing = tokio::spawn(publish(here.broker.local(), "up/a", stopped));
        for kill in 0..KILLS {
            let mut child = remote(&path, &listen);
            let killed = tokio::task::spawn_blocking(move || {
                for _ in 0..50 + 37 * (kill % 5) {
                    child.next("got ").unwrap();
                }
                child.kill("got ")
            });
            timeout(FOR_EVER, killed).await.unwrap().unwrap();
        }
        stop.send_replace(true);
        let published = publishing.await.unwrap();
        let child = remote(&path, &listen);
        until(&here, |status| status.connected && status.queued_messages == 0).await;
        tokio::task::spawn_blocking(move || child.kill("got ")).await.unwrap();
        assert_eq!(check(got(&Db::open(&path).unwrap())), published);
    }
}
