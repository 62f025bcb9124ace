//! Messages on a schedule: each has its time, whatever became of those before it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::Result;

/// A schedule, and the timer that wakes the generator for each message: a wait for sockets alone
/// knows nothing shorter than a millisecond.
#[derive(Debug)]
pub(super) struct Pace {
    timer: OwnedFd,
    start: Instant,
    interval: Duration,
    next: u32,
}

impl Pace {
    /// So many messages each second, from now on.
    pub(super) fn start(per_second: u32) -> Result<Pace> {
        let interval = Duration::from_secs(1) / per_second;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let spec = Timespec { tv_sec: 0, tv_nsec: interval.subsec_nanos().into() };
        let spec = Itimerspec { it_interval: spec, it_value: spec };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
        Ok(Pace { timer, start: Instant::now(), interval, next: 0 })
    }

    /// Wakes with this token.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.timer.as_raw_fd()), token, Interest::READABLE)
    }

    /// The timer has fired; without this it does not again.
    pub(super) fn rearm(&self) {
        // Nothing to read is what it says when another turn was as fast.
        rustix::io::read(&self.timer, &mut [0; 8]).ok();
    }

    /// The next message, if its time has come.
    pub(super) fn due(&mut self, now: Instant) -> Option<u32> {
        let next = self.next;
        (self.time_of(next.into()) <= now).then(|| {
            self.next += 1;
            next
        })
    }

    /// When a message was due.
    pub(super) fn time_of(&self, message: u64) -> Instant {
        // A run of ten minutes at any pace here stays far below 2^32 messages.
        self.start + self.interval * u32::try_from(message).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_late_catches_up_and_times_stay_as_they_were() {
        let mut pace = Pace::start(20_000).unwrap();
        let late = pace.time_of(3);
        assert_eq!(late - pace.time_of(0), Duration::from_micros(150));
        let due: Vec<_> = std::iter::from_fn(|| pace.due(late)).collect();
        assert_eq!(due, [0, 1, 2, 3]);
        assert_eq!(pace.time_of(3), late);
    }
}
