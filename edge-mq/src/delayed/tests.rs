//! What topics ask for, and which message comes next.

use super::*;
use crate::hub::tests::start;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn topic_asks_for_whole_seconds_and_says_where_to() {
    let nines = "9".repeat(1000);
    let cases = [
        ("$delayed/5/x", Some((5, "x"))),
        ("$delayed/0/x", Some((0, "x"))),
        ("$delayed/007/a/b/", Some((7, "a/b/"))),
        ("$delayed/100/x", Some((100, "x"))),
        ("$delayed/5//x", Some((5, "/x"))),
        ("$delayed/5/5/x", Some((5, "5/x"))),
        ("$delayed/5/$delayed", Some((5, "$delayed"))),
        ("$delayed/5/ä/€", Some((5, "ä/€"))),
        ("$delayed/101/x", None),
        ("$delayed/18446744073709551616/x", None),
        (&format!("$delayed/{nines}/x"), None),
        ("$delayed/abc/x", None),
        ("$delayed/-5/x", None),
        ("$delayed/5.5/x", None),
        ("$delayed/ 5/x", None),
        ("$delayed/5s/x", None),
        ("$delayed/0x5/x", None),
        ("$delayed/٥/x", None),
        ("$delayed//x", None),
        ("$delayed/", None),
        ("$delayed/5", None),
        ("$delayed/5/", None),
        ("$delayed/5/$delayed/5/x", None),
    ];
    for (topic, expected) in cases {
        let topic = topic.parse().unwrap();
        assert!(is_for_later(&topic), "{topic}");
        let parsed = parse(&topic, 100 * SECOND);
        let parsed = parsed.as_ref().map(|(delay, topic)| (delay.as_secs(), topic.as_str()));
        assert_eq!(parsed, expected, "{topic}");
    }
    for topic in ["$delayed", "$delayed5/x", "delayed/5/x", "a/$delayed/5/x", "$SYS/x"] {
        assert!(!is_for_later(&topic.parse().unwrap()), "{topic}");
    }
}

fn message(payload: &str) -> Message {
    Message::new("x".parse().unwrap(), payload.to_owned())
}

/// Three that are due after a second, and one more after two.
fn waiting() -> Delays {
    let mut delays = Delays::new(100, 100_000);
    for (payload, seconds) in [("4", 2), ("1", 1), ("2", 1), ("3", 1)] {
        let delayed = delays.admit(&message(payload), SECOND * seconds, None, start());
        delays.add(delayed);
    }
    delays
}

/// Takes what is due after so many seconds.
fn take(delays: &mut Delays, seconds: u32) -> Vec<Arc<Delayed>> {
    let now = start() + SECOND * seconds;
    std::iter::from_fn(|| delays.take_due(now)).collect()
}

fn payloads(delayed: &[Arc<Delayed>]) -> String {
    let payloads = delayed.iter().map(|one| one.message.payload().to_vec());
    String::from_utf8(payloads.flatten().collect()).unwrap()
}

#[test]
fn they_come_by_their_time_and_then_in_the_order_in_which_they_came() {
    for (seconds, expected) in [(0, ""), (1, "123"), (2, "1234")] {
        assert_eq!(payloads(&take(&mut waiting(), seconds)), expected);
    }
}

#[test]
fn what_a_store_has_keeps_its_order_though_all_of_it_is_overdue() {
    let mut before = waiting();
    let stored = take(&mut before, 2).into_iter().map(|one| {
        let message = one.message.clone();
        Delayed { due: start(), client: None, message, ..*one }
    });
    let mut delays = Delays::new(1, 1);
    delays.restore(stored.collect(), 4);
    assert_eq!((delays.len(), delays.admit(&message("5"), SECOND, None, start()).number), (4, 4));
    assert_eq!(payloads(&take(&mut delays, 0)), "1234");
}

#[test]
fn while_the_store_refuses_everything_one_alone_tries_ever_less_often() {
    let mut delays = waiting();
    for one in take(&mut delays, 1) {
        delays.put_back(one, start() + SECOND);
    }
    let (mut now, mut tries) = (1, Vec::new());
    while now < 300 {
        now += 1;
        let taken = take(&mut delays, now);
        if let [one] = &taken[..] {
            assert_eq!(payloads(&taken), "1");
            tries.push(now);
            delays.put_back(Arc::clone(one), start() + SECOND * now);
        }
    }
    assert_eq!(tries, [2, 4, 8, 16, 32, 64, 128, 192, 256]);
    let one = take(&mut delays, 320);
    assert!(take(&mut delays, 1000).is_empty());
    delays.end(&one[0]);
    assert_eq!(payloads(&take(&mut delays, 320)), "234");
}

#[test]
fn one_that_alone_is_refused_is_in_nobodys_way() {
    let mut delays = waiting();
    let all = take(&mut delays, 1);
    delays.put_off(Arc::clone(&all[0]), start() + SECOND);
    all[1..].iter().for_each(|one| delays.end(one));
    assert_eq!(payloads(&take(&mut delays, 2)), "41");
    delays.put_off(Arc::clone(&all[0]), start() + 4 * SECOND);
    assert_eq!(
        (payloads(&take(&mut delays, 6)), payloads(&take(&mut delays, 7))),
        ("".into(), "1".into())
    );
    assert_eq!(delays.len(), 2);
}
