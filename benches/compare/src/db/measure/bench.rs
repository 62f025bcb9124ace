//! How much is done, and where.

use std::time::Duration;

use tempfile::TempDir;

use crate::Result;
use crate::db::work::Work;
use crate::device::{self, Device};
use crate::figures::Case;
use crate::options::Options;

/// How many rows.
#[derive(Debug, Clone, Copy)]
pub(in crate::db) struct Sizes {
    /// That are loaded before reads.
    pub(in crate::db) rows: u64,
    /// That are loaded to see whether opening takes longer then.
    pub(super) big_rows: u64,
    /// That are put alone while the device is watched.
    pub(in crate::db) wear_rows: u64,
    /// That are appended to a log while it is.
    pub(super) wear_log_rows: u64,
    /// Times that a process is killed in one round.
    pub(super) kills: usize,
}

impl Sizes {
    const FULL: Sizes = Sizes {
        rows: 1_000_000,
        big_rows: 10_000_000,
        wear_rows: 100_000,
        wear_log_rows: 500_000,
        kills: 3,
    };
    const QUICK: Sizes =
        Sizes { rows: 200_000, wear_rows: 20_000, wear_log_rows: 200_000, kills: 2, ..Sizes::FULL };
}

/// What each run needs to know.
#[derive(Debug)]
pub(in crate::db) struct Bench {
    options: Options,
    pub(in crate::db) sizes: Sizes,
    /// Where what is written is counted; or why it cannot be.
    pub(in crate::db) device: Result<Device>,
}

impl Bench {
    pub(in crate::db) fn new(options: &Options) -> Bench {
        let sizes = if options.quick { Sizes::QUICK } else { Sizes::FULL };
        Bench { options: options.clone(), sizes, device: Device::below(&options.dir) }
    }

    /// How long each work is measured.
    pub(super) fn time(&self) -> Duration {
        self.options.time
    }

    pub(super) fn wants(&self, work: Work) -> bool {
        self.options.wants(work.name())
    }

    /// An empty folder for one store, on a disk that has nothing else left to write.
    pub(super) fn folder(&self) -> Result<TempDir> {
        device::sync(&self.options.dir)?;
        Ok(tempfile::tempdir_in(&self.options.dir)?)
    }
}
