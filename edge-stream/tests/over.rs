//! `OVER` in order of event time, against the batch answer: DataFusion's, or for functions that it
//! has not, one computed here row by row.
//!
//! Generated rows come in any cut of batches, out of order within the watermark's delay, several
//! at one point in time; between batches the pipeline is, at generated moments, thrown away and
//! made anew from its checkpoints. The oracle sees all rows at once, with a number of their
//! arrival that makes their order complete.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/answers.rs"]
mod answers;
#[path = "support/tries.rs"]
mod tries;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use answers::lines_by;
use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use datafusion::prelude::SessionContext;
use edge_stream::{EventTime, Pipeline, Stored};
use proptest::collection::vec;
use proptest::prelude::*;

const SECOND: i64 = 1_000_000;
const DELAY: Duration = Duration::from_secs(30);

/// `O` stands for the order: by `ts`, and for the oracle by arrival where frames are of rows.
/// Frames of time know no second column, and need none: rows of one time are in it together.
const QUERIES: [&str; 15] = [
    "SELECT seq, lag(n) OVER (PARTITION BY device ORDER BY O) AS a, \
     lag(temp, 3, -1) OVER (PARTITION BY upper(device), n % 2 ORDER BY O) AS b FROM t",
    "SELECT seq, row_number() OVER (PARTITION BY device ORDER BY O) AS a, \
     row_number() OVER (ORDER BY O) AS b FROM t",
    "SELECT seq, avg(temp) OVER w AS a, sum(n) OVER w AS b, min(temp) OVER w AS c, \
     max(n) OVER w AS d, count(temp) OVER w AS e, count(*) OVER w AS f \
     FROM t WINDOW w AS (PARTITION BY device ORDER BY O ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)",
    "SELECT seq, avg(temp) OVER w AS a, sum(n) OVER w AS b, min(temp) OVER w AS c, \
     max(device) OVER w AS d, count(*) OVER w AS e, median(n) OVER w AS f FROM t \
     WINDOW w AS (PARTITION BY device ORDER BY ts \
     RANGE BETWEEN INTERVAL '12 seconds' PRECEDING AND CURRENT ROW)",
    "SELECT seq, stddev(temp) OVER w AS a, sum(n) OVER w AS b, min(n) OVER w AS c, \
     count(*) OVER w AS d, first_value(ts) OVER w AS e FROM t \
     WINDOW w AS (PARTITION BY device ORDER BY ts)",
    "SELECT seq, sum(n) OVER w AS a, max(temp) OVER w AS b, first_value(n) OVER w AS c, \
     last_value(n) OVER w AS d, first_value(temp) IGNORE NULLS OVER w AS e, \
     last_value(temp) IGNORE NULLS OVER w AS f FROM t WINDOW w AS (PARTITION BY device \
     ORDER BY O ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)",
    "SELECT seq, sum(n) OVER w AS a, count(*) OVER w AS b, first_value(n) OVER w AS c, \
     last_value(temp) IGNORE NULLS OVER w AS d, min(temp) OVER w AS e, avg(n) OVER w AS f FROM t \
     WINDOW w AS (PARTITION BY device ORDER BY O ROWS BETWEEN 4 PRECEDING AND 2 PRECEDING)",
    "SELECT seq, count(*) OVER w AS a, sum(n) OVER w AS b, max(n) OVER w AS c FROM t \
     WINDOW w AS (ORDER BY ts RANGE BETWEEN INTERVAL '20 seconds' PRECEDING AND \
     INTERVAL '5 seconds' PRECEDING)",
    "SELECT seq, sum(n) FILTER (WHERE temp > 0) OVER w AS a, count(*) FILTER (WHERE n > 0) OVER w \
     AS b, sum(temp) FILTER (WHERE n > 0) OVER w AS c FROM t WINDOW w AS (PARTITION BY device \
     ORDER BY O ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
    "SELECT seq, count(DISTINCT n % 5) OVER w AS a, array_agg(n) OVER w AS b FROM t \
     WINDOW w AS (PARTITION BY device ORDER BY O ROWS BETWEEN 5 PRECEDING AND CURRENT ROW)",
    "SELECT seq, d FROM (SELECT seq, n - lag(n) OVER (PARTITION BY device ORDER BY O) AS d FROM t) \
     WHERE d > 100",
    "SELECT seq, n FROM t QUALIFY lag(ts) OVER (PARTITION BY device ORDER BY O) IS NULL \
     OR lag(ts) OVER (PARTITION BY device ORDER BY O) < ts - INTERVAL '20 seconds'",
    "SELECT seq, n FROM t QUALIFY count(*) OVER (PARTITION BY device ORDER BY ts \
     RANGE BETWEEN INTERVAL '15 seconds' PRECEDING AND CURRENT ROW) = 1",
    "SELECT seq, lag(a) OVER (PARTITION BY b ORDER BY O) AS c FROM (SELECT seq, ts, device AS b, \
     sum(n) OVER (PARTITION BY device ORDER BY O ROWS UNBOUNDED PRECEDING) AS a FROM t \
     WHERE n > -500)",
    "SELECT seq, lag(n, 2) OVER (PARTITION BY device ORDER BY ts, seq) AS a FROM \
     (SELECT ts, seq, n, upper(device) AS device FROM t)",
];

