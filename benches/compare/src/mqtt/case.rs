//! Who sends to whom.

use super::peer::Peer;

/// One kind of load. Publisher `n` sends to the topic `load/n`.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) qos: u8,
    /// Messages of one publisher that its receivers (and, with QoS 1, itself by PUBACKs) have not
    /// got. Far below any queue limit of the brokers, so that nothing need be dropped.
    pub(super) window: u64,
    /// Whether edge-mq also runs with its journal, next to the run without: the price of durability.
    journaled: bool,
}

/// How publishers and subscribers are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// So many publishers to one subscriber of `load/+`.
    FanIn(usize),
    /// One publisher to so many subscribers.
    FanOut(usize),
    /// So many publishers, each to a subscriber of its own.
    Pairs(usize),
}

const fn case(name: &'static str, shape: Shape, qos: u8, window: u64) -> Case {
    Case { name, shape, qos, window, journaled: false }
}

pub(super) const CASES: [Case; 5] = [
    case("50 -> 1 QoS 0", Shape::FanIn(50), 0, 200),
    Case { journaled: true, ..case("50 -> 1 QoS 1", Shape::FanIn(50), 1, 200) },
    case("1 -> 50 QoS 0", Shape::FanOut(50), 0, 1_000),
    case("1 -> 50 QoS 1", Shape::FanOut(50), 1, 1_000),
    case("50 pairs QoS 1", Shape::Pairs(50), 1, 200),
];

impl Case {
    /// The brokers that can do it, ours first.
    pub(super) fn peers(&self, mosquitto: Option<&Peer>) -> Vec<Peer> {
        let mut peers = vec![Peer::EdgeMq];
        peers.extend(self.journaled.then_some(Peer::EdgeMqJournaled));
        peers.push(Peer::Rumqttd);
        peers.extend(mosquitto.cloned());
        peers
    }
}

impl Shape {
    pub(super) fn publishers(self) -> usize {
        match self {
            Shape::FanIn(count) | Shape::Pairs(count) => count,
            Shape::FanOut(_) => 1,
        }
    }

    pub(super) fn subscribers(self) -> usize {
        match self {
            Shape::FanIn(_) => 1,
            Shape::FanOut(count) | Shape::Pairs(count) => count,
        }
    }

    /// What this subscriber asks for.
    pub(super) fn filter(self, subscriber: usize) -> String {
        match self {
            Shape::FanIn(_) => "load/+".to_owned(),
            Shape::FanOut(_) => "load/0".to_owned(),
            Shape::Pairs(_) => format!("load/{subscriber}"),
        }
    }

    /// The subscribers that get what this publisher sends.
    pub(super) fn receivers(self, publisher: usize) -> std::ops::Range<usize> {
        match self {
            Shape::FanIn(_) => 0..1,
            Shape::FanOut(count) => 0..count,
            Shape::Pairs(_) => publisher..publisher + 1,
        }
    }
}
