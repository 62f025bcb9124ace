//! How many batches to wait for before a group is written.

use std::time::Duration;

/// Turns without waiting, at most, after waits that were in vain.
const MOST_SKIPPED: u32 = 64;
/// Threads that run come back sooner, however slow the disk is.
const LONGEST_PATIENCE: Duration = Duration::from_millis(1);

/// Writers that were told of their commits come back at once with the next ones. A group that waits
/// for them has all of them in one sync; without that two halves take turns. It waits for as many
/// as were there before, for a part of the time that a sync takes, and more seldom after waiting in
/// vain.
#[derive(Debug, Default)]
pub(super) struct Grouping {
    /// Batches that the last turn committed, and that came meanwhile.
    expected: usize,
    patience: Duration,
    /// Turns that begin at once.
    skipped: u32,
    /// As many after the next wait that is in vain.
    skips: u32,
}

impl Grouping {
    /// A turn with so many batches took this time; so many more have come meanwhile.
    pub(super) fn ended(&mut self, batches: usize, came: usize, took: Duration) {
        if batches > 0 {
            self.expected = batches + came;
            self.patience = (took / 4).min(LONGEST_PATIENCE);
            self.skipped = self.skipped.saturating_sub(1);
        }
    }

    /// Whether one writer is alone, so that nobody is held up by a group of one.
    pub(super) fn is_lone(&self) -> bool {
        self.expected <= 1
    }

    /// How many batches to wait for, and how long, when there are `here` already.
    pub(super) fn wait(&self, here: usize) -> Option<(usize, Duration)> {
        (self.skipped == 0 && here < self.expected).then_some((self.expected, self.patience))
    }

    /// Whether as many came as were waited for.
    pub(super) fn waited(&mut self, came: bool) {
        if came {
            self.skips = 0;
        } else {
            self.skips = (self.skips * 2).clamp(1, MOST_SKIPPED);
            // This turn is one of them.
            self.skipped = self.skips + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(100);

    #[test]
    fn group_waits_for_those_of_the_turn_before() {
        let mut grouping = Grouping::default();
        assert!(grouping.is_lone());
        grouping.ended(1, 15, SYNC);
        assert!(!grouping.is_lone());
        assert_eq!(grouping.wait(15), Some((16, SYNC / 4)));
        grouping.waited(true);
        grouping.ended(16, 0, SYNC);
        assert_eq!(grouping.wait(1), Some((16, SYNC / 4)));
        assert_eq!(grouping.wait(16), None);
    }

    #[test]
    fn lone_writer_waits_for_nobody() {
        let mut grouping = Grouping::default();
        grouping.ended(1, 0, SYNC);
        assert!(grouping.is_lone());
        assert_eq!(grouping.wait(1), None);
    }

    #[test]
    fn slow_disk_makes_nobody_wait_long() {
        let mut grouping = Grouping::default();
        grouping.ended(4, 4, Duration::from_secs(5));
        assert_eq!(grouping.wait(4), Some((8, LONGEST_PATIENCE)));
    }

    #[test]
    fn turn_without_batches_says_nothing() {
        let mut grouping = Grouping::default();
        grouping.ended(4, 4, SYNC);
        grouping.ended(0, 0, SYNC * 9);
        assert_eq!(grouping.wait(4), Some((8, SYNC / 4)));
    }

    #[test]
    fn waits_in_vain_become_seldom() {
        let mut grouping = Grouping::default();
        let mut waits = Vec::new();
        for turn in 0..300 {
            grouping.ended(2, 2, SYNC);
            if grouping.wait(2).is_some() {
                grouping.waited(false);
                waits.push(turn);
            }
        }
        let gaps: Vec<i32> = waits.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(gaps, [2, 3, 5, 9, 17, 33, 65, 65, 65]);
        // And often again once they are not.
        while grouping.wait(2).is_none() {
            grouping.ended(2, 2, SYNC);
        }
        grouping.waited(true);
        grouping.ended(2, 2, SYNC);
        assert!(grouping.wait(2).is_some());
    }
}
