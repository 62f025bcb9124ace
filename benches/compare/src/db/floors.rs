//! The floors, as they were set before edge-db was built: ratios to peers and to the disk in the
//! same run where figures move with the machine, fixed numbers where they do not.

use super::engine::Engine::{self, Disk, EdgeDb, Fjall, Redb, RocksDb, Sqlite};
use super::work::Work;
use super::{Bound, Figure, Floor};
use crate::metric::Metric::{
    self, DeviceBytesPerByte, DeviceBytesPerPut, MaxMs, OpenMs, P99Ms, P9999Ms, PeakMb, PerSecond,
    SettlingWaits, Settlings,
};

/// All of them.
pub(super) fn floors() -> Vec<Floor> {
    let mut floors = puts();
    floors.extend(wear());
    floors.extend(reads());
    floors.extend(life());
    floors
}

const fn of(engine: Engine, work: Work, metric: Metric) -> Figure {
    Figure { work, metric, engine }
}

const fn floor(what: &'static str, work: Work, metric: Metric, bound: Bound) -> Floor {
    Floor { work: what, ours: of(EdgeDb, work, metric), bound }
}

/// At least so many times the rate of the other engine at the same work.
const fn rate(what: &'static str, work: Work, times: f64, engine: Engine) -> Floor {
    floor(what, work, PerSecond, Bound::LeastTimes(times, of(engine, work, PerSecond)))
}

fn puts() -> Vec<Floor> {
    let (sixteen, one) = ("durable put, 16 threads", "durable put, 1 thread");
    let own = of(EdgeDb, Work::Put16, PerSecond);
    vec![
        rate(sixteen, Work::Put16, 1.5, RocksDb),
        rate(sixteen, Work::Put16, 8.0, Redb),
        rate(sixteen, Work::Put16, 0.5, Disk),
        floor(sixteen, Work::Put16, P99Ms, Bound::MostTimes(1.0, of(RocksDb, Work::Put16, P99Ms))),
        rate(one, Work::Put1, 0.75, Disk),
        rate(one, Work::Put1, 1.0, Redb),
        rate(one, Work::Put1, 1.0, Fjall),
        rate(one, Work::Put1, 1.0, RocksDb),
        rate(one, Work::Put1, 1.0, Sqlite),
        floor("commit_async, 1,000 in flight", Work::Async, PerSecond, Bound::LeastTimes(1.0, own)),
        rate("bulk load, batches of 1,000", Work::Load, 4.0, Redb),
    ]
}

fn wear() -> Vec<Floor> {
    vec![
        floor("device bytes per lone put", Work::Wear1, DeviceBytesPerPut, Bound::Most(5_000.0)),
        floor(
            "device bytes per put, 16 threads",
            Work::Wear16,
            DeviceBytesPerPut,
            Bound::Most(1_000.0),
        ),
        floor(
            "device bytes per byte, Log append",
            Work::WearLog,
            DeviceBytesPerByte,
            Bound::Most(3.0),
        ),
    ]
}

fn reads() -> Vec<Floor> {
    // Unsettled reads are held against redb's settled ones.
    let unsettled = |what, work, settled| {
        floor(what, work, PerSecond, Bound::LeastTimes(0.4, of(Redb, settled, PerSecond)))
    };
    vec![
        rate("get, 1 thread", Work::Get1, 0.8, Redb),
        rate("get, 4 threads", Work::Get4, 0.8, Redb),
        rate("full scan", Work::Scan, 0.8, Redb),
        unsettled("get, 1 thread, unsettled", Work::UnsettledGet1, Work::Get1),
        unsettled("get, 4 threads, unsettled", Work::UnsettledGet4, Work::Get4),
        unsettled("full scan, unsettled", Work::UnsettledScan, Work::Scan),
        floor("Log append, batches of 100", Work::LogAppend, PerSecond, Bound::Least(400_000.0)),
        floor("Log read", Work::LogRead, PerSecond, Bound::Least(3_000_000.0)),
    ]
}

fn life() -> Vec<Floor> {
    // The limit at 10M rows is that at 1M.
    let open = Bound::MostOrAs(100.0, of(RocksDb, Work::Reopen, OpenMs));
    let settling = "puts while settling goes on";
    vec![
        floor("open after kill -9, full journal", Work::Reopen, OpenMs, open),
        floor("open after kill -9, 10M rows", Work::ReopenBig, OpenMs, open),
        floor("peak memory, random gets", Work::Memory, PeakMb, Bound::Most(20.0)),
        floor(settling, Work::Settling, P9999Ms, Bound::Most(20.0)),
        // Without a settling the others would say nothing.
        floor("settlings that went on", Work::Settling, Settlings, Bound::Least(1.0)),
        floor("puts that waited for settling", Work::Settling, SettlingWaits, Bound::Most(0.0)),
        floor("longest put while all rows expire", Work::Expire, MaxMs, Bound::Most(100.0)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floors::tests::check_each_can_fail;

    #[test]
    fn each_floor_fails_without_figures_and_can_fail_with_them() {
        check_each_can_fail(&Work::ALL, &floors());
    }
}
