//! HOP and CUMULATE: a row lies in several windows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Field, Schema, TimestampMicrosecondType};
use edge_stream::{EventTime, Stored};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::rows::*;
use crate::tries;

/// Windows by their definition: all starts and ends in seconds that could hold a row.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) call: String,
    pub(crate) windows: Vec<(i64, i64)>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.call)
    }
}

const FROM: i64 = -600;
const TO: i64 = 2_000;

fn call(function: &str, sizes: &[i64]) -> String {
    let sizes = sizes.iter().map(|size| format!(", INTERVAL '{size} seconds'"));
    format!("{function}(t, DESCRIPTOR(ts){})", sizes.collect::<String>())
}

fn hop(slide: i64, size: i64, offset: i64) -> Case {
    let starts = (FROM..TO).filter(|start| (start - offset).rem_euclid(slide) == 0);
    let windows = starts.map(|start| (start, start + size)).collect();
    Case { call: call("HOP", &[slide, size, offset]), windows }
}

fn cumulate(step: i64, steps: i64, offset: i64) -> Case {
    let size = step * steps;
    let starts = (FROM..TO).filter(|start| (start - offset).rem_euclid(size) == 0);
    let windows = starts.flat_map(|start| (1..=steps).map(move |k| (start, start + k * step)));
    Case { call: call("CUMULATE", &[step, size, offset]), windows: windows.collect() }
}

pub(crate) fn tumble(size: i64, offset: i64) -> Case {
    Case { call: call("TUMBLE", &[size, offset]), ..hop(size, size, offset) }
}

pub(crate) fn cases() -> impl Strategy<Value = Case> {
    prop_oneof![
        // Over each other, beside each other, and with gaps between them.
        (1i64..20, 1i64..40, -5i64..30).prop_map(|(slide, size, offset)| hop(slide, size, offset)),
        (1i64..10, 1i64..8, -5i64..30).prop_map(|(step, n, offset)| cumulate(step, n, offset)),
        (1i64..20, -5i64..30).prop_map(|(size, offset)| tumble(size, offset)),
    ]
}

/// Each row once for each of its windows.
pub(crate) fn spread(rows: &[Row], windows: &[(i64, i64)]) -> RecordBatch {
    let rows = batch(rows);
    let times = rows.column(0).as_primitive::<TimestampMicrosecondType>();
    let (mut places, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for (place, time) in (0u32..).zip(times.values()) {
        for (start, end) in windows {
            if (start * SECOND..end * SECOND).contains(time) {
                places.push(place);
                starts.push(start * SECOND);
                ends.push(end * SECOND);
            }
        }
    }
    let rows = take_record_batch(&rows, &UInt32Array::from(places)).unwrap();
    let bounds =
        [starts, ends].map(|times| Arc::new(TimestampMicrosecondArray::from(times)) as ArrayRef);
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    for name in ["window_start", "window_end"] {
        fields.push(Arc::new(Field::new(name, bounds[0].data_type().clone(), true)));
    }
    let columns = rows.columns().iter().cloned().chain(bounds);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.collect()).unwrap()
}

