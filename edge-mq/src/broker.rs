//! The broker as its user sees it: builder, handle, end.

#![allow(clippy::disallowed_methods, reason = "a shell: it brings the hub the time")]

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

#[cfg(feature = "bridge")]
mod bridges;

#[cfg(feature = "db")]
use crate::TopicFilter;
use crate::access::{Acl, Auth, GuardId};
use crate::committer;
#[cfg(feature = "db")]
use crate::db::{DbStore, JournalError, JournalRule};
use crate::hub::{ClientInfo, Effects, Hub};
use crate::limits::Limits;
use crate::listener::{Listener, Place};
use crate::listening::Listening;
use crate::local::LocalClient;
use crate::net::{self, Bound, Change, Way};
use crate::packet::ReasonCode;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::store::Store;

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
    /// Turns true when the serving task is through; closes without that if it was aborted.
    served: watch::Receiver<bool>,
    task: AbortHandle,
    #[cfg(feature = "db")]
    db: Option<Arc<DbStore>>,
    #[cfg(feature = "bridge")]
    bridges: crate::bridge::Bridges,
}

/// As mosquitto has it.
const SYS_INTERVAL: Duration = Duration::from_secs(10);

/// Settings of a [`Broker`].
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until it is started"]
pub struct BrokerBuilder {
    listen: Vec<Listener>,
    auth: Option<Arc<dyn Auth>>,
    acl: Option<Arc<dyn Acl>>,
    is_open: bool,
    limits: Limits,
    sys_interval: Option<Duration>,
    #[cfg(feature = "db")]
    db: Option<edge_db::Db>,
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
    /// clients' sessions are not stored.
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
        let guard = GuardId(inner.listeners.fetch_add(1, Ordering::Relaxed) + 1);
        let way = Arc::new(Way::new(listener, guard, &inner.shared));
        let open = Change::Open(bound, Arc::clone(&way));
        inner.changes.send(open).await.map_err(|_| StartError::Closed)?;
        let (shared, changes) = (Arc::clone(&inner.shared), inner.changes.clone());
        Ok(Listening { place, way, shared, changes })
    }

    /// Lets another one decide who connects, but at listeners that have an [`Auth`] of their own. Who
    /// is connected and may not stay, as it says, is sent away; the others notice nothing.
    pub fn set_auth(&self, auth: impl Auth) {
        self.inner.shared.set_auth(&self.inner.shared.guard, Arc::new(auth));
    }

    /// Lets another one decide who may do what, from the next packet on. Subscriptions that it does
    /// not allow end without a word; everybody stays connected, and what waits for a client
    /// already is still delivered.
    pub fn set_acl(&self, acl: impl Acl) {
        self.inner.shared.decide(|hub, _, fx| hub.set_acl(Some(Arc::new(acl)), fx));
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
        Ok(Left { connections, uncommitted, undelivered })
    }
}

#[cfg(feature = "db")]
impl Broker {
    /// Stores every message that the filter matches in this Log, from now on and after each
    /// restart; the Log is created if it is not there. A message that several rules match is
    /// stored once in each of their Logs.
    ///
    /// # Errors
    /// When the rule is not in force.
    ///
    /// # Cancel safety
    /// When dropped, the rule may or may not be in force. Setting it again is harmless.
    pub async fn journal(
        &self,
        filter: TopicFilter,
        log: impl Into<String>,
    ) -> Result<(), JournalError> {
        let journal = Arc::clone(self.inner.db.as_ref().ok_or(JournalError::NoDb)?);
        let slot = journal.add(filter.clone(), log.into()).await?;
        self.inner.shared.hub(|hub| hub.add_rule(&filter, slot));
        Ok(())
    }

    /// Takes back a rule. The Log stays. Returns whether there was such a rule.
    ///
    /// # Errors
    /// When the rule is still in force.
    ///
    /// # Cancel safety
    /// When dropped, the rule may or may not be in force. Taking it back again is harmless.
    pub async fn unjournal(
        &self,
        filter: TopicFilter,
        log: impl Into<String>,
    ) -> Result<bool, JournalError> {
        let journal = Arc::clone(self.inner.db.as_ref().ok_or(JournalError::NoDb)?);
        let Some(slot) = journal.remove(filter.clone(), log.into()).await? else {
            return Ok(false);
        };
        self.inner.shared.hub(|hub| hub.remove_rule(&filter, slot));
        Ok(true)
    }

    /// The rules in force, by filter and Log.
    pub fn journal_rules(&self) -> Vec<JournalRule> {
        self.inner.db.as_ref().map_or_else(Vec::new, |journal| journal.rules())
    }
}

impl BrokerBuilder {
    /// Opens a listener, or one more, as soon as it starts; [`Broker::listen`] does it later. Port 0
    /// takes a free one, see [`Broker::local_addr`]. Without [`BrokerBuilder::auth`], or one of the
    /// listener's own, only an address of the loopback interface is taken, or a Unix socket.
    pub fn listen(mut self, listener: Listener) -> BrokerBuilder {
        self.listen.push(listener);
        self
    }

