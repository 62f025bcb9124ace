//! What may be lost although it was acknowledged.

use crate::model::{Issued, State};
use crate::model_log::{LogMark, ModelLog};

/// Batches that are there before they are durable, and what is left if a power cut takes them.
#[derive(Debug)]
pub(crate) struct Early {
    pub(crate) state: State,
    pub(crate) logs: [LogMark; 2],
    /// In their order.
    pub(crate) batches: Vec<Issued>,
}

impl Early {
    /// None yet, behind this.
    pub(crate) fn behind(state: &State, logs: &[ModelLog; 2]) -> Early {
        let [kept, rolling] = logs;
        let logs = [kept.mark(), rolling.mark()];
        Early { state: state.clone(), logs, batches: Vec::new() }
    }
}
