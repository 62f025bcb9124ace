//! What is done, and what is measured of it.

use crate::table::{figure, rate};

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    Put16,
    Put1,
    Async,
    Wear1,
    Wear16,
    WearLog,
    LogAppend,
    LogRead,
    Load,
    Get1,
    Get4,
    Scan,
    UnsettledGet1,
    UnsettledGet4,
    UnsettledScan,
    Memory,
    Settling,
    Reopen,
    ReopenBig,
    Expire,
}

impl Work {
    /// All of it, in the order of the tables.
    pub(super) const ALL: [Work; 20] = [
        Work::Put16,
        Work::Put1,
        Work::Async,
        Work::Wear1,
        Work::Wear16,
        Work::WearLog,
        Work::LogAppend,
        Work::LogRead,
        Work::Load,
        Work::Get1,
        Work::Get4,
        Work::Scan,
        Work::UnsettledGet1,
        Work::UnsettledGet4,
        Work::UnsettledScan,
        Work::Memory,
        Work::Settling,
        Work::Reopen,
        Work::ReopenBig,
        Work::Expire,
    ];

    /// Its name in tables, in JSON and for `--only`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Work::Put16 => "put-16",
            Work::Put1 => "put-1",
            Work::Async => "async-1000",
            Work::Wear1 => "wear-1",
            Work::Wear16 => "wear-16",
            Work::WearLog => "wear-log",
            Work::LogAppend => "log-append",
            Work::LogRead => "log-read",
            Work::Load => "load",
            Work::Get1 => "get-1",
            Work::Get4 => "get-4",
            Work::Scan => "scan",
            Work::UnsettledGet1 => "unsettled-get-1",
            Work::UnsettledGet4 => "unsettled-get-4",
            Work::UnsettledScan => "unsettled-scan",
            Work::Memory => "memory",
            Work::Settling => "settling",
            Work::Reopen => "reopen",
            Work::ReopenBig => "reopen-10M",
            Work::Expire => "expire",
        }
    }
}

/// What is measured of a work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Metric {
    /// Puts, rows, gets or records.
    PerSecond,
    P99Ms,
    P9999Ms,
    MaxMs,
    /// Bytes that reached the device for each row.
    DeviceBytesPerPut,
    /// The same for each byte of keys and values.
    DeviceBytesPerByte,
    /// What the closed store takes on disk.
    FileMb,
    /// Until a store answers its first get.
    OpenMs,
    /// The most resident memory of a process.
    PeakMb,
    /// The same before it opened a store.
    ProgramMb,
    /// Times that memory tables were settled.
    Settlings,
    /// Puts that waited for settling although a memory table had room.
    SettlingWaits,
}

impl Metric {
    /// Its name in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Metric::PerSecond => "per_second",
            Metric::P99Ms => "p99_ms",
            Metric::P9999Ms => "p99.99_ms",
            Metric::MaxMs => "max_ms",
            Metric::DeviceBytesPerPut => "device_bytes_per_put",
            Metric::DeviceBytesPerByte => "device_bytes_per_byte",
            Metric::FileMb => "file_mb",
            Metric::OpenMs => "open_ms",
            Metric::PeakMb => "peak_mb",
            Metric::ProgramMb => "program_mb",
            Metric::Settlings => "settlings",
            Metric::SettlingWaits => "settling_waits",
        }
    }

    /// What its values are, in the heading of a row.
    pub(super) fn label(self) -> &'static str {
        match self {
            Metric::PerSecond => "per second",
            Metric::P99Ms => "p99",
            Metric::P9999Ms => "p99.99",
            Metric::MaxMs => "max",
            Metric::DeviceBytesPerPut => "device bytes per put",
            Metric::DeviceBytesPerByte => "device bytes per byte",
            Metric::FileMb => "size on disk",
            Metric::OpenMs => "open",
            Metric::PeakMb => "peak memory",
            Metric::ProgramMb => "before opening",
            Metric::Settlings => "settlings",
            Metric::SettlingWaits => "puts that waited for settling",
        }
    }

    /// A value with its unit.
    pub(super) fn show(self, value: f64) -> String {
        let number = |decimals| figure(Some(value), decimals);
        match self {
            Metric::PerSecond => format!("{}/s", rate(Some(value))),
            Metric::P99Ms | Metric::P9999Ms | Metric::MaxMs => format!("{} ms", number(2)),
            Metric::OpenMs => format!("{} ms", number(1)),
            Metric::DeviceBytesPerPut => format!("{} B", number(0)),
            Metric::DeviceBytesPerByte => format!("{} B/B", number(2)),
            Metric::FileMb | Metric::PeakMb | Metric::ProgramMb => format!("{} MB", number(1)),
            Metric::Settlings | Metric::SettlingWaits => number(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_work_is_listed_once_under_its_own_name() {
        let names: HashSet<_> = Work::ALL.iter().map(|work| work.name()).collect();
        assert_eq!(names.len(), Work::ALL.len());
        assert!(Work::ALL.is_sorted());
    }
}
