//! How long messages take.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Result;
use super::histogram::Histogram;
use super::pace::Pace;

/// When messages are sent, and which times are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timing {
    /// As many as go; none are taken.
    None,
    /// As many as go; from when a message is written until a subscriber has it.
    Received,
    /// As many as go; from when a message is written until it is acknowledged.
    Acknowledged,
    /// So many messages each second, on a schedule; from when one was due until a subscriber has it,
    /// so that a message that had to wait for others shows it.
    Scheduled(u32),
}

#[derive(Debug)]
pub(super) struct Times {
    timing: Timing,
    start: Instant,
    pub(super) pace: Option<Pace>,
    /// By publisher, of what is not acknowledged; empty unless these are the times to take.
    sent: Vec<VecDeque<Instant>>,
    pub(super) latencies: Histogram,
    /// Of the generator itself, behind its schedule.
    pub(super) lateness: Histogram,
}

impl Times {
    pub(super) fn new(timing: Timing, publishers: usize) -> Result<Times> {
        let sent = match timing {
            Timing::Acknowledged => vec![VecDeque::new(); publishers],
            _ => Vec::new(),
        };
        let pace = match timing {
            Timing::Scheduled(per_second) => Some(Pace::start(per_second, publishers)?),
            _ => None,
        };
        let (latencies, lateness) = Default::default();
        Ok(Times { timing, start: Instant::now(), pace, sent, latencies, lateness })
    }

    /// Begins anew.
    pub(super) fn forget(&mut self) {
        self.latencies = Histogram::default();
        self.lateness = Histogram::default();
    }

    /// A message is written, which was due then. Gives what its payload says of it.
    pub(super) fn sent(&mut self, publisher: usize, due: Instant, now: Instant) -> u64 {
        if self.pace.is_some() {
            self.lateness.add(now.saturating_duration_since(due));
        }
        if let Some(sent) = self.sent.get_mut(publisher) {
            sent.push_back(now);
        }
        u64::try_from(due.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn acknowledged(&mut self, publisher: usize, now: Instant) {
        if let Some(sent) = self.sent.get_mut(publisher).and_then(VecDeque::pop_front) {
            self.latencies.add(now - sent);
        }
    }

    /// A message came whose payload says this.
    pub(super) fn received(&mut self, time: u64, now: Instant) {
        if let Timing::Received | Timing::Scheduled(_) = self.timing {
            let passed = now.saturating_duration_since(self.start);
            self.latencies.add(passed.saturating_sub(Duration::from_nanos(time)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_message_that_was_sent_late_counts_from_when_it_was_due() {
        let mut times = Times::new(Timing::Scheduled(1_000), 3).unwrap();
        let start = times.start;
        let said = times.sent(0, start + MS, start + 4 * MS);
        times.received(said, start + 6 * MS);
        assert_eq!(times.lateness.longest(), 3 * MS);
        assert_eq!(times.latencies.longest(), 5 * MS);
        times.forget();
        assert!(times.latencies.is_empty() && times.lateness.is_empty());
    }

    #[test]
    fn acknowledgements_belong_to_the_oldest_message() {
        let mut times = Times::new(Timing::Acknowledged, 2).unwrap();
        let start = times.start;
        times.sent(1, start, start);
        times.sent(1, start + 5 * MS, start + 5 * MS);
        times.acknowledged(0, start + 6 * MS);
        assert!(times.latencies.is_empty());
        times.acknowledged(1, start + 8 * MS);
        assert_eq!(times.latencies.longest(), 8 * MS);
        times.forget();
        times.acknowledged(1, start + 9 * MS);
        assert_eq!(times.latencies.longest(), 4 * MS);
        // What arrives is not what is asked for.
        times.received(0, start + 20 * MS);
        assert_eq!(times.latencies.longest(), 4 * MS);
    }
}
