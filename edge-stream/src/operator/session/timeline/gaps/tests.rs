//! The timeline against sessions found by sorting.

use proptest::prelude::*;

use super::*;

const GAP: i64 = 10;

/// The sessions of these times.
fn expected(times: &[i64]) -> Vec<(i64, i64)> {
    let mut times = times.to_vec();
    times.sort_unstable();
    let sessions = times.chunk_by(|a, b| b - a < GAP);
    sessions.map(|session| (session[0], *session.last().unwrap())).collect()
}

proptest! {
    #[test]
    fn every_row_is_in_the_session_of_its_time_in_any_order(
        times in prop::collection::vec((0usize..3, 0i64..200), 0..40),
    ) {
        let mut timeline = Gaps::new(GAP);
        let slots: Vec<_> = times
            .iter()
            .map(|(key, time)| timeline.place(*key, *time, *time, i64::MIN).unwrap())
            .collect();
        let parts: Vec<_> = timeline.parts().collect();
        let mut open = Vec::new();
        for (key, own) in (0..3).map(|key| {
            let own = times.iter().filter(|(of, _)| *of == key).map(|(_, time)| *time);
            (key, own.collect::<Vec<_>>())
        }) {
            let sessions = expected(&own);
            let number = u32::try_from(key).unwrap();
            open.extend(sessions.iter().map(|(_, last)| last + GAP));
            for ((_, time), slot) in times.iter().zip(&slots).filter(|((of, _), _)| *of == key) {
                let own = sessions.iter().find(|(start, last)| start <= time && time <= last);
                let (start, last) = *own.unwrap();
                prop_assert_eq!(parts[*slot], Part { key: number, start, reached: last, value: 0 });
            }
        }
        prop_assert_eq!(timeline.sessions(), open.len());
        if let Some(first) = open.iter().min() {
            prop_assert!(!timeline.has_ended(first - 1));
            prop_assert!(timeline.has_ended(*first));
        }
    }
}

#[test]
fn a_gap_between_rows_ends_a_session_and_less_does_not() {
    let mut timeline = Gaps::new(GAP);
    assert_eq!(timeline.place(0, 0, 0, i64::MIN), Some(0));
    assert_eq!(timeline.place(0, 9, 9, i64::MIN), Some(0));
    assert_eq!(timeline.place(0, 19, 19, i64::MIN), Some(1));
    assert_eq!(timeline.place(0, -10, -10, i64::MIN), Some(2));
    assert_eq!(timeline.sessions(), 3);
}

#[test]
fn a_row_that_alone_has_ended_is_late_unless_a_session_takes_it_in() {
    let mut timeline = Gaps::new(GAP);
    assert_eq!(timeline.place(0, 100, 100, 105), Some(0));
    assert_eq!(timeline.place(0, 91, 91, 105), Some(0));
    assert_eq!(timeline.place(0, 82, 82, 105), Some(0), "it reaches down to 91 now");
    assert_eq!(timeline.place(0, 72, 72, 105), None);
    assert_eq!(timeline.place(1, 95, 95, 105), None, "the session is of another key");
    assert_eq!(timeline.place(1, 96, 96, 105), Some(1));
}

#[test]
fn what_is_of_no_session_does_not_pile_up() {
    let mut timeline = Gaps::new(GAP);
    (0..200).for_each(|key| assert_eq!(timeline.place(key, 0, 0, 100), None));
    assert!(timeline.is_sparse(), "keys of late rows");
    let mut timeline = Gaps::new(GAP);
    for round in 0..200 {
        timeline.place(0, round * 20, round * 20, i64::MIN);
        timeline.place(0, round * 20 - 9, round * 20 - 9, i64::MIN);
        timeline.place(0, round * 20 - 18, round * 20 - 18, i64::MIN);
    }
    assert_eq!(timeline.sessions(), 1);
    assert!(timeline.is_sparse(), "slots of joined sessions");
}