#[derive(Debug, Clone)]
struct Row {
    seconds: i64,
    device: Option<u8>,
    temp: Option<i16>,
    n: i64,
}

/// Rows whose times go up, but for some seconds up and down that the watermark's delay covers.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let device = prop::option::weighted(0.9, 0u8..4);
    let temp = prop::option::weighted(0.8, -50i16..100);
    vec((0i64..8, 0i64..30, device, temp, -1000i64..1000), 1..120).prop_map(|steps| {
        let mut clock = 0;
        let rows = steps.into_iter().map(|(step, back, device, temp, n)| {
            clock += step;
            Row { seconds: clock - back, device, temp, n }
        });
        rows.collect()
    })
}

fn batch(rows: &[Row], first: usize) -> RecordBatch {
    let times = rows.iter().map(|row| row.seconds * SECOND);
    let devices = rows.iter().map(|row| row.device.map(|device| format!("d{device}")));
    let temps = rows.iter().map(|row| row.temp.map(f64::from));
    let numbers = (0..).skip(first).take(rows.len()).map(|seq: i64| seq);
    let columns: [(&str, ArrayRef, bool); 5] = [
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(times)), true),
        ("device", Arc::new(devices.collect::<StringArray>()), true),
        ("temp", Arc::new(temps.collect::<Float64Array>()), true),
        ("n", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.n))), true),
        ("seq", Arc::new(Int64Array::from_iter_values(numbers)), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

async fn pipeline(query: &str) -> Pipeline {
    let schema = batch(&[], 0).schema();
    Pipeline::builder("t", schema).watermark("ts", DELAY).query(query).await.unwrap()
}

async fn oracle(query: &str, rows: &[Row]) -> Vec<String> {
    let context = SessionContext::new();
    context.register_batch("t", batch(rows, 0)).unwrap();
    lines(&context.sql(query).await.unwrap().collect().await.unwrap())
}

/// The rows as text, in an order of their own, without the header.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    lines_by(batches, |cell| {
        let is_float = cell.contains('.') && !cell.contains('[');
        cell.parse::<f64>().map_or(cell.to_owned(), |value| {
            if is_float { format!("{:.6}", value + 0.0) } else { cell.to_owned() }
        })
    })
}

/// Pushes the rows in pieces; behind some of them the pipeline is made anew from its checkpoints.
async fn streamed(query: &str, rows: &[Row], cuts: &[(usize, bool)]) -> (Vec<RecordBatch>, u64) {
    let mut query_now = pipeline(query).await;
    let (mut answers, mut stored) = (Vec::new(), Stored::new());
    let (mut first, mut cuts) = (0, cuts.iter().cycle());
    while first < rows.len() {
        let (size, is_crash) = *cuts.next().unwrap();
        let end = rows.len().min(first + size);
        answers.extend(query_now.push(&batch(&rows[first..end], first)).unwrap());
        first = end;
        if is_crash {
            checkpoint(&mut query_now, &mut stored);
            query_now = pipeline(query).await;
            query_now.restore(&stored).unwrap();
        }
    }
    answers.extend(query_now.advance(EventTime::from_micros(i64::MAX)).unwrap());
    (answers, query_now.late())
}

