//! What the generator notices of a broker that does something wrong, by streams that are wrong.

use super::super::packet::Version;
use super::super::traffic::SENT_BELOW;
use super::*;

/// Each publisher with a topic of its own.
const fn traffic(publishers: usize, subscribers: usize, qos: u8) -> Traffic {
    let version = Version::V311;
    Traffic {
        publishers,
        subscribers,
        topics: publishers,
        qos,
        window: 200,
        heard_below: SENT_BELOW,
        is_kept: false,
        version,
        payload_bytes: 64,
    }
}

/// Something that a broker does with the four messages that publisher 1 of two sent.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// Delivers the message of this publisher with this number, to subscriber 1.
    Deliver(usize, u64),
    /// Delivers something that is no message of ours.
    Garble,
    /// Answers the message of this number: PUBACK, or PUBREC and PUBCOMP.
    Answer(u64),
    /// Sends only the PUBREC.
    Record(u64),
    Release,
}
use Does::{Answer, Deliver, Garble, Record, Release};

fn faults(qos: u8, does: &[Does]) -> Vec<String> {
    let mut flow = Flow::new(traffic(2, 2, qos));
    (0..4).for_each(|_| _ = flow.send(1));
    for one in does {
        match *one {
            Deliver(publisher, number) => flow.receive(1, Some((publisher, number))),
            Garble => flow.receive(1, None),
            Record(number) => flow.record(1, Flow::packet_id(number)),
            Answer(number) => {
                if qos == 2 {
                    flow.record(1, Flow::packet_id(number));
                }
                flow.acknowledge(1, Flow::packet_id(number));
            }
            Release => flow.release(),
        }
    }
    flow.faults()
}

const ALL: [Does; 4] = [Deliver(1, 0), Deliver(1, 1), Deliver(1, 2), Deliver(1, 3)];
const ANSWERS: [Does; 4] = [Answer(0), Answer(1), Answer(2), Answer(3)];

#[test]
fn a_stream_without_faults_has_none() {
    assert!(faults(0, &ALL).is_empty());
    assert!(faults(1, &[ALL, ANSWERS].concat()).is_empty());
    assert!(faults(2, &[ALL, ANSWERS, [Release; 4]].concat()).is_empty());
}

#[test]
fn what_a_broker_does_wrong_is_told_by_kind() {
    let all_and = |wrong: &[Does]| [&ALL[..], &ANSWERS, wrong].concat();
    let table: [(&str, u8, Vec<Does>, &[&str]); 12] = [
        ("last one lost", 0, ALL[..3].to_vec(), &["1 lost"]),
        ("all lost", 0, vec![], &["4 lost"]),
        ("gap", 0, vec![Deliver(1, 0), Deliver(1, 3)], &["2 lost"]),
        ("double", 1, all_and(&[Deliver(1, 3)]), &["1 twice"]),
        (
            "disorder",
            0,
            vec![Deliver(1, 0), Deliver(1, 2), Deliver(1, 1), Deliver(1, 3)],
            &["1 out of order"],
        ),
        ("garbled", 1, all_and(&[Garble]), &["1 damaged or foreign"]),
        ("of another pair", 1, all_and(&[Deliver(0, 0)]), &["1 damaged or foreign"]),
        ("never sent", 1, all_and(&[Deliver(1, 4)]), &["1 damaged or foreign"]),
        ("no PUBACK", 1, [&ALL[..], &ANSWERS[..3]].concat(), &["1 not acknowledged"]),
        (
            "PUBACKs in another order",
            1,
            [&ALL[..], &[Answer(1), Answer(0), Answer(2), Answer(3)]].concat(),
            &["2 acknowledged out of order"],
        ),
        (
            "no PUBCOMP",
            2,
            [&ALL[..], &ANSWERS[..3], &[Record(3)], &[Release; 4]].concat(),
            &["1 not acknowledged"],
        ),
        ("no PUBREL", 2, [&ALL[..], &ANSWERS, &[Release; 3]].concat(), &["1 not released"]),
    ];
    for (what, qos, does, expected) in table {
        assert_eq!(faults(qos, &does), expected, "{what}");
    }
}

#[test]
fn qos_2_is_through_with_the_last_release() {
    let mut flow = Flow::new(traffic(1, 1, 2));
    flow.send(0);
    flow.receive(0, Some((0, 0)));
    flow.record(0, 1);
    assert!(!flow.is_settled());
    flow.acknowledge(0, 1);
    assert!(!flow.is_settled());
    flow.release();
    assert!(flow.is_settled());
}

#[test]
fn slowest_receiver_holds_the_publisher_back() {
    let mut flow = Flow::new(Traffic { window: 1_000, ..traffic(1, 50, 0) });
    for number in 0..flow.allowance(0) {
        assert_eq!(flow.send(0), number);
    }
    for subscriber in 0..49 {
        (0..1_000).for_each(|number| flow.receive(subscriber, Some((0, number))));
    }
    assert_eq!(flow.allowance(0), 0);
    (0..249).for_each(|number| flow.receive(49, Some((0, number))));
    assert_eq!(flow.allowance(0), 0, "too few for a write of their own");
    flow.receive(49, Some((0, 249)));
    assert_eq!(flow.allowance(0), 250);
    assert_eq!(flow.faults(), ["750 lost"], "if nothing more came");
}

#[test]
fn qos_1_waits_for_acknowledgements_too() {
    let mut flow = Flow::new(traffic(50, 1, 1));
    (0..200).for_each(|_| _ = flow.send(3));
    (0..200).for_each(|number| flow.receive(0, Some((3, number))));
    assert_eq!(flow.allowance(3), 0);
    (0..200).for_each(|number| flow.acknowledge(3, Flow::packet_id(number)));
    assert_eq!(flow.allowance(3), 200);
    assert!(flow.is_settled() && flow.faults().is_empty());
}

#[test]
fn who_has_no_reader_waits_for_acknowledgements_alone() {
    let mut flow = Flow::new(Traffic { window: 1, ..traffic(1, 0, 1) });
    flow.send(0);
    assert_eq!(flow.allowance(0), 0);
    flow.acknowledge(0, 1);
    assert_eq!((flow.allowance(0), flow.passed()), (1, 1));
    assert!(flow.faults().is_empty());
}

#[test]
fn what_comes_on_a_schedule_waits_for_a_broker_that_is_far_behind() {
    let mut flow = Flow::new(traffic(1, 1, 1));
    while flow.has_room(0) {
        flow.send(0);
    }
    assert_eq!(flow.sent, [200]);
    flow.receive(0, Some((0, 0)));
    assert!(!flow.has_room(0));
    flow.acknowledge(0, 1);
    assert!(flow.has_room(0));
}

#[test]
fn packet_identifiers_skip_zero() {
    assert_eq!([0, 65_534, 65_535].map(Flow::packet_id), [1, 65_535, 1]);
}
