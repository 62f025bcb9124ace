//! The streamed answer is DataFusion's batch answer over the same rows.
//!
//! Generated rows come in generated batches, out of order within the watermark's delay; between
//! batches the pipeline is, at generated moments, thrown away and made anew from its checkpoints.
//! The oracle sees all rows at once and knows nothing of our windows: it groups by `date_bin`, or, for
//! windows that lie over each other, rows that a loop has put into each of theirs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/answers.rs"]
mod answers;
mod emit;
mod gaps;
mod late;
mod over_each_other;
mod rows;
#[path = "../support/tries.rs"]
mod tries;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use edge_stream::{EventTime, Pipeline, Stored};
use proptest::collection::vec;
use proptest::prelude::*;

use rows::*;

const TUMBLE: &str = "TUMBLE(t, DESCRIPTOR(ts), INTERVAL '10 seconds')";

async fn pipeline(query: &str) -> Pipeline {
    pipeline_over(TUMBLE, query).await
}

async fn streamed(query: &str, rows: &[Row], cuts: &[(usize, bool)]) -> (Vec<String>, u64) {
    streamed_over(TUMBLE, query, rows, cuts).await
}

async fn oracle(query: &str, rows: &[Row]) -> Vec<String> {
    let bin = "date_bin(INTERVAL '10 seconds', ts)";
    let bins = format!("{bin}, {bin} + INTERVAL '10 seconds'");
    answer(query, &bins, batch(rows)).await
}

proptest! {
    #![proptest_config(tries::of(24))]

    #[test]
    fn streamed_answer_is_the_batch_answer(
        rows in rows(),
        cuts in vec((1usize..20, any::<bool>()), 1..6),
    ) {
        for query in QUERIES {
            let expected = block_on(oracle(query, &rows));
            let (found, late) = block_on(streamed(query, &rows, &cuts));
            prop_assert_eq!(late, 0, "{}", query);
            prop_assert_eq!(&found, &expected, "{}", query);
        }
    }

    #[test]
    fn rows_in_closed_windows_are_counted_and_all_others_answered(
        mut rows in rows(),
        late in vec((any::<prop::sample::Index>(), 31i64..200), 1..5),
    ) {
        // One row at a time, so that the watermark stands behind each of them.
        for (place, seconds) in late {
            let place = place.index(rows.len());
            rows[place].seconds -= seconds;
        }
        let query = "SELECT W, count(*) AS n FROM T GROUP BY W";
        let (found, late) = block_on(streamed(query, &rows, &[(1, false)]));
        let delay = i64::try_from(DELAY.as_micros()).unwrap();
        let (mut counts, mut expected_late, mut latest) = (BTreeMap::new(), 0, None);
        for row in &rows {
            let time = row.seconds * SECOND + row.n.rem_euclid(SECOND);
            let start = time.div_euclid(10 * SECOND) * 10 * SECOND;
            if latest.is_some_and(|latest: i64| start + 10 * SECOND <= latest - delay) {
                expected_late += 1;
            } else {
                *counts.entry(start).or_insert(0u64) += 1;
            }
            latest = latest.max(Some(time));
        }
        prop_assert_eq!(late, expected_late);
        prop_assert_eq!(found.len(), counts.len());
        let counted: u64 = counts.values().sum();
        prop_assert_eq!(counted + late, rows.len() as u64);
        let summed: u64 =
            found.iter().map(|line| line.split('|').nth(3).unwrap().parse::<u64>().unwrap()).sum();
        prop_assert_eq!(summed, counted);
    }
}

#[test]
fn the_state_of_another_query_is_refused() {
    block_on(async {
        let rows = [Row { seconds: 1, device: Some(1), temp: Some(1), n: 1, flag: None }];
        let mut one = pipeline(QUERIES[0]).await;
        one.push(&batch(&rows)).unwrap();
        let changes = one.checkpoint().unwrap().into_iter();
        let stored: Stored = changes.filter_map(|(key, change)| Some((key, change?))).collect();
        pipeline(QUERIES[0]).await.restore(&stored).unwrap();
        let error = pipeline(QUERIES[1]).await.restore(&stored).unwrap_err();
        assert!(error.to_string().contains("does not belong to this query"), "{error}");
        // State that no operator of the query would take up is no state of the query.
        let builder = Pipeline::builder("t", batch(&[]).schema()).watermark("ts", DELAY);
        let mut without_state = builder.query("SELECT n FROM t").await.unwrap();
        let error = without_state.restore(&stored).unwrap_err().to_string();
        assert!(error.contains("it has parts that this query has not"), "{error}");
    });
}

