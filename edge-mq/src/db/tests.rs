//! What is stored in a real database comes back as it was.

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::access::User;
use crate::arena::Arena;
use crate::delayed::Delayed;
use crate::limits::Limits;
use crate::message::Routed;
use crate::packet::{PacketId, QoS, RetainHandling, SubscribeOptions, SubscriptionId};
use crate::session::Queued;
use crate::store::*;

const SESSION: SessionNumber = SessionNumber(7);
const LONG: Duration = Duration::from_secs(7 * 24 * 3600);

fn open(db: &Db) -> DbStore {
    open_within(db, Duration::ZERO)
}

fn open_within(db: &Db, durable_within: Duration) -> DbStore {
    let mut hub = Hub::new(Limits::default());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(DbStore::open(db.clone(), durable_within, &mut hub)).unwrap()
}

fn commit(store: &DbStore, writes: Vec<Write>) {
    store.commit(&[Deed::lazy(writes)]).unwrap();
}

fn message(topic: &str, payload: &str) -> Message {
    Message::new(topic.parse().unwrap(), payload.to_owned()).qos(QoS::ExactlyOnce)
}

fn queued(serial: u64, payload: &str) -> Queued {
    Queued {
        routed: Routed::new(message("x", payload), Clock::now().instant()),
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: Vec::new(),
        group: None,
        serial: Some(serial),
    }
}

fn queue(queued: Queued, bytes_before: u64) -> Write {
    let owner = Arena::new().insert(());
    Write::Queue { session: SESSION, owner, bytes_before, queued }
}

fn row(presence: Presence) -> SessionRow {
    let user = User::named("ann".parse().unwrap()).in_group("crew".parse().unwrap());
    let (client_id, expiry) = ("sensor".parse().unwrap(), Duration::from_secs(1000));
    SessionRow { number: SESSION, client_id, user, expiry, presence }
}

/// As text, with times to the second, for clocks are asked more than once.
fn shown(row: &SessionRow, now: Instant) -> String {
    let seconds = |at: Instant| at.saturating_duration_since(now).as_secs_f64().round();
    let presence = match &row.presence {
        Presence::Connected { will } => format!("connected {will:?}"),
        Presence::Gone { ends_at, will } => {
            let will = will.as_ref().map(|(due, message)| (seconds(*due), message));
            format!("gone {} {will:?}", seconds(*ends_at))
        }
    };
    format!("{:?} {} {:?} {:?} {presence}", row.number, row.client_id, row.user, row.expiry)
}

#[test]
fn session_comes_back_with_all_that_belongs_to_it() {
    let now = Clock::now().instant();
    let will = message("will", "gone").retain(true).content_type("text/plain".parse().unwrap());
    let presences = [
        Presence::Connected { will: None },
        Presence::Connected { will: Some((Duration::from_secs(10), will.clone())) },
        Presence::Gone { ends_at: now + Duration::from_secs(500), will: None },
        Presence::Gone {
            ends_at: now + Duration::from_secs(500),
            will: Some((now + Duration::from_secs(20), will)),
        },
    ];
    for presence in presences {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let store = open(&db);
        let row = row(presence);
        let subscription = StoredSubscription {
            filter: "$share/group/a/#".parse().unwrap(),
            options: SubscribeOptions {
                qos: QoS::ExactlyOnce,
                no_local: true,
                retain_as_published: true,
                retain_handling: RetainHandling::Skip,
            },
            id: SubscriptionId::new(268_435_455),
        };
        let progress = Progress {
            session: SESSION,
            gone_to: 0,
            floor: 3,
            sent: 9,
            done_bytes: 100,
            unfinished: vec![(3, true), (8, false)],
        };
        let id = PacketId::new(65_535).unwrap();
        let owner = Arena::new().insert(());
        commit(
            &store,
            vec![
                Write::Session(row.clone()),
                Write::Subscribe(SESSION, subscription.clone()),
                Write::Progress { owner, progress: progress.clone() },
                Write::Received(SESSION, id),
                queue(queued(9, "later"), 100),
            ],
        );
        let stored = store.rows.load().unwrap();
        let [session] = &stored.sessions[..] else { panic!("{stored:?}") };
        assert_eq!(shown(&session.row, now), shown(&row, now));
        assert_eq!(session.subscriptions, std::slice::from_ref(&subscription));
        assert_eq!(session.progress, Some(Progress { gone_to: 3, ..progress }));
        assert_eq!(session.received, [id]);
        let bytes = message("x", "later").cost_bytes() as u64;
        assert_eq!((session.end, session.came_bytes), (10, 100 + bytes));

        commit(
            &store,
            vec![Write::Unsubscribe(SESSION, subscription.filter), Write::Released(SESSION, id)],
        );
        let session = &store.rows.load().unwrap().sessions[0];
        assert!(session.subscriptions.is_empty() && session.received.is_empty());
    }
}

