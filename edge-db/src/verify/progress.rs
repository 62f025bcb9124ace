//! How far a long run is.

/// Progress is told about each MiB.
const TOLD_BYTES: u64 = 1 << 20;

/// How far a long run is: told about each MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes of the data file that were read.
    pub done_bytes: u64,
    /// Its length. Damage may make it take more or less than that.
    pub all_bytes: u64,
}

/// Tells how far a walk is.
pub(super) struct Told<'a> {
    done: u64,
    at: u64,
    all: u64,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a> Told<'a> {
    pub(super) fn new(done: u64, all: u64, progress: &'a mut dyn FnMut(Progress)) -> Told<'a> {
        Told { done, at: 0, all, progress }
    }

    /// So much more was read.
    pub(super) fn read(&mut self, bytes: u64) {
        self.done += bytes;
        if self.done >= self.at {
            self.at = self.done + TOLD_BYTES;
            (self.progress)(Progress { done_bytes: self.done, all_bytes: self.all });
        }
    }
}