fn checkpoint(query: &mut Pipeline, stored: &mut Stored) -> usize {
    let mut written = 0;
    for (key, change) in query.checkpoint().unwrap() {
        match change {
            Some(bytes) => {
                written += bytes.len();
                stored.insert(key, bytes);
            }
            None => drop(stored.remove(&key).expect("what is taken away was there")),
        }
    }
    written
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(tries::of(12))]

    #[test]
    fn streamed_answer_is_the_batch_answer(
        rows in rows(),
        cuts in vec((1usize..20, any::<bool>()), 1..6),
    ) {
        for query in QUERIES {
            let (ours, its) = match query.contains("BY O") {
                true => (query.replace("BY O", "BY ts"), query.replace("BY O", "BY ts, seq")),
                false => (query.replace("ts, seq)", "ts)"), query.to_owned()),
            };
            let expected = block_on(oracle(&its, &rows));
            let (found, late) = block_on(streamed(&ours, &rows, &cuts));
            prop_assert_eq!(late, 0, "{}", query);
            prop_assert_eq!(&lines(&found), &expected, "{}", query);
        }
    }
}

/// Values of the columns `seq` and another one, by `seq`.
fn by_seq<T>(
    answers: &[RecordBatch],
    value: impl Fn(&RecordBatch, usize) -> T,
) -> BTreeMap<i64, T> {
    let mut found = BTreeMap::new();
    for batch in answers {
        let seq = batch.column(0).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            assert!(found.insert(seq.value(row), value(batch, row)).is_none(), "each row once");
        }
    }
    found
}

/// For each key its rows in order: by time, then by arrival; with their number.
fn in_order(rows: &[Row]) -> BTreeMap<Option<u8>, Vec<(i64, Row)>> {
    let mut by_key: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (seq, row) in (0..).zip(rows) {
        by_key.entry(row.device).or_default().push((seq, row.clone()));
    }
    by_key.values_mut().for_each(|rows| rows.sort_by_key(|(_, row)| row.seconds));
    by_key
}

const REPORTS: &str = "SELECT seq, had_changed(temp) OVER w AS a, changed(temp, 25.5) OVER w AS b, \
     latest(temp) OVER w AS c FROM t \
     WINDOW w AS (PARTITION BY device ORDER BY ts)";

