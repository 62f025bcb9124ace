//! How often something took how long, in little memory.

use std::time::Duration;

/// Parts of each power of two: a percentile is at most one in 128 too long.
const PARTS: u64 = 128;

/// Times by their size.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    longest: Duration,
}

impl Histogram {
    pub(crate) fn add(&mut self, time: Duration) {
        let place = place(nanos(time));
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += 1;
        self.count += 1;
        self.longest = self.longest.max(time);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }

    /// What so much of them does not exceed; nothing of nothing.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        // Floats are exact for any number of messages here, and the cast saturates.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = (self.count as f64 * share).ceil() as u64;
        let mut passed = 0;
        let place = self.counts.iter().position(|count| {
            passed += count;
            passed >= rank.max(1)
        });
        place.map_or(Duration::ZERO, |place| Duration::from_nanos(most(place)).min(self.longest))
    }
}

impl FromIterator<Duration> for Histogram {
    fn from_iter<T: IntoIterator<Item = Duration>>(times: T) -> Histogram {
        let mut histogram = Histogram::default();
        times.into_iter().for_each(|time| histogram.add(time));
        histogram
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Short times have a place each; of longer ones, those that agree in the first eight bits share it.
fn place(nanos: u64) -> usize {
    let dropped = u64::from(nanos.max(1).ilog2().saturating_sub(PARTS.ilog2()));
    usize::try_from(dropped * PARTS + (nanos >> dropped)).expect("below 2^13")
}

/// The longest time of a place.
fn most(place: usize) -> u64 {
    let place = place as u64;
    let dropped = (place / PARTS).saturating_sub(1);
    let first = (place - dropped * PARTS) << dropped;
    first + ((1 << dropped) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_order_and_as_fine_as_they_are_to_be() {
        let mut before = 0;
        let times = (0..1_000_000).chain((20..64).flat_map(|bit| {
            let power = 1_u64 << bit;
            [power - 1, power, power + 1, power + power / 3]
        }));
        for nanos in times.chain([u64::MAX]) {
            let place = place(nanos);
            assert!(place >= before, "{nanos}");
            before = place;
            let most = most(place);
            assert!(
                (nanos..=nanos.saturating_add(nanos / PARTS)).contains(&most),
                "{nanos}: {most}"
            );
        }
    }

    #[test]
    fn percentiles_are_of_the_rank() {
        let histogram: Histogram = (1..=1_000).rev().map(Duration::from_nanos).collect();
        let near = |share: f64, nanos: u64| {
            let found = histogram.percentile(share);
            let expected = Duration::from_nanos(nanos);
            assert!((expected..=expected + expected / 100).contains(&found), "{share}: {found:?}");
        };
        near(0.5, 500);
        near(0.99, 990);
        near(0.999, 999);
        assert_eq!(histogram.percentile(1.0), Duration::from_nanos(1_000));
        assert_eq!(histogram.percentile(0.0), Duration::from_nanos(1));
        assert_eq!(histogram.longest(), Duration::from_nanos(1_000));
        assert_eq!(Histogram::default().percentile(0.5), Duration::ZERO);
    }
}
