//! One connection among those that were let in, for as long as it lasts.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::crowd::{Refusal, Source};
use crate::shared::Shared;

/// Leaves when it is dropped.
pub(super) struct Entry {
    source: Option<Source>,
    shared: Arc<Shared>,
}

impl Entry {
    /// Of a connection from there, if it is let in.
    pub(super) fn of(address: Option<SocketAddr>, shared: &Arc<Shared>) -> Result<Entry, Refusal> {
        let source = address.map(|address| address.ip().into());
        shared.enter(source)?;
        Ok(Entry { source, shared: Arc::clone(shared) })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.leave(self.source);
    }
}
