//! Wakes readers when something was committed, so that nobody polls.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use event_listener::{Event, Listener};
use parking_lot::Mutex;

use crate::store::Write;

/// Counts the commits that touched one thing.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    version: AtomicU64,
    event: Event,
}

/// The signals of all spaces and cursors that somebody holds a handle to.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// By the front of the keys that it is about: a space, or all of a cursor's key.
    by_prefix: Mutex<HashMap<Vec<u8>, Arc<Signal>>>,
}

impl Signals {
    pub(crate) fn get(&self, prefix: Vec<u8>) -> Arc<Signal> {
        Arc::clone(self.by_prefix.lock().entry(prefix).or_default())
    }

    /// The signals of everybody whom these writes concern, mostly once each.
    pub(crate) fn touched(&self, writes: &[Write]) -> Vec<Arc<Signal>> {
        let by_prefix = self.by_prefix.lock();
        let mut touched = Vec::new();
        let mut last = &[][..];
        for write in writes {
            let (Write::Put(key, _) | Write::Delete(key) | Write::DeleteRange(key, _)) = write;
            let Some(space) = key.get(..4) else { continue };
            touched.extend(by_prefix.get(key.as_ref()).map(Arc::clone));
            // Neighbouring writes mostly go to one space, which need not wake twice for them.
            if space != last {
                touched.extend(by_prefix.get(space).map(Arc::clone));
            }
            last = space;
        }
        touched
    }
}

impl Signal {
    pub(crate) fn wake(&self) {
        self.version.fetch_add(1, Ordering::Release);
        self.event.notify(usize::MAX);
    }
}

/// Says when something was committed to a Table, Keyspace, Log or Cursor.
///
/// It remembers what it has told: a commit between two calls ends the second at once, however
/// many there were. It does not say what was committed; read that.
#[derive(Debug, Clone)]
pub struct Watch {
    signal: Arc<Signal>,
    seen: u64,
}

impl Watch {
    pub(crate) fn new(signal: &Arc<Signal>) -> Watch {
        let seen = signal.version.load(Ordering::Acquire);
        Watch { signal: Arc::clone(signal), seen }
    }

    /// Returns when something was committed since the last call, or since this was created.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) {
        while !self.take() {
            let listener = self.signal.event.listen();
            if self.take() {
                return;
            }
            listener.await;
        }
    }

    /// Blocks until something was committed since the last call, at most for `timeout`; says
    /// whether something was.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        while !self.take() {
            let listener = self.signal.event.listen();
            if self.take() {
                return true;
            }
            if listener.wait_timeout(timeout).is_none() {
                return self.take();
            }
        }
        true
    }

    fn take(&mut self) -> bool {
        let version = self.signal.version.load(Ordering::Acquire);
        std::mem::replace(&mut self.seen, version) != version
    }
}
