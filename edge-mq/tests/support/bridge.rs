//! Brokers with a database each, and what tests of bridges ask of them.

#![allow(dead_code, reason = "each test file uses a part of it")]

#[path = "cutter.rs"]
pub(crate) mod cutter;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use edge_db::Db;
use edge_mq::bridge::{Bridge, BridgeStatus};
use edge_mq::packet::Version;
use edge_mq::{Broker, Limits, LocalSubscription, Message, QoS, Stats};
use tokio::net::TcpSocket;

pub(crate) const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

/// When a test has failed. Nothing is asserted about time: it only ends what would wait for ever.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(120);

/// One broker.
pub(crate) struct Site {
    pub(crate) broker: Broker,
    pub(crate) db: Db,
    pub(crate) _dir: tempfile::TempDir,
}

impl Site {
    pub(crate) async fn start() -> Site {
        Site::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Limits)) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let mut limits = Limits::default();
        change(&mut limits);
        let builder = Broker::builder().db(&db).limits(limits);
        let broker = builder.listen(([127, 0, 0, 1], 0).into()).start().await.unwrap();
        Site { broker, db, _dir: dir }
    }

    pub(crate) fn socket(&self) -> SocketAddr {
        self.broker.local_addr().unwrap()
    }

    pub(crate) fn addr(&self) -> String {
        self.socket().to_string()
    }

    pub(crate) async fn publish(&self, message: Message) {
        self.broker.local().publish(message).await.unwrap();
    }

    pub(crate) async fn subscribe(&self, filter: &str) -> LocalSubscription {
        self.broker.local().subscribe(filter, 1_000_000).await.unwrap()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.broker.stats()
    }
}

pub(crate) fn message(topic: &str, payload: &str, qos: QoS) -> Message {
    Message::new(topic.parse().unwrap(), payload.to_owned()).qos(qos)
}

/// A bridge that tries again at once.
pub(crate) fn bridge_to(there: &Site, version: Version) -> Bridge {
    Bridge::new("bridge")
        .remote(there.addr())
        .version(version)
        .retry(Duration::ZERO, Duration::ZERO)
}

/// Topic, payload and QoS of the next message.
pub(crate) async fn got(subscription: &mut LocalSubscription) -> (String, String, QoS) {
    let next = tokio::time::timeout(FOR_EVER, subscription.recv()).await;
    let message = next.expect("nothing came for ever").expect("the broker is open");
    let payload = String::from_utf8(message.payload().to_vec()).unwrap();
    (message.topic().to_string(), payload, message.published_qos())
}

/// The status of the first bridge, once it is as wanted.
pub(crate) async fn until(site: &Site, wanted: impl Fn(&BridgeStatus) -> bool) -> BridgeStatus {
    let mut last = None;
    let wait = async {
        loop {
            let status = site.broker.bridges().await.unwrap().remove(0);
            if wanted(&status) {
                return status;
            }
            last = Some(status);
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(FOR_EVER, wait).await;
    found.unwrap_or_else(|_| panic!("never as wanted: {last:?}"))
}

/// Numbers on topics. They may come again, but each comes for the first time in its order.
#[derive(Debug, Default)]
pub(crate) struct FirstTimes(BTreeMap<String, u64>);

impl FirstTimes {
    pub(crate) fn see(&mut self, topic: String, payload: &str, seed: u64) {
        let number: u64 = payload.parse().unwrap();
        let next = self.0.entry(topic).or_default();
        assert!(number <= *next, "seed {seed}: {next} is missing in front of {number}");
        *next = (*next).max(number + 1);
    }

    /// How many different ones there were.
    pub(crate) fn sum(&self) -> u64 {
        self.0.values().sum()
    }
}

/// An address where nobody listens, and that nobody else gets while the socket is held.
pub(crate) fn nobody() -> (String, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    (socket.local_addr().unwrap().to_string(), socket)
}
