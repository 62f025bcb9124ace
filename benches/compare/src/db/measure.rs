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
pub(super) use put::{check_values, lone_puts};

use super::engine::Engine;
use super::work::Work;
use crate::runs::Often;

/// Works that share one fresh store.
type Run = crate::runs::Run<Work, Engine, Bench>;

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
}
