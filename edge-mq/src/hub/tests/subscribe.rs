//! SUBSCRIBE and UNSUBSCRIBE, and who gets a message how often.

use super::harness::*;
use crate::packet::Packet;

#[test]
fn overlapping_subscriptions_give_one_copy_with_the_highest_qos_and_all_identifiers() {
    let mut world = World::new();
    let reader = world.connect(v5("reader"));
    world.send(
        reader,
        [
            subscribe_with(1, &[("x/#", 0)], Some(10), |_| {}),
            subscribe_with(2, &[("x/+", 2)], Some(20), |_| {}),
            subscribe_with(3, &[("x/y", 1)], None, |_| {}),
            subscribe_with(4, &[("z", 1)], Some(30), |_| {}),
        ],
    );
    world.publish(message("x/y", "1").qos(qos(2)));
    let got = world.poll(reader);
    let [one] = &got[..] else { panic!("{got:?}") };
    assert!(one.starts_with("x/y=1 q2 #1 "), "{one}");
    let mut ids: Vec<_> = one.split(' ').filter(|word| word.starts_with("sub")).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["sub10", "sub20"]);
}

#[test]
fn same_filter_again_replaces_the_subscription() {
    let mut world = World::new();
    let reader = world.connect(v5("reader"));
    world.send(reader, [subscribe_with(1, &[("x", 2)], Some(1), |_| {}), subscribe(2, "x", 0)]);
    world.publish(message("x", "1").qos(qos(2)));
    assert_eq!(world.poll(reader), ["x=1"]);
    assert_eq!(world.hub.stats().subscriptions, 1);
}

#[test]
fn no_local_keeps_the_client_s_own_messages_from_it() {
    let mut world = World::journaling();
    let client = world.connect(v5("a"));
    let other = world.subscriber(v5("b"), "#", 0);
    let no_local = |packet_id, filters: &[(&str, u8)]| {
        subscribe_with(packet_id, filters, None, |options| options.no_local = true)
    };
    world.send(client, [no_local(1, &[("x", 0), ("log/x", 0)])]);
    world.send(client, [send(0, 0, "x", "own"), send(0, 0, "log/x", "own")]);
    world.commit();
    let got = world.send(other, [send(0, 0, "x", "other")]);
    assert_eq!(got, ["x=own", "log/x=own", "x=other"]);
    assert_eq!(world.poll(client), ["x=other"]);
}

#[test]
fn messages_of_its_own_reach_a_client_that_did_not_ask_otherwise() {
    let mut world = World::new();
    let client = world.subscriber(v311("a"), "x", 1);
    assert_eq!(world.send(client, [send(1, 1, "x", "1")]), ["PUBACK 1", "x=1 q1 #1"]);
}

#[test]
fn unsubscribe_says_which_filters_were_there() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "x", 0);
    assert_eq!(world.send(reader, [unsubscribe(2, &["y", "x", "x"])]), ["UNSUBACK 2 11 00 11"]);
    world.publish(message("x", "1"));
    assert!(world.poll(reader).is_empty());
    assert_eq!(world.hub.stats().subscriptions, 0);
}

#[test]
fn unknown_filter_of_v311_gets_an_unsuback_too() {
    let mut world = World::new();
    let reader = world.connect(v311("reader"));
    assert_eq!(world.send(reader, [unsubscribe(2, &["y"])]).len(), 1);
}

#[test]
fn each_filter_has_its_answer() {
    let mut world = World::with(|limits| limits.subscriptions = 3);
    let reader = world.connect(v5("reader"));
    let filters = [("a", 2), ("$share/g/a", 1), ("$share/a", 1), ("b", 1), ("c", 0), ("a", 0)];
    let packet = subscribe_with(1, &filters, None, |_| {});
    // The third filter shares nothing, the fifth is one too many, and the last takes no place of
    // its own.
    assert_eq!(world.send(reader, [packet]), ["SUBACK 1 02 01 8f 01 97 00"]);
    assert_eq!(world.hub.stats().subscriptions, 3);
    // One that ends makes room.
    assert_eq!(
        world.send(reader, [unsubscribe(2, &["b"]), subscribe(3, "c", 0)]),
        ["UNSUBACK 2 00", "SUBACK 3 00"]
    );
}

#[test]
fn messages_of_one_publisher_reach_each_reader_in_order() {
    let mut world = World::new();
    let readers = [("a", 0), ("b", 1), ("c", 2)];
    let readers = readers.map(|(name, qos)| world.subscriber(v5(name), "#", qos));
    let client = world.connect(v5("publisher"));
    for number in 1..=20_u16 {
        let qos = u8::try_from(number % 3).unwrap();
        world.send(client, [send(qos, number, "x", &number.to_string())]);
    }
    let expected: Vec<_> = (1..=20).map(|number| format!("x={number}")).collect();
    for reader in readers {
        let got = world.poll(reader);
        let got: Vec<_> = got.iter().map(|shown| shown.split(' ').next().unwrap()).collect();
        assert_eq!(got, expected);
    }
}

/// Sends a packet; gives all that comes back once it is stored, sorted: messages may come before SUBACK.
fn ask(world: &mut World, client: Client, packet: Packet) -> Vec<String> {
    let mut answers = world.send(client, [packet]);
    world.commit_all();
    answers.extend(world.poll(client));
    answers.sort();
    answers
}

#[test]
fn exclusive_subscription_is_for_one_client_until_its_session_ends() {
    const ALONE: &str = "$exclusive/x/+";
    for world in [World::new(), World::keeping()] {
        let mut world = world;
        world.publish(message("x/1", "kept").retain(true));
        world.commit_all();
        let first = world.connect(v5("a"));
        let answers = ask(&mut world, first, subscribe(1, ALONE, 1));
        assert_eq!(answers, ["SUBACK 1 01", "x/1=kept retained"]);
        let second = world.connect(v5("b"));
        let answers = ask(&mut world, second, subscribe(1, ALONE, 1));
        assert_eq!(answers, ["SUBACK 1 97"]);
        // The filter without the word is for everybody, and another filter is another.
        assert_eq!(ask(&mut world, second, subscribe(2, "x/+", 0))[0], "SUBACK 2 00");
        assert_eq!(ask(&mut world, second, subscribe(3, "$exclusive/x/#", 0))[0], "SUBACK 3 00");
        assert_eq!(ask(&mut world, second, subscribe(4, "$exclusive/", 0)), ["SUBACK 4 8f"]);
        // One message comes once, however it was asked for, and one subscription ends alone.
        assert_eq!(ask(&mut world, first, subscribe(5, ALONE, 0))[0], "SUBACK 5 00");
        assert_eq!(ask(&mut world, first, subscribe(6, "x/+", 0))[0], "SUBACK 6 00");
        world.publish(message("x/1", "1"));
        assert_eq!(world.poll(first), ["x/1=1"]);
        ask(&mut world, first, unsubscribe(7, &["x/+"]));
        world.publish(message("x/1", "2"));
        assert_eq!(world.poll(first), ["x/1=2"]);
        // It lasts as long as the session.
        world.cut(first);
        assert!(ask(&mut world, second, subscribe(8, ALONE, 1))[0].starts_with("SUBACK 8 97"));
        world.connect(clean(v5("a")));
        world.commit_all();
        assert_eq!(ask(&mut world, second, subscribe(9, ALONE, 1))[0], "SUBACK 9 01");
    }
}
