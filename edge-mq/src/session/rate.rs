//! How much a client may publish: a bucket that fills with time and is emptied by messages (the token
//! bucket of RFC 2697, section 3).

use std::time::Instant;

/// A second's worth may be used at once, and a second more.
const BURST_SECONDS: f64 = 2.0;

/// What is left in one bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    left: f64,
    filled: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(per_second: u32, now: Instant) -> Bucket {
        Bucket { left: f64::from(per_second) * BURST_SECONDS, filled: now }
    }

    /// Takes so much out, if there is anything left: a message may be larger than the bucket.
    pub(super) fn take(&mut self, amount: usize, per_second: u32, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        let per_second = f64::from(per_second);
        self.left = (self.left + seconds * per_second).min(per_second * BURST_SECONDS);
        self.filled = now;
        let has_some = self.left > 0.0;
        if has_some {
            self.left -= amount as f64;
        }
        has_some
    }
}
