//! Windows of rows by table, and against windows that are cut out of all rows of a key at once.

use proptest::prelude::*;

use super::*;

const LONGEST: i64 = 100;

/// A row: time, whether it opens and closes, value.
type Row = (i64, bool, bool, u32);

/// A window: start, end, rows.
type Window = (i64, i64, usize);

fn timeline(rule: Rule) -> ByRows {
    ByRows::new(RowWindows { rule, longest_micros: LONGEST })
}

/// The windows of these rows of one key; what is open is written down and taken up behind each row
/// whose number says so, once it was asked for what has ended.
fn found(rule: Rule, rows: &[Row], is_asked: impl Fn(usize) -> bool, until: i64) -> Vec<Window> {
    let (mut windows, mut open) = (timeline(rule), Vec::<Vec<i64>>::new());
    let mut found = Vec::new();
    for (number, (time, opens, closes, value)) in rows.iter().enumerate() {
        let says = Says { opens: *opens, closes: *closes, value: *value };
        windows.place(0, *time, says, |slot| {
            open.resize(open.len().max(slot + 1), Vec::new());
            open[slot].push(*time);
        });
        if is_asked(number) {
            (windows, open) = asked(rule, windows, open, *time, &mut found);
        }
    }
    asked(rule, windows, open, until, &mut found);
    found
}

/// Takes out what has ended, and makes the rest anew.
fn asked(
    rule: Rule,
    mut windows: ByRows,
    open: Vec<Vec<i64>>,
    watermark: i64,
    found: &mut Vec<Window>,
) -> (ByRows, Vec<Vec<i64>>) {
    if !windows.has_ended(watermark) {
        return (windows, open);
    }
    let (mut fresh, mut left) = (timeline(rule), Vec::new());
    for ((fate, part), rows) in windows.fates().zip(windows.parts()).zip(open) {
        match fate {
            Fate::Open => {
                fresh.restore(part);
                left.push(rows);
            }
            Fate::Ended => found.push((part.start, part.reached, rows.len())),
            Fate::Dropped => {}
        }
    }
    (fresh, left)
}

/// Windows that are cut out of all rows.
fn expected(rule: Rule, rows: &[Row], until: i64) -> Vec<Window> {
    let (mut rest, mut windows) = (rows, Vec::new());
    while let Some((first, ..)) = rest.first() {
        let cut = first + LONGEST;
        let within = rest.iter().take_while(|(time, ..)| *time < cut).count();
        let is_cut = within < rest.len() || cut < until;
        let (own, end) = match rule {
            Rule::Count { rows, .. } if within >= rows as usize => {
                (rows as usize, Some(rest[rows as usize - 1].0))
            }
            Rule::Count { .. } => (within, None),
            Rule::Event if !rest[0].1 => (1, None),
            Rule::Event => match rest[..within].iter().position(|row| row.2) {
                Some(last) => (last + 1, Some(rest[last].0)),
                None => (within, is_cut.then_some(cut)),
            },
            Rule::State => {
                let same = rest.iter().take_while(|row| row.3 == rest[0].3).count();
                match rest.get(same) {
                    Some(other) if same <= within => (same, Some(other.0.min(cut))),
                    _ => (within.min(same), is_cut.then_some(cut)),
                }
            }
        };
        windows.extend(end.map(|end| (*first, end, own)));
        rest = &rest[own..];
    }
    windows
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (0i64..60, any::<bool>(), prop::bool::weighted(0.3), 0u32..2);
    prop::collection::vec(row, 0..40).prop_map(|steps| {
        let mut time = 0;
        let rows = steps.into_iter().map(|(step, opens, closes, value)| {
            time += step;
            (time, opens, closes, value)
        });
        rows.collect()
    })
}

proptest! {
    #[test]
    fn rows_are_in_the_windows_that_all_of_them_make(
        rows in rows(),
        asked in prop::collection::vec(any::<bool>(), 40),
        behind in 0i64..200,
    ) {
        let until = rows.last().map_or(0, |row| row.0) + 1 + behind;
        for rule in [Rule::Count { rows: 3, every: 3 }, Rule::Event, Rule::State] {
            let found = found(rule, &rows, |number| asked[number], until);
            prop_assert_eq!(found, expected(rule, &rows, until), "{:?}", rule);
        }
    }
}

/// Rows of these times that say nothing.
fn times(times: &[i64]) -> Vec<Row> {
    times.iter().map(|time| (*time, false, false, 0)).collect()
}

