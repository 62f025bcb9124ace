//! What is on its way to the remote broker and not yet acknowledged, in the order of sending.

use std::collections::VecDeque;

use edge_db::Seq;

/// More bytes than this are not on the way at once, but for a single message that is larger.
const IN_FLIGHT_BYTES: usize = 1024 * 1024;

/// Where a message stands: which queue, and where in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) lane: usize,
    pub(super) seq: Seq,
}

/// Messages of one connection. Forgotten with it: the next one begins again with the oldest that was
/// not acknowledged, so that each topic keeps its order.
#[derive(Debug, Default)]
pub(super) struct Window {
    entries: VecDeque<Entry>,
    /// How many of them the client has sent.
    sent: usize,
    bytes: usize,
    limit: usize,
}

#[derive(Debug)]
struct Entry {
    /// `None` of a message of the bridge itself.
    place: Option<Place>,
    bytes: usize,
    packet_id: u16,
    /// Whether the remote broker has taken it, once that is known.
    is_taken: Option<bool>,
}

/// What became of the oldest message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// The remote broker has it.
    Crossed,
    /// The remote broker does not want it.
    Refused,
    /// It was one of the bridge itself.
    Own,
}

/// An acknowledgement that belongs to nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unexpected;

impl Window {
    /// Room for this many messages; one at least.
    pub(super) fn new(limit: usize) -> Window {
        Window { limit: limit.max(1), ..Window::default() }
    }

    /// How many more may be sent. None while less than half of the room is free: few reads of many
    /// records cost less than many reads of one.
    pub(super) fn room(&self) -> usize {
        let free = self.limit.saturating_sub(self.entries.len());
        let is_worth_it = free * 2 >= self.limit && self.bytes * 2 < IN_FLIGHT_BYTES;
        if is_worth_it { free } else { 0 }
    }

    /// Whether one more of this size may be sent at once.
    pub(super) fn takes(&self, bytes: usize) -> bool {
        let fits = self.bytes == 0 || self.bytes + bytes <= IN_FLIGHT_BYTES;
        fits && self.entries.len() < self.limit
    }

    /// This was given to the client; `None` for a message of the bridge itself.
    pub(super) fn push(&mut self, place: Option<Place>, bytes: usize) {
        debug_assert!(self.entries.iter().skip(self.sent).all(|entry| entry.is_taken.is_none()));
        self.bytes += bytes;
        self.entries.push_back(Entry { place, bytes, packet_id: 0, is_taken: None });
    }

    /// The client has sent the next one that it was given, by this identifier; 0 is QoS 0, which
    /// nobody acknowledges.
    pub(super) fn sent(&mut self, packet_id: u16) -> Result<(), Unexpected> {
        let entry = self.entries.get_mut(self.sent).ok_or(Unexpected)?;
        entry.packet_id = packet_id;
        entry.is_taken = (packet_id == 0).then_some(true);
        self.sent += 1;
        Ok(())
    }

    /// The remote broker has taken the message of this identifier, or will never do so.
    pub(super) fn answered(&mut self, packet_id: u16, is_taken: bool) -> Result<(), Unexpected> {
        let mut sent = self.entries.iter_mut().take(self.sent);
        let entry = sent.find(|entry| entry.packet_id == packet_id && entry.is_taken.is_none());
        entry.ok_or(Unexpected)?.is_taken = Some(is_taken);
        Ok(())
    }

    /// Gives out the oldest one, if it is through. Those behind it wait for it, so that a queue's
    /// position never passes what may be lost.
    pub(super) fn settled(&mut self) -> Option<Settled> {
        let entry = self.entries.pop_front_if(|entry| entry.is_taken.is_some())?;
        self.sent -= 1;
        self.bytes -= entry.bytes;
        Some(match (entry.place, entry.is_taken) {
            (None, _) => Settled::Own,
            (Some(_), Some(false)) => Settled::Refused,
            (Some(_), _) => Settled::Crossed,
        })
    }

    /// The oldest message of this queue that is on its way.
    pub(super) fn oldest(&self, lane: usize) -> Option<Seq> {
        let mut places = self.entries.iter().filter_map(|entry| entry.place);
        places.find(|place| place.lane == lane).map(|place| place.seq)
    }
}

