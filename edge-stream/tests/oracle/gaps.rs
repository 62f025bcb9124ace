//! Windows without rows, filled. DataFusion groups the rows; a loop over the windows of each key
//! then fills what lies between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use datafusion::prelude::SessionContext;
use edge_stream::{EventTime, Pipeline, Stored};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::rows::*;
use crate::tries;

const SIZE: i64 = 10 * SECOND;

/// What a window of a key has: the values that are carried and those that lie on a line.
#[derive(Debug, Clone, Copy)]
struct Group {
    carried: Option<f64>,
    on_line: Option<i64>,
    count: i64,
}

type Key = (Option<String>, i64);

async fn groups(rows: &[Row], having: i64) -> BTreeMap<Key, Group> {
    let context = SessionContext::new();
    context.register_batch("t", batch(rows)).unwrap();
    let query = format!(
        "SELECT date_bin(INTERVAL '10 seconds', ts), device, avg(temp), max(n), count(*) FROM t \
         GROUP BY 1, 2 HAVING count(*) > {having}"
    );
    let answer = context.sql(&query).await.unwrap().collect().await.unwrap();
    let mut groups = BTreeMap::new();
    for batch in answer {
        let starts = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let devices = batch.column(1).as_string::<i32>();
        let carried = batch.column(2).as_primitive::<Float64Type>();
        let on_line = batch.column(3).as_primitive::<Int64Type>();
        let counts = batch.column(4).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let device = devices.is_valid(row).then(|| devices.value(row).to_owned());
            let group = Group {
                carried: carried.is_valid(row).then(|| carried.value(row)),
                on_line: on_line.is_valid(row).then(|| on_line.value(row)),
                count: counts.value(row),
            };
            groups.insert((device, starts.value(row)), group);
        }
    }
    groups
}

/// One row of the answer, as the query that is asked has it.
struct Line {
    key: Key,
    carried: Option<f64>,
    on_line: Option<f64>,
    count: Option<i64>,
}

/// The answer by its definition.
fn filled(groups: &BTreeMap<Key, Group>, windows: i64) -> Vec<Line> {
    let mut lines = Vec::new();
    for ((device, start), group) in groups {
        let on_line = group.on_line.map(|value| value as f64);
        let key = (device.clone(), *start);
        lines.push(Line { key, carried: group.carried, on_line, count: Some(group.count) });
        let later = groups.range((device.clone(), start + 1)..);
        let next = later.map(|((of, start), group)| (of, *start, group)).next();
        let next = next.filter(|(of, ..)| *of == device);
        let steps = next.map_or(i64::MAX, |(_, next, _)| (next - start) / SIZE);
        for step in (1..=windows).take_while(|step| *step < steps) {
            let end = next.filter(|_| steps <= windows + 1);
            let on_line = end.and_then(|(_, _, end)| {
                let (from, to) = (group.on_line? as f64, end.on_line? as f64);
                Some(from + (to - from) * step as f64 / steps as f64)
            });
            let key = (device.clone(), start + step * SIZE);
            lines.push(Line { key, carried: group.carried, on_line, count: None });
        }
    }
    lines
}

fn columns(lines: &[Line]) -> RecordBatch {
    let starts = lines.iter().map(|line| line.key.1);
    let ends = starts.clone().map(|start| start + SIZE);
    let devices: StringArray = lines.iter().map(|line| line.key.0.clone()).collect();
    let carried: Float64Array = lines.iter().map(|line| line.carried).collect();
    let on_line: Float64Array = lines.iter().map(|line| line.on_line).collect();
    let counts: Int64Array = lines.iter().map(|line| line.count).collect();
    let times = |times| Arc::new(TimestampMicrosecondArray::from(times)) as ArrayRef;
    RecordBatch::try_from_iter([
        ("window_start", times(starts.collect::<Vec<_>>())),
        ("window_end", times(ends.collect::<Vec<_>>())),
        ("device", Arc::new(devices) as _),
        ("carried", Arc::new(carried) as _),
        ("on_line", Arc::new(on_line) as _),
        ("n", Arc::new(counts) as _),
    ])
    .unwrap()
}

