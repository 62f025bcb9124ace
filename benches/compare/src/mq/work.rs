//! What is done.

use crate::figures::Case;

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    FanInQos0,
    FanInQos1,
    FanInLone,
    FanOutQos0,
    FanOutQos1,
    PairsQos1,
    PairsQos2,
    Paced,
    Durable50,
    Session50,
    Durable1,
    Workers,
    Idle,
    Match1Of1k,
    Match1Of100k,
    Match10Of100k,
    Match100Of100k,
    Match1000Of1k,
    Match1000Of10k,
    Match1000Of100k,
}

impl Work {
    /// All of it, in the order of the table.
    pub(super) const ALL: [Work; 20] = [
        Work::FanInQos0,
        Work::FanInQos1,
        Work::FanInLone,
        Work::FanOutQos0,
        Work::FanOutQos1,
        Work::PairsQos1,
        Work::PairsQos2,
        Work::Paced,
        Work::Durable50,
        Work::Session50,
        Work::Durable1,
        Work::Workers,
        Work::Idle,
        Work::Match1Of1k,
        Work::Match1Of100k,
        Work::Match10Of100k,
        Work::Match100Of100k,
        Work::Match1000Of1k,
        Work::Match1000Of10k,
        Work::Match1000Of100k,
    ];
}

impl Case for Work {
    fn name(self) -> &'static str {
        match self {
            Work::FanInQos0 => "50-to-1-qos0",
            Work::FanInQos1 => "50-to-1-qos1",
            Work::FanInLone => "50-to-1-qos1-lone",
            Work::FanOutQos0 => "1-to-50-qos0",
            Work::FanOutQos1 => "1-to-50-qos1",
            Work::PairsQos1 => "pairs-qos1",
            Work::PairsQos2 => "pairs-qos2",
            Work::Paced => "paced-20k",
            Work::Durable50 => "durable-50",
            Work::Session50 => "durable-50-session",
            Work::Durable1 => "durable-1",
            Work::Workers => "workers",
            Work::Idle => "idle-10k",
            Work::Match1Of1k => "match-1-of-1k",
            Work::Match1Of100k => "match-1-of-100k",
            Work::Match10Of100k => "match-10-of-100k",
            Work::Match100Of100k => "match-100-of-100k",
            Work::Match1000Of1k => "match-1000-of-1k",
            Work::Match1000Of10k => "match-1000-of-10k",
            Work::Match1000Of100k => "match-1000-of-100k",
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
