//! A listener that is open.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::access::{Auth, GuardId};
use crate::events;
use crate::listener::Place;
use crate::net::{Change, Way};
use crate::shared::Shared;

/// A listener of a running broker, as [`Broker::listen`](crate::Broker::listen) gives it. It shows
/// itself as the address or the path on which it listens. Dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct Listening {
    pub(crate) place: Place,
    pub(crate) way: Arc<Way>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) changes: mpsc::Sender<Change>,
}

impl Listening {
    /// Where it listens, with the port; `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Tcp(addr) => Some(*addr),
            #[cfg(unix)]
            Place::Unix { .. } => None,
        }
    }

    /// Lets another one decide who connects by this listener. Who came in by it and may not stay, as
    /// that says, is sent away.
    ///
    /// A listener without an [`Auth`] of its own has the broker's, and this changes nothing there:
    /// see [`Broker::set_auth`](crate::Broker::set_auth). Returns whether it has one.
    pub fn set_auth(&self, auth: impl Auth) -> bool {
        let has_own = self.way.guard.id != GuardId::BROKER;
        if has_own {
            self.shared.set_auth(&self.way.guard, Arc::new(auth));
            events::users_replaced(Some(&self.place));
        }
        has_own
    }

    /// Closes it: nobody comes in any more, and port or path are free when this returns. Who is
    /// connected stays. Calling it again is harmless.
    ///
    /// # Cancel safety
    /// When dropped, it may or may not be closed.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        // A broker that has stopped has no listeners.
        if self.changes.send(Change::Close(Arc::clone(&self.way), done)).await.is_ok() {
            drop(closed.await);
            events::listener_closed(&self.place);
        }
    }
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}
