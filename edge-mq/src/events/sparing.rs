//! How many warnings there may be of what strangers bring about.

#![allow(clippy::disallowed_methods, reason = "a shell: it brings the time")]

use std::time::Instant;

use parking_lot::Mutex;

use crate::rate::{Bucket, Rate};

/// Enough to see what is wrong, and some 200 MB a day at worst.
const TOLD: Rate = Rate::per_second(10);

/// Counts warnings.
#[derive(Debug, Default)]
pub(crate) struct Sparing {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bucket: Option<Bucket>,
    left_out: u64,
}

impl Sparing {
    /// Whether there may be one more: then how many were left out since the last.
    pub(super) fn take(&self) -> Option<u64> {
        self.state.lock().take(Instant::now())
    }
}

impl State {
    fn take(&mut self, now: Instant) -> Option<u64> {
        let bucket = self.bucket.get_or_insert_with(|| Bucket::new(TOLD, now));
        if bucket.take(1, TOLD, now) {
            return Some(std::mem::take(&mut self.left_out));
        }
        self.left_out += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn beyond_so_many_they_are_counted_and_told_with_the_next() {
        let (mut state, start) = (State::default(), Instant::now());
        let told = (0..1000).filter(|_| state.take(start).is_some()).count();
        assert_eq!(told, 20);
        let later = start + Duration::from_millis(150);
        assert_eq!(state.take(later), Some(980));
        assert_eq!(state.take(later), Some(0));
        assert_eq!(state.take(later), None);
    }
}
