//! What is measured.

use crate::table::{figure, rate};

/// What a figure is about, whatever the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    /// Puts, rows, gets, records, messages or connections.
    PerSecond,
    P99Ms,
    P9999Ms,
    MaxMs,
    P50Us,
    P99Us,
    /// How far the load generator was behind its schedule.
    LateP99Us,
    /// Processor time of a broker for each message.
    CpuUs,
    /// How much of a core the load generator took.
    GeneratorCores,
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
    /// The memory of a process that has nothing to do.
    ResidentMb,
    /// What a group takes for each aggregate, beside its values.
    BytesPerGroup,
    /// How much of a core was taken.
    Cores,
    /// Times that memory tables were settled.
    Settlings,
    /// Puts that waited for settling although a memory table had room.
    SettlingWaits,
}

impl Metric {
    /// Its name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Metric::PerSecond => "per_second",
            Metric::P99Ms => "p99_ms",
            Metric::P9999Ms => "p99.99_ms",
            Metric::MaxMs => "max_ms",
            Metric::P50Us => "p50_us",
            Metric::P99Us => "p99_us",
            Metric::LateP99Us => "generator_late_p99_us",
            Metric::CpuUs => "cpu_us",
            Metric::GeneratorCores => "generator_cores",
            Metric::DeviceBytesPerPut => "device_bytes_per_put",
            Metric::DeviceBytesPerByte => "device_bytes_per_byte",
            Metric::FileMb => "file_mb",
            Metric::OpenMs => "open_ms",
            Metric::PeakMb => "peak_mb",
            Metric::ProgramMb => "program_mb",
            Metric::ResidentMb => "resident_mb",
            Metric::BytesPerGroup => "bytes_per_group",
            Metric::Cores => "cores",
            Metric::Settlings => "settlings",
            Metric::SettlingWaits => "settling_waits",
        }
    }

    /// What its values are, in the heading of a row.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Metric::PerSecond => "per second",
            Metric::P99Ms => "p99",
            Metric::P9999Ms => "p99.99",
            Metric::MaxMs => "max",
            Metric::P50Us => "p50",
            Metric::P99Us => "p99",
            Metric::LateP99Us => "generator late",
            Metric::CpuUs => "CPU",
            Metric::GeneratorCores => "generator",
            Metric::DeviceBytesPerPut => "device bytes per put",
            Metric::DeviceBytesPerByte => "device bytes per byte",
            Metric::FileMb => "size on disk",
            Metric::OpenMs => "open",
            Metric::PeakMb => "peak memory",
            Metric::ProgramMb => "before opening",
            Metric::ResidentMb => "resident",
            Metric::BytesPerGroup => "bytes per group",
            Metric::Cores => "cores",
            Metric::Settlings => "settlings",
            Metric::SettlingWaits => "puts that waited for settling",
        }
    }

    /// A value with its unit.
    pub(crate) fn show(self, value: f64) -> String {
        let number = |decimals| figure(Some(value), decimals);
        match self {
            Metric::PerSecond => format!("{}/s", rate(Some(value))),
            Metric::P99Ms | Metric::P9999Ms | Metric::MaxMs => format!("{} ms", number(2)),
            Metric::OpenMs => format!("{} ms", number(1)),
            Metric::P50Us | Metric::P99Us | Metric::LateP99Us => format!("{} µs", number(0)),
            Metric::CpuUs => format!("{} µs", number(2)),
            Metric::GeneratorCores | Metric::Cores => format!("{} cores", number(2)),
            Metric::DeviceBytesPerPut | Metric::BytesPerGroup => format!("{} B", number(0)),
            Metric::DeviceBytesPerByte => format!("{} B/B", number(2)),
            Metric::FileMb | Metric::PeakMb | Metric::ProgramMb | Metric::ResidentMb => {
                format!("{} MB", number(1))
            }
            Metric::Settlings | Metric::SettlingWaits => number(0),
        }
    }
}