/// Holds the answer over rows of which some are late against a model that takes them one by one.
fn check_late(case: &Case, rows: &[Row], cuts: &[(usize, bool)]) {
    let query = "SELECT W, count(*) AS n, sum(n) AS s FROM T GROUP BY W";
    let (found, late) = block_on(streamed_over(&case.call, query, rows, cuts));
    let delay = i64::try_from(DELAY.as_micros()).unwrap();
    let (mut groups, mut expected_late, mut watermark) =
        (std::collections::BTreeMap::new(), 0, i64::MIN);
    for row in rows {
        let time = row.seconds * SECOND + row.n.rem_euclid(SECOND);
        let holds = |(start, end): &&(i64, i64)| (start * SECOND..end * SECOND).contains(&time);
        let mut windows = case.windows.iter().filter(holds).peekable();
        let is_in_none = windows.peek().is_none();
        let open: Vec<_> = windows.filter(|(_, end)| end * SECOND > watermark).collect();
        expected_late += u64::from(open.is_empty() && !is_in_none);
        for window in open {
            let group: &mut (i64, i64) = groups.entry(*window).or_default();
            *group = (group.0 + 1, group.1 + row.n);
        }
        watermark = watermark.max(time - delay);
    }
    assert_eq!(late, expected_late);
    let counts = found.iter().map(|line| {
        let cells: Vec<&str> = line.split('|').collect();
        (cells[3].parse().unwrap(), cells[4].parse().unwrap())
    });
    let mut counts: Vec<(i64, i64)> = counts.collect();
    let mut expected: Vec<_> = groups.into_values().collect();
    counts.sort_unstable();
    expected.sort_unstable();
    assert_eq!(counts, expected, "{}", case.call);
}

proptest! {
    #![proptest_config(tries::of(32))]

    #[test]
    fn streamed_answer_is_the_batch_answer(
        case in cases(),
        rows in rows(),
        cuts in vec((1usize..20, any::<bool>()), 1..6),
        query in 0..QUERIES.len(),
    ) {
        let query = QUERIES[query];
        let spread = spread(&rows, &case.windows);
        let expected = block_on(answer(query, "window_start, window_end", spread));
        let (found, late) = block_on(streamed_over(&case.call, query, &rows, &cuts));
        prop_assert_eq!(late, 0);
        prop_assert_eq!(&found, &expected, "{} over {}", query, case.call);
    }

    /// A row is late when all its windows are closed, and counts in those that are not.
    #[test]
    fn late_rows_count_in_the_windows_that_are_open(
        case in cases(),
        mut rows in rows(),
        late in vec((any::<prop::sample::Index>(), 31i64..100), 1..5),
        cuts in vec((1usize..2, any::<bool>()), 1..6),
    ) {
        for (place, seconds) in late {
            let place = place.index(rows.len());
            rows[place].seconds -= seconds;
        }
        check_late(&case, &rows, &cuts);
    }
}

/// What was merged for one window is no part of the next one any more.
#[test]
fn late_row_where_none_was_counts_in_the_windows_that_are_open() {
    let seconds = [9, 48, 16, 100];
    let row = |seconds| Row { seconds, device: None, temp: None, n: 1, flag: None };
    let rows: Vec<_> = seconds.into_iter().map(row).collect();
    check_late(&hop(7, 17, 0), &rows, &[(1, false)]);
}

/// A pane that is closed for good is stored whole: what came to it since the last checkpoint is in
/// no part, and is not lost when a later row opens it again.
#[test]
fn rows_that_came_before_and_behind_the_end_of_a_pane_are_both_stored() {
    let row = |seconds, n| Row { seconds, device: None, temp: None, n, flag: None };
    let many: Vec<_> = (0..200).map(|n| row(1, n)).collect();
    let query = "SELECT W, n, count(*) AS c FROM T GROUP BY W, n";
    let windows = hop(10, 40, 0).call;
    let counts = block_on(async {
        let (mut first, mut stored) = (pipeline_over(&windows, query).await, Stored::new());
        first.push(&batch(&many)).unwrap();
        store(&mut first, &mut stored);
        // The watermark passes the end of the pane, and of one of its windows.
        first.push(&batch(&[row(2, 0), row(45, 300)])).unwrap();
        first.push(&batch(&[row(3, 0)])).unwrap();
        store(&mut first, &mut stored);
        let mut again = pipeline_over(&windows, query).await;
        again.restore(&stored).unwrap();
        [first, again].map(|mut query| {
            let rest = query.advance(EventTime::from_micros(i64::MAX)).unwrap();
            lines(&rest).iter().filter(|line| line.contains("|0|3|")).count()
        })
    });
    assert_eq!(counts, [3, 3], "windows in which the row is there three times");
}
