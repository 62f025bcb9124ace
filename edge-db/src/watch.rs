//! Wakes readers when something was committed, so that nobody polls.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use event_listener::{Event, Listener};
use parking_lot::Mutex;

use crate::store::Write;

/// What every key begins with, and so every front.
const SPACE_BYTES: usize = 4;

/// Counts the commits that touched one thing.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    version: AtomicU64,
    event: Event,
}

/// The signals of all spaces, keys and prefixes that somebody holds a handle to.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    by_prefix: Mutex<ByPrefix>,
}

#[derive(Debug, Default)]
struct ByPrefix {
    /// By the front of the keys that each is about.
    signals: BTreeMap<Vec<u8>, Arc<Signal>>,
    /// How long fronts are.
    lengths: BTreeSet<usize>,
    /// With so many signals those go that nobody holds any more.
    sweep_at: usize,
}

impl Signals {
    pub(crate) fn get(&self, prefix: Vec<u8>) -> Arc<Signal> {
        let mut by_prefix = self.by_prefix.lock();
        if by_prefix.signals.len() >= by_prefix.sweep_at {
            by_prefix.sweep();
        }
        by_prefix.lengths.insert(prefix.len());
        Arc::clone(by_prefix.signals.entry(prefix).or_default())
    }

    /// Wakes everybody, for there will be nothing more.
    pub(crate) fn wake_all(&self) {
        self.by_prefix.lock().signals.values().for_each(|signal| signal.wake());
    }

    /// The signals of everybody whom these writes concern, mostly once each.
    pub(crate) fn touched(&self, writes: &[Write]) -> Vec<Arc<Signal>> {
        let by_prefix = self.by_prefix.lock();
        let mut touched = Vec::new();
        let mut last = &[][..];
        for write in writes {
            let (Write::Put(key, _) | Write::Delete(key) | Write::DeleteRange(key, _)) = write;
            // Neighbouring writes mostly go to one space, which need not wake twice for them.
            let is_new_space = key.get(..SPACE_BYTES).is_some_and(|space| space != last);
            for &length in &by_prefix.lengths {
                let Some(front) = key.get(..length) else { break };
                if length != SPACE_BYTES || is_new_space {
                    touched.extend(by_prefix.signals.get(front).map(Arc::clone));
                }
            }
            if let Write::DeleteRange(from, to) = write
                && from < to
            {
                let within = by_prefix.signals.range::<[u8], _>((
                    Bound::Excluded(from.as_ref()),
                    Bound::Excluded(to.as_ref()),
                ));
                touched.extend(within.map(|(_, signal)| Arc::clone(signal)));
            }
            last = key.get(..SPACE_BYTES).unwrap_or_default();
        }
        touched
    }
}

impl ByPrefix {
    /// Watches of single keys come and go.
    fn sweep(&mut self) {
        self.signals.retain(|_, signal| Arc::strong_count(signal) > 1);
        self.lengths = self.signals.keys().map(Vec::len).collect();
        self.sweep_at = (self.signals.len() * 2).max(256);
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
