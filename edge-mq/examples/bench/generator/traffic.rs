//! Who sends to whom, and how much at once.

use super::packet::Version;

/// The first level of all topics that are published to.
pub(crate) const SENT_BELOW: &str = "load";

/// One kind of traffic. There are as many groups as there are topics, or subscribers if these are
/// fewer: publishers take turns in the topics, topics and subscribers in the groups, and whoever
/// subscribes gets all topics of its group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traffic {
    pub(crate) publishers: usize,
    pub(crate) subscribers: usize,
    /// One for each publisher at most, so that it has one.
    pub(crate) topics: usize,
    pub(crate) qos: u8,
    /// Messages of one publisher that its receivers (and, with QoS 1 and 2, itself by
    /// acknowledgements) have not got; below 65,535, as packet identifiers are not used twice.
    pub(crate) window: u64,
    /// The first level of the topics that subscribers ask for: another one than publishers use where
    /// somebody in between sends each message on.
    pub(crate) heard_below: &'static str,
    /// Whether the sessions of subscribers outlive their connections.
    pub(crate) is_kept: bool,
    pub(crate) version: Version,
    /// Of each message.
    pub(crate) payload_bytes: usize,
}

impl Traffic {
    fn groups(&self) -> usize {
        self.topics.min(self.subscribers).max(1)
    }

    /// Where this publisher sends to.
    pub(crate) fn topic(&self, publisher: usize) -> String {
        format!("{SENT_BELOW}/{}", publisher % self.topics)
    }

    /// What this subscriber asks for.
    pub(crate) fn filters(&self, subscriber: usize) -> Vec<String> {
        let groups = self.groups();
        if groups == 1 && self.topics > 1 {
            return vec![format!("{}/+", self.heard_below)];
        }
        let own = (0..self.topics).filter(|topic| topic % groups == subscriber % groups);
        own.map(|topic| format!("{}/{topic}", self.heard_below)).collect()
    }

    /// The subscribers that get what this publisher sends.
    pub(crate) fn receivers(&self, publisher: usize) -> impl Iterator<Item = usize> + use<> {
        let groups = self.groups();
        (publisher % self.topics % groups..self.subscribers).step_by(groups)
    }

    /// Whether this is one of them.
    pub(crate) fn is_between(&self, publisher: usize, subscriber: usize) -> bool {
        let groups = self.groups();
        subscriber % groups == publisher % self.topics % groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of each publisher its topic and receivers, and of each subscriber its filters.
    fn shape(publishers: usize, subscribers: usize, topics: usize) -> [String; 2] {
        let version = Version::V311;
        let traffic = Traffic {
            publishers,
            subscribers,
            topics,
            qos: 0,
            window: 1,
            heard_below: SENT_BELOW,
            is_kept: false,
            version,
            payload_bytes: 64,
        };
        let sends = (0..publishers).map(|publisher| {
            let receivers: Vec<_> = traffic.receivers(publisher).collect();
            for subscriber in 0..subscribers {
                let is_receiver = receivers.contains(&subscriber);
                assert_eq!(traffic.is_between(publisher, subscriber), is_receiver);
            }
            let receivers = receivers.iter().map(ToString::to_string).collect::<Vec<_>>().join("+");
            format!("{}>{receivers}", traffic.topic(publisher).trim_start_matches("load/"))
        });
        let gets = (0..subscribers).map(|subscriber| {
            let filters = traffic.filters(subscriber).join("&");
            filters.replace("load/", "")
        });
        [sends.collect::<Vec<_>>().join(" "), gets.collect::<Vec<_>>().join(" ")]
    }

    #[test]
    fn topics_and_subscribers_are_dealt_out() {
        for (counts, sends, gets) in [
            // Many to one, one to many, pairs.
            ((3, 1, 3), "0>0 1>0 2>0", "+"),
            ((1, 3, 1), "0>0+1+2", "0 0 0"),
            ((3, 3, 3), "0>0 1>1 2>2", "0 1 2"),
            // All to all.
            ((2, 2, 1), "0>0+1 0>0+1", "0 0"),
            // More topics than subscribers, and the other way round.
            ((4, 2, 4), "0>0 1>1 2>0 3>1", "0&2 1&3"),
            ((2, 5, 2), "0>0+2+4 1>1+3", "0 1 0 1 0"),
            ((4, 2, 2), "0>0 1>1 0>0 1>1", "0 1"),
            // Nobody listens.
            ((2, 0, 2), "0> 1>", ""),
        ] {
            assert_eq!(shape(counts.0, counts.1, counts.2), [sends, gets], "{counts:?}");
        }
    }
}
