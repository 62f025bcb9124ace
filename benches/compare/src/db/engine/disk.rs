//! The disk itself: rows appended to a preallocated file, and one sync shared by all who wait.
//! No store, but what none can beat by much, and how much of a difference is the machine's mood.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

use super::{Counters, Scanned, Store};
use crate::Result;
use crate::db::rows::{ROW_BYTES, Row};

/// Length of the file; appending goes on at its beginning then.
const FILE_BYTES: usize = 64 << 20;

pub(super) struct Disk {
    shared: Arc<Shared>,
}

struct Shared {
    file: File,
    state: Mutex<State>,
    failed: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Rows that wait while others are being synced, and the threads that brought them.
    gathering: Vec<u8>,
    waiting: Vec<Arc<Waiter>>,
    /// Whether some thread writes and syncs; it tells another one to go on.
    syncing: bool,
    /// Where the next group goes.
    end: usize,
    scanned: Scanned,
}

/// A thread that is parked. One flag for each: those of a group do not meet at one lock when
/// they are woken, which on few cores costs as much as the sync.
struct Waiter {
    thread: Thread,
    /// Its rows are on disk.
    synced: AtomicBool,
    /// It is to sync the group that its rows are in.
    leads: AtomicBool,
}

impl Disk {
    pub(super) fn create(dir: &Path) -> Result<Disk> {
        let file = File::options().write(true).create_new(true).open(dir.join("rows"))?;
        // Written and not just allocated: a sync then changes no metadata.
        file.write_all_at(&vec![0; FILE_BYTES], 0)?;
        file.sync_all()?;
        let shared = Shared { file, state: Mutex::default(), failed: AtomicBool::new(false) };
        Ok(Disk { shared: Arc::new(shared) })
    }
}

impl Waiter {
    fn wake(&self, by: &AtomicBool) {
        by.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes and syncs what has gathered, lets one of those that came meanwhile do the same for
    /// them, and wakes the others of its own group.
    fn sync_group(&self, mut state: MutexGuard<'_, State>) {
        let bytes = std::mem::take(&mut state.gathering);
        let group = std::mem::take(&mut state.waiting);
        let start = if state.end + bytes.len() > FILE_BYTES { 0 } else { state.end };
        state.end = start + bytes.len();
        drop(state);
        let written = self.file.write_all_at(&bytes, start as u64);
        if written.and_then(|()| self.file.sync_data()).is_err() {
            self.failed.store(true, Ordering::Release);
        }
        let mut state = self.lock();
        match state.waiting.first() {
            Some(next) => next.wake(&next.leads),
            None => state.syncing = false,
        }
        drop(state);
        group.iter().for_each(|waiter| waiter.wake(&waiter.synced));
    }

    /// Waits until the rows that this thread has added are on disk.
    fn wait(&self, mut state: MutexGuard<'_, State>) {
        if !state.syncing {
            state.syncing = true;
            return self.sync_group(state);
        }
        let (synced, leads) = (AtomicBool::new(false), AtomicBool::new(false));
        let waiter = Arc::new(Waiter { thread: thread::current(), synced, leads });
        state.waiting.push(Arc::clone(&waiter));
        drop(state);
        loop {
            if waiter.leads.load(Ordering::Acquire) {
                return self.sync_group(self.lock());
            }
            if waiter.synced.load(Ordering::Acquire) {
                return;
            }
            thread::park();
        }
    }
}

impl Store for Disk {
    fn handle(&self) -> Result<Box<dyn Store>> {
        Ok(Box::new(Disk { shared: Arc::clone(&self.shared) }))
    }

    fn put(&mut self, rows: &[Row]) -> Result<()> {
        let mut state = self.shared.lock();
        state.gathering.reserve(rows.len() * ROW_BYTES);
        for row in rows {
            state.gathering.extend_from_slice(&row.key);
            state.gathering.extend_from_slice(&row.value);
            state.scanned.add(&row.key, &row.value);
        }
        self.shared.wait(state);
        match self.shared.failed.load(Ordering::Acquire) {
            true => Err("the disk failed to sync".into()),
            false => Ok(()),
        }
    }

    fn get(&mut self, _key: &[u8], _value: &mut Vec<u8>) -> Result<bool> {
        Err("a plain file has no keys".into())
    }

    /// What was put; a plain file need not be read to know it.
    fn scan(&mut self) -> Result<Scanned> {
        Ok(self.shared.lock().scanned)
    }

    fn close(self: Box<Self>) -> Result<Counters> {
        Ok(Counters::default())
    }
}