#[test]
fn session_that_ends_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let store = open(&db);
    let filter = "a".parse().unwrap();
    let subscription =
        StoredSubscription { filter, options: SubscribeOptions::default(), id: None };
    let fill = |number: SessionNumber| {
        let owner = Arena::new().insert(());
        vec![
            Write::Session(SessionRow { number, ..row(Presence::Connected { will: None }) }),
            Write::Subscribe(number, subscription.clone()),
            Write::Progress { owner, progress: Progress::none(number) },
            Write::Received(number, PacketId::new(1).unwrap()),
            Write::Queue { session: number, owner, bytes_before: 0, queued: queued(0, "1") },
        ]
    };
    let keys = || store.rows.counts();
    for number in [6, 7, 8] {
        commit(&store, fill(SessionNumber(number)));
    }
    assert_eq!(keys(), [3; 5]);
    commit(&store, vec![Write::EndSession(SESSION)]);
    assert_eq!(keys(), [2; 5]);
    // In one commit with what came just before.
    let both = fill(SESSION).into_iter().chain([Write::EndSession(SESSION)]).collect();
    commit(&store, both);
    assert_eq!(keys(), [2; 5]);
}

#[test]
fn number_under_which_something_is_left_is_not_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let store = open(&db);
    assert_eq!(store.rows.load().unwrap().next_session, 0);
    // A message for a session whose row was refused.
    commit(&store, vec![queue(queued(0, "not yours"), 0)]);
    let stored = store.rows.load().unwrap();
    assert_eq!((stored.sessions.len(), stored.next_session), (0, SESSION.0 + 1));
}

#[test]
fn message_that_is_too_large_for_the_store_is_refused_alone() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let store = open(&db);
    let large = message("x", &"x".repeat(MESSAGE_BYTES)).retain(true);
    let deed = Deed::lazy(vec![Write::Retain(Routed::new(large, Clock::now().instant()))]);
    let refused = store.commit(&[deed]).unwrap_err();
    assert_eq!(refused.code, ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR);
    assert!(refused.is_selective);
}

#[test]
fn retained_messages_come_back_with_what_is_left_of_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let store = open(&db);
    let now = Clock::now().instant();
    let retain = |message: Message| Write::Retain(Routed::new(message.retain(true), now));
    let property = ("unit".parse().unwrap(), "ppm".parse().unwrap());
    let kept = message("kept", "1").user_property(property.0, property.1);
    let brief = message("brief", "1").expires_after(Duration::from_secs(100));
    let writes = vec![retain(kept.clone()), retain(brief), retain(message("gone", "1"))];
    commit(&store, writes);
    commit(&store, vec![retain(message("gone", "")), retain(message("kept", "2"))]);
    commit(&store, vec![retain(kept.clone()), retain(message("taken back", "1"))]);
    commit(&store, vec![Write::Unretain("taken back".parse().unwrap())]);
    let retained = store.rows.load().unwrap().retained;
    let [brief, found] = &retained[..] else { panic!("{retained:?}") };
    assert_eq!(found.message, kept.retain(true));
    assert_eq!(found.deadline, None);
    let left = brief.deadline.unwrap().saturating_duration_since(now).as_secs_f64();
    assert!((left - 100.0).abs() < 1.0, "{left} s are left");
}

fn delayed(number: u64, seconds: u64, message: Message) -> Arc<Delayed> {
    let delay = Duration::from_secs(seconds);
    let (due, client) = (Clock::now().instant() + delay, Some("sensor".parse().unwrap()));
    Arc::new(Delayed { number, order: number, due, delay, client, message })
}

/// Puts the wall clock of what is stored back.
fn store_as_of(store: &DbStore, delayed: &Delayed, ago: Duration) {
    let mut batch = store.db.batch();
    store.rows.delay(delayed, Clock::now().behind(ago), &mut batch);
    batch.commit().unwrap();
}

