use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::hub::tests::start;

const TOO_FAST: Result<(), ReasonCode> = Err(ReasonCode::CONNECTION_RATE_EXCEEDED);
const TOO_MANY: Result<(), ReasonCode> = Err(ReasonCode::QUOTA_EXCEEDED);

fn source(address: &str) -> Option<Source> {
    Some(address.parse::<IpAddr>().unwrap().into())
}

fn crowd(change: impl FnOnce(&mut Limits)) -> Crowd {
    let mut limits = Limits::default();
    change(&mut limits);
    Crowd::new(&limits)
}

#[test]
fn address_is_one_of_ipv4_or_half_of_one_of_ipv6() {
    let cases = [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false),
        ("192.0.2.1", "::ffff:192.0.2.1", true),
        ("2001:db8::1", "2001:db8::ffff:0:0:2", true),
        ("2001:db8::1", "2001:db8:0:1::1", false),
        // The first half of one is the other.
        ("0.0.0.0", "::", false),
    ];
    for (one, other, are_same) in cases {
        let mut crowd = crowd(|limits| limits.connections_per_address = Some(1));
        assert_eq!(crowd.admit(source(one), start()), Ok(()));
        let expected = if are_same { TOO_MANY } else { Ok(()) };
        assert_eq!(crowd.admit(source(other), start()), expected, "{one} and {other}");
    }
}

#[test]
fn connection_that_ends_makes_room_for_one_from_there() {
    let mut crowd = crowd(|limits| limits.connections_per_address = Some(2));
    let (one, other) = (source("192.0.2.1"), source("192.0.2.2"));
    let mut admit = |source| crowd.admit(source, start());
    assert_eq!([admit(one), admit(one), admit(one)], [Ok(()), Ok(()), TOO_MANY]);
    assert_eq!([admit(other), admit(None)], [Ok(()), Ok(())]);
    crowd.leave(one);
    assert_eq!(crowd.admit(one, start()), Ok(()));
    assert_eq!(crowd.admit(one, start()), TOO_MANY);
}

#[test]
fn flood_from_one_address_leaves_the_rate_of_all_to_the_others() {
    let mut crowd = crowd(|limits| {
        limits.connect_rate = Some(Rate::per_second(10).burst(5));
        limits.connect_rate_per_address = Some(Rate::per_second(1).burst(2));
    });
    let mut now = start();
    let flood = source("192.0.2.1");
    let let_in = (0..100).filter(|_| crowd.admit(flood, now).is_ok()).count();
    assert_eq!(let_in, 2);
    for other in ["192.0.2.2", "192.0.2.3", "192.0.2.4"] {
        assert_eq!(crowd.admit(source(other), now), Ok(()), "{other}");
    }
    // All together are too fast now, whoever comes.
    for other in [source("192.0.2.5"), None] {
        assert_eq!(crowd.admit(other, now), TOO_FAST);
    }
    now += Duration::from_secs(1);
    let let_in = (0..100).filter(|_| crowd.admit(flood, now).is_ok()).count();
    assert_eq!(let_in, 1);
}

#[test]
fn few_of_many_that_are_refused_are_told() {
    let mut crowd = crowd(|limits| limits.connect_rate = Some(Rate::per_second(0)));
    let mut now = start();
    for expected in [20, 10] {
        let refusals = (0..1000).filter_map(|_| crowd.enter(None, now).err());
        assert_eq!(refusals.filter(|refusal| refusal.is_told).count(), expected);
        now += Duration::from_secs(1);
    }
}

#[derive(Debug, Clone)]
enum Event {
    Enter(u8),
    /// The one that has been there for longest.
    Leave,
    Pass(u16),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => any::<u8>().prop_map(Event::Enter),
        3 => Just(Event::Leave),
        1 => (0..5_000u16).prop_map(Event::Pass),
    ];
    prop::collection::vec(event, 0..600)
}

proptest! {
    /// Against a model that remembers everything: only somebody without a connection, whose address
    /// was forgotten, may come before the time that the model says.
    #[test]
    fn no_address_has_more_than_its_share_and_few_are_remembered(events in events()) {
        let (most, rate) = (3, Rate::per_second(1).burst(4));
        let mut crowd = crowd(|limits| {
            limits.connections = 40;
            limits.connections_per_address = Some(most);
            limits.connect_rate_per_address = Some(rate);
        });
        let mut now = start();
        let mut inside: Vec<Source> = Vec::new();
        let mut buckets: HashMap<Source, Bucket> = HashMap::new();
        for event in events {
            match event {
                Event::Enter(last) if inside.len() < 40 => {
                    let source = Source::V4([192, 0, 2, last].into());
                    let count = inside.iter().filter(|found| **found == source).count();
                    let known = crowd.sources.contains_key(&source);
                    let entered = crowd.admit(Some(source), now);
                    prop_assert_eq!(entered == TOO_MANY, count >= most);
                    if count >= most {
                        continue;
                    }
                    let bucket = buckets.entry(source).or_insert_with(|| Bucket::new(rate, now));
                    if !known {
                        *bucket = Bucket::new(rate, now);
                    }
                    prop_assert_eq!(entered.is_ok(), bucket.take(1, rate, now));
                    inside.extend(entered.is_ok().then_some(source));
                }
                Event::Enter(_) => {}
                Event::Leave if inside.is_empty() => {}
                Event::Leave => crowd.leave(Some(inside.remove(0))),
                Event::Pass(millis) => now += Duration::from_millis(millis.into()),
            }
            prop_assert!(crowd.sources.len() <= 80);
            let connections: usize = crowd.sources.values().map(|v| v.connections).sum();
            prop_assert_eq!(connections, inside.len());
        }
    }
}
