//! What all tasks of one broker share: the hub behind its lock, and the journal.

#![allow(clippy::disallowed_methods, reason = "a shell: it brings the hub the time")]

use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::access::{Auth, Denied, Login, User};
use crate::hub::{Effects, Hub, Journaled};
use crate::journal::{Commits, Journal, Refused};
use crate::limits::Limits;

#[derive(Debug)]
pub(crate) struct Shared {
    hub: Mutex<Hub>,
    pub(crate) limits: Limits,
    /// Where tasks run that outlive the call that began them.
    pub(crate) runtime: Handle,
    journal: Option<Arc<dyn Journal>>,
    /// Without one, everybody is let in, without a name.
    auth: RwLock<Option<Arc<dyn Auth>>>,
    /// Messages whose commit is under way.
    committing: watch::Sender<usize>,
}

impl Shared {
    pub(crate) fn new(hub: Hub, limits: Limits, journal: Option<Arc<dyn Journal>>) -> Shared {
        let (committing, _) = watch::channel(0);
        let runtime = Handle::current();
        let auth = RwLock::default();
        Shared { hub: Mutex::new(hub), limits, runtime, journal, auth, committing }
    }

    /// Who a client is, or why it does not get in.
    pub(crate) async fn authenticate(&self, login: Login) -> Result<User, Denied> {
        let auth = self.auth.read().clone();
        match auth {
            Some(auth) => auth.authenticate(login).await,
            None => Ok(User::anonymous()),
        }
    }

    pub(crate) fn has_auth(&self) -> bool {
        self.auth.read().is_some()
    }

    /// From here on this one decides who gets in, and who stays.
    pub(crate) fn set_auth(&self, auth: Arc<dyn Auth>) {
        *self.auth.write() = Some(Arc::clone(&auth));
        // Who was let in by the old one and is not connected yet is asked for then, too.
        self.decide(|hub, _, fx| hub.dismiss(|user| auth.may_stay(user), fx));
    }

    /// Whether somebody who was let in may still come in.
    pub(crate) fn may_stay(&self, user: &User) -> bool {
        self.auth.read().as_ref().is_none_or(|auth| auth.may_stay(user))
    }

    /// Looks into the hub, or changes what nobody waits for.
    pub(crate) fn hub<T>(&self, with: impl FnOnce(&mut Hub) -> T) -> T {
        with(&mut self.hub.lock())
    }

    /// Lets the hub decide, and wakes whom that concerns once the lock is free again. The caller
    /// commits what is left in the effects.
    pub(crate) fn decide<T>(
        &self,
        with: impl FnOnce(&mut Hub, Instant, &mut Effects) -> T,
    ) -> (T, Effects) {
        let mut fx = Effects::default();
        let now = Instant::now();
        let result = with(&mut self.hub.lock(), now, &mut fx);
        fx.wakes.drain(..).for_each(std::task::Waker::wake);
        (result, fx)
    }

    /// The commits of one more connection.
    pub(crate) fn commits(&self) -> Commits {
        Commits::new(self.journal.clone())
    }

    pub(crate) fn begin_commit(&self, messages: usize) {
        self.committing.send_modify(|count| *count += messages);
    }

    /// Routes and acknowledges the messages of a commit that has ended.
    pub(crate) fn end_commit(&self, messages: Vec<Journaled>, outcome: &Result<(), Refused>) {
        let count = messages.len();
        let outcome = outcome.as_ref().copied().map_err(|refused| refused.code);
        self.decide(|hub, now, fx| hub.committed(messages, outcome, now, fx));
        self.committing.send_modify(|left| *left -= count);
    }

    /// Commits messages that no connection waits for. The commit has begun when this returns, so
    /// that commits keep the order of the calls, whenever their futures run.
    pub(crate) fn commit(
        self: Arc<Shared>,
        messages: Vec<Journaled>,
    ) -> impl Future<Output = Result<(), Refused>> + Send {
        self.begin_commit(messages.len());
        let journal = self.journal.as_ref().expect("journal rules come from the journal");
        let committing = journal.commit(&messages);
        async move {
            let outcome = committing.await;
            self.end_commit(messages, &outcome);
            outcome
        }
    }

    pub(crate) fn committing(&self) -> watch::Receiver<usize> {
        self.committing.subscribe()
    }
}
