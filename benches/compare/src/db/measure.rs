//! What is run on one fresh store, and which figures come of it.

mod bench;
mod expire;
mod load;
mod loaded;
mod log;
mod memory;
mod put;
mod read;
mod reopen;
mod settling;
mod wear;

use std::time::Duration;

pub(super) use bench::Bench;
pub(super) use put::check_values;

use super::engine::Engine;
use super::figures::Sheet;
use super::work::Work;
use crate::Result;

/// Works that share one fresh store.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) works: &'static [Work],
    engines: &'static [Engine],
    pub(super) often: Often,
    pub(super) measure: fn(&Bench, &mut Sheet) -> Result<()>,
}

/// In which rounds a run takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Often {
    /// In each.
    EachRound,
    /// In each, but only in the first with `--quick`: it takes long.
    OnceIfQuick,
    /// In the first, and not at all with `--quick`.
    OnceUnlessQuick,
}

impl Often {
    pub(super) fn includes(self, round: usize, quick: bool) -> bool {
        match self {
            Often::EachRound => true,
            Often::OnceIfQuick => round == 1 || !quick,
            Often::OnceUnlessQuick => round == 1 && !quick,
        }
    }
}

impl Run {
    /// The engines that can do it and are there, ours first.
    pub(super) fn engines(&self) -> impl Iterator<Item = Engine> {
        self.engines.iter().copied().filter(|engine| engine.is_built_in())
    }
}

/// In the order of a round: what is compared with each other lies close together.
pub(super) const RUNS: [Run; 10] = [
    Run {
        works: &[Work::Put16],
        engines: &Engine::ALL,
        often: Often::EachRound,
        measure: put::put_16,
    },
    Run {
        works: &[Work::Async],
        engines: &[Engine::EdgeDb],
        often: Often::EachRound,
        measure: put::put_async,
    },
    Run {
        works: &[Work::Put1],
        engines: &Engine::ALL,
        often: Often::EachRound,
        measure: put::put_1,
    },
    Run {
        works: &[Work::LogAppend, Work::LogRead],
        engines: &Engine::ALL,
        often: Often::EachRound,
        measure: log::log,
    },
    Run {
        works: &[
            Work::Load,
            Work::UnsettledScan,
            Work::UnsettledGet1,
            Work::UnsettledGet4,
            Work::Scan,
            Work::Get1,
            Work::Get4,
            Work::Memory,
            Work::Reopen,
            Work::Settling,
        ],
        engines: &Engine::ALL,
        often: Often::OnceIfQuick,
        measure: loaded::loaded,
    },
    Run {
        works: &[Work::Wear1],
        engines: &Engine::ALL,
        often: Often::EachRound,
        measure: wear::wear_1,
    },
    Run {
        works: &[Work::Wear16],
        engines: &Engine::ALL,
        often: Often::EachRound,
        measure: wear::wear_16,
    },
    Run {
        works: &[Work::WearLog],
        engines: &Engine::ALL,
        often: Often::EachRound,
        measure: wear::wear_log,
    },
    Run {
        works: &[Work::Expire],
        engines: &[Engine::EdgeDb],
        often: Often::OnceIfQuick,
        measure: expire::expire,
    },
    Run {
        works: &[Work::ReopenBig],
        // The others take half an hour to load so many rows durably, and no floor asks for them.
        engines: &[Engine::EdgeDb, Engine::Fjall, Engine::RocksDb],
        often: Often::OnceUnlessQuick,
        measure: reopen::reopen_big,
    },
];

/// So many within this time.
fn per_second(count: u64, time: Duration) -> f64 {
    // Counts of some minutes are far below 2^52.
    count as f64 / time.as_secs_f64()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_work_belongs_to_one_run() {
        let mut works: Vec<Work> = RUNS.iter().flat_map(|run| run.works).copied().collect();
        works.sort();
        assert_eq!(works, Work::ALL);
    }

    #[test]
    fn quick_leaves_out_what_takes_long() {
        let rounds = |often: Often, quick| [1, 2].map(|round| often.includes(round, quick));
        assert_eq!(rounds(Often::EachRound, true), [true, true]);
        assert_eq!(rounds(Often::OnceIfQuick, true), [true, false]);
        assert_eq!(rounds(Often::OnceIfQuick, false), [true, true]);
        assert_eq!(rounds(Often::OnceUnlessQuick, true), [false, false]);
    }
}