proptest! {
    #![proptest_config(tries::of(24))]

    #[test]
    fn changes_are_reported_against_what_was_reported_last(
        rows in rows(),
        cuts in vec((1usize..20, any::<bool>()), 1..6),
    ) {
        let (found, _) = block_on(streamed(REPORTS, &rows, &cuts));
        let found = by_seq(&found, |batch, row| {
            let latest = batch.column(3);
            let latest = latest.is_valid(row).then(|| latest.as_primitive::<Float64Type>().value(row));
            (batch.column(1).as_boolean().value(row), batch.column(2).as_boolean().value(row), latest)
        });
        for of_key in in_order(&rows).values() {
            let (mut before, mut reported, mut latest) = (None, None, None);
            for (seq, row) in of_key {
                let changed = before != Some(row.temp);
                before = Some(row.temp);
                let is_out = match (reported, row.temp) {
                    (None, _) => true,
                    (Some(Some(last)), Some(temp)) => f64::from(temp) - f64::from(last) > 25.5
                        || f64::from(last) - f64::from(temp) > 25.5,
                    (Some(last), temp) => last.is_some() != temp.is_some(),
                };
                reported = if is_out { Some(row.temp) } else { reported };
                latest = row.temp.map(f64::from).or(latest);
                prop_assert_eq!(found[seq], (changed, is_out, latest), "row {}", seq);
            }
        }
        prop_assert_eq!(found.len(), rows.len());
    }

    #[test]
    fn state_that_lasts_is_reported_once(
        rows in rows(),
        cuts in vec((1usize..20, any::<bool>()), 1..6),
    ) {
        let query = "SELECT seq, since FROM (
               SELECT seq, device, ts, temp, latest(CASE WHEN flips THEN ts END) OVER w AS since
               FROM (SELECT seq, device, ts, temp, changed(temp > 40) OVER w AS flips FROM t
                     WINDOW w AS (PARTITION BY device ORDER BY ts))
               WINDOW w AS (PARTITION BY device ORDER BY ts))
             WHERE temp > 40 AND ts >= since + INTERVAL '10 seconds'
             QUALIFY changed(since) OVER (PARTITION BY device ORDER BY ts)";
        let (found, _) = block_on(streamed(query, &rows, &cuts));
        let found = by_seq(&found, |batch, row| {
            batch.column(1).as_primitive::<TimestampMicrosecondType>().value(row) / SECOND
        });
        let mut expected = BTreeMap::new();
        for of_key in in_order(&rows).values() {
            let (mut is_above, mut since, mut is_told) = (None, 0, false);
            for (seq, row) in of_key {
                let above = row.temp.map(|temp| temp > 40);
                if is_above != Some(above) {
                    (is_above, since, is_told) = (Some(above), row.seconds, false);
                }
                if above == Some(true) && row.seconds >= since + 10 && !is_told {
                    is_told = true;
                    expected.insert(*seq, since);
                }
            }
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn best_of_each_window_are_those_of_the_batch_answer(
        rows in rows(),
        cuts in vec((1usize..20, any::<bool>()), 1..6),
    ) {
        let queries = [
            "SELECT W, device, s FROM (SELECT W, device, sum(n) AS s, row_number() OVER \
             (PARTITION BY W ORDER BY sum(n) DESC, device) AS place FROM T GROUP BY W, device) \
             WHERE place <= 2",
            "SELECT W, device, count(*) AS c FROM T GROUP BY W, device \
             QUALIFY rank() OVER (PARTITION BY W ORDER BY count(*) DESC) = 1",
            "SELECT W, device, sum(n) AS s, lead(device) OVER (PARTITION BY W ORDER BY device) AS l, \
             count(*) * 100 / sum(count(*)) OVER (PARTITION BY W) AS share FROM T GROUP BY W, device",
        ];
        let between = "SELECT W, device, sum(n) - lag(sum(n)) OVER (PARTITION BY device ORDER BY W) \
                       AS step FROM T GROUP BY W, device";
        for query in queries.into_iter().chain([between]) {
            let ours = query.replace(" T ", " TUMBLE(t, DESCRIPTOR(ts), INTERVAL '10 seconds') ")
                .replace("SELECT W", "SELECT window_start").replace("BY W", "BY window_start");
            let bin = "date_bin(INTERVAL '10 seconds', ts)";
            let its = query.replace(" T ", &format!(" (SELECT *, {bin} AS window_start FROM t) "))
                .replace("SELECT W", "SELECT window_start").replace("BY W", "BY window_start");
            let expected = block_on(oracle(&its, &rows));
            let (found, _) = block_on(streamed(&ours, &rows, &cuts));
            prop_assert_eq!(&lines(&found), &expected, "{}", query);
        }
    }
}

#[test]
fn rows_come_out_in_order_of_time_once_the_watermark_has_passed_them() {
    block_on(async {
        let row = |seconds, n| Row { seconds, device: Some(1), temp: None, n };
        let query = "SELECT seq, lag(n) OVER (PARTITION BY device ORDER BY ts) AS a FROM t";
        let mut query = pipeline(query).await;
        // The watermark stands at 70 s: the row of 70 s may still get company.
        let first = [row(70, 1), row(60, 2), row(60, 3), row(100, 4)];
        let found = query.push(&batch(&first, 0)).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].column(0).as_primitive::<Int64Type>().values(), &[1, 2]);
        // One row is in time, the other is not.
        let found = query.push(&batch(&[row(70, 5), row(69, 6), row(101, 7)], 4)).unwrap();
        assert_eq!(found[0].column(0).as_primitive::<Int64Type>().values(), &[0, 4]);
        let lags = found[0].column(1).as_primitive::<Int64Type>().values();
        assert_eq!(lags, &[3, 1], "rows of one time are in the order in which they came");
        assert_eq!(query.late(), 1);
    });
}

