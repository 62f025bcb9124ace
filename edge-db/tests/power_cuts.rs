//! What was acknowledged as durable survives power cuts at any operation of the disk, whole batches
//! only and in their order, over tables, indexes, keyspaces, logs and cursors; also while the
//! database opens, and after its process was killed. Of batches that were to be durable later the
//! last may be lost, by power cuts only. This runs `examples/power_cuts` for a few thousand cuts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the example uses all of the modules")]

#[path = "../examples/power_cuts/case.rs"]
mod case;
#[path = "../examples/power_cuts/handles.rs"]
mod handles;
#[path = "../examples/power_cuts/life.rs"]
mod life;
#[path = "../examples/power_cuts/look.rs"]
mod look;
#[path = "../examples/power_cuts/model.rs"]
mod model;
#[path = "../examples/power_cuts/model_early.rs"]
mod model_early;
#[path = "../examples/power_cuts/model_log.rs"]
mod model_log;
#[path = "../examples/power_cuts/model_state.rs"]
mod model_state;
#[path = "../examples/power_cuts/reads.rs"]
mod reads;
#[path = "../examples/power_cuts/rng.rs"]
mod rng;
#[path = "../examples/power_cuts/sim_disk.rs"]
mod sim_disk;
#[path = "../examples/power_cuts/sim_file.rs"]
mod sim_file;
#[path = "../examples/power_cuts/sim_names.rs"]
mod sim_names;
#[path = "../examples/power_cuts/sim_plug.rs"]
mod sim_plug;
#[path = "../examples/power_cuts/tally.rs"]
mod tally;
#[path = "../examples/power_cuts/trouble.rs"]
mod trouble;
#[path = "../examples/power_cuts/workload.rs"]
mod workload;

use case::Watched;
use tally::Tally;

/// Runs so many cases, of [`case::CUTS`] cuts each.
fn run(seed: u64, cases: u64, fails: bool) -> Tally {
    let mut total = Tally::default();
    let watched = Watched::default();
    for seed in seed..seed + cases {
        total.add(&case::run(seed, fails, &watched));
    }
    total
}

#[test]
fn power_cuts_lose_nothing_acknowledged_and_split_no_batch() {
    let total = run(1, 60, false);
    assert!(total.cuts >= 2_400 && total.acknowledged > 10_000, "{total}");
    assert!(total.kills > 60 && total.shutdowns > 5 && total.dropped > 100, "{total}");
    assert!(total.lost_early > 50 && total.refused > 100, "{total}");
    assert!(total.transactions > 500 && total.attempts > total.transactions, "{total}");
}

#[test]
fn power_cuts_lose_nothing_acknowledged_on_a_disk_that_also_refuses_and_fills() {
    let total = run(1_000_000, 12, true);
    assert!(total.cuts >= 480 && total.failed > 20, "{total}");
}