#[test]
fn delayed_messages_come_back_in_the_order_in_which_they_are_due() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let store = open(&db);
    let first = message("x", "1").expires_after(LONG).retain(true);
    commit(&store, vec![Write::Delay(delayed(3, 500, message("x", "3")))]);
    let gone = delayed(4, 5, message("x", "4"));
    commit(&store, vec![Write::Delay(Arc::clone(&gone))]);
    commit(&store, vec![Write::EndDelay(gone)]);
    // Due 50 and 60 seconds ago.
    store_as_of(&store, &delayed(1, 50, message("x", "2")), Duration::from_secs(100));
    store_as_of(&store, &delayed(2, 40, first.clone()), Duration::from_secs(100));
    let stored = store.rows.load().unwrap();
    let now = Clock::now().instant();
    let found = stored.delayed.iter().map(|one| {
        let left = one.due.saturating_duration_since(now).as_secs_f64().round();
        (one.number, left, one.message.payload().clone())
    });
    let found: Vec<_> = found.collect();
    assert_eq!(found, [(2, 0.0, "1".into()), (1, 0.0, "2".into()), (3, 500.0, "3".into())]);
    assert_eq!((&stored.delayed[0].message, stored.next_delayed), (&first, 4));
    assert_eq!(stored.delayed[0].client, Some("sensor".parse().unwrap()));
    // In this order they are published, each in one commit with its end.
    let mut hub = Hub::new(Limits::default());
    hub.restore(stored, now, &mut Effects::default());
    let group = hub.take_group(usize::MAX);
    let published: Vec<_> = group.iter().filter_map(Deed::stored).map(Message::payload).collect();
    assert_eq!(published, ["1", "2"]);
    store.commit(&group).unwrap();
    assert_eq!(store.rows.load().unwrap().delayed.len(), 1);
}

#[test]
fn clock_that_was_set_back_makes_no_delay_longer_than_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let store = open(&db);
    let ahead = delayed(0, 5_000_000, message("x", "1"));
    let (number, order, due) = (0, 0, ahead.due);
    let (delay, client, message) = (Duration::from_secs(5), None, ahead.message.clone());
    commit(
        &store,
        vec![Write::Delay(Delayed { number, order, due, delay, client, message }.into())],
    );
    let due = store.rows.load().unwrap().delayed[0].due;
    assert!(due <= Clock::now().instant() + Duration::from_secs(5));
}

#[test]
fn group_is_durable_as_soon_as_its_most_urgent_part_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let deed = |urgency| {
        let mut deed = Deed::lazy(vec![queue(queued(0, "1"), 0)]);
        deed.urgency = urgency;
        deed
    };
    use Urgency::{Acknowledged, Lazy, Now};
    let cases: [(&[Urgency], _, _); 6] = [
        (&[Lazy, Lazy], "Some(1s)", "Some(1s)"),
        (&[Lazy, Acknowledged], "None", "Some(10ms)"),
        (&[Acknowledged, Acknowledged], "None", "Some(10ms)"),
        (&[Acknowledged, Now], "None", "None"),
        (&[Lazy, Now], "None", "None"),
        (&[Now], "None", "None"),
    ];
    let [at_once, later] = [0, 10].map(|ms| open_within(&db, Duration::from_millis(ms)));
    for (group, without, with) in cases {
        let group: Vec<_> = group.iter().copied().map(deed).collect();
        for (store, within) in [(&at_once, without), (&later, with)] {
            let batch = format!("{:?}", store.batch(&group).unwrap());
            assert!(batch.contains(&format!("within: {within}")), "{within}: {batch}");
        }
    }
}

fn any_queued() -> impl Strategy<Value = Queued> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), 1..=2u8);
    (flags, 0..3usize, 0..40_000usize).prop_map(|((retain, shared, expires, qos), ids, bytes)| {
        let message = message("a/b", &"x".repeat(bytes)).content_type("t".parse().unwrap());
        let message = if expires { message.expires_after(LONG) } else { message };
        let ids = (1..=ids).map(|id| SubscriptionId::new(u32::try_from(id).unwrap()).unwrap());
        Queued {
            routed: Routed::new(message, Clock::now().instant()),
            qos: QoS::from_number(qos).unwrap(),
            retain,
            subscription_ids: ids.collect(),
            group: shared.then(|| Arc::new("$share/g/a/#".parse().unwrap())),
            serial: None,
        }
    })
}

fn show(queued: &Queued) -> String {
    let Queued { routed, qos, retain, subscription_ids, group, serial } = queued;
    let expires = routed.deadline.is_some();
    let ids = subscription_ids;
    format!("{serial:?} {:?} {qos:?} {retain} {ids:?} {group:?} {expires}", routed.message)
}