#[test]
fn windows_over_the_answer_of_over_have_its_event_time() {
    block_on(async {
        let query = "WITH steps AS (SELECT ts, n - lag(n) OVER (ORDER BY ts) AS step FROM t)
                     SELECT window_start, max(step) AS step
                     FROM TUMBLE(steps, ts, INTERVAL '10 seconds') GROUP BY window_start";
        let rows: Vec<_> =
            (0..20).map(|n| Row { seconds: n, device: None, temp: None, n: n * n }).collect();
        let (found, late) = streamed(query, &rows, &[(3, true)]).await;
        assert_eq!(late, 0);
        assert_eq!(lines(&found), ["|1970-01-01T00:00:00|17|", "|1970-01-01T00:00:10|37|"]);
    });
}

#[test]
fn a_large_value_leaves_nothing_behind_when_it_is_out_of_the_frame() {
    block_on(async {
        let query = "SELECT seq, avg(CASE WHEN n = 0 THEN 1e17 ELSE 1.0 END) OVER (ORDER BY ts \
                     ROWS 1 PRECEDING) AS a, stddev(temp) OVER (ORDER BY ts ROWS 2 PRECEDING) AS b \
                     FROM t";
        let rows: Vec<_> = (0..9)
            .map(|n| Row { seconds: n, device: None, temp: Some(if n < 5 { 86 } else { 78 }), n })
            .collect();
        let (found, _) = streamed(query, &rows, &[(4, true)]).await;
        let last = lines(&found).pop().unwrap();
        assert_eq!(last, "|8|1.000000|0.000000|");
    });
}

#[test]
fn a_checkpoint_writes_what_is_new() {
    block_on(async {
        let query = "SELECT seq, max(n) OVER (PARTITION BY device ORDER BY ts \
                     RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW) AS a FROM t";
        let (mut query, mut stored) = (pipeline(query).await, Stored::new());
        let mut written = Vec::new();
        for minute in 0..600 {
            let rows: Vec<_> = (0..60)
                .map(|second| Row {
                    seconds: minute * 60 + second,
                    device: Some(1),
                    temp: None,
                    n: 1,
                })
                .collect();
            query.push(&batch(&rows, 0)).unwrap();
            written.push(checkpoint(&mut query, &mut stored));
        }
        let held: usize = stored.values().map(bytes::Bytes::len).sum();
        let mean = written.iter().sum::<usize>() / written.len();
        assert!(mean * 10 < held, "a checkpoint writes {mean} of {held} bytes");
        assert!(held < 64 * 3 * 3600 + 500_000, "{held} bytes are held for 3600 rows");
    });
}

#[test]
fn keys_that_are_silent_longer_than_the_frame_are_gone() {
    block_on(async {
        let query = "SELECT seq, count(*) OVER (PARTITION BY n ORDER BY ts \
                     RANGE BETWEEN INTERVAL '1 minute' PRECEDING AND CURRENT ROW) AS a FROM t";
        let (mut query, mut stored) = (pipeline(query).await, Stored::new());
        let mut sizes = Vec::new();
        for round in 0..40 {
            let rows: Vec<_> = (0..1000)
                .map(|n| Row {
                    seconds: round * 100,
                    device: None,
                    temp: None,
                    n: round * 1000 + n,
                })
                .collect();
            query.push(&batch(&rows, 0)).unwrap();
            checkpoint(&mut query, &mut stored);
            sizes.push(stored.values().map(bytes::Bytes::len).sum::<usize>());
        }
        assert!(sizes[39] <= sizes[10] + 10_000, "{sizes:?}");
    });
}