fn tumble(seconds: i64) -> String {
    format!(
        "TUMBLE(t, DESCRIPTOR(ts), INTERVAL '10 seconds', GAP_FILL => INTERVAL '{seconds} seconds')"
    )
}

/// With columns that are carried, on lines, or NULL.
fn query(is_carried: bool, is_linear: bool, having: i64) -> String {
    let carried = if is_carried { "locf(avg(temp))" } else { "avg(temp)" };
    let on_line = if is_linear { "interpolate(max(n))" } else { "CAST(max(n) AS DOUBLE)" };
    format!(
        "SELECT W, device, {carried} AS carried, {on_line} AS on_line, count(*) AS n FROM T \
         GROUP BY W, device HAVING count(*) > {having}"
    )
}

/// Rows between some of which nothing comes for a while.
fn rows_with_gaps() -> impl Strategy<Value = Vec<Row>> {
    let pauses = vec((any::<prop::sample::Index>(), 10i64..150), 0..4);
    (rows(), pauses).prop_map(|(mut rows, pauses)| {
        for (place, seconds) in pauses {
            let place = place.index(rows.len());
            rows[place..].iter_mut().for_each(|row| row.seconds += seconds);
        }
        rows
    })
}

proptest! {
    #![proptest_config(tries::of(20))]

    #[test]
    fn windows_without_rows_are_filled_as_their_definition_says(
        rows in rows_with_gaps(),
        cuts in vec((1usize..20, any::<bool>()), 1..6),
        windows in 1i64..8,
        is_carried: bool,
        is_linear: bool,
        having in 0i64..3,
    ) {
        let query = query(is_carried, is_linear, having);
        let groups = block_on(groups(&rows, having));
        let mut expected = filled(&groups, windows);
        for line in expected.iter_mut().filter(|line| line.count.is_none()) {
            line.carried = line.carried.filter(|_| is_carried);
            line.on_line = line.on_line.filter(|_| is_linear);
        }
        let call = tumble(windows * 10 + 5);
        let (found, late) = block_on(streamed_over(&call, &query, &rows, &cuts));
        prop_assert_eq!(late, 0);
        prop_assert_eq!(found, lines(&[columns(&expected)]), "{} over {}", query, call);
    }
}

fn row(seconds: i64, device: u8, n: i64) -> Row {
    Row { seconds, device: Some(device), temp: None, n, flag: None }
}

/// The rows of each batch, as `window device value`.
fn windows_of(batches: &[RecordBatch]) -> Vec<String> {
    let Some(first) = batches.first() else { return Vec::new() };
    let all = concat_batches(&first.schema(), batches).unwrap();
    let starts = all.column(0).as_primitive::<TimestampMicrosecondType>();
    let devices = all.column(1).as_string::<i32>();
    let cells = |row: usize| {
        let value = arrow::util::display::array_value_to_string(all.column(2), row).unwrap();
        format!("{} {} {value}", starts.value(row) / SECOND, devices.value(row))
    };
    (0..all.num_rows()).map(cells).collect()
}

async fn asked(fill: &str) -> Pipeline {
    let query = format!(
        "SELECT window_start, device, {fill} AS v FROM {} GROUP BY window_start, device",
        tumble(30)
    );
    let builder = Pipeline::builder("t", batch(&[]).schema());
    builder.watermark("ts", std::time::Duration::ZERO).query(&query).await.unwrap()
}

#[test]
fn windows_come_when_they_close_and_those_on_a_line_when_the_gap_does() {
    block_on(async {
        let push = async |fill: &str| {
            let mut query = asked(fill).await;
            let mut found = Vec::new();
            for row in [row(5, 1, 1), row(5, 2, 2), row(15, 2, 4), row(25, 1, 3), row(60, 2, 6)] {
                found.push(windows_of(&query.push(&batch(&[row])).unwrap()));
            }
            let rest = query.advance(EventTime::from_micros(i64::MAX)).unwrap();
            found.push(windows_of(&rest));
            found
        };
        let carried: [&[&str]; 6] = [
            &[],
            &[],
            &["0 d1 1", "0 d2 2"],
            &["10 d2 4", "10 d1 1"],
            &["20 d1 3", "20 d2 4", "30 d1 3", "30 d2 4", "40 d1 3", "40 d2 4", "50 d1 3"],
            &["60 d2 6", "70 d2 6", "80 d2 6", "90 d2 6"],
        ];
        assert_eq!(push("locf(max(n))").await, carried);
        let on_line: [&[&str]; 6] = [
            &[],
            &[],
            &["0 d1 1.0", "0 d2 2.0"],
            &["10 d2 4.0"],
            &["10 d1 2.0", "20 d1 3.0", "20 d2 ", "30 d2 ", "40 d2 "],
            &["30 d1 ", "40 d1 ", "50 d1 ", "60 d2 6.0", "70 d2 ", "80 d2 ", "90 d2 "],
        ];
        assert_eq!(push("interpolate(max(n))").await, on_line);
    });
}

