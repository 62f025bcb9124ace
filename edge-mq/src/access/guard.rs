//! Who decides who comes in, by which listeners.

use std::sync::Arc;

use parking_lot::RwLock;

use super::{Auth, Denied, Exchange, Login, User};

/// Names a [`Guard`] to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GuardId(pub(crate) u64);

impl GuardId {
    /// The broker's own, which stands at all listeners that have none.
    pub(crate) const BROKER: GuardId = GuardId(0);
}

/// Holds an [`Auth`] that can change.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) id: GuardId,
    /// Without one, everybody is let in, without a name.
    auth: RwLock<Option<Arc<dyn Auth>>>,
}

impl Guard {
    pub(crate) fn new(id: GuardId, auth: Option<Arc<dyn Auth>>) -> Guard {
        Guard { id, auth: RwLock::new(auth) }
    }

    /// Who a client is, or why it does not get in.
    pub(crate) async fn authenticate(&self, login: Login) -> Result<User, Denied> {
        let auth = self.auth.read().clone();
        match auth {
            Some(auth) => auth.authenticate(login).await,
            None => Ok(User::anonymous()),
        }
    }

    /// Begins an authentication in several steps, if there is this method.
    pub(crate) fn exchange(&self, method: &str, login: &Login) -> Option<Box<dyn Exchange>> {
        self.auth.read().as_ref()?.exchange(method, login)
    }

    /// Whether somebody who was let in may still come in.
    pub(crate) fn may_stay(&self, user: &User) -> bool {
        self.auth.read().as_ref().is_none_or(|auth| auth.may_stay(user))
    }

    pub(crate) fn has_auth(&self) -> bool {
        self.auth.read().is_some()
    }

    pub(crate) fn set(&self, auth: Arc<dyn Auth>) {
        *self.auth.write() = Some(auth);
    }
}
