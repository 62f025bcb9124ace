//! Which address is tried next, and when.

use std::time::Duration;

/// The way to a remote broker: its addresses in order, and how often they have failed.
#[derive(Debug)]
pub(super) struct Route {
    addresses: usize,
    at: usize,
    rounds: u32,
    first: Duration,
    most: Duration,
}

impl Route {
    pub(super) fn new(addresses: usize, retry: (Duration, Duration)) -> Route {
        Route { addresses, at: 0, rounds: 0, first: retry.0, most: retry.1 }
    }

    /// The address to try, by its place.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The connection ended, or there was none. Returns how long to wait before the next attempt;
    /// `random` decides how much of it is left out.
    ///
    /// After a connection that was of use everything begins again with the first address. One that
    /// was refused, or closed before it was of use, counts as a failure of its address; the others
    /// are tried at once.
    pub(super) fn lost(&mut self, was_of_use: bool, random: u64) -> Duration {
        if was_of_use {
            self.at = 0;
            self.rounds = 0;
            return self.delay(random);
        }
        self.at = (self.at + 1) % self.addresses;
        if self.at > 0 {
            return Duration::ZERO;
        }
        let delay = self.delay(random);
        self.rounds = self.rounds.saturating_add(1);
        delay
    }

    /// The first address answers again.
    pub(super) fn go_to_first(&mut self) {
        self.at = 0;
    }

    fn delay(&self, random: u64) -> Duration {
        let whole = self.first.saturating_mul(1 << self.rounds.min(20)).min(self.most);
        // Between a half and the whole.
        let part = f64::from((random >> 32) as u32) / f64::from(u32::MAX);
        whole.mul_f64(0.5 + part / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn route(addresses: usize) -> Route {
        Route::new(addresses, (SECOND, 10 * SECOND))
    }

    #[test]
    fn addresses_are_tried_in_order_and_the_wait_doubles_with_each_round() {
        let mut route = route(3);
        let mut tried = Vec::new();
        for _ in 0..7 {
            let at = route.at();
            tried.push((at, route.lost(false, u64::MAX)));
        }
        let none = Duration::ZERO;
        let expected =
            [(0, none), (1, none), (2, SECOND), (0, none), (1, none), (2, 2 * SECOND), (0, none)];
        assert_eq!(tried, expected);
    }

    #[test]
    fn wait_has_an_end_and_a_random_half() {
        let mut route = route(1);
        for _ in 0..100 {
            route.lost(false, 0);
        }
        assert_eq!(route.lost(false, u64::MAX), 10 * SECOND);
        assert_eq!(route.lost(false, 0), 5 * SECOND);
        let between = route.lost(false, u64::MAX / 2);
        assert!(between > 7 * SECOND && between < 8 * SECOND, "{between:?}");
    }

    #[test]
    fn connection_that_was_of_use_begins_again_with_the_first() {
        let mut route = route(2);
        route.lost(false, 0);
        assert_eq!(route.at(), 1);
        assert_eq!(route.lost(true, u64::MAX), SECOND);
        assert_eq!(route.at(), 0);
    }
}
