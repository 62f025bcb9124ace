//! What is done.

use crate::figures::Case;

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
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
    pub(crate) const ALL: [Work; 20] = [
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
}

impl Case for Work {
    fn name(self) -> &'static str {
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
