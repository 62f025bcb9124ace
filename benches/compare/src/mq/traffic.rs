//! Who sends to whom, and how much at once.

use std::ops::Range;

/// One kind of traffic. Publisher `n` sends to the topic `load/n`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traffic {
    pub(super) shape: Shape,
    pub(super) qos: u8,
    /// Messages of one publisher that its receivers (and, with QoS 1 and 2, itself by
    /// acknowledgements) have not got. Far below any queue limit of the brokers, so that nothing
    /// need be dropped.
    pub(super) window: u64,
    /// Whether the sessions of subscribers outlive their connections.
    pub(super) is_kept: bool,
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
    /// One publisher that nobody listens to.
    Unheard,
}

/// Many packets in each write.
const MANY: u64 = 200;

impl Traffic {
    pub(super) const fn fan_in(qos: u8) -> Traffic {
        Traffic { shape: Shape::FanIn(50), qos, window: MANY, is_kept: false }
    }

    pub(super) const fn fan_out(qos: u8) -> Traffic {
        Traffic { shape: Shape::FanOut(50), qos, window: 1_000, is_kept: false }
    }

    pub(super) const fn pairs(qos: u8) -> Traffic {
        Traffic { shape: Shape::Pairs(50), qos, window: MANY, is_kept: false }
    }

    /// One message at a time, and nobody listens.
    pub(super) const fn unheard(qos: u8) -> Traffic {
        Traffic { shape: Shape::Unheard, qos, window: 1, is_kept: false }
    }

    pub(super) const fn with_window(self, window: u64) -> Traffic {
        Traffic { window, ..self }
    }

    pub(super) const fn to_kept_sessions(self) -> Traffic {
        Traffic { is_kept: true, ..self }
    }
}

impl Shape {
    pub(super) fn publishers(self) -> usize {
        match self {
            Shape::FanIn(count) | Shape::Pairs(count) => count,
            Shape::FanOut(_) | Shape::Unheard => 1,
        }
    }

    pub(super) fn subscribers(self) -> usize {
        match self {
            Shape::FanIn(_) => 1,
            Shape::FanOut(count) | Shape::Pairs(count) => count,
            Shape::Unheard => 0,
        }
    }

    /// What this subscriber asks for.
    pub(super) fn filter(self, subscriber: usize) -> String {
        match self {
            Shape::FanIn(_) => "load/+".to_owned(),
            Shape::FanOut(_) => "load/0".to_owned(),
            Shape::Pairs(_) | Shape::Unheard => format!("load/{subscriber}"),
        }
    }

    /// The subscribers that get what this publisher sends.
    pub(super) fn receivers(self, publisher: usize) -> Range<usize> {
        match self {
            Shape::FanIn(_) => 0..1,
            Shape::FanOut(count) => 0..count,
            Shape::Pairs(_) => publisher..publisher + 1,
            Shape::Unheard => 0..0,
        }
    }
}
