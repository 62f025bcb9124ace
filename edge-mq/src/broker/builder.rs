//! How a broker starts: settings, then the store, then who comes in.

#![allow(clippy::disallowed_methods, reason = "a shell: it brings the hub the time")]

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::{Broker, Inner, StartError};
use crate::access::{Acl, Auth};
use crate::committer;
#[cfg(feature = "db")]
use crate::db::{DbStore, JournalError};
use crate::events;
use crate::hooks::Hooks;
use crate::hub::{Effects, Hub};
use crate::limits::Limits;
use crate::listener::Listener;
use crate::net;
use crate::shared::Shared;
use crate::store::Store;

/// As mosquitto has it.
const SYS_INTERVAL: Duration = Duration::from_secs(10);

/// Settings of a [`Broker`].
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until it is started"]
pub struct BrokerBuilder {
    listen: Vec<Listener>,
    auth: Option<Arc<dyn Auth>>,
    acl: Option<Arc<dyn Acl>>,
    hooks: Option<Arc<dyn Hooks>>,
    is_open: bool,
    limits: Limits,
    sys_interval: Option<Duration>,
    #[cfg(feature = "db")]
    db: Option<edge_db::Db>,
    #[cfg(feature = "db")]
    durable_within: Duration,
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

    /// What sees the packets of clients on their way, and may change them.
    pub fn hooks(mut self, hooks: impl Hooks) -> BrokerBuilder {
        self.hooks = Some(Arc::new(hooks));
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

    /// Acknowledges QoS 1 messages once they are written to the database, and has them on disk at
    /// most so much later; without this, or with zero, they are on disk first. It holds for messages
    /// of the application, too. With 10 ms, however many come in that time share one sync.
    ///
    /// A process that dies, or is killed, loses nothing by this. If the power fails, or the system
    /// does, what was acknowledged in the time before that may be lost, from some message on: no
    /// message is lost that came before one that is there. Subscribers may have got it. If the disk
    /// refuses to sync, nothing more is stored until it has taken what it owes.
    ///
    /// QoS 2, sessions and subscriptions are on disk before they are answered all the same, and what
    /// came before them.
    #[cfg(feature = "db")]
    pub fn durable_within(mut self, delay: Duration) -> BrokerBuilder {
        self.durable_within = delay;
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
        hub.set_hooks(self.hooks);
        let sys_interval = self.sys_interval.unwrap_or(SYS_INTERVAL);
        if !sys_interval.is_zero() {
            hub.set_sys(sys_interval, Instant::now());
        }
        #[cfg(feature = "db")]
        let store = Stores::open(self.db, self.durable_within, &mut hub).await?;
        #[cfg(not(feature = "db"))]
        let store = Stores::default();
        let doors = Doors { listen: self.listen, auth: self.auth, is_open: self.is_open };
        serve(doors, hub, limits, store).await
    }
}

/// Who comes in, and where.
#[derive(Debug, Default)]
pub(super) struct Doors {
    pub(super) listen: Vec<Listener>,
    pub(super) auth: Option<Arc<dyn Auth>>,
    pub(super) is_open: bool,
}

/// Where things are kept.
#[derive(Debug, Default)]
pub(super) struct Stores {
    pub(super) store: Option<Arc<dyn Store>>,
    /// The same, as the one that knows its rules.
    #[cfg(feature = "db")]
    pub(super) db: Option<Arc<DbStore>>,
}

#[cfg(feature = "db")]
impl Stores {
    pub(super) async fn open(
        db: Option<edge_db::Db>,
        durable_within: Duration,
        hub: &mut Hub,
    ) -> Result<Stores, JournalError> {
        let Some(db) = db else { return Ok(Stores::default()) };
        let db = Arc::new(DbStore::open(db, durable_within, hub).await?);
        Ok(Stores { store: Some(Arc::clone(&db) as Arc<dyn Store>), db: Some(db) })
    }
}

pub(super) async fn serve(
    doors: Doors,
    hub: Hub,
    limits: Limits,
    stores: Stores,
) -> Result<Broker, StartError> {
    let Doors { listen, auth, is_open } = doors;
    let is_stored = stores.store.is_some();
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
        is_told_stopped: AtomicBool::new(false),
        served,
        task: task.abort_handle(),
        #[cfg(feature = "db")]
        db: stores.db,
    };
    let broker = Broker { inner: Arc::new(inner) };
    events::started(is_stored);
    for listener in listen {
        broker.listen(listener).await?;
    }
    Ok(broker)
}
