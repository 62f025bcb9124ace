//! Runs the query of one subscriber, when that one asks for more.

use std::collections::VecDeque;

use edge_db::{Seq, Watch};
use futures::future::select_all;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{SubscriptionError, Update};
use crate::db::blocking;
use crate::db::live::{Live, LiveStep};
use crate::error::chain;

/// Names, and what ends when they come to stand for something else.
pub(super) type Alive = Vec<(String, watch::Receiver<()>)>;

/// Somebody who listens, and what comes for them.
pub(super) struct Listener {
    /// `None` behind an error.
    live: Option<Live>,
    /// What one step has brought.
    ready: VecDeque<Update>,
    is_resumable: bool,
    appended: Vec<Watch>,
    alive: Alive,
    closing: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    pub(super) fn new(
        live: Live,
        is_resumable: bool,
        appended: Vec<Watch>,
        alive: Alive,
        closing: watch::Receiver<bool>,
        permit: OwnedSemaphorePermit,
    ) -> Listener {
        let (live, ready) = (Some(live), VecDeque::new());
        Listener { live, ready, is_resumable, appended, alive, closing, _permit: permit }
    }

    pub(super) async fn next(&mut self) -> Option<Result<Update, SubscriptionError>> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                return Some(Ok(update));
            }
            // An error means that the engine is gone.
            if *self.closing.borrow() || self.closing.has_changed().is_err() {
                return None;
            }
            let mut live = self.live.take()?;
            if let Some(name) = self.gone() {
                return Some(Err(SubscriptionError::Changed { name }));
            }
            let stepped = blocking(move || {
                let step = live.step();
                (live, step)
            });
            let stepped = stepped.await.map_err(|reason| SubscriptionError::Failed { reason });
            let (live, step) = match stepped {
                Ok((live, Ok(step))) => (live, step),
                Ok((_, Err(error))) => {
                    return Some(Err(SubscriptionError::Failed { reason: chain(&error) }));
                }
                Err(error) => return Some(Err(error)),
            };
            let is_at_end = step.is_at_end;
            self.note(step, live.position());
            self.live = Some(live);
            if is_at_end {
                self.wait().await;
            }
        }
    }

    fn note(&mut self, step: LiveStep, position: Option<Seq>) {
        let LiveStep { missed, rows, .. } = step;
        self.ready.extend(missed.map(|(stream, records)| Update::Missed { stream, records }));
        let next = position.filter(|_| self.is_resumable);
        self.ready.extend(rows.map(|rows| Update::Rows { rows, next }));
    }

    /// What it reads that is no longer what it was.
    fn gone(&self) -> Option<String> {
        let gone = self.alive.iter().find(|(_, alive)| alive.has_changed().is_err());
        gone.map(|(name, _)| name.clone())
    }

    async fn wait(&mut self) {
        let appended = select_all(self.appended.iter_mut().map(|log| Box::pin(log.changed())));
        let alive = select_all(self.alive.iter_mut().map(|(_, alive)| Box::pin(alive.changed())));
        tokio::select! {
            _ = appended => {}
            _ = alive => {}
            _ = self.closing.changed() => {}
        }
    }
}