/// All pages from one serial to another.
fn pages(store: &DbStore, mut from: u64, to: u64) -> Vec<Queued> {
    let mut found = Vec::new();
    while from < to {
        let request = PageRequest { session: SESSION, from, to };
        let mut page = queue::read(&request, LONG, &store.rows.queue).unwrap();
        assert!(page.from == from && page.next > from && page.next <= to);
        found.append(&mut page.messages);
        from = page.next;
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn queue_is_read_as_it_was_written(
        commits in prop::collection::vec(prop::collection::vec((any_queued(), 1..3u64), 1..20), 1..8),
        part in any::<(u64, u64)>(),
        floor in any::<u64>(),
        taken in any::<u64>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let store = open(&db);
        let (mut serial, mut bytes, mut expected) = (0, 0, Vec::new());
        for messages in commits {
            let mut writes = Vec::new();
            for (mut queued, step) in messages {
                // Some serials are missing.
                serial += step;
                queued.serial = Some(serial);
                let cost = queued.routed.message.cost_bytes() as u64;
                expected.push(queued.clone());
                writes.push(queue(queued, bytes));
                bytes += cost;
            }
            commit(&store, writes);
        }
        prop_assert_eq!(queue::end(SESSION, &store.rows.queue).unwrap(), (serial + 1, bytes));
        let shown = |queued: &[Queued]| queued.iter().map(show).collect::<Vec<_>>();
        prop_assert_eq!(shown(&pages(&store, 0, serial + 1)), shown(&expected));
        let from = part.0 % (serial + 1);
        let to = from + part.1 % (serial + 2 - from);
        let part: Vec<_> = expected
            .iter()
            .filter(|queued| (from..to).contains(&queued.serial.unwrap()))
            .cloned()
            .collect();
        prop_assert_eq!(shown(&pages(&store, from, to)), shown(&part));

        // What others get goes, and the queue has come as far as before.
        let is_taken = |queued: &Queued| taken >> (queued.serial.unwrap() % 64) & 1 == 1;
        let (gone, expected): (Vec<_>, Vec<_>) = expected.into_iter().partition(is_taken);
        let gone = gone.iter().filter_map(|queued| queued.serial).collect();
        commit(&store, vec![Write::Take(SESSION, gone)]);
        prop_assert_eq!(shown(&pages(&store, 0, serial + 1)), shown(&expected));
        prop_assert_eq!(queue::end(SESSION, &store.rows.queue).unwrap(), (serial + 1, bytes));

        // What is wanted no more goes, and nothing else.
        let floor = floor % (serial + 2);
        let progress = Progress { floor, ..Progress::none(SESSION) };
        let owner = Arena::new().insert(());
        commit(&store, vec![Write::Progress { owner, progress }]);
        let part: Vec<_> = expected.iter().filter(|queued| queued.serial >= Some(floor)).cloned().collect();
        prop_assert_eq!(shown(&pages(&store, floor, serial + 1)), shown(&part));
        if floor > serial {
            prop_assert_eq!(store.rows.queue.iter().unwrap().count(), 0);
        }
    }
}

#[test]
fn what_has_waited_too_long_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let store = open(&db);
    for (serial, age) in [(0, 100), (1, 0)] {
        let mut batch = db.batch();
        let mut chunks = Chunks::new(Clock::now().behind(Duration::from_secs(age)));
        chunks.add(SESSION, 0, &queued(serial, "1"), &store.rows.queue, &mut batch);
        chunks.finish(&store.rows.queue, &mut batch);
        batch.commit().unwrap();
    }
    let request = PageRequest { session: SESSION, from: 0, to: 2 };
    let page = queue::read(&request, Duration::from_secs(50), &store.rows.queue).unwrap();
    assert_eq!((page.messages.len(), page.messages[0].serial, page.too_old), (1, Some(1), 1));
}

#[test]
fn damaged_chunk_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let store = open(&db);
    let mut whole = queued(0, "payload");
    whole.group = Some(Arc::new("$share/g/x".parse().unwrap()));
    commit(&store, vec![queue(whole, 0)]);
    let (key, chunk) = store.rows.queue.iter().unwrap().next().unwrap().unwrap();
    let request = PageRequest { session: SESSION, from: 0, to: 1 };
    let read = |bytes: &[u8]| {
        let mut batch = db.batch();
        batch.put(&store.rows.queue, &key, bytes);
        batch.commit().unwrap();
        let mut batch = db.batch();
        let taken = queue::take(SESSION, &[0], &store.rows.queue, &mut batch);
        let found = queue::read(&request, LONG, &store.rows.queue).map(|page| page.messages.len());
        assert!(taken.is_ok() || found.is_err());
        found
    };
    assert_eq!(read(&chunk).unwrap(), 1);
    for len in 0..chunk.len() {
        let found = read(&chunk[..len]);
        // Behind the head, an end between two messages is none within one.
        assert!(found.is_err() || len == 33, "{len} bytes: {found:?}");
    }
    let newer = [&[2], &chunk[1..]].concat();
    assert!(matches!(read(&newer), Err(StoredError::Version(2))));
}
