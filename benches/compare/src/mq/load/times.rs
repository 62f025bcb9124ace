//! How long messages take.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Result;
use crate::mq::pace::Pace;

/// Which times are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mq) enum Timing {
    None,
    /// From when a message is written until it is acknowledged.
    Acknowledged,
    /// So many messages each second, on a schedule; from when one was due until its subscriber
    /// has it, so that a message that had to wait for others shows it.
    Scheduled(u32),
}

#[derive(Debug)]
pub(super) struct Times {
    publishers: usize,
    pub(super) pace: Option<Pace>,
    /// By publisher, of what is not acknowledged; empty unless these are the times to take.
    sent: Vec<VecDeque<Instant>>,
    pub(super) latencies: Vec<Duration>,
    /// Of the generator itself, behind its schedule.
    pub(super) lateness: Vec<Duration>,
}

impl Times {
    pub(super) fn new(timing: Timing, publishers: usize) -> Result<Times> {
        let sent = match timing {
            Timing::Acknowledged => vec![VecDeque::new(); publishers],
            _ => Vec::new(),
        };
        let pace = match timing {
            Timing::Scheduled(per_second) => Some(Pace::start(per_second)?),
            _ => None,
        };
        Ok(Times { publishers, pace, sent, latencies: Vec::new(), lateness: Vec::new() })
    }

    /// Begins anew.
    pub(super) fn forget(&mut self) {
        self.latencies.clear();
        self.lateness.clear();
    }

    /// Who has to send a message by now.
    pub(super) fn due(&mut self, now: Instant) -> Option<usize> {
        let pace = self.pace.as_mut()?;
        let message = pace.due(now)?;
        self.lateness.push(now - pace.time_of(message.into()));
        // They take turns.
        Some(message as usize % self.publishers)
    }

    pub(super) fn rearm(&self) {
        if let Some(pace) = &self.pace {
            pace.rearm();
        }
    }

    pub(super) fn sent(&mut self, publisher: usize, now: Instant) {
        if let Some(sent) = self.sent.get_mut(publisher) {
            sent.push_back(now);
        }
    }

    pub(super) fn acknowledged(&mut self, publisher: usize, now: Instant) {
        let sent = self.sent.get_mut(publisher).and_then(VecDeque::pop_front);
        self.latencies.extend(sent.map(|sent| now - sent));
    }

    pub(super) fn received(&mut self, message: Option<(usize, u64)>, now: Instant) {
        if let (Some(pace), Some((publisher, number))) = (&self.pace, message) {
            let due = pace.time_of(number * self.publishers as u64 + publisher as u64);
            self.latencies.push(now.saturating_duration_since(due));
        }
    }
}

pub(super) fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort_unstable();
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_was_sent_late_counts_from_when_it_was_due() {
        let mut times = Times::new(Timing::Scheduled(1_000), 3).unwrap();
        let start = times.pace.as_ref().unwrap().time_of(0);
        let ms = |count| start + Duration::from_millis(count);
        // Messages 0 to 4 at once, four milliseconds after the first was due.
        let publishers: Vec<_> = std::iter::from_fn(|| times.due(ms(4))).collect();
        assert_eq!(publishers, [0, 1, 2, 0, 1]);
        assert_eq!(times.lateness, [4, 3, 2, 1, 0].map(Duration::from_millis));
        // The second one of publisher 1 was due at 4 ms.
        times.received(Some((1, 1)), ms(6));
        assert_eq!(times.latencies, [Duration::from_millis(2)]);
        times.forget();
        assert!(times.latencies.is_empty() && times.lateness.is_empty());
    }

    #[test]
    fn acknowledgements_belong_to_the_oldest_message() {
        let mut times = Times::new(Timing::Acknowledged, 2).unwrap();
        let start = Instant::now();
        let ms = |count| start + Duration::from_millis(count);
        times.sent(1, ms(0));
        times.sent(1, ms(5));
        times.acknowledged(1, ms(7));
        times.acknowledged(1, ms(8));
        times.acknowledged(0, ms(9));
        assert_eq!(times.latencies, [7, 3].map(Duration::from_millis));
    }
}