/// How much of the room each queue gets that has something to send: by weight, one at least.
pub(super) fn shares(room: usize, weights: &[usize]) -> impl Iterator<Item = usize> {
    let all: usize = weights.iter().sum();
    let shares = move |weight: &usize| match weight {
        0 => 0,
        weight => (room * weight / all.max(1)).max(1),
    };
    weights.iter().map(shares).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(lane: usize, seq: u64) -> Option<Place> {
        Some(Place { lane, seq: Seq::new(seq) })
    }

    fn settled(window: &mut Window) -> Vec<Settled> {
        std::iter::from_fn(|| window.settled()).collect()
    }

    #[test]
    fn acknowledged_out_of_order_waits_for_the_oldest() {
        let mut window = Window::new(10);
        (0..3).for_each(|seq| window.push(place(0, seq), 1));
        (1..=3).for_each(|id| window.sent(id).unwrap());
        window.answered(2, true).unwrap();
        window.answered(3, true).unwrap();
        assert_eq!(settled(&mut window), []);
        assert_eq!(window.oldest(0), Some(Seq::new(0)));
        window.answered(1, true).unwrap();
        assert_eq!(settled(&mut window), [Settled::Crossed; 3]);
        assert_eq!(window.oldest(0), None);
    }

    #[test]
    fn qos_0_is_through_once_it_is_sent_and_not_before_those_in_front_of_it() {
        let mut window = Window::new(10);
        (0..3).for_each(|seq| window.push(place(0, seq), 1));
        window.sent(0).unwrap();
        assert_eq!(settled(&mut window), [Settled::Crossed]);
        assert_eq!(window.oldest(0), Some(Seq::new(1)));
        window.sent(1).unwrap();
        window.sent(0).unwrap();
        assert_eq!(settled(&mut window), []);
        window.answered(1, true).unwrap();
        assert_eq!(settled(&mut window).len(), 2);
    }

    #[test]
    fn identifier_that_is_used_again_means_the_message_that_waits() {
        let mut window = Window::new(10);
        (0..3).for_each(|seq| window.push(place(0, seq), 1));
        window.sent(1).unwrap();
        window.sent(2).unwrap();
        window.answered(2, true).unwrap();
        window.sent(2).unwrap();
        window.answered(2, true).unwrap();
        window.answered(1, true).unwrap();
        assert_eq!(settled(&mut window).len(), 3);
    }

    #[test]
    fn what_nobody_waits_for_is_told() {
        let mut window = Window::new(10);
        assert_eq!(window.sent(1), Err(Unexpected));
        window.push(place(0, 0), 1);
        assert_eq!(window.answered(1, true), Err(Unexpected));
        window.sent(1).unwrap();
        window.answered(1, true).unwrap();
        assert_eq!(window.answered(1, true), Err(Unexpected));
    }

    #[test]
    fn what_became_of_a_message_is_told_in_its_turn() {
        let mut window = Window::new(10);
        for place in [place(0, 0), None, place(1, 0)] {
            window.push(place, 1);
        }
        (1..=3).for_each(|id| window.sent(id).unwrap());
        window.answered(3, true).unwrap();
        window.answered(2, true).unwrap();
        window.answered(1, false).unwrap();
        assert_eq!(settled(&mut window), [Settled::Refused, Settled::Own, Settled::Crossed]);
    }

    #[test]
    fn bytes_on_the_way_are_limited_but_for_a_single_message() {
        let mut window = Window::new(10);
        assert!(window.takes(5 * IN_FLIGHT_BYTES));
        window.push(place(0, 0), IN_FLIGHT_BYTES - 10);
        assert!(window.takes(10) && !window.takes(11));
        window.push(place(0, 1), 10);
        assert_eq!(window.room(), 0);
    }

    #[test]
    fn room_is_offered_when_half_of_it_is_free() {
        let mut window = Window::new(4);
        for room in [4, 3, 2, 0, 0] {
            assert_eq!(window.room(), room);
            window.push(None, 0);
        }
    }

    #[test]
    fn each_queue_gets_its_share_and_no_queue_starves() {
        let of = |room, weights: &[usize]| shares(room, weights).collect::<Vec<_>>();
        assert_eq!(of(105, &[16, 4, 1]), [80, 20, 5]);
        assert_eq!(of(100, &[0, 4, 0]), [0, 100, 0]);
        assert_eq!(of(2, &[16, 4, 1]), [1, 1, 1]);
        assert_eq!(of(2, &[0, 0, 0]), [0, 0, 0]);
    }
}
