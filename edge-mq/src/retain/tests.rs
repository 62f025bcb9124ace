use std::time::Duration;

use super::*;
use crate::Message;

fn routed(topic: &str, payload: &'static str, now: Instant) -> Arc<Routed> {
    Routed::new(Message::new(topic.parse().unwrap(), payload).retain(true), now)
}

fn found(retained: &Retained, filter: &str, now: Instant) -> Vec<String> {
    let mut found = Vec::new();
    retained.each_match(&filter.parse().unwrap(), now, |routed| {
        let payload = String::from_utf8_lossy(routed.message.payload()).into_owned();
        found.push(format!("{}={payload}", routed.message.topic()));
    });
    found
}

fn start() -> Instant {
    crate::hub::tests::start()
}

#[test]
fn last_message_of_a_topic_is_kept_and_an_empty_one_clears_it() {
    let now = start();
    let mut retained = Retained::new(10, 100_000);
    for (topic, payload) in [("a", "1"), ("a/b", "2"), ("a", "3"), ("ab", "4"), ("$x", "5")] {
        retained.store(&routed(topic, payload, now), now).unwrap();
    }
    assert_eq!(found(&retained, "a/#", now), ["a=3", "a/b=2"]);
    assert_eq!(found(&retained, "#", now), ["a=3", "a/b=2", "ab=4"]);
    assert_eq!(found(&retained, "+", now), ["a=3", "ab=4"]);
    retained.store(&routed("a", "", now), now).unwrap();
    assert_eq!(found(&retained, "a/#", now), ["a/b=2"]);
}

#[test]
fn limits_hold_and_a_replaced_message_is_not_given_out() {
    let now = start();
    let mut retained = Retained::new(2, 100_000);
    retained.store(&routed("a", "1", now), now).unwrap();
    retained.store(&routed("b", "1", now), now).unwrap();
    assert_eq!(retained.store(&routed("c", "1", now), now), Err(RetainedFull));
    retained.store(&routed("b", "2", now), now).unwrap();
    assert_eq!(found(&retained, "#", now), ["a=1", "b=2"]);

    let mut retained = Retained::new(10, 400);
    retained.store(&routed("a", "1", now), now).unwrap();
    let large = Message::new("a".parse().unwrap(), vec![0; 500]);
    assert_eq!(retained.store(&Routed::new(large, now), now), Err(RetainedFull));
    assert_eq!((found(&retained, "#", now).len(), retained.bytes), (0, 0));
}

#[test]
fn expired_messages_are_not_given_out_and_make_room() {
    let now = start();
    let mut retained = Retained::new(1, 100_000);
    let short = Message::new("a".parse().unwrap(), "1").expires_after(Duration::from_secs(5));
    retained.store(&Routed::new(short, now), now).unwrap();
    let later = now + Duration::from_secs(5);
    assert_eq!(found(&retained, "a", later - Duration::from_millis(1)), ["a=1"]);
    assert!(found(&retained, "a", later).is_empty());
    retained.store(&routed("b", "2", later), later).unwrap();
    assert_eq!(found(&retained, "#", later), ["b=2"]);
}
