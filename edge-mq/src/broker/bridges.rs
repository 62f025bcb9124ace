//! Bridges of a running broker.

use super::Broker;
use crate::bridge::{Bridge, BridgeError, BridgeStatus};

impl Broker {
    /// Connects this broker to another one, from now on until it stops; see [`crate::bridge`]. When
    /// this returns, what the rules of [`Bridge::send`] match is queued; the link may take longer.
    ///
    /// Bridges are not kept over a restart, but their queues are: add them before
    /// [`Broker::listen`], so that nothing is acknowledged without being queued.
    ///
    /// # Errors
    /// When there is no such bridge now.
    ///
    /// # Cancel safety
    /// Once polled, the bridge is added even if the future is dropped.
    pub async fn add_bridge(&self, bridge: Bridge) -> Result<(), BridgeError> {
        self.inner.bridges.add(bridge).await
    }

    /// Changes the settings of the bridge of this name. Its queue stays and loses nothing: the old
    /// rules hold until the new ones do.
    ///
    /// # Errors
    /// When the bridge is as it was; but if the database cannot be read once the old link has ended,
    /// the bridge is gone and its queue stays.
    ///
    /// # Cancel safety
    /// Once polled, the bridge is changed even if the future is dropped.
    pub async fn replace_bridge(&self, bridge: Bridge) -> Result<(), BridgeError> {
        self.inner.bridges.replace(bridge).await
    }

    /// Ends a bridge, and gives up what its queue still holds. Returns how many messages that were.
    /// The session at the remote broker stays until it expires.
    ///
    /// # Errors
    /// When there is no such bridge; or when the queue could not be removed, but then the bridge is
    /// gone.
    ///
    /// # Cancel safety
    /// Once polled, the bridge is removed even if the future is dropped.
    pub async fn remove_bridge(&self, name: &str) -> Result<u64, BridgeError> {
        self.inner.bridges.remove(name).await
    }

    /// The bridges as they are now, by name.
    ///
    /// # Errors
    /// When a queue cannot be read.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn bridges(&self) -> Result<Vec<BridgeStatus>, BridgeError> {
        self.inner.bridges.statuses().await
    }
}
