//! What a connection tells of its client.

use std::borrow::Cow;
use std::fmt::Display;

use super::{Connection, End};
use crate::events::{self, Caller};
use crate::session::Closing;

impl Connection {
    /// Has the log know who goes, and why.
    pub(super) fn tell_end(&self, end: &Result<(), End>) {
        let Some(caller) = self.named() else { return };
        if let Err(End::Closing(Closing::Violation(code))) = end {
            let error: &dyn Display = self.fault.as_ref().map_or(code, |fault| &**fault);
            events::protocol_error(&self.shared.sparing, Some(&caller), caller.address, error);
        }
        let reason: &dyn Display = match end {
            Ok(()) => &"client closed the connection",
            Err(end) => end,
        };
        events::disconnected(&caller, self.version, reason);
    }

    /// Whom this is about, if somebody wants to know. Who came in while nobody did is known by the
    /// session alone, if there is one yet.
    pub(super) fn named(&self) -> Option<Cow<'_, Caller>> {
        if let Some(caller) = &self.caller {
            return Some(Cow::Borrowed(&**caller));
        }
        let peer = self.peer;
        let found = events::is_heard().then(|| self.shared.hub(|hub| hub.caller(peer)))?;
        found.map(Cow::Owned)
    }
}
