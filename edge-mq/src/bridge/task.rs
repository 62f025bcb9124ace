//! The task of one bridge: one link after the other.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use edge_db::Time;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::client;
use super::echo::Echoes;
use super::link::{End, Link};
use super::queue::{Lane, Queues};
use super::route::Route;
use super::settings::{Address, Plan};
use super::status::{Counts, StatusTopics};
use super::window::Window;
use crate::LocalClient;
use crate::db::JournalError;
use crate::events;
use crate::shared::Shared;

/// How often a bridge looks at what depends on the time.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// Ticks between two publications of what the queue holds.
const STATUS_TICKS: u32 = 5;

/// What outlives a link.
pub(super) struct Task {
    pub(super) plan: Arc<Plan>,
    pub(super) shared: Arc<Shared>,
    pub(super) queues: Queues,
    pub(super) counts: Arc<Counts>,
    /// Publishes what comes in, which then does not go out again.
    pub(super) local: LocalClient,
    pub(super) topics: StatusTopics,
    pub(super) echoes: Echoes,
    /// The queue has changed.
    pub(super) changed: Arc<Notify>,
    /// Where the subscriptions were confirmed last.
    pub(super) subscribed_to: Option<Address>,
    /// Filters that were subscribed to before the bridge was changed.
    pub(super) stale: Vec<String>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) ticks: u32,
    /// Why the last link ended, if none was made since.
    pub(super) told: Option<String>,
}

impl Task {
    /// Keeps up a link until it is told to stop.
    pub(super) async fn run(mut self) {
        let plan = Arc::clone(&self.plan);
        let mut route = Route::new(plan.remotes.len(), plan.retry);
        self.topics.connected(false).await;
        loop {
            let remote = &plan.remotes[route.at()];
            self.counts.update(|status| status.remote = Some(remote.to_string()));
            let end = Link::run(&mut self, remote, route.at() == 0).await;
            self.counts.update(|status| status.connected = false);
            self.topics.connected(false).await;
            let wait = match end {
                End::Stopped => break,
                End::FirstIsBack => {
                    route.go_to_first();
                    continue;
                }
                End::Lost { was_of_use, why } => {
                    self.lost(remote, why);
                    route.lost(was_of_use, random())
                }
            };
            if self.rest(wait).await {
                break;
            }
        }
        if let Err(error) = self.queues.store().await {
            self.counts.update(|status| status.last_error = Some(error.to_string()));
        }
    }

    /// What was told last is no news, unless the bridge was connected meanwhile.
    fn lost(&mut self, remote: &Address, why: String) {
        let was_told = self.told.replace(why.clone());
        let is_news = was_told.as_ref() != Some(&why);
        events::bridge_lost(&self.plan.name, remote, &why, is_news);
        self.counts.update(|status| status.last_error = Some(why));
    }

    /// Waits; says whether it is to stop.
    async fn rest(&mut self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = self.stop.clone();
        loop {
            tokio::select! {
                () = told_to_stop(&mut stop) => return true,
                () = sleep_until(until) => return false,
                _ = ticks.tick() => self.tick(None).await,
            }
        }
    }

    /// Does what depends on the time, with or without a link. A database that fails now is asked
    /// again at the next tick.
    pub(super) async fn tick(&mut self, window: Option<&Window>) {
        if let Err(error) = self.try_tick(window).await {
            self.counts.update(|status| status.last_error = Some(client::lost(error)));
        }
    }

    async fn try_tick(&mut self, window: Option<&Window>) -> Result<(), JournalError> {
        let passed = self.queues.pass_dropped(Time::now()).await?;
        self.counts.dropped(|dropped| {
            dropped.oldest += passed.oldest;
            dropped.aged += passed.aged;
        });
        let none = Window::new(1);
        self.settle(window.unwrap_or(&none));
        if window.is_none() && self.queues.unstored() > 0 {
            self.queues.store().await?;
        }
        if self.ticks.is_multiple_of(STATUS_TICKS) {
            let lanes: Vec<Lane> = self.queues.lanes.clone();
            let status = Arc::clone(&self.counts).status(lanes, &self.shared).await?;
            self.topics.queue(&status).await;
        }
        self.ticks = self.ticks.wrapping_add(1);
        Ok(())
    }

    /// Takes up what has been acknowledged.
    pub(super) fn settle(&mut self, window: &Window) {
        self.queues.settle(window);
        self.counts.stand_at(self.queues.positions());
    }
}

/// Returns when the bridge is to stop, or is gone.
pub(super) async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// Keyed anew by the system each time.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
