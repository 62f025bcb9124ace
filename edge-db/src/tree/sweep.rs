//! Expired values go out of the tree, a step at a time: what settles waits for one step at most.

use std::ops::Bound;

use super::{Tree, unsettled};
use crate::Time;
use crate::codec;
use crate::error::StoreError;
use crate::space::Space;

/// Values looked at in one step.
const STEP_VALUES: usize = 20_000;

/// The way through one space.
#[derive(Debug)]
pub(crate) struct Sweep {
    next: Vec<u8>,
    end: [u8; 4],
    dropped: u64,
}

impl Sweep {
    pub(crate) fn new(space: Space) -> Sweep {
        Sweep { next: space.prefix().to_vec(), end: space.next().prefix(), dropped: 0 }
    }

    /// Whether it is of this space, and has not begun.
    pub(crate) fn will_see_all_of(&self, space: Space) -> bool {
        self.next == space.prefix()
    }

    /// How many values the last step has dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Tree {
    /// Goes on with a sweep; whether it is over.
    pub(crate) fn sweep(&mut self, sweep: &mut Sweep, now: Time) -> Result<bool, StoreError> {
        sweep.dropped = 0;
        let view = self.view()?;
        let settled = view.settled()?.revision;
        let (from, to) = (Bound::Included(sweep.next.as_slice()), Bound::Excluded(&sweep.end[..]));
        let mut has_expired = false;
        let mut end = None;
        for (count, entry) in view.range(from, to)?.enumerate() {
            let entry = entry?;
            if count == STEP_VALUES {
                end = Some(entry.key().to_vec());
                break;
            }
            has_expired |= codec::is_expired(entry.value(), now);
        }
        drop(view);
        let to = end.as_deref().unwrap_or(&sweep.end);
        if has_expired {
            let (mut bytes, mut dropped) = (0, 0);
            self.change(|tree, is_written| {
                let is_kept = |key: &[u8], stored: &[u8]| {
                    let is_expired = codec::is_expired(stored, now);
                    if is_expired {
                        bytes += key.len() + stored.len();
                        dropped += 1;
                    }
                    !is_expired
                };
                tree.retain_in(sweep.next.as_slice()..to, is_kept).map_err(unsettled)?;
                is_written()?;
                Ok((settled, -i64::try_from(bytes).unwrap_or(i64::MAX)))
            })?;
            sweep.dropped = dropped;
        }
        let is_over = end.is_none();
        sweep.next = end.unwrap_or_default();
        Ok(is_over)
    }
}
