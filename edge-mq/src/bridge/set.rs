//! The bridges of one broker: added, changed and removed while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::echo::Echoes;
use super::error::BridgeError;
use super::gate::Gate;
use super::queue::{self, Lane, Queues};
use super::settings::{Bridge, Plan, WhenFull};
use super::status::{BridgeStatus, Counts, StatusTopics};
use super::task::Task;
use crate::db::{DbStore, JournalError};
use crate::shared::Shared;
use crate::store::LogSlot;
use crate::{LocalClient, TopicFilter};

/// All bridges. Clones are handles of the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Bridges {
    /// Where tasks run that outlive the call that began them.
    runtime: Handle,
    shared: Arc<Shared>,
    journal: Option<Arc<DbStore>>,
    places: Arc<Mutex<Places>>,
}

#[derive(Debug, Default)]
struct Places {
    /// `None` while a call changes the bridge.
    by_name: BTreeMap<String, Option<Running>>,
    is_closed: bool,
}

/// A bridge with its task.
#[derive(Debug)]
struct Running {
    plan: Arc<Plan>,
    lanes: Vec<Lane>,
    counts: Arc<Counts>,
    gates: Vec<Gate>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    /// The rules as the hub knows them.
    fn rules(&self) -> impl Iterator<Item = (&TopicFilter, LogSlot)> {
        self.plan.send.iter().filter_map(|rule| {
            let lane = self.lanes.iter().find(|lane| lane.priority == rule.priority)?;
            Some((&rule.filter, lane.slot))
        })
    }

    /// Ends the task once it has stored how far it came.
    async fn stop(&mut self) {
        self.stop.send_replace(true);
        // A task that panicked has ended, too.
        drop((&mut self.task).await);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The place of a bridge, for the one call that changes it. What is in it when this is dropped goes
/// there; nothing, and the place is gone.
struct Reserved {
    places: Arc<Mutex<Places>>,
    name: String,
    running: Option<Running>,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut places = self.places.lock();
        match self.running.take() {
            Some(running) if !places.is_closed => {
                places.by_name.insert(self.name.clone(), Some(running));
            }
            _ => {
                places.by_name.remove(&self.name);
            }
        }
    }
}

impl Bridges {
    pub(crate) fn new(shared: Arc<Shared>, journal: Option<Arc<DbStore>>) -> Bridges {
        Bridges { runtime: Handle::current(), shared, journal, places: Arc::default() }
    }

    pub(crate) async fn add(&self, bridge: Bridge) -> Result<(), BridgeError> {
        let plan = checked(bridge)?;
        let reserved = self.reserve(&plan.name, false)?;
        let bridges = self.clone();
        self.carry_through(async move { bridges.start(reserved, plan).await }).await
    }

    pub(crate) async fn replace(&self, bridge: Bridge) -> Result<(), BridgeError> {
        let plan = checked(bridge)?;
        let reserved = self.reserve(&plan.name, true)?;
        let bridges = self.clone();
        self.carry_through(async move { bridges.start(reserved, plan).await }).await
    }

    pub(crate) async fn remove(&self, name: &str) -> Result<u64, BridgeError> {
        let reserved = self.reserve(name, true)?;
        let bridges = self.clone();
        self.carry_through(async move { bridges.end(reserved).await }).await
    }

    /// All of them as they are now, by name; but those that are being changed.
    pub(crate) async fn statuses(&self) -> Result<Vec<BridgeStatus>, BridgeError> {
        let running: Vec<_> = {
            let places = self.places.lock();
            let running = places.by_name.values().flatten();
            running.map(|running| (running.lanes.clone(), Arc::clone(&running.counts))).collect()
        };
        let mut statuses = Vec::new();
        for (lanes, counts) in running {
            let name = counts.name();
            let status = counts.status(lanes, &self.shared).await;
            statuses.push(status.map_err(|source| BridgeError::Queue { name, source })?);
        }
        Ok(statuses)
    }

    /// Ends all of them, and takes no more.
    pub(crate) async fn shutdown(&self) {
        let mut running: Vec<Running> = {
            let mut places = self.places.lock();
            places.is_closed = true;
            std::mem::take(&mut places.by_name).into_values().flatten().collect()
        };
        // All at once, then one after the other.
        for running in &running {
            running.stop.send_replace(true);
        }
        for running in &mut running {
            running.stop().await;
        }
    }

    fn reserve(&self, name: &str, must_exist: bool) -> Result<Reserved, BridgeError> {
        let mut places = self.places.lock();
        if places.is_closed {
            return Err(BridgeError::Closed);
        }
        let name = name.to_owned();
        let running = match (places.by_name.get_mut(&name), must_exist) {
            (Some(None), _) => return Err(BridgeError::Busy { name }),
            (Some(Some(_)), false) => return Err(BridgeError::Exists { name }),
            (None, true) => return Err(BridgeError::Unknown { name }),
            (Some(running), true) => running.take(),
            (None, false) => None,
        };
        places.by_name.insert(name.clone(), None);
        Ok(Reserved { places: Arc::clone(&self.places), name, running })
    }

