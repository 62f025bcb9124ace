//! Who may send how much, and whether all of it arrived, once and in order. Knows no socket.

use super::case::{Case, Shape};

/// The state of one load.
#[derive(Debug)]
pub(super) struct Flow {
    shape: Shape,
    qos: u8,
    window: u64,
    sent: Vec<u64>,
    acknowledged: Vec<u64>,
    /// By subscriber, then publisher: the number that it expects next.
    expected: Vec<u64>,
    received: u64,
    missing: u64,
    repeated: u64,
    damaged: u64,
    acknowledged_out_of_order: u64,
}

impl Flow {
    pub(super) fn new(case: &Case) -> Flow {
        let publishers = case.shape.publishers();
        Flow {
            shape: case.shape,
            qos: case.qos,
            window: case.window,
            sent: vec![0; publishers],
            acknowledged: vec![0; publishers],
            expected: vec![0; publishers * case.shape.subscribers()],
            received: 0,
            missing: 0,
            repeated: 0,
            damaged: 0,
            acknowledged_out_of_order: 0,
        }
    }

    /// Messages that subscribers got.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// How many messages this publisher may send now. Waits for a quarter of the window, as many
    /// small writes would measure the kernel.
    pub(super) fn allowance(&self, publisher: usize) -> u64 {
        let free = self.window - (self.sent[publisher] - self.settled(publisher));
        if free * 4 < self.window { 0 } else { free }
    }

    /// The number of the message that this publisher sends now.
    pub(super) fn send(&mut self, publisher: usize) -> u64 {
        let number = self.sent[publisher];
        self.sent[publisher] += 1;
        number
    }

    /// A PUBACK with this packet identifier came.
    pub(super) fn acknowledge(&mut self, publisher: usize, packet_id: u16) {
        if packet_id != Flow::packet_id(self.acknowledged[publisher]) {
            self.acknowledged_out_of_order += 1;
        }
        if self.acknowledged[publisher] < self.sent[publisher] {
            self.acknowledged[publisher] += 1;
        }
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
                && self.shape.receivers(*publisher).contains(&subscriber)
        });
        let Some((publisher, number)) = known else {
            self.damaged += 1;
            return;
        };
        let expected = &mut self.expected[subscriber * self.sent.len() + publisher];
        if number < *expected {
            self.repeated += 1;
        } else {
            self.missing += number - *expected;
            *expected = number + 1;
        }
    }

    /// Whether nothing is under way.
    pub(super) fn is_settled(&self) -> bool {
        (0..self.sent.len()).all(|publisher| self.settled(publisher) == self.sent[publisher])
    }

    /// What went wrong, once nothing more is to come.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut missing = self.missing;
        for (publisher, sent) in self.sent.iter().enumerate() {
            for subscriber in self.shape.receivers(publisher) {
                missing += sent - self.expected[subscriber * self.sent.len() + publisher];
            }
        }
        let unacknowledged: u64 = match self.qos {
            0 => 0,
            _ => self.sent.iter().zip(&self.acknowledged).map(|(sent, got)| sent - got).sum(),
        };
        let faults = [
            (missing, "lost"),
            (self.repeated, "twice or out of order"),
            (self.damaged, "damaged or foreign"),
            (unacknowledged, "not acknowledged"),
            (self.acknowledged_out_of_order, "acknowledged out of order"),
        ];
        let faults = faults.into_iter().filter(|(count, _)| *count > 0);
        faults.map(|(count, what)| format!("{count} {what}")).collect()
    }

    /// Up to which number everybody is through with what this publisher sent.
    fn settled(&self, publisher: usize) -> u64 {
        let receivers = self.shape.receivers(publisher);
        let expected =
            receivers.map(|subscriber| self.expected[subscriber * self.sent.len() + publisher]);
        let acknowledged = if self.qos == 0 { u64::MAX } else { self.acknowledged[publisher] };
        expected.min().unwrap_or(0).min(acknowledged)
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::CASES;
    use super::*;

    fn flow(name: &str) -> Flow {
        Flow::new(CASES.iter().find(|case| case.name == name).unwrap())
    }

    #[test]
    fn slowest_receiver_holds_the_publisher_back() {
        let mut flow = flow("1 -> 50 QoS 0");
        for number in 0..flow.allowance(0) {
            assert_eq!(flow.send(0), number);
        }
        for subscriber in 0..49 {
            (0..1_000).for_each(|number| flow.receive(subscriber, Some((0, number))));
        }
        assert_eq!(flow.allowance(0), 0);
        (0..249).for_each(|number| flow.receive(49, Some((0, number))));
        assert_eq!(flow.allowance(0), 0, "too few for a write of their own");
        flow.receive(49, Some((0, 249)));
        assert_eq!(flow.allowance(0), 250);
        assert_eq!(flow.faults(), ["750 lost"], "if nothing more came");
    }

    #[test]
    fn qos_1_waits_for_acknowledgements_too() {
        let mut flow = flow("50 -> 1 QoS 1");
        (0..200).for_each(|_| _ = flow.send(3));
        (0..200).for_each(|number| flow.receive(0, Some((3, number))));
        assert_eq!(flow.allowance(3), 0);
        (0..200).for_each(|number| flow.acknowledge(3, Flow::packet_id(number)));
        assert_eq!(flow.allowance(3), 200);
        assert!(flow.is_settled() && flow.faults().is_empty());
    }

    #[test]
    fn gaps_repeats_and_foreign_messages_are_told_apart() {
        let mut flow = flow("50 pairs QoS 1");
        (0..4).for_each(|_| _ = flow.send(7));
        for message in [Some((7, 0)), Some((7, 2)), Some((7, 1)), Some((7, 4)), Some((8, 0)), None]
        {
            flow.receive(7, message);
        }
        flow.acknowledge(7, 2);
        let faults = [
            "2 lost",
            "1 twice or out of order",
            "3 damaged or foreign",
            "3 not acknowledged",
            "1 acknowledged out of order",
        ];
        assert_eq!(flow.faults(), faults);
    }

    #[test]
    fn packet_identifiers_skip_zero() {
        assert_eq!([0, 65_534, 65_535].map(Flow::packet_id), [1, 65_535, 1]);
    }
}
