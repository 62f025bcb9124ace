//! Messages into memory of the application, without a disk and without a queue of the broker.

use std::sync::Arc;

use crate::arena::Key;
use crate::local::{SubscribeError, own_filter};
use crate::shared::Shared;

/// Appends messages to a [`MemoryLog`](edge_db::MemoryLog) until it is dropped; from
/// [`Broker::record`](crate::Broker::record). It begins without topics.
#[derive(Debug)]
#[must_use = "recording ends when this is dropped"]
pub struct Recording {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: Key,
}

impl Recording {
    /// Records what is published from here on and matches the filter. A message that several filters
    /// match is recorded once. What was retained before is not.
    ///
    /// # Errors
    /// When the filter breaks the rules of MQTT or is a shared one, or the broker is closed.
    pub fn add(&self, filter: impl AsRef<str>) -> Result<(), SubscribeError> {
        let filter = own_filter(filter.as_ref())?;
        self.shared.hub(|hub| match hub.is_closed() {
            true => Err(SubscribeError::Closed),
            false => {
                hub.add_recorded(self.key, filter);
                Ok(())
            }
        })
    }

    /// What matches this filter alone is not recorded any more; one that was not added is nothing.
    ///
    /// # Errors
    /// When the filter breaks the rules of MQTT or is a shared one.
    pub fn remove(&self, filter: impl AsRef<str>) -> Result<(), SubscribeError> {
        let filter = own_filter(filter.as_ref())?;
        self.shared.hub(|hub| hub.remove_recorded(self.key, &filter));
        Ok(())
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.shared.hub(|hub| hub.end_recorder(self.key));
    }
}