    /// Does it whether or not the caller waits.
    async fn carry_through<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, BridgeError>> + Send + 'static,
    ) -> Result<T, BridgeError> {
        self.runtime.spawn(change).await.map_err(|_| BridgeError::Closed)?
    }

    /// Starts a bridge in its place, instead of the one that may be there.
    async fn start(&self, mut reserved: Reserved, plan: Plan) -> Result<(), BridgeError> {
        let name = plan.name.clone();
        let failed = |source| BridgeError::Queue { name: name.clone(), source };
        let journal = self.journal.as_ref().ok_or(JournalError::NoDb).map_err(failed)?;
        let lanes = queue::open(journal, &plan.name, &plan.send, plan.queue).await;
        let lanes = lanes.map_err(failed)?;
        // Until the new rules are there, the old ones go on filling the queue.
        let mut old = reserved.running.take();
        if let Some(old) = &mut old {
            old.stop().await;
        }
        let started = self.run(plan, lanes, old.as_ref(), journal).await;
        self.shared.hub(|hub| {
            for (filter, slot) in started.iter().flat_map(Running::rules) {
                hub.add_rule(filter, slot);
            }
            let is_kept = |rule| started.iter().flat_map(Running::rules).any(|kept| kept == rule);
            for (filter, slot) in old.iter().flat_map(Running::rules) {
                if !is_kept((filter, slot)) {
                    hub.remove_rule(filter, slot);
                }
            }
        });
        reserved.running = Some(started.map_err(failed)?);
        Ok(())
    }

    /// The task of a bridge, and what it needs.
    async fn run(
        &self,
        plan: Plan,
        lanes: Vec<Lane>,
        old: Option<&Running>,
        journal: &DbStore,
    ) -> Result<Running, JournalError> {
        let queues = Queues::new(journal.db().clone(), lanes.clone(), plan.queue.max_age).await?;
        let counts = Counts::new(&plan.name, &lanes, queues.positions(), &self.shared);
        let counts = Arc::new(counts);
        let slots: Vec<LogSlot> = lanes.iter().map(|lane| lane.slot).collect();
        let local = LocalClient::new(Arc::clone(&self.shared)).without(slots);
        let changed = Arc::new(Notify::new());
        let limit = (plan.queue.when_full == WhenFull::DropNew).then_some(plan.queue.max_bytes);
        let gate = |lane: &Lane| Gate::new(&lane.log, lane.slot, limit, &self.shared, &changed);
        let gates = lanes.iter().map(gate).collect();
        let (stop, stopped) = watch::channel(false);
        let (plan, now_wanted) = (Arc::new(plan), |filter: &TopicFilter, plan: &Plan| {
            plan.receive.iter().any(|rule| rule.filter == *filter)
        });
        let was_wanted = old.into_iter().flat_map(|old| &old.plan.receive);
        let stale = was_wanted.filter(|rule| !now_wanted(&rule.filter, &plan));
        let task = Task {
            topics: StatusTopics::new(&plan.name, local.clone()),
            stale: stale.map(|rule| rule.filter.to_string()).collect(),
            plan: Arc::clone(&plan),
            shared: Arc::clone(&self.shared),
            queues,
            counts: Arc::clone(&counts),
            local,
            echoes: Echoes::default(),
            changed,
            subscribed_to: None,
            stop: stopped,
            ticks: 0,
            told: None,
        };
        let task = self.runtime.spawn(task.run());
        Ok(Running { plan, lanes, counts, gates, stop, task })
    }

    /// Ends a bridge for good. Returns how many messages its queue still had.
    async fn end(&self, mut reserved: Reserved) -> Result<u64, BridgeError> {
        let mut running = reserved.running.take().expect("reserved because it is there");
        running.stop().await;
        self.shared.hub(|hub| {
            running.rules().for_each(|(filter, slot)| hub.remove_rule(filter, slot));
        });
        running.gates.clear();
        let local = LocalClient::new(Arc::clone(&self.shared));
        StatusTopics::new(&reserved.name, local).clear().await;
        let journal = self.journal.as_ref().expect("no bridge is added without");
        let removed = queue::remove(journal.db(), std::mem::take(&mut running.lanes)).await;
        removed.map_err(|source| BridgeError::Queue { name: reserved.name.clone(), source })
    }
}

fn checked(bridge: Bridge) -> Result<Plan, BridgeError> {
    let name = bridge.name().to_owned();
    bridge.plan().map_err(|source| BridgeError::Invalid { name, source })
}
