//! What [`Keys`] decide, against a loop that knows all keys by heart and looks at each of them behind
//! each record.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt8Array,
};
use arrow::datatypes::Schema;
use proptest::collection::vec;
use proptest::prelude::*;

use super::keys::{Keys, MOST_KEYS};
use super::{EventTime, KeyColumn, below};
use crate::operator::{Changes, Stored};

const DELAY: i64 = 3;
const PREFIX: &[u8] = &[7, 7];

/// A record: when it arrived, and rows of keys and event times.
type Record = (i64, Vec<(Option<u8>, i64)>);

fn batch(first: i64, records: &[Record]) -> RecordBatch {
    let rows = || records.iter().flat_map(|(_, rows)| rows);
    let each = |value: &dyn Fn(i64, i64) -> i64| {
        let numbered = (first..).zip(records);
        let all = numbered.flat_map(|(seq, (at, rows))| rows.iter().map(move |_| (seq, *at)));
        all.map(|(seq, at)| value(seq, at)).collect::<Vec<_>>()
    };
    let keys = rows().map(|(key, _)| key.map(|key| format!("d{key}")));
    let keys = Arc::new(keys.collect::<StringArray>()) as ArrayRef;
    let times = TimestampMicrosecondArray::from_iter_values(rows().map(|(_, time)| *time));
    let arrivals = TimestampMicrosecondArray::from(each(&|_, at| at)).with_timezone("UTC");
    let seqs = Int64Array::from(each(&|seq, _| seq));
    let columns = [
        ("device", keys),
        ("ts", Arc::new(times) as ArrayRef),
        ("_time", Arc::new(arrivals) as ArrayRef),
        ("_seq", Arc::new(seqs) as ArrayRef),
    ];
    let columns = columns.map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn schema() -> Schema {
    batch(0, &[]).schema().as_ref().clone()
}

fn keys(idle_micros: Option<i64>, most: usize) -> Keys {
    Keys::limited_to(KeyColumn::new(&schema(), "device", idle_micros).unwrap(), most)
}

/// The rows that are late, each with the watermark that it is behind; and the last watermark.
type Decided = (Vec<(usize, i64)>, Option<i64>);

/// Reads records in pieces of these sizes, and starts again from a checkpoint behind each second one.
fn decided(records: &[Record], sizes: &[usize], idle: Option<i64>, most: usize) -> Decided {
    let (mut known, mut stored) = (keys(idle, most), Stored::new());
    let (mut current, mut late, mut rows_before, mut from) = (None, Vec::new(), 0, 0);
    for (number, size) in sizes.iter().cycle().enumerate() {
        if from == records.len() {
            break;
        }
        let some = &records[from..records.len().min(from + size)];
        let rows = batch(from as i64, some);
        let times = rows.column(1);
        let marks = some.iter().flat_map(|(_, rows)| rows).map(|(_, time)| time - DELAY);
        let marks = TimestampMicrosecondArray::from_iter_values(marks);
        let found = |row, mark: EventTime| late.push((rows_before + row, mark.micros()));
        known.observe(&rows, (times, &marks), &mut current, found).unwrap();
        (from, rows_before) = (from + some.len(), rows_before + rows.num_rows());
        if number % 2 == 1 {
            known = restarted(known, &mut stored, idle, most);
        }
    }
    (late, current.map(EventTime::micros))
}

fn restarted(mut known: Keys, stored: &mut Stored, idle: Option<i64>, most: usize) -> Keys {
    let mut changes = Changes::new();
    known.store(PREFIX, &mut changes);
    for (key, change) in changes {
        match change {
            Some(bytes) => drop(stored.insert(key, bytes)),
            None => drop(stored.remove(&key)),
        }
    }
    let mut again = keys(idle, most);
    assert!(again.restore(PREFIX, stored).unwrap());
    let head = usize::from(stored.contains_key(PREFIX));
    assert_eq!(below(stored, PREFIX).count(), again.places.len() + head, "nothing is left behind");
    again
}

/// What is known of a key: its name, its watermark, and when it was heard.
type Known = (Option<u8>, i64, i64);

fn expected(records: &[Record], idle: Option<i64>, most: usize) -> Decided {
    // A key stays where it was put, and a new one is put into the first hole.
    let (mut known, mut late, mut current) = (Vec::<Option<Known>>::new(), Vec::new(), None);
    let (mut clock, mut last, mut row) = (0i64, None::<i64>, 0);
    for (at, rows) in records {
        if let (Some(idle), Some(last)) = (idle, last) {
            clock += i64::clamp(at - last, 0, (idle / 2).max(1));
        }
        last = Some(*at);
        for (key, time) in rows {
            row += 1;
            if let Some(behind) = current.filter(|current| time < current) {
                late.push((row - 1, behind));
                continue;
            }
            let mark = time - DELAY;
            if let Some((_, old, heard)) = known.iter_mut().flatten().find(|one| one.0 == *key) {
                (*old, *heard) = ((*old).max(mark), clock);
                continue;
            }
            if known.iter().flatten().count() == most {
                let all =
                    known.iter().enumerate().filter_map(|(at, one)| Some((one.as_ref()?.2, at)));
                let (_, silent) = all.min().unwrap();
                known[silent] = None;
            }
            let new = Some((*key, mark, clock));
            match known.iter_mut().find(|one| one.is_none()) {
                Some(hole) => *hole = new,
                None => known.push(new),
            }
        }
        if let Some(idle) = idle {
            if clock < idle {
                continue;
            }
            for one in &mut known {
                *one = one.take().filter(|(_, _, heard)| heard + idle > clock);
            }
        }
        current = current.max(known.iter().flatten().map(|(_, mark, _)| *mark).min());
    }
    (late, current)
}

/// A key, how far its clock goes on, and whether it goes back.
type Step = (Option<u8>, i64, u8);

/// Clocks of seven devices, one of them without a name, go on, and back at times; records come in the
/// order of arrival but where that clock is set, too.
fn records(back: i64) -> impl Strategy<Value = Vec<Record>> {
    let row = (prop::option::weighted(0.9, 0u8..6), 0i64..8, 0u8..12);
    let record = (0i64..12, 0u8..20, vec(row, 1..4));
    vec(record, 1..80).prop_map(move |records| {
        let (mut clocks, mut now) = ([0i64; 7], 1_000i64);
        let record = |(pause, leap, rows): (i64, u8, Vec<Step>)| {
            now += match leap {
                0 => 500,
                1 => -300,
                _ => pause / 4,
            };
            let row = |(key, step, jump): Step| {
                let clock = &mut clocks[usize::from(key.map_or(6, |key| key))];
                *clock += if jump == 0 { -back } else { step };
                (key, *clock)
            };
            (now, rows.into_iter().map(row).collect())
        };
        records.into_iter().map(record).collect()
    })
}

proptest! {
    #[test]
    fn what_is_late_depends_on_nothing_but_the_records_in_front(
        records in records(25),
        sizes in vec(1usize..9, 1..6),
        idle in prop::option::of(1i64..60),
        most in prop_oneof![1usize..6, Just(MOST_KEYS)],
    ) {
        let expected = expected(&records, idle, most);
        prop_assert_eq!(&decided(&records, &sizes, idle, most), &expected);
        prop_assert_eq!(decided(&records, &[records.len()], idle, most), expected);
    }

    #[test]
    fn who_begins_later_finds_no_more_late_where_no_clock_goes_back(
        records in records(0),
        idle in 1i64..60,
        skipped in 0usize..80,
    ) {
        let skipped = skipped.min(records.len());
        let rows = records[..skipped].iter().map(|(_, rows)| rows.len()).sum::<usize>();
        let (all, reached) = decided(&records, &[5], Some(idle), MOST_KEYS);
        let (late, later) = decided(&records[skipped..], &[5], Some(idle), MOST_KEYS);
        prop_assert!(later <= reached);
        for (row, _) in late {
            prop_assert!(all.iter().any(|(one, _)| *one == row + rows), "row {}", row + rows);
        }
    }
}

/// A record of one row.
fn row(at: i64, key: u8, time: i64) -> Record {
    (at, vec![(Some(key), time)])
}

#[test]
fn nobody_waits_for_a_clock_that_was_set_back() {
    // The second device is on the wrong side of a power cut, and goes on to speak.
    let mut records = vec![row(0, 0, 100), row(0, 1, 100)];
    records.extend((1..20).flat_map(|n| [row(10 * n, 0, 100 + n), row(10 * n + 5, 1, n)]));
    let (late, reached) = decided(&records, &[1], Some(40), MOST_KEYS);
    assert_eq!(reached, Some(119 - DELAY), "it goes by the first one");
    assert!(late.len() >= 15, "{late:?}");
    let (_, reached) = decided(&records, &[1], None, MOST_KEYS);
    assert_eq!(reached, Some(100 - DELAY), "without a timeout it is waited for");
}

#[test]
fn a_key_that_is_gone_or_of_another_column_is_not_taken_over() {
    let (mut stored, mut known) = (Stored::new(), keys(None, MOST_KEYS));
    let rows = batch(0, &[row(0, 0, 5), row(0, 1, 7)]);
    let mut current = None;
    known.observe(&rows, (rows.column(1), rows.column(1)), &mut current, |_, _| {}).unwrap();
    assert_eq!((current, known.places.len()), (Some(EventTime::from_micros(5)), 2));
    restarted(known, &mut stored, None, MOST_KEYS);
    let mut other = Keys::new(KeyColumn::new(&schema(), "_seq", None).unwrap());
    assert!(!other.restore(PREFIX, &stored).unwrap());
    assert!(!other.restore(&[8], &stored).unwrap());
    assert_eq!(other.places.len(), 0);
    let mut changes = Changes::new();
    keys(None, 1).store(PREFIX, &mut changes);
    assert_eq!(changes.len(), 1, "keys that did not speak are not stored again");
}

#[test]
fn keys_are_told_apart_by_what_they_are() {
    let long = "x".repeat(300);
    let texts = [Some("a"), None, Some(""), Some("NULL"), Some(&long), Some(&long[..256])];
    let numbers = Int64Array::from(vec![1, 2, 3, 4, 5, 6]);
    let columns = [
        ("text", Arc::new(StringArray::from(texts.to_vec())) as ArrayRef, true),
        (
            "small",
            Arc::new(UInt8Array::from(vec![None, Some(1), Some(1), None, Some(2), None])),
            true,
        ),
        ("number", Arc::new(numbers), true),
    ];
    let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let schema = rows.schema();
    for (column, count) in [("text", 5), ("small", 3), ("number", 6)] {
        let mut known = Keys::new(KeyColumn::new(&schema, column, None).unwrap());
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![9; 6]));
        known.observe(&rows, (&times, &times), &mut None, |_, _| {}).unwrap();
        assert_eq!(known.places.len(), count, "{column}");
    }
}