#[test]
fn state_beyond_the_limit_is_an_error_that_names_the_keys() {
    block_on(async {
        let query = "SELECT seq, count(*) OVER (PARTITION BY n, repeat(device, 2000) ORDER BY ts) AS a \
                     FROM t";
        let mut query = pipeline(query).await;
        let error = (0..20).find_map(|round| {
            let rows: Vec<_> = (0..1000)
                .map(|n| Row {
                    seconds: round * 60,
                    device: Some(1),
                    temp: None,
                    n: round * 1000 + n,
                })
                .collect();
            query.push(&batch(&rows, 0)).unwrap();
            query.checkpoint().err()
        });
        let error = error.expect("it is full one day").to_string();
        assert!(
            error.starts_with("OVER holds ") && error.contains(" bytes of state for "),
            "{error}"
        );
        assert!(error.ends_with("the limit is 16777216"), "{error}");
    });
}

#[test]
fn state_of_another_query_is_refused() {
    block_on(async {
        let query = |function: &str| {
            format!("SELECT seq, {function} OVER (PARTITION BY device ORDER BY ts) AS a FROM t")
        };
        let rows =
            [40, 80, 120].map(|seconds| Row { seconds, device: Some(1), temp: Some(1), n: 1 });
        for (one, other) in [("lag(n)", "lag(temp)"), ("sum(n)", "avg(temp)"), ("sum(n)", "lag(n)")]
        {
            let (mut first, mut stored) = (pipeline(&query(one)).await, Stored::new());
            first.push(&batch(&rows, 0)).unwrap();
            checkpoint(&mut first, &mut stored);
            pipeline(&query(one)).await.restore(&stored).unwrap();
            let error = pipeline(&query(other)).await.restore(&stored).unwrap_err().to_string();
            assert!(error.contains("does not belong to this query"), "{one}, {other}: {error}");
        }
    });
}

#[test]
fn what_looks_ahead_or_keeps_everything_is_refused_with_what_would_work() {
    let table = [
        ("lead(n) OVER (ORDER BY ts)", "look back from the later row: lag(x)"),
        ("lag(n, -1) OVER (ORDER BY ts)", "look at rows that have not come"),
        (
            "sum(n) OVER (ORDER BY ts ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)",
            "look at rows that have not come",
        ),
        ("sum(n) OVER (ORDER BY ts DESC)", "runs from the newest row back"),
        ("sum(n) OVER (PARTITION BY device)", "has no ORDER BY, and would wait for the last row"),
        (
            "sum(n) OVER (ORDER BY n)",
            "ordered by `t.n`, and would wait for the last row of a stream; \
          write OVER (PARTITION BY .. ORDER BY ts), with the column of WATERMARK FOR of `t`",
        ),
        ("sum(n) OVER (ORDER BY ts, n)", "ordered by `t.n` too"),
        (
            "ntile(4) OVER (ORDER BY ts)",
            "`ntile` is not there in order of event time; use row_number",
        ),
        ("array_agg(n) OVER (ORDER BY ts)", "`array_agg` would keep every row for ever; add RANGE"),
        ("count(DISTINCT n) OVER (ORDER BY ts)", "`count` would keep every row for ever"),
        ("changed(n, temp) OVER (ORDER BY ts)", "is a number such as 0.5, the same for all rows"),
        ("changed(n, -1) OVER (ORDER BY ts)", "is a number such as 0.5"),
        (
            "changed(device, 1) OVER (ORDER BY ts)",
            "write changed(column), or changed(number, band)",
        ),
        ("lag(n) IGNORE NULLS OVER (ORDER BY ts)", "use latest(x)"),
        (
            "sum(n) OVER (ORDER BY ts RANGE BETWEEN INTERVAL '1 month' PRECEDING AND CURRENT ROW)",
            "is no bound of a frame; write ROWS",
        ),
        (
            "sum(n) OVER (ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)",
            "a frame from UNBOUNDED PRECEDING ends with CURRENT ROW",
        ),
    ];
    for (function, expected) in table {
        let builder = Pipeline::builder("t", batch(&[], 0).schema()).watermark("ts", DELAY);
        let query = format!("SELECT {function} AS a FROM t");
        let error = block_on(builder.query(&query)).unwrap_err().to_string();
        assert!(error.contains(expected), "{function}\n  says: {error}\n  not:  {expected}");
    }
}
