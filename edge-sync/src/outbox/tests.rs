//! The outbox against a simulated zone and database, over every answer that a zone can give and
//! a crash between any two steps.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const GROUPING: Grouping = Grouping { max_rows: 10, linger: Duration::from_secs(60) };

fn at(seconds: i64) -> Time {
    Time::from_micros(seconds * 1_000_000)
}

fn outbox() -> Outbox {
    Outbox::new(GROUPING, Progress::new(1, Seq::ZERO))
}

fn backlog(rows: u64, oldest: i64) -> Backlog {
    Backlog { rows, oldest: (rows > 0).then_some(at(oldest)) }
}

#[test]
fn rows_wait_for_company_until_they_are_enough_or_old() {
    let mut outbox = outbox();
    assert_eq!(outbox.next(backlog(0, 0), at(0)), Action::Idle);
    let wait = Action::Wait(Duration::from_secs(50));
    assert_eq!(outbox.next(backlog(9, 0), at(10)), wait);
    assert_eq!(outbox.next(backlog(10, 0), at(10)), Action::Cut { max_rows: 10 });
    assert_eq!(outbox.next(backlog(1, 0), at(60)), Action::Cut { max_rows: 10 });
    outbox.flush();
    assert_eq!(outbox.next(backlog(1, 0), at(0)), Action::Cut { max_rows: 10 });
}

#[test]
fn clock_set_back_does_not_hold_rows_longer_than_the_linger() {
    assert_eq!(outbox().next(backlog(1, 1000), at(0)), Action::Wait(GROUPING.linger));
}

#[test]
fn failed_uploads_are_repeated_after_growing_pauses() {
    let mut outbox = outbox();
    outbox.intend(Seq::ZERO, Seq::new(5), false, [1; 32]);
    let intent = outbox.progress().intent.unwrap();
    let mut now = at(0);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        assert_eq!(outbox.next(Backlog::default(), now), Action::Upload(intent));
        assert_eq!(outbox.answered(Answer::Failed, now), Verdict::Retry);
        let Action::Wait(pause) = outbox.next(Backlog::default(), now) else { panic!("no pause") };
        now = later(now, pause);
        pauses.push(pause.as_millis());
    }
    assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
    assert!(matches!(outbox.answered(Answer::Created, now), Verdict::Landed { .. }));
    assert_eq!(outbox.failures(), 0);
}

#[test]
fn object_of_another_writer_stops_the_stream() {
    let mut outbox = outbox();
    outbox.intend(Seq::ZERO, Seq::new(5), false, [1; 32]);
    assert_eq!(outbox.answered(Answer::Exists([2; 32]), at(0)), Verdict::Fenced);
    assert_eq!(outbox.next(backlog(100, 0), at(1000)), Action::Stop);
}

/// What the zone does with one upload.
#[derive(Debug, Clone, Copy)]
enum Link {
    Delivers,
    LosesRequest,
    LosesAnswer,
}

/// After which step the process dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Crash {
    No,
    BeforeIntent,
    BeforeUpload,
    BeforeCursor,
}

/// What is left after a crash: the database, and the zone.
#[derive(Debug)]
struct World {
    progress: Progress,
    cursor: Seq,
    kept_from: Seq,
    end: Seq,
    zone: BTreeMap<u64, Intent>,
}

fn digest_of(first: Seq, next: Seq, gap: bool) -> Digest {
    let mut digest = [u8::from(gap); 32];
    digest[..8].copy_from_slice(&first.get().to_le_bytes());
    digest[8..16].copy_from_slice(&next.get().to_le_bytes());
    digest
}

impl World {
    fn create(&mut self, intent: Intent, link: Link) -> Answer {
        if matches!(link, Link::LosesRequest) {
            return Answer::Failed;
        }
        let there = self.zone.get(&intent.number).map(|found| found.digest);
        self.zone.entry(intent.number).or_insert(intent);
        match (link, there) {
            (Link::LosesAnswer, _) => Answer::Failed,
            (_, Some(digest)) => Answer::Exists(digest),
            (_, None) => Answer::Created,
        }
    }

    /// One life of the process: up to `steps` steps, or until it dies.
    fn live(&mut self, steps: &[(Link, Crash)], now: &mut Time) {
        let mut outbox = Outbox::new(GROUPING, self.progress.clone());
        for (link, crash) in steps {
            let rows = self.end.since(self.cursor);
            let oldest = (rows > 0).then_some(at(0));
            match outbox.next(Backlog { rows, oldest }, *now) {
                Action::Idle | Action::Stop => {}
                Action::Wait(pause) => *now = later(*now, pause),
                Action::Cut { max_rows } => {
                    let gap = self.cursor < self.kept_from;
                    let next = match gap {
                        true => self.kept_from,
                        false => self.end.min(self.cursor.plus(max_rows)),
                    };
                    let digest = digest_of(self.cursor, next, gap);
                    outbox.intend(self.cursor, next, gap, digest);
                    if *crash == Crash::BeforeIntent {
                        return;
                    }
                    self.progress = outbox.progress().clone();
                }
                Action::Upload(intent) => {
                    if *crash == Crash::BeforeUpload {
                        return;
                    }
                    let answer = self.create(intent, *link);
                    let verdict = outbox.answered(answer, *now);
                    assert_ne!(verdict, Verdict::Fenced, "fenced by itself");
                    if *crash == Crash::BeforeCursor {
                        return;
                    }
                    if let Verdict::Landed { progress, cursor } = verdict {
                        (self.progress, self.cursor) = (progress, cursor);
                    }
                }
            }
        }
    }

    fn accounts_for_all(&self) -> bool {
        let pending = self.end.since(self.cursor);
        let Progress { landed, dropped, origin, .. } = self.progress;
        self.end.since(origin) == landed + pending + dropped
    }
}

fn step() -> impl Strategy<Value = (Link, Crash)> {
    let link = prop_oneof![
        3 => Just(Link::Delivers),
        1 => Just(Link::LosesRequest),
        1 => Just(Link::LosesAnswer),
    ];
    let crash = prop_oneof![
        6 => Just(Crash::No),
        1 => Just(Crash::BeforeIntent),
        1 => Just(Crash::BeforeUpload),
        1 => Just(Crash::BeforeCursor),
    ];
    (link, crash)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_row_lands_once_whatever_is_lost(
        lives in vec((0u64..30, any::<bool>(), vec(step(), 0..12)), 1..12),
    ) {
        let mut world = World {
            progress: Progress::new(1, Seq::ZERO),
            cursor: Seq::ZERO,
            kept_from: Seq::ZERO,
            end: Seq::ZERO,
            zone: BTreeMap::new(),
        };
        let mut now = at(1000);
        for (appended, drops, steps) in &lives {
            world.end = world.end.plus(*appended);
            // Retention drops what was not sent, now and then; never what is intended.
            if *drops && world.progress.intent.is_none() && world.end.get().is_multiple_of(3) {
                world.kept_from = world.kept_from.max(Seq::new(world.end.get() / 2));
            }
            world.live(steps, &mut now);
            prop_assert!(world.accounts_for_all());
        }
        world.live(&[(Link::Delivers, Crash::No); 200], &mut now);

        prop_assert_eq!(world.cursor, world.end);
        prop_assert!(world.accounts_for_all());
        let mut next = Seq::ZERO;
        for (number, (found, segment)) in (0..).zip(&world.zone) {
            prop_assert_eq!(number, *found, "numbers are dense");
            prop_assert_eq!(segment.first, next, "ranges touch and do not overlap");
            next = segment.next;
        }
        prop_assert_eq!(next, world.end);
    }
}
