//! How fast something may come: a bucket that fills with time and is emptied by what comes (the token
//! bucket of RFC 2697, section 3).

use std::time::Instant;

/// So many in a second on average, and so many at once.
///
/// ```
/// let mut limits = edge_mq::Limits::default();
/// limits.connect_rate_per_address = Some(edge_mq::Rate::per_second(1).burst(20));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: u32,
    burst: u32,
}

impl Rate {
    /// With two seconds' worth at once.
    pub const fn per_second(count: u32) -> Rate {
        Rate { per_second: count, burst: count.saturating_mul(2) }
    }

    /// With so many at once, after as long a rest as it takes to have them.
    pub fn burst(self, count: u32) -> Rate {
        Rate { burst: count, ..self }
    }
}

/// What is left in one bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    left: f64,
    filled: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(rate: Rate, now: Instant) -> Bucket {
        Bucket { left: f64::from(rate.burst), filled: now }
    }

    /// Takes so much out, if there is anything left: a message may be larger than the bucket.
    pub(crate) fn take(&mut self, amount: usize, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        let has_some = self.left > 0.0;
        if has_some {
            self.left -= amount as f64;
        }
        has_some
    }

    /// Whether it is as good as new.
    pub(crate) fn is_full(&mut self, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        self.left >= f64::from(rate.burst)
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        self.left = (self.left + seconds * f64::from(rate.per_second)).min(f64::from(rate.burst));
        self.filled = now;
    }
}
