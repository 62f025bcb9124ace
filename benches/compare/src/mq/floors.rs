//! The floors, as they were set before edge-mq was made fast: ratios to peers and to the disk in
//! the same run where figures move with the machine, fixed numbers where they do not.

use super::peer::Peer::{self, Disk, EdgeMq, EdgeMqOneWorker, Mosquitto, Rumqttd};
use super::work::Work;
use super::{Bound, Figure, Floor};
use crate::metric::Metric::{self, CpuUs, P50Us, P99Us, PeakMb, PerSecond, ResidentMb};

/// All of them.
pub(super) fn floors() -> Vec<Floor> {
    let mut floors = rates();
    floors.extend(paced());
    floors.extend(durable());
    floors.extend(size());
    floors
}

const fn of(engine: Peer, work: Work, metric: Metric) -> Figure {
    Figure { work, metric, engine }
}

const fn floor(what: &'static str, work: Work, metric: Metric, bound: Bound) -> Floor {
    Floor { work: what, ours: of(EdgeMq, work, metric), bound }
}

/// At least so many times the rate of the other one at the same work.
const fn rate(what: &'static str, work: Work, times: f64, engine: Peer) -> Floor {
    floor(what, work, PerSecond, Bound::LeastTimes(times, of(engine, work, PerSecond)))
}

fn rates() -> Vec<Floor> {
    let lone = "50 to 1, QoS 1, one packet per write";
    vec![
        // Fan-in aims at 2.5 times: FlashMQ, which is no crate, does 2.2.
        rate("50 to 1, QoS 0", Work::FanInQos0, 2.0, Rumqttd),
        rate("50 to 1, QoS 1", Work::FanInQos1, 2.0, Rumqttd),
        rate(lone, Work::FanInLone, 1.1, Rumqttd),
        rate(lone, Work::FanInLone, 1.2, Mosquitto),
        rate("1 to 50, QoS 0", Work::FanOutQos0, 1.1, Rumqttd),
        rate("1 to 50, QoS 1", Work::FanOutQos1, 1.1, Rumqttd),
        rate("50 pairs, QoS 1", Work::PairsQos1, 1.2, Rumqttd),
        rate("50 pairs, QoS 2", Work::PairsQos2, 1.2, Rumqttd),
        rate("two worker threads", Work::Workers, 1.4, EdgeMqOneWorker),
    ]
}

fn paced() -> Vec<Floor> {
    let paced = |metric, times| {
        let other = of(Mosquitto, Work::Paced, metric);
        floor("20,000 msg/s, QoS 1 pairs", Work::Paced, metric, Bound::MostTimes(times, other))
    };
    // CPU aims at less than mosquitto's.
    vec![paced(P50Us, 1.1), paced(P99Us, 1.0), paced(CpuUs, 1.25)]
}

fn durable() -> Vec<Floor> {
    let (fifty, one) = ("durable, 50 publishers", "durable, one at a time");
    let kept = "durable, 50 publishers, kept session";
    vec![
        // mosquitto in memory, without any durability.
        rate(fifty, Work::Durable50, 1.5, Mosquitto),
        floor(fifty, Work::Durable50, P99Us, Bound::Most(10_000.0)),
        rate(kept, Work::Session50, 1.5, Mosquitto),
        floor(kept, Work::Session50, P99Us, Bound::Most(10_000.0)),
        floor(one, Work::Durable1, P50Us, Bound::MostTimes(1.5, of(Disk, Work::Durable1, P50Us))),
    ]
}

fn size() -> Vec<Floor> {
    let (idle, filters) = ("10,000 idle connections", "1,000 matches of 100,000 filters");
    // A scan of all filters would cost a hundred times as much; what lies in memory instead of
    // caches may cost half as much again.
    let few = of(EdgeMq, Work::Match1000Of1k, CpuUs);
    vec![
        floor(idle, Work::Idle, ResidentMb, Bound::Most(30.0)),
        floor(idle, Work::Idle, PerSecond, Bound::Least(15_000.0)),
        floor("memory, 50 to 1, QoS 0", Work::FanInQos0, PeakMb, Bound::Most(25.0)),
        floor(filters, Work::Match1000Of100k, CpuUs, Bound::MostTimes(1.5, few)),
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
