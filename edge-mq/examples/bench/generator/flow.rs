//! Who may send how much, and whether all of it arrived, once and in order. Knows no socket.

use super::gaps::Gaps;
use super::traffic::Traffic;

/// The state of one load.
#[derive(Debug)]
pub(super) struct Flow {
    traffic: Traffic,
    sent: Vec<u64>,
    /// With QoS 2: PUBRECs that came.
    recorded: Vec<u64>,
    /// PUBACKs, or PUBCOMPs.
    acknowledged: Vec<u64>,
    /// By subscriber, then publisher: the number that it expects next.
    expected: Vec<u64>,
    received: u64,
    /// With QoS 2: PUBRELs that subscribers got.
    released: u64,
    gaps: Gaps,
    repeated: u64,
    out_of_order: u64,
    damaged: u64,
    acknowledged_out_of_order: u64,
}

impl Flow {
    pub(super) fn new(traffic: Traffic) -> Flow {
        let Traffic { publishers, subscribers, .. } = traffic;
        Flow {
            traffic,
            sent: vec![0; publishers],
            recorded: vec![0; publishers],
            acknowledged: vec![0; publishers],
            expected: vec![0; publishers * subscribers],
            received: 0,
            released: 0,
            gaps: Gaps::default(),
            repeated: 0,
            out_of_order: 0,
            damaged: 0,
            acknowledged_out_of_order: 0,
        }
    }

    /// Messages that subscribers got; where there is none, that were acknowledged.
    pub(super) fn passed(&self) -> u64 {
        match self.traffic.subscribers {
            0 => self.acknowledged.iter().sum(),
            _ => self.received,
        }
    }

    /// By publisher: messages that the broker has taken responsibility for.
    pub(super) fn acknowledged(&self) -> &[u64] {
        &self.acknowledged
    }

    /// How many messages this publisher may send now. Waits for a quarter of the window, as many
    /// small writes would measure the kernel.
    pub(super) fn allowance(&self, publisher: usize) -> u64 {
        let window = self.traffic.window;
        let free = window - (self.sent[publisher] - self.settled(publisher));
        if free * 4 < window { 0 } else { free }
    }

    /// Whether one more message of this publisher may be on its way: those on a schedule go alone.
    pub(super) fn has_room(&self, publisher: usize) -> bool {
        self.sent[publisher] - self.settled(publisher) < self.traffic.window
    }

    /// The number of the message that this publisher sends now.
    pub(super) fn send(&mut self, publisher: usize) -> u64 {
        let number = self.sent[publisher];
        self.sent[publisher] += 1;
        number
    }

    /// A PUBREC with this packet identifier came.
    pub(super) fn record(&mut self, publisher: usize, packet_id: u16) {
        let next = &mut self.recorded[publisher];
        self.acknowledged_out_of_order += u64::from(packet_id != Flow::packet_id(*next));
        *next += 1;
    }

    /// A PUBACK or PUBCOMP with this packet identifier came.
    pub(super) fn acknowledge(&mut self, publisher: usize, packet_id: u16) {
        let next = &mut self.acknowledged[publisher];
        self.acknowledged_out_of_order += u64::from(packet_id != Flow::packet_id(*next));
        if *next < self.sent[publisher] {
            *next += 1;
        }
    }

    /// A PUBREL came to a subscriber.
    pub(super) fn release(&mut self) {
        self.released += 1;
    }

    /// The packet identifier of a message; never 0.
    pub(super) fn packet_id(number: u64) -> u16 {
        u16::try_from(number % u64::from(u16::MAX)).expect("a remainder by 65535 fits") + 1
    }

    /// A subscriber got this message; `None` if it is none that we sent.
    pub(super) fn receive(&mut self, subscriber: usize, message: Option<(usize, u64)>) {
        self.received += 1;
        let known = message.filter(|(publisher, number)| {
            self.sent.get(*publisher).is_some_and(|sent| number < sent)
                && self.traffic.is_between(*publisher, subscriber)
        });
        let Some((publisher, number)) = known else {
            self.damaged += 1;
            return;
        };
        let stream = subscriber * self.sent.len() + publisher;
        let expected = &mut self.expected[stream];
        if number >= *expected {
            if number > *expected {
                self.gaps.open(stream, *expected, number);
            }
            *expected = number + 1;
        } else if self.gaps.fill(stream, number) {
            self.out_of_order += 1;
        } else {
            self.repeated += 1;
        }
    }

    /// Whether nothing is under way.
    pub(super) fn is_settled(&self) -> bool {
        let all = (0..self.sent.len()).all(|number| self.settled(number) == self.sent[number]);
        all && (self.traffic.qos < 2 || self.released >= self.received)
    }

    /// What went wrong, once nothing more is to come.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut missing = self.gaps.missing();
        for (publisher, sent) in self.sent.iter().enumerate() {
            for subscriber in self.traffic.receivers(publisher) {
                missing += sent - self.expected[subscriber * self.sent.len() + publisher];
            }
        }
        let unacknowledged: u64 = match self.traffic.qos {
            0 => 0,
            _ => self.sent.iter().zip(&self.acknowledged).map(|(sent, got)| sent - got).sum(),
        };
        let released = if self.traffic.qos < 2 { self.received } else { self.released };
        let faults = [
            (missing, "lost"),
            (self.repeated, "twice"),
            (self.out_of_order, "out of order"),
            (self.damaged, "damaged or foreign"),
            (unacknowledged, "not acknowledged"),
            (self.received.saturating_sub(released), "not released"),
            (self.acknowledged_out_of_order, "acknowledged out of order"),
        ];
        let faults = faults.into_iter().filter(|(count, _)| *count > 0);
        faults.map(|(count, what)| format!("{count} {what}")).collect()
    }

    /// Up to which number everybody is through with what this publisher sent.
    fn settled(&self, publisher: usize) -> u64 {
        let receivers = self.traffic.receivers(publisher);
        let expected =
            receivers.map(|subscriber| self.expected[subscriber * self.sent.len() + publisher]);
        let acknowledged =
            if self.traffic.qos == 0 { u64::MAX } else { self.acknowledged[publisher] };
        expected.min().unwrap_or(u64::MAX).min(acknowledged).min(self.sent[publisher])
    }
}

#[cfg(test)]
mod tests;
