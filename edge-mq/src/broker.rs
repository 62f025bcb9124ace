//! The broker as its user sees it: the handle, and its end. How it begins is in `broker/builder.rs`.

#[cfg(feature = "bridge")]
mod bridges;
mod builder;
#[cfg(feature = "db")]
mod journal;

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::access::{Acl, Auth, GuardId};
use crate::counter::TopicCounter;
#[cfg(feature = "db")]
use crate::db::{DbStore, JournalError};
use crate::events;
use crate::hub::{ClientInfo, Effects, Hub};
use crate::listener::{Listener, Place};
use crate::listening::Listening;
use crate::local::{LocalClient, SubscribeError, own_filter};
use crate::net::{Bound, Change, Way};
use crate::packet::ReasonCode;
use crate::shared::Shared;
use crate::stats::Stats;
pub use builder::BrokerBuilder;

/// A running MQTT broker. Clones are handles of the same one.
///
/// Dropping the last handle aborts it: connections are cut and nothing is drained. Local clients
/// do not keep it alive.
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use std::time::Duration;
/// let broker = edge_mq::Broker::builder().listen(([127, 0, 0, 1], 0).into()).start().await?;
/// println!("listening on {}", broker.local_addr().unwrap());
/// let left = broker.shutdown(Duration::from_secs(5)).await?;
/// assert_eq!(left.connections, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "dropping the last handle stops the broker"]
pub struct Broker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    changes: mpsc::Sender<Change>,
    /// Of the first listener that has one.
    local_addr: OnceLock<SocketAddr>,
    /// How many listeners there were: names for their guards.
    listeners: AtomicU64,
    /// Whether it may listen where everybody could come in.
    is_open: bool,
    stop: watch::Sender<bool>,
    is_told_stopped: AtomicBool,
    /// Turns true when the serving task is through; closes without that if it was aborted.
    served: watch::Receiver<bool>,
    task: AbortHandle,
    #[cfg(feature = "db")]
    db: Option<Arc<DbStore>>,
    #[cfg(feature = "bridge")]
    bridges: crate::bridge::Bridges,
}

/// Why no broker was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on; most often something else already does.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The path cannot be listened on: somebody else does, it is a file, or its folder is missing.
    #[cfg(unix)]
    #[error("cannot listen on {}", path.display())]
    ListenUnix {
        /// The path that was asked for.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Whoever reaches the address could do everything. Say who may connect, by
    /// [`BrokerBuilder::auth`], or that this is wanted, by [`BrokerBuilder::open_to_all`].
    #[error("listening on {addr} without authentication would let everybody in who reaches it")]
    Open {
        /// The address that was asked for.
        addr: SocketAddr,
    },
    /// The broker was shut down.
    #[error("broker is closed")]
    Closed,
    /// The operating system gives no thread to commit in.
    #[error("cannot start the thread that commits")]
    Thread(#[source] io::Error),
    /// The journal rules could not be loaded.
    #[cfg(feature = "db")]
    #[error("cannot load the journal rules")]
    Journal(#[from] JournalError),
}

impl StartError {
    fn at(place: &Place, source: io::Error) -> StartError {
        match place {
            Place::Tcp(addr) => StartError::Listen { addr: *addr, source },
            #[cfg(unix)]
            Place::Unix { path, .. } => StartError::ListenUnix { path: path.clone(), source },
        }
    }
}

/// Why [`Broker::shutdown`] could not say what stayed behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// The serving task ended before its time: the runtime is shutting down, or it panicked.
    #[error("broker had already stopped serving")]
    Aborted,
}

/// What a broker left behind when it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Left {
    /// Clients that were cut off because the deadline had passed.
    pub connections: usize,
    /// Messages, and whatever else is to be stored, whose commit had not ended by the deadline. They
    /// were not acknowledged, so their clients send them again; they may have been stored all the
    /// same.
    pub uncommitted: usize,
    /// Messages for clients that did not get or acknowledge them, and that are lost, as these
    /// clients' sessions are not stored; and those that were to be published later, without a database.
    pub undelivered: usize,
}

impl Broker {
    /// A broker without a listener and with default limits, to be changed before it starts.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Opens one more listener. It is bound when this returns.
    ///
    /// What has to be in force before the first client comes is set between the start and this:
    /// journal rules, so that nothing is acknowledged without being stored.
    ///
    /// # Errors
    /// When it cannot be listened on, or the broker was shut down.
    ///
    /// # Cancel safety
    /// When dropped, it may or may not listen.
    pub async fn listen(&self, listener: Listener) -> Result<Listening, StartError> {
        let inner = &*self.inner;
        let has_auth = listener.auth.is_some() || inner.shared.guard.has_auth();
        if let Place::Tcp(addr) = listener.place
            && !(addr.ip().is_loopback() || has_auth || inner.is_open)
        {
            return Err(StartError::Open { addr });
        }
        let mut place = listener.place.clone();
        let bound = Bound::bind(&place).await.map_err(|source| StartError::at(&place, source))?;
        if let Some(addr) = bound.local_addr() {
            place = Place::Tcp(addr);
            inner.local_addr.get_or_init(|| addr);
        }
        let protocol = listener.layers.protocol();
        let guard = GuardId(inner.listeners.fetch_add(1, Ordering::Relaxed) + 1);
        let way = Arc::new(Way::new(listener, guard, &inner.shared));
        let open = Change::Open(bound, Arc::clone(&way));
        inner.changes.send(open).await.map_err(|_| StartError::Closed)?;
        events::listening(&place, protocol);
        let (shared, changes) = (Arc::clone(&inner.shared), inner.changes.clone());
        Ok(Listening { place, way, shared, changes })
    }

