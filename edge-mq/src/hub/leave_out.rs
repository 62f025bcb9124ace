//! Logs that get nothing at present: the full queues of bridges that drop what is new.

use std::collections::BTreeMap;

use crate::store::LogSlot;

/// The Logs that were ever left out.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    logs: BTreeMap<LogSlot, Missed>,
}

/// What a Log missed.
#[derive(Debug, Default)]
struct Missed {
    is_left_out: bool,
    messages: u64,
}

impl LeftOut {
    /// Whether messages go past this Log from now on, as if no rule led to it.
    #[cfg(feature = "bridge")]
    pub(crate) fn set(&mut self, log: LogSlot, is_left_out: bool) {
        if is_left_out {
            self.logs.entry(log).or_default().is_left_out = true;
        } else if let Some(missed) = self.logs.get_mut(&log) {
            missed.is_left_out = false;
        }
    }

    /// How many messages have gone past this Log.
    #[cfg(feature = "bridge")]
    pub(crate) fn messages(&self, log: LogSlot) -> u64 {
        self.logs.get(&log).map_or(0, |missed| missed.messages)
    }

    /// Takes a message that goes past this Log, if it does.
    pub(super) fn takes(&mut self, log: LogSlot) -> bool {
        let missed = self.logs.get_mut(&log).filter(|missed| missed.is_left_out);
        missed.is_some_and(|missed| {
            missed.messages += 1;
            true
        })
    }
}