#[test]
fn windows_of_rows_begin_each_so_many_rows() {
    let rows = times(&[1, 2, 3, 4, 5, 6, 7]);
    let every = |every| found(Rule::Count { rows: 3, every }, &rows, |_| true, 8);
    assert_eq!(every(1), [(1, 3, 3), (2, 4, 3), (3, 5, 3), (4, 6, 3), (5, 7, 3)]);
    assert_eq!(every(2), [(1, 3, 3), (3, 5, 3), (5, 7, 3)]);
    assert_eq!(every(3), [(1, 3, 3), (4, 6, 3)]);
}

#[test]
fn a_window_without_its_rows_is_dropped_and_counting_begins_anew() {
    let rule = Rule::Count { rows: 3, every: 3 };
    let rows = times(&[0, 50, 100, 110, 120, 130]);
    assert_eq!(found(rule, &rows, |_| false, 131), [(100, 120, 3)], "0 and 50 have no third");
    let mut windows = timeline(rule);
    windows.place(0, 0, Says::default(), |_| ());
    assert!(!windows.has_ended(LONGEST), "a row at its end may come");
    assert!(windows.has_ended(LONGEST + 1));
    assert_eq!(windows.fates().collect::<Vec<_>>(), [Fate::Dropped]);
    // Of windows over each other only the old ones go.
    let rule = Rule::Count { rows: 3, every: 1 };
    let rows = times(&[0, 60, 110, 120, 130]);
    assert_eq!(found(rule, &rows, |_| false, 131), [(60, 120, 3), (110, 130, 3)]);
}

#[test]
fn conditions_open_and_close_windows() {
    let (no, yes) = (false, true);
    for (what, rows, expected) in [
        (
            "from the one to the other",
            vec![(1, no, no, 0), (2, yes, no, 0), (3, no, no, 0), (4, no, yes, 0), (5, no, no, 0)],
            vec![(2, 4, 3)],
        ),
        (
            "one row may be both",
            vec![(1, yes, yes, 0), (2, yes, yes, 0)],
            vec![(1, 1, 1), (2, 2, 1)],
        ),
        ("nothing is closed that is not open", vec![(1, no, yes, 0), (2, yes, no, 0)], vec![]),
        (
            "what is open is not opened",
            vec![(1, yes, no, 0), (2, yes, no, 0), (3, yes, yes, 0)],
            vec![(1, 3, 3)],
        ),
        (
            "the longest is cut off, and a row opens the next",
            vec![(0, yes, no, 0), (99, yes, no, 0), (100, no, no, 0), (101, yes, yes, 0)],
            vec![(0, 100, 2), (101, 101, 1)],
        ),
    ] {
        assert_eq!(found(Rule::Event, &rows, |_| true, 102), expected, "{what}");
    }
}

#[test]
fn a_window_lasts_until_the_value_changes() {
    let rows = |rows: &[(i64, u32)]| {
        rows.iter().map(|(time, value)| (*time, false, false, *value)).collect::<Vec<_>>()
    };
    for (what, rows, expected) in [
        ("until it changes", rows(&[(1, 7), (2, 7), (5, 8)]), vec![(1, 5, 2)]),
        (
            "at one time",
            rows(&[(1, 7), (1, 8), (1, 7), (2, 8)]),
            vec![(1, 1, 1), (1, 1, 1), (1, 2, 1)],
        ),
        (
            "the longest is cut off, and goes on",
            rows(&[(0, 7), (99, 7), (150, 7), (160, 8)]),
            vec![(0, 100, 2), (150, 160, 1)],
        ),
    ] {
        assert_eq!(
            found(Rule::State, &rows, |_| true, 161.min(rows.last().unwrap().0 + 1)),
            expected,
            "{what}"
        );
    }
}

#[test]
fn windows_of_keys_do_not_touch_each_other() {
    let mut windows = timeline(Rule::Count { rows: 2, every: 2 });
    let mut slots = Vec::new();
    for (key, time) in [(0, 1), (1, 2), (0, 3), (1, 4)] {
        windows.place(key, time, Says::default(), |slot| slots.push(slot));
    }
    assert_eq!(slots, [0, 1, 0, 1]);
    let parts: Vec<_> = windows.parts().map(|part| (part.key, part.start, part.reached)).collect();
    assert_eq!(parts, [(0, 1, 3), (1, 2, 4)]);
    assert_eq!((windows.windows(), windows.slots()), (0, 2));
}

#[test]
fn keys_without_a_window_do_not_pile_up() {
    let mut windows = timeline(Rule::Event);
    (0..200).for_each(|key| windows.place(key, 0, Says::default(), |_| ()));
    assert!(windows.is_sparse());
}