    /// Lets another one decide who connects, but at listeners that have an [`Auth`] of their own. Who
    /// is connected and may not stay, as it says, is sent away; the others notice nothing.
    pub fn set_auth(&self, auth: impl Auth) {
        self.inner.shared.set_auth(&self.inner.shared.guard, Arc::new(auth));
        events::users_replaced(None);
    }

    /// Lets another one decide who may do what, from the next packet on. Subscriptions that it does
    /// not allow end without a word; everybody stays connected, and what waits for a client
    /// already is still delivered.
    pub fn set_acl(&self, acl: impl Acl) {
        self.inner.shared.decide(|hub, _, fx| hub.set_acl(Some(Arc::new(acl)), fx));
        events::rules_replaced();
    }

    /// Where it listened first; `None` if no address of IP reaches it.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.inner.local_addr.get().copied()
    }

    /// A client inside the process.
    pub fn local(&self) -> LocalClient {
        LocalClient::new(Arc::clone(&self.inner.shared))
    }

    /// What it has counted. Costs a walk over all sessions.
    pub fn stats(&self) -> Stats {
        self.inner.shared.hub(|hub| hub.stats())
    }

    /// All clients that have a session, connected or not, in the order of their identifiers. Costs a
    /// walk over all sessions and their subscriptions, during which no message moves.
    pub fn clients(&self) -> Vec<ClientInfo> {
        self.inner.shared.decide(|hub, now, _| hub.clients(now)).result
    }

    /// One client; `None` if it has no session.
    pub fn client(&self, client_id: &str) -> Option<ClientInfo> {
        self.inner.shared.decide(|hub, now, _| hub.client(client_id, now)).result
    }

    /// Counts the messages that match a filter by their topics, up to `limit` topics (100 bytes or so
    /// each), from now on until the counter is dropped. Costs a look-up for each message that
    /// matches.
    ///
    /// # Errors
    /// When nothing is counted.
    pub fn count_topics(
        &self,
        filter: impl AsRef<str>,
        limit: usize,
    ) -> Result<TopicCounter, SubscribeError> {
        let filter = own_filter(filter.as_ref())?;
        let shared = Arc::clone(&self.inner.shared);
        let key = shared.hub(|hub| match hub.is_closed() {
            true => Err(SubscribeError::Closed),
            false => hub
                .count(filter, limit)
                .ok_or(SubscribeError::Full { limit: hub.limits().sessions }),
        })?;
        Ok(TopicCounter { shared, key })
    }

    /// Sends a client away; one of MQTT 5.0 is told the reason. Its session goes on, and so it may come
    /// back: who is not to come back is for an [`Auth`] to say. Returns whether it was connected.
    pub fn disconnect(&self, client_id: &str, reason: ReasonCode) -> bool {
        let send_away =
            |hub: &mut Hub, now, fx: &mut Effects| hub.send_away(client_id, reason, false, now, fx);
        self.inner.shared.decide(send_away).result
    }

    /// Ends the session of a client, with its subscriptions and what waits for it; if it is connected,
    /// it is sent away. Returns whether there was one.
    pub fn end_session(&self, client_id: &str) -> bool {
        let reason = ReasonCode::ADMINISTRATIVE_ACTION;
        let send_away =
            |hub: &mut Hub, now, fx: &mut Effects| hub.send_away(client_id, reason, true, now, fx);
        self.inner.shared.decide(send_away).result
    }

    /// Stops the broker: no new connections; MQTT 5.0 clients get DISCONNECT 0x8B; commits under
    /// way end and are acknowledged where the client is still there; wills are published; bridges
    /// disconnect, and their queues stay. What has not ended by the deadline is cut off. Calling it
    /// again is harmless.
    ///
    /// # Errors
    /// When the broker had stopped serving before.
    ///
    /// # Cancel safety
    /// Once polled, the broker stops; call it again to wait for the end.
    pub async fn shutdown(&self, deadline: Duration) -> Result<Left, ShutdownError> {
        let inner = &*self.inner;
        inner.shared.decide(|hub, _, fx| hub.close(fx));
        inner.stop.send_replace(true);
        let mut served = inner.served.clone();
        let ended = async {
            #[cfg(feature = "bridge")]
            inner.bridges.shutdown().await;
            served.wait_for(|served| *served).await.map(drop)
        };
        match timeout(deadline, ended).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Err(ShutdownError::Aborted),
            Err(_) => inner.task.abort(),
        }
        let (connections, undelivered) =
            inner.shared.hub(|hub| (hub.stats().connections, hub.undelivered()));
        let uncommitted = *inner.shared.uncommitted().borrow();
        let left = Left { connections, uncommitted, undelivered };
        // Calling it again is no news.
        if !inner.is_told_stopped.swap(true, Ordering::Relaxed) {
            events::stopped(&left);
        }
        Ok(left)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.decide(|hub, _, fx| hub.close(fx));
        self.shared.drop_broker();
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