#[test]
fn windows_over_filled_ones_wait_for_the_ends_of_gaps() {
    block_on(async {
        let query = format!(
            "WITH m AS (SELECT window_start AS ts, device, interpolate(max(n)) AS v FROM {} \
             GROUP BY window_start, device) SELECT window_start, count(*) AS n, sum(v) AS s \
             FROM TUMBLE(m, ts, INTERVAL '20 seconds') GROUP BY window_start",
            tumble(30)
        );
        let builder = Pipeline::builder("t", batch(&[]).schema());
        let builder = builder.watermark("ts", std::time::Duration::ZERO);
        let mut query = builder.query(&query).await.unwrap();
        let mut found = Vec::new();
        for row in [row(5, 1, 1), row(15, 2, 5), row(25, 2, 5), row(35, 1, 7), row(90, 3, 0)] {
            found.extend(query.push(&batch(&[row])).unwrap());
        }
        // Windows 0 to 30 of device 1 have 1, 3, 5 and 7; 10 to 30 of device 2 have 5, 5 and NULL.
        let expected = ["|1970-01-01T00:00:00|3|9.000000|", "|1970-01-01T00:00:20|4|17.000000|"];
        assert_eq!(lines(&found)[..2], expected);
        assert_eq!(query.late(), 0);
    });
}

/// Stores a checkpoint; returns how many entries of the keys it has written.
fn store_keys(query: &mut Pipeline, stored: &mut Stored) -> usize {
    // The panes of open windows are the first operator's, the last entry is the progress.
    let changes = store(query, stored);
    changes.iter().filter(|(key, _)| key.first() == Some(&1)).count()
}

#[test]
fn a_checkpoint_writes_the_keys_that_had_rows_and_lets_go_of_silent_ones() {
    block_on(async {
        let (mut query, mut stored) = (asked("locf(max(n))").await, Stored::new());
        let rows: Vec<_> = (0..100).map(|device| row(5, device, 1)).collect();
        query.push(&batch(&rows)).unwrap();
        query.push(&batch(&[row(15, 7, 2)])).unwrap();
        assert!(store_keys(&mut query, &mut stored) > 10, "buckets of 100 keys");
        let error = asked("interpolate(max(n))").await.restore(&stored).unwrap_err().to_string();
        assert!(error.contains("does not belong to this query"), "{error}");
        query.push(&batch(&[row(25, 8, 2)])).unwrap();
        assert_eq!(store_keys(&mut query, &mut stored), 1, "that of device 7");
        let all = query.push(&batch(&[row(200, 9, 3)])).unwrap();
        assert_eq!(windows_of(&all).len(), 100 + 100 + 2 + 1, "of windows 20 to 50");
        store(&mut query, &mut stored);
        assert!(stored.keys().all(|key| key.first() != Some(&1)), "all were silent for too long");
    });
}

#[test]
fn more_rows_at_once_than_the_limit_are_an_error() {
    block_on(async {
        let query = format!(
            "SELECT window_start, n, count(*) AS c FROM {} GROUP BY window_start, n",
            tumble(10_000)
        );
        let builder = Pipeline::builder("t", batch(&[]).schema()).watermark("ts", DELAY);
        let mut query = builder.query(&query).await.unwrap();
        let rows: Vec<_> = (0..501).map(|n| row(5, 1, n)).collect();
        query.push(&batch(&rows)).unwrap();
        let error = query.push(&batch(&[row(100, 1, 1)])).unwrap_err().to_string();
        assert!(error.contains("gaps of 501 keys are filled over 1000 windows each"), "{error}");
    });
}
