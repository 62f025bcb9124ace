//! Whether commits are refused, told when it begins and when it ends, and not for each group.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Sparing;
use crate::store::Refused;

/// Commits that are refused whatever is in them, until one is not. One commit after the other is told.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    refused: AtomicU64,
    is_told: AtomicBool,
}

impl Trouble {
    /// How the commit of so many deeds came out.
    pub(crate) fn tell(&self, outcome: &Result<(), Refused>, deeds: usize, sparing: &Sparing) {
        match outcome {
            Ok(()) => self.is_over(),
            // Its halves are tried alone.
            Err(refused) if refused.is_selective && deeds > 1 => {}
            Err(refused) if refused.is_selective && !refused.is_full => {
                super::not_stored(sparing, refused);
            }
            Err(refused) => {
                if self.refused.fetch_add(1, Ordering::Relaxed) == 0 {
                    self.is_told.store(super::commits_fail(sparing, refused), Ordering::Relaxed);
                }
            }
        }
    }

    /// Something was stored.
    pub(crate) fn is_over(&self) {
        if self.refused.load(Ordering::Relaxed) == 0 {
            return;
        }
        let refused = self.refused.swap(0, Ordering::Relaxed);
        if self.is_told.swap(false, Ordering::Relaxed) {
            super::commits_again(refused);
        }
    }
}
