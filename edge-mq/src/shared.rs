//! What all tasks of one broker share: the hub behind its lock, and who carries out what it decides.

#![allow(clippy::disallowed_methods, reason = "a shell: it brings the hub the time")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::access::{Auth, Guard, GuardId};
use crate::crowd::{Crowd, Refusal, Source};
use crate::events::{Sparing, Trouble};
use crate::hub::{Deed, Effects, Hub, Reply};
use crate::limits::Limits;
use crate::packet::ReasonCode;
use crate::stats::Stats;
use crate::store::{PageFuture, PageRequest, Refused, Store};

/// What the hub decided.
#[derive(Debug)]
pub(crate) struct Decided<T> {
    pub(crate) result: T,
    /// Whether some reader's queue fills: give the readers a turn before you bring more.
    pub(crate) congested: bool,
    /// Whether there is something for other connections.
    pub(crate) woke: bool,
    /// What the caller commits: [`Shared::commit_lone`].
    pub(crate) lone: Vec<Deed>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    hub: Mutex<Hub>,
    /// With a lock of its own: those who storm the door are in nobody's way.
    crowd: Mutex<Crowd>,
    pub(crate) limits: Limits,
    /// Stands at all listeners that have no guard of their own.
    pub(crate) guard: Arc<Guard>,
    /// Without one, nothing is to be stored, and there is nobody who would.
    store: OnceLock<Arc<dyn Store>>,
    committer: OnceLock<Thread>,
    uncommitted: watch::Sender<usize>,
    /// Of all warnings together.
    pub(crate) sparing: Sparing,
    pub(crate) trouble: Trouble,
    is_dropped: AtomicBool,
}

impl Shared {
    pub(crate) fn new(hub: Hub, limits: Limits) -> Shared {
        let (uncommitted, _) = watch::channel(0);
        Shared {
            hub: Mutex::new(hub),
            crowd: Mutex::new(Crowd::new(&limits)),
            limits,
            guard: Arc::new(Guard::new(GuardId::BROKER, None)),
            store: OnceLock::new(),
            committer: OnceLock::new(),
            uncommitted,
            sparing: Sparing::default(),
            trouble: Trouble::default(),
            is_dropped: AtomicBool::new(false),
        }
    }

    /// From here on this one decides who gets in past a guard, and who stays.
    pub(crate) fn set_auth(&self, guard: &Guard, auth: Arc<dyn Auth>) {
        guard.set(Arc::clone(&auth));
        // Who was let in by the old one and is not connected yet is asked for then, too.
        self.decide(|hub, _, fx| hub.dismiss(guard.id, |user| auth.may_stay(user), fx));
    }

    /// Lets a connection in, or says why not. Who was let in has to leave.
    pub(crate) fn enter(&self, source: Option<Source>) -> Result<(), Refusal> {
        let entered = self.crowd.lock().enter(source, Instant::now());
        if let Err(refusal) = entered {
            let is_too_fast = refusal.code == ReasonCode::CONNECTION_RATE_EXCEEDED;
            let count = |stats: &mut Stats| match is_too_fast {
                true => stats.connect_rate_exceeded += 1,
                false => stats.refused_connections += 1,
            };
            self.hub(|hub| count(hub.stats_mut()));
        }
        entered
    }

    /// Somebody who was let in is gone.
    pub(crate) fn leave(&self, source: Option<Source>) {
        self.crowd.lock().leave(source);
    }

    /// Looks into the hub, or changes what nobody waits for.
    pub(crate) fn hub<T>(&self, with: impl FnOnce(&mut Hub) -> T) -> T {
        with(&mut self.hub.lock())
    }

    /// While another thread is in the hub, this one reads, decodes and writes for others rather than
    /// wait for it; but nobody comes last forever.
    pub(crate) async fn give_way(&self) {
        /// About what the others of one thread have to do in the time of a full read in the hub.
        const TURNS: usize = 16;
        for _ in 0..TURNS {
            if !self.hub.is_locked() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Lets the hub decide, and tells whom that concerns once the lock is free again. Whether some
    /// reader's queue fills comes with the result.
    pub(crate) fn decide<T>(
        &self,
        with: impl FnOnce(&mut Hub, Instant, &mut Effects) -> T,
    ) -> Decided<T> {
        let mut fx = Effects::default();
        let now = Instant::now();
        let result = {
            let mut hub = self.hub.lock();
            let result = with(&mut hub, now, &mut fx);
            if fx.commit {
                self.uncommitted.send_replace(hub.uncommitted());
            }
            result
        };
        if fx.commit && fx.lone.is_empty() {
            // Before it is known here, the thread itself finds what was noted when it looks next.
            self.committer.get().inspect(|thread| thread.unpark());
        }
        let woke = !fx.wakes.is_empty();
        fx.wakes.into_iter().for_each(std::task::Waker::wake);
        fx.replies.into_iter().for_each(|(Reply(reply), outcome)| reply(outcome));
        Decided { result, congested: fx.congested, woke, lone: fx.lone }
    }

    /// From here on this thread commits to this store. A broker has one for its whole life.
    pub(crate) fn set_store(&self, store: Arc<dyn Store>, committer: Thread) {
        self.store.get_or_init(|| store);
        self.committer.get_or_init(|| committer);
    }

    /// Reads a part of a session's queue.
    pub(crate) fn read(&self, request: PageRequest) -> PageFuture {
        let store = self.store.get().expect("only a store has queues to read");
        Arc::clone(store).read(request)
    }

    /// Commits on this thread, whose other tasks go to another meanwhile.
    pub(crate) fn commit_lone(&self, group: Vec<Deed>) {
        let store = self.store.get().expect("there is none to commit for without a store");
        let outcome = tokio::task::block_in_place(|| store.commit(&group));
        // What is refused the other thread tries again, and tells.
        if outcome.is_ok() {
            self.trouble.is_over();
        }
        self.decide(|hub, now, fx| {
            hub.end_lone(group, &outcome, now, fx);
            self.uncommitted.send_replace(hub.uncommitted());
        });
    }

    /// Does what follows from a commit that has ended.
    pub(crate) fn end_commit(&self, group: Vec<Deed>, outcome: &Result<(), Refused>) {
        self.decide(|hub, now, fx| {
            hub.committed(group, outcome, now, fx);
            self.uncommitted.send_replace(hub.uncommitted());
        });
    }

    /// The broker is gone, and nobody is left to commit for.
    pub(crate) fn drop_broker(&self) {
        self.is_dropped.store(true, Ordering::Release);
        self.committer.get().inspect(|thread| thread.unpark());
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.is_dropped.load(Ordering::Acquire)
    }

    /// How much waits for its commit.
    pub(crate) fn uncommitted(&self) -> watch::Receiver<usize> {
        self.uncommitted.subscribe()
    }
}