#[test]
fn restored_state_counts_as_what_it_takes_in_the_store() {
    block_on(async {
        let query = "SELECT W, n, avg(temp) AS a, count(*) AS c, sum(n) AS s FROM T GROUP BY W, n";
        let (mut first, mut stored) = (pipeline(query).await, Stored::new());
        for numbers in [0..2_000, 2_000..2_200, 100..300] {
            first.push(&batch(&numbered(numbers))).unwrap();
            store(&mut first, &mut stored);
            first = pipeline(query).await;
            first.restore(&stored).unwrap();
            let of_operators = stored.iter().filter(|(key, _)| key.first() != Some(&u8::MAX));
            let bytes: usize = of_operators.map(|(_, value)| value.len()).sum();
            first.limit_state(bytes - 1);
            let error = first.checkpoint().unwrap_err().to_string();
            assert!(error.starts_with(&format!("state of {bytes} bytes")), "{bytes}: {error}");
            first.limit_state(usize::MAX);
        }
        let closed = first.advance(EventTime::from_micros(i64::MAX)).unwrap();
        assert_eq!(closed.iter().map(RecordBatch::num_rows).sum::<usize>(), 2_200);
    });
}

#[test]
fn a_checkpoint_writes_the_groups_that_had_rows_and_all_of_them_in_the_long_run() {
    block_on(async {
        let query = "SELECT W, n, max(temp) AS a, count(*) AS c, sum(n) AS s FROM T GROUP BY W, n";
        let (mut first, mut stored) = (pipeline(query).await, Stored::new());
        first.push(&batch(&numbered(0..2_000))).unwrap();
        let bytes =
            |entries: Vec<(_, usize)>| entries.iter().map(|(_, bytes)| bytes).sum::<usize>();
        let whole = bytes(store(&mut first, &mut stored));
        let (mut entries, mut written) = (1, 0);
        for n in 0..100 {
            first.push(&batch(&numbered(n..n + 1))).unwrap();
            written += bytes(store(&mut first, &mut stored));
            entries = entries.max(stored.len());
            first = pipeline(query).await;
            first.restore(&stored).unwrap();
        }
        assert!((10..80).contains(&entries), "{entries} parts are read at a restart");
        assert!((whole..5 * whole).contains(&written), "{written} by {whole}");
        let closed = first.advance(EventTime::from_micros(i64::MAX)).unwrap();
        let twice = lines(&closed).iter().filter(|line| line.contains("|2|")).count();
        assert_eq!((closed[0].num_rows(), twice), (2_000, 100));
    });
}

/// A row for each number, all in one window.
fn numbered(numbers: Range<i64>) -> Vec<Row> {
    let row = |n| Row { seconds: 1, device: None, temp: Some(1), n, flag: None };
    numbers.map(row).collect()
}

#[test]
fn windows_of_a_zone_are_those_of_utc() {
    block_on(async {
        let times = TimestampMicrosecondArray::from(vec![SECOND]).with_timezone("+02:00");
        let rows = RecordBatch::try_from_iter([("ts", Arc::new(times) as ArrayRef)]).unwrap();
        let builder = Pipeline::builder("t", rows.schema()).watermark("ts", DELAY);
        let query = "SELECT window_start, window_end, count(*) AS n
                     FROM TUMBLE(t, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end";
        let mut query = builder.query(query).await.unwrap();
        query.push(&rows).unwrap();
        let closed = query.advance(EventTime::from_micros(i64::MAX)).unwrap();
        assert_eq!(lines(&closed), ["|1970-01-01T02:00:00+02:00|1970-01-01T02:00:10+02:00|1|"]);
    });
}

#[test]
fn a_row_without_event_time_is_an_error() {
    block_on(async {
        let mut query = pipeline(QUERIES[1]).await;
        let rows = batch(&[Row { seconds: 1, device: None, temp: None, n: 1, flag: None }]);
        let mut columns = rows.columns().to_vec();
        columns[0] = arrow::array::new_null_array(columns[0].data_type(), 1);
        let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
        let error = query.push(&rows).unwrap_err();
        assert_eq!(error.to_string(), "column `ts` is null in 1 rows, and it is the event time");
    });
}

#[test]
fn filters_and_projections_give_each_row_at_once() {
    block_on(async {
        let rows: Vec<Row> = (0..10)
            .map(|n| Row { seconds: n, device: Some(1), temp: Some(1), n, flag: Some(true) })
            .collect();
        let query = "SELECT device, n * 2 AS double FROM t WHERE n >= 5";
        let builder = Pipeline::builder("t", batch(&[]).schema());
        let mut query = builder.query(query).await.unwrap();
        let mut found = Vec::new();
        for row in rows.chunks(1) {
            found.extend(query.push(&batch(row)).unwrap());
        }
        assert_eq!(found.len(), 5);
        let all = concat_batches(query.schema(), &found).unwrap();
        assert_eq!(all.num_rows(), 5);
        assert_eq!(query.key(), None);
    });
}