    /// Who may connect. Without this everybody may who reaches the broker, which then listens on
    /// the loopback interface only; and nobody has a name.
    pub fn auth(mut self, auth: impl Auth) -> BrokerBuilder {
        self.auth = Some(Arc::new(auth));
        self
    }

    /// Who may publish, subscribe and receive what. Without this everybody may do everything.
    pub fn acl(mut self, acl: impl Acl) -> BrokerBuilder {
        self.acl = Some(Arc::new(acl));
        self
    }

    /// Lets it listen on any address without [`BrokerBuilder::auth`].
    pub fn open_to_all(mut self) -> BrokerBuilder {
        self.is_open = true;
        self
    }

    /// Replaces all limits.
    pub fn limits(mut self, limits: Limits) -> BrokerBuilder {
        self.limits = limits;
        self
    }

    /// How often `$SYS/broker/..` says what has changed about the broker; every 10 s without this,
    /// and never if it is zero. The names are mosquitto's; [`Broker::stats`] has more.
    pub fn sys_interval(mut self, interval: Duration) -> BrokerBuilder {
        self.sys_interval = Some(interval);
        self
    }

    /// The largest packet a client may send; see [`Limits::packet_bytes`].
    pub fn max_packet_bytes(mut self, bytes: usize) -> BrokerBuilder {
        self.limits.packet_bytes = bytes;
        self
    }

    /// Where sessions that outlive their connection are stored with their queues, retained messages,
    /// wills, journal rules, and the Logs that these name. One broker at a time.
    #[cfg(feature = "db")]
    pub fn db(mut self, db: &edge_db::Db) -> BrokerBuilder {
        self.db = Some(db.clone());
        self
    }

    /// Starts the broker on the current tokio runtime. When this returns, the journal rules are
    /// in force and the port is bound.
    ///
    /// # Errors
    /// When nothing was started.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// When dropped, nothing is started.
    pub async fn start(self) -> Result<Broker, StartError> {
        let limits = self.limits.workable();
        let mut hub = Hub::new(limits.clone());
        hub.set_acl(self.acl, &mut Effects::default());
        let sys_interval = self.sys_interval.unwrap_or(SYS_INTERVAL);
        if !sys_interval.is_zero() {
            hub.set_sys(sys_interval, Instant::now());
        }
        #[cfg(feature = "db")]
        let store = Stores::open(self.db, &mut hub).await?;
        #[cfg(not(feature = "db"))]
        let store = Stores::default();
        let doors = Doors { listen: self.listen, auth: self.auth, is_open: self.is_open };
        serve(doors, hub, limits, store).await
    }
}

/// Who comes in, and where.
#[derive(Debug, Default)]
struct Doors {
    listen: Vec<Listener>,
    auth: Option<Arc<dyn Auth>>,
    is_open: bool,
}

/// Where things are kept.
#[derive(Debug, Default)]
struct Stores {
    store: Option<Arc<dyn Store>>,
    /// The same, as the one that knows its rules.
    #[cfg(feature = "db")]
    db: Option<Arc<DbStore>>,
}

#[cfg(feature = "db")]
impl Stores {
    async fn open(db: Option<edge_db::Db>, hub: &mut Hub) -> Result<Stores, JournalError> {
        let Some(db) = db else { return Ok(Stores::default()) };
        let db = Arc::new(DbStore::open(db, hub).await?);
        Ok(Stores { store: Some(Arc::clone(&db) as Arc<dyn Store>), db: Some(db) })
    }
}

async fn serve(
    doors: Doors,
    hub: Hub,
    limits: Limits,
    stores: Stores,
) -> Result<Broker, StartError> {
    let Doors { listen, auth, is_open } = doors;
    let shared = Arc::new(Shared::new(hub, limits));
    if let Some(store) = stores.store {
        let thread = committer::start(Arc::clone(&shared), Arc::clone(&store));
        shared.set_store(store, thread.map_err(StartError::Thread)?);
    }
    auth.into_iter().for_each(|auth| shared.guard.set(auth));
    let (stop, stopped) = watch::channel(false);
    let (done, served) = watch::channel(false);
    let (changes, to_come) = mpsc::channel(1);
    let serve = net::serve(to_come, Arc::clone(&shared), stopped);
    let task = tokio::spawn(async move {
        serve.await;
        done.send_replace(true);
    });
    let inner = Inner {
        #[cfg(feature = "bridge")]
        bridges: crate::bridge::Bridges::new(Arc::clone(&shared), stores.db.clone()),
        shared,
        changes,
        local_addr: OnceLock::new(),
        listeners: AtomicU64::new(0),
        is_open,
        stop,
        served,
        task: task.abort_handle(),
        #[cfg(feature = "db")]
        db: stores.db,
    };
    let broker = Broker { inner: Arc::new(inner) };
    for listener in listen {
        broker.listen(listener).await?;
    }
    Ok(broker)
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
