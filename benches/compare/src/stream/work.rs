//! What is done.

use crate::figures::Case;

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    Tumble,
    TumbleDurable,
    TumbleTwoCores,
    Hop,
    Session,
    Jobs,
    Groups,
    Restart,
    MqttToMqtt,
    MqttJournal,
    MqttToView,
}

impl Work {
    /// All of it, in the order of the table.
    pub(super) const ALL: [Work; 11] = [
        Work::Tumble,
        Work::TumbleDurable,
        Work::TumbleTwoCores,
        Work::Hop,
        Work::Session,
        Work::Jobs,
        Work::Groups,
        Work::Restart,
        Work::MqttToMqtt,
        Work::MqttJournal,
        Work::MqttToView,
    ];
}

impl Case for Work {
    fn name(self) -> &'static str {
        match self {
            Work::Tumble => "tumble",
            Work::TumbleDurable => "tumble-durable",
            Work::TumbleTwoCores => "tumble-2-cores",
            Work::Hop => "hop",
            Work::Session => "session",
            Work::Jobs => "jobs-100",
            Work::Groups => "groups-1m",
            Work::Restart => "restart-1m",
            Work::MqttToMqtt => "mqtt-to-mqtt",
            Work::MqttJournal => "mqtt-journal",
            Work::MqttToView => "mqtt-to-view",
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
