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

use super::Result;

/// A schedule, and the timer that wakes the generator for each message: a wait for sockets alone
/// knows nothing shorter than a millisecond.
#[derive(Debug)]
pub(super) struct Pace {
    timer: OwnedFd,
    publishers: usize,
    interval: Duration,
    /// When the next message is due.
    due: Instant,
    /// Whose it is: they take turns.
    publisher: usize,
}

impl Pace {
    /// So many messages each second, from now on, of all publishers together.
    pub(super) fn start(per_second: u32, publishers: usize) -> Result<Pace> {
        let interval = Duration::from_secs(1) / per_second;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let seconds = interval.as_secs().try_into()?;
        let spec = Timespec { tv_sec: seconds, tv_nsec: interval.subsec_nanos().into() };
        let spec = Itimerspec { it_interval: spec, it_value: spec };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
        Ok(Pace { timer, publishers, interval, due: Instant::now(), publisher: 0 })
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

    /// Who has to send a message by now, and when it was due.
    pub(super) fn due(&self, now: Instant) -> Option<(usize, Instant)> {
        (self.due <= now).then_some((self.publisher, self.due))
    }

    /// It is sent.
    pub(super) fn advance(&mut self) {
        self.due += self.interval;
        self.publisher = (self.publisher + 1) % self.publishers;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_late_catches_up_in_turns_and_times_stay_as_they_were() {
        let mut pace = Pace::start(20_000, 3).unwrap();
        let start = pace.due;
        let late = start + Duration::from_micros(175);
        let due: Vec<_> = std::iter::from_fn(|| {
            let due = pace.due(late)?;
            pace.advance();
            Some((due.0, due.1 - start))
        })
        .collect();
        let micros = Duration::from_micros;
        assert_eq!(due, [(0, micros(0)), (1, micros(50)), (2, micros(100)), (0, micros(150))]);
    }
}
