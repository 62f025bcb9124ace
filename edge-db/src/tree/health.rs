//! What became of the data file, for who asks after redb has done its part.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// A block that is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} is damaged at offset {offset}: verify says what is lost", super::FILE)]
pub(crate) struct DamagedBlock {
    pub(super) offset: u64,
}

/// Whom to tell.
#[derive(Clone)]
pub(crate) struct Alarm(Arc<dyn Fn() + Send + Sync>);

impl Alarm {
    pub(crate) fn new(sound: impl Fn() + Send + Sync + 'static) -> Alarm {
        Alarm(Arc::new(sound))
    }
}

impl std::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alarm").finish_non_exhaustive()
    }
}

/// What became of one handle to the file.
#[derive(Debug)]
pub(super) struct Health {
    /// The first damaged block that was read.
    damage: Mutex<Option<DamagedBlock>>,
    has_failed: AtomicBool,
    is_closed: AtomicBool,
    /// Why the first write failed.
    failure: Mutex<Option<Arc<io::Error>>>,
    /// Told of a read that failed: redb refuses all others from then on.
    on_failed_read: Alarm,
}

impl Health {
    pub(super) fn new(on_failed_read: Alarm) -> Health {
        Health {
            damage: Mutex::default(),
            has_failed: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            failure: Mutex::default(),
            on_failed_read,
        }
    }

    /// What redb writes stays in memory from the start.
    pub(super) fn reading_only() -> Health {
        let health = Health::new(Alarm::new(|| {}));
        health.fail(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "opened to be read only"));
        health
    }

    /// From here on another process may write to the file. redb would do so once more when its
    /// last view is gone, whenever that is.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.fail(io::Error::other("database is closed"));
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub(super) fn damage(&self) -> Option<DamagedBlock> {
        *self.damage.lock()
    }

    pub(super) fn damaged(&self, offset: u64) -> io::Error {
        let damage = DamagedBlock { offset };
        self.damage.lock().get_or_insert(damage);
        io::Error::new(io::ErrorKind::InvalidData, damage)
    }

    /// An error if something that redb wrote is not on the disk.
    pub(super) fn check(&self) -> Result<(), Arc<io::Error>> {
        if !self.has_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.failure.lock().clone().map_or(Ok(()), Err)
    }

    /// Does what redb asks for, unless something failed before.
    pub(super) fn attempt(&self, work: impl FnOnce() -> io::Result<()>) {
        if self.has_failed.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = work() {
            self.fail(error);
        }
    }

    /// From here on nothing more reaches the disk.
    pub(super) fn fail(&self, error: io::Error) {
        self.failure.lock().get_or_insert_with(|| Arc::new(error));
        self.has_failed.store(true, Ordering::Release);
    }

    pub(super) fn read_failed(&self) {
        // Otherwise the file is about to be opened again, or has been.
        if !self.has_failed.load(Ordering::Acquire) {
            (self.on_failed_read.0)();
        }
    }
}
