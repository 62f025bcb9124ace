//! The floors, as they were set before edge-stream was made fast.

use super::peer::Peer::{self, Bytewax, DataFusion, DuckDb, EdgeStream};
use super::work::Work;
use super::{Bound, Figure, Floor};
use crate::metric::Metric::{self, BytesPerGroup, Cores, OpenMs, P50Us, P99Us, PeakMb, PerSecond};

/// All of them.
pub(super) fn floors() -> Vec<Floor> {
    let tumble = "JSON lines, 10 s windows, one core";
    vec![
        rate(tumble, Work::Tumble, 1.2, of(DuckDb, Work::Tumble, PerSecond)),
        rate(tumble, Work::Tumble, 0.8, of(DataFusion, Work::Tumble, PerSecond)),
        rate(tumble, Work::Tumble, 10.0, of(Bytewax, Work::Tumble, PerSecond)),
        rate(
            "the same, durable",
            Work::TumbleDurable,
            0.9,
            of(EdgeStream, Work::Tumble, PerSecond),
        ),
        rate(
            "the same, durable, two cores",
            Work::TumbleTwoCores,
            1.6,
            of(EdgeStream, Work::TumbleDurable, PerSecond),
        ),
        floor("60 s each second, 1,000 devices", Work::Hop, PerSecond, Bound::Least(1.5e6)),
        floor("sessions, 10,000 devices", Work::Session, PerSecond, Bound::Least(1e6)),
        floor("100 jobs over 100k rows/s", Work::Jobs, Cores, Bound::Most(1.0)),
        floor("MQTT, filter, MQTT, 10k/s", Work::MqttToMqtt, P50Us, Bound::Most(1_000.0)),
        floor("MQTT, filter, MQTT, 10k/s", Work::MqttToMqtt, P99Us, Bound::Most(5_000.0)),
        rate(
            "MQTT, journal, window, view",
            Work::MqttToView,
            0.5,
            of(EdgeStream, Work::MqttJournal, PerSecond),
        ),
        floor("memory, 10 s windows", Work::Tumble, PeakMb, Bound::Most(60.0)),
        floor("a group's aggregate beside values", Work::Groups, BytesPerGroup, Bound::Most(40.0)),
        floor("restart with 1M groups", Work::Restart, OpenMs, Bound::Most(1_000.0)),
    ]
}

const fn of(engine: Peer, work: Work, metric: Metric) -> Figure {
    Figure { work, metric, engine }
}

const fn floor(what: &'static str, work: Work, metric: Metric, bound: Bound) -> Floor {
    Floor { work: what, ours: of(EdgeStream, work, metric), bound }
}

/// At least so many times the rate of the other one.
const fn rate(what: &'static str, work: Work, times: f64, other: Figure) -> Floor {
    floor(what, work, PerSecond, Bound::LeastTimes(times, other))
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
