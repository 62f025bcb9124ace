//! Between the times of the hub, which end with the process, and those of the disk.

#![allow(clippy::disallowed_methods, reason = "a shell: it tells the time")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    instant: Instant,
    /// Since the Unix epoch.
    unix: Duration,
}

impl Clock {
    pub(super) fn now() -> Clock {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { instant: Instant::now(), unix }
    }

    /// The same moment, on a wall clock that is so far behind.
    #[cfg(test)]
    pub(super) fn behind(self, time: Duration) -> Clock {
        Clock { unix: self.unix - time, ..self }
    }

    pub(super) fn instant(&self) -> Instant {
        self.instant
    }

    /// Milliseconds since the Unix epoch.
    pub(super) fn unix_ms(&self, at: Instant) -> u64 {
        let unix = match at.checked_duration_since(self.instant) {
            Some(ahead) => self.unix.saturating_add(ahead),
            None => self.unix.saturating_sub(self.instant - at),
        };
        u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)
    }

    /// The moment that was written as these milliseconds; now, if that has passed, and at most `longest`
    /// from now, as clocks may have been set anew meanwhile.
    pub(super) fn moment(&self, unix_ms: u64, longest: Duration) -> Instant {
        let ahead = Duration::from_millis(unix_ms).saturating_sub(self.unix);
        self.instant + ahead.min(longest)
    }
}
