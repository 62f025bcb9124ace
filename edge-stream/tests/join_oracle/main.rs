//! Joins and `UNION ALL` of streams answer what DataFusion's batch join answers over the same rows.
//!
//! Generated rows of two streams come in generated batches and turns, out of order within the
//! watermark's delay; between batches the pipeline is, at generated moments, thrown away and made
//! anew from its checkpoints. The oracle runs the same SQL over all rows at once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/answers.rs"]
mod answers;
mod asof;
#[path = "../support/tries.rs"]
mod tries;

use std::sync::Arc;
use std::time::Duration;

use answers::{exact_lines, store};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::prelude::SessionContext;
use edge_stream::{EventTime, OperatorError, Pipeline, Stored};
use proptest::collection::vec;
use proptest::prelude::*;

const SECOND: i64 = 1_000_000;
const DELAY: Duration = Duration::from_secs(30);

const QUERIES: [&str; 16] = [
    "SELECT a.n AS n, b.n AS m, a.k FROM a JOIN b ON a.k = b.k \
     AND b.ts BETWEEN a.ts - INTERVAL '5 seconds' AND a.ts + INTERVAL '10 seconds'",
    "SELECT a.n AS n, b.n AS m, b.k, b.ts FROM a LEFT JOIN b ON a.k = b.k AND b.n > 0 \
     AND b.ts BETWEEN a.ts - INTERVAL '5 seconds' AND a.ts + INTERVAL '10 seconds'",
    "SELECT a.n AS n, b.n AS m FROM a, b WHERE a.k = b.k AND a.ts >= b.ts AND a.n + b.n > 0 \
     AND a.ts < b.ts + INTERVAL '7 seconds' AND a.n > -500",
    "SELECT a.n AS n, b.n AS m FROM a LEFT JOIN b ON a.k = b.k AND a.n > 0 AND a.n < b.n \
     AND b.ts > a.ts + INTERVAL '2 seconds' AND b.ts <= a.ts + INTERVAL '12 seconds'",
    "SELECT a.n AS n, b.n AS m FROM a LEFT JOIN b ON b.k = a.k \
     AND b.ts BETWEEN a.ts - INTERVAL '20 seconds' AND a.ts - INTERVAL '10 seconds'",
    "SELECT l.n AS n, r.n AS m FROM a l JOIN a r ON l.k = r.k \
     AND r.ts >= l.ts AND r.ts - INTERVAL '3 seconds' < l.ts",
    "SELECT a.n AS n, b.n AS m FROM a JOIN b ON a.ts = b.ts",
    "SELECT a.n AS n, b.n AS m FROM a LEFT JOIN b ON b.ts = a.ts + INTERVAL '1 second'",
    "SELECT a.n AS n, b.n AS m, a.k FROM a JOIN b ON a.k = b.k \
     AND b.ts <= a.ts AND INTERVAL '4 seconds' + b.ts >= a.ts",
    "SELECT a.n AS n, b.n AS m, c.n AS o FROM a JOIN b ON a.k = b.k \
     AND b.ts BETWEEN a.ts - INTERVAL '2 seconds' AND a.ts + INTERVAL '2 seconds' \
     JOIN a c ON c.k = b.k AND c.ts BETWEEN b.ts AND b.ts + INTERVAL '3 seconds'",
    "SELECT a.n AS n, b.n AS m FROM a JOIN b ON a.k = b.k AND a.n > b.n \
     AND a.ts - b.ts BETWEEN INTERVAL '1 second' AND INTERVAL '6 seconds'",
    "SELECT ts, k, n FROM a UNION ALL SELECT ts, k, n * 2 FROM b WHERE n > 0 \
     UNION ALL SELECT ts, k, 7 FROM a",
    "SELECT date_bin(INTERVAL '10 seconds', ts) AS w, count(*) AS c, sum(n) AS s FROM \
     (SELECT ts, n FROM a UNION ALL SELECT ts, n FROM b) \
     GROUP BY date_bin(INTERVAL '10 seconds', ts)",
    "SELECT date_bin(INTERVAL '10 seconds', ts) AS w, count(*) AS c, sum(n) AS s FROM \
     (SELECT b.ts, a.n FROM a JOIN b ON a.k = b.k \
      AND b.ts BETWEEN a.ts - INTERVAL '5 seconds' AND a.ts + INTERVAL '10 seconds') \
     GROUP BY date_bin(INTERVAL '10 seconds', ts)",
    "SELECT x.w, x.k, x.c AS c, y.c AS d FROM \
     (SELECT date_bin(INTERVAL '10 seconds', ts) AS w, k, count(*) AS c FROM a \
      GROUP BY date_bin(INTERVAL '10 seconds', ts), k) x LEFT JOIN \
     (SELECT date_bin(INTERVAL '10 seconds', ts) AS w, k, count(*) AS c FROM b \
      GROUP BY date_bin(INTERVAL '10 seconds', ts), k) y ON x.w = y.w AND x.k = y.k",
    // Each row with the result of the window that it lies in.
    "SELECT a.n AS n, x.c AS c FROM a LEFT JOIN \
     (SELECT date_bin(INTERVAL '10 seconds', ts) AS w, k, count(*) AS c FROM b \
      GROUP BY date_bin(INTERVAL '10 seconds', ts), k) x \
     ON a.k = x.k AND a.ts >= x.w AND a.ts < x.w + INTERVAL '10 seconds'",
];

#[derive(Debug, Clone)]
struct Row {
    micros: i64,
    k: Option<u8>,
    n: i64,
}

/// Rows whose times go up, by less than `step` seconds each, but for some seconds up and down that
/// the watermark's delay covers.
fn rows(step: i64) -> impl Strategy<Value = Vec<Row>> {
    let row = (0..step, 0i64..30, prop::option::weighted(0.9, 0u8..4), -1000i64..1000);
    vec(row, 0..80).prop_map(|steps| {
        let mut clock = 0;
        let rows = steps.into_iter().map(|(step, back, k, n)| {
            clock += step;
            Row { micros: (clock - back) * SECOND, k, n }
        });
        rows.collect()
    })
}

fn batch(rows: &[Row]) -> RecordBatch {
    let keys = rows.iter().map(|row| row.k.map(|k| format!("d{k}")));
    let times = rows.iter().map(|row| row.micros);
    let columns: [(&str, ArrayRef, bool); 3] = [
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(times)), true),
        ("k", Arc::new(keys.collect::<StringArray>()), true),
        ("n", Arc::new(rows.iter().map(|row| Some(row.n)).collect::<Int64Array>()), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

async fn pipeline(query: &str) -> Result<Pipeline, edge_stream::SqlError> {
    let bin = "date_bin(INTERVAL '10 seconds', ts)";
    let query = query.replace(bin, "tumble_start(ts, INTERVAL '10 seconds')");
    let schema = batch(&[]).schema();
    let builder = Pipeline::builder("a", schema.clone()).watermark("ts", DELAY);
    builder.stream("b", schema).watermark("ts", DELAY).query(&query).await
}

async fn oracle(query: &str, a: &[Row], b: &[Row]) -> Vec<String> {
    let context = SessionContext::new();
    context.register_batch("a", batch(a)).unwrap();
    context.register_batch("b", batch(b)).unwrap();
    exact_lines(&context.sql(query).await.unwrap().collect().await.unwrap())
}

/// A step of a run: how many rows of which stream, and whether the pipeline is made anew behind.
type Turn = (bool, usize, bool);

/// The answer, how many rows were late, and bytes of state in the end.
async fn streamed(query: &str, a: &[Row], b: &[Row], turns: &[Turn]) -> (Vec<String>, u64, usize) {
    let planned = pipeline(query).await;
    let mut query_now = planned.unwrap_or_else(|error| panic!("{query}: {error}"));
    let (mut answers, mut stored) = (Vec::new(), Stored::new());
    let mut rest = [a, b];
    let mut turns = turns.iter().cycle();
    while rest.iter().any(|rows| !rows.is_empty()) {
        let (is_b, size, is_crash) = *turns.next().unwrap();
        let of = if rest[usize::from(is_b)].is_empty() { !is_b } else { is_b };
        let (piece, behind) = rest[usize::from(of)].split_at(size.min(rest[usize::from(of)].len()));
        rest[usize::from(of)] = behind;
        answers.extend(query_now.push_to(if of { "b" } else { "a" }, &batch(piece)).unwrap());
        if is_crash {
            store(&mut query_now, &mut stored);
            query_now = pipeline(query).await.unwrap();
            query_now.restore(&stored).unwrap();
        }
    }
    answers.extend(query_now.advance(EventTime::from_micros(i64::MAX)).unwrap());
    store(&mut query_now, &mut stored);
    let left = stored.values().map(|bytes| bytes.len()).sum::<usize>();
    (exact_lines(&answers), query_now.late(), left)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(tries::of(16))]

    #[test]
    fn streamed_join_is_the_batch_join(
        a in rows(6),
        b in rows(6),
        turns in vec((any::<bool>(), 1usize..20, any::<bool>()), 1..8),
    ) {
        for query in QUERIES {
            let expected = block_on(oracle(query, &a, &b));
            let (found, late, left) = block_on(streamed(query, &a, &b, &turns));
            prop_assert_eq!(late, 0, "{}", query);
            prop_assert!(left < 2000, "{} waits for ever: {} bytes", query, left);
            prop_assert_eq!(&found, &expected, "{}", query);
        }
    }
}

/// One row a second in both streams, one by one, with a checkpoint behind each few.
#[test]
fn state_does_not_grow_with_time() {
    block_on(async {
        for query in [QUERIES[0], QUERIES[1]] {
            let rows: Vec<_> =
                (0..3000).map(|n| Row { micros: n * SECOND, k: Some((n % 3) as u8), n }).collect();
            let mut join = pipeline(query).await.unwrap();
            let (mut pairs, mut stored, mut most) = (0, Stored::new(), 0);
            for (place, row) in rows.iter().enumerate() {
                for stream in ["a", "b"] {
                    let some = join.push_to(stream, &batch(std::slice::from_ref(row))).unwrap();
                    pairs += some.iter().map(RecordBatch::num_rows).sum::<usize>();
                }
                if place % 3 == 0 {
                    store(&mut join, &mut stored);
                    most = most.max(stored.len());
                }
                if place % 99 == 0 {
                    join = pipeline(query).await.unwrap();
                    join.restore(&stored).unwrap();
                }
            }
            assert!(pairs > 12_000, "{pairs} pairs");
            // 45 seconds of delay and interval, in chunks of one row, of eight, of 64.
            assert!(most < 60, "{most} entries");
        }
    });
}

#[test]
fn rows_that_come_one_by_one_are_kept_together() {
    block_on(async {
        let query = "SELECT a.n AS n, b.n AS m FROM a LEFT JOIN b ON a.k = b.k \
                     AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '1 hour'";
        let rows: Vec<_> = (0..2000).map(|n| Row { micros: n * SECOND, k: Some(0), n }).collect();
        let mut join = pipeline(query).await.unwrap();
        let mut stored = Stored::new();
        for row in &rows {
            join.push_to("a", &batch(std::slice::from_ref(row))).unwrap();
            store(&mut join, &mut stored);
        }
        assert!(stored.len() < 40, "{} entries", stored.len());
        let mut restored = pipeline(query).await.unwrap();
        restored.restore(&stored).unwrap();
        let last = [Row { micros: 2000 * SECOND, k: Some(0), n: 0 }];
        for join in [&mut join, &mut restored] {
            let pairs = join.push_to("b", &batch(&last)).unwrap();
            assert_eq!(pairs.iter().map(RecordBatch::num_rows).sum::<usize>(), 2000);
            assert!(join.advance(EventTime::from_micros(i64::MAX)).unwrap().is_empty());
        }
    });
}

#[test]
fn rows_that_are_put_together_are_remembered_to_have_partners() {
    block_on(async {
        let query = "SELECT a.n AS n, b.n AS m FROM a LEFT JOIN b ON a.k = b.k \
                     AND b.ts BETWEEN a.ts - INTERVAL '5 seconds' AND a.ts";
        let (mut join, mut stored) = (pipeline(query).await.unwrap(), Stored::new());
        join.push_to("b", &batch(&[Row { micros: 0, k: Some(0), n: 100 }])).unwrap();
        let mut pairs = Vec::new();
        for n in 0..8 {
            let row = Row { micros: n * SECOND, k: Some(u8::from(n > 0)), n };
            pairs.extend(join.push_to("a", &batch(&[row])).unwrap());
            store(&mut join, &mut stored);
        }
        assert_eq!(exact_lines(&pairs), ["|0|100|"]);
        let mut restored = pipeline(query).await.unwrap();
        restored.restore(&stored).unwrap();
        let lonely = exact_lines(&restored.advance(EventTime::from_micros(i64::MAX)).unwrap());
        assert_eq!(lonely, (1..8).map(|n| format!("|{n}||")).collect::<Vec<_>>());
    });
}

#[test]
fn a_left_row_comes_out_once_no_partner_can_come_and_a_late_one_is_counted() {
    block_on(async {
        let query = "SELECT a.n AS n, b.n AS m FROM a LEFT JOIN b ON a.k = b.k \
                     AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '10 seconds'";
        let mut join = pipeline(query).await.unwrap();
        let row = |second: i64, n| batch(&[Row { micros: second * SECOND, k: Some(1), n }]);
        assert!(join.push_to("a", &row(0, 1)).unwrap().is_empty());
        // 40 seconds: the delay of 30, and the interval.
        assert!(join.push_to("b", &row(1000, 2)).unwrap().is_empty());
        assert!(join.push_to("a", &row(40, 3)).unwrap().is_empty());
        assert_eq!(exact_lines(&join.push_to("a", &row(41, 4)).unwrap()), ["|1||"]);
        assert!(join.push_to("a", &row(10, 5)).unwrap().is_empty());
        assert_eq!(join.late(), 1);
        assert!(join.push_to("a", &row(11, 6)).unwrap().is_empty());
        assert_eq!(join.late(), 1);
    });
}

/// A pair may be older than the watermark by as much as its interval is long.
#[test]
fn windows_over_pairs_wait_for_the_interval() {
    block_on(async {
        let query = "SELECT date_bin(INTERVAL '10 seconds', ts) AS w, count(*) AS c FROM \
                     (SELECT b.ts FROM a JOIN b ON a.k = b.k AND b.ts BETWEEN a.ts - INTERVAL \
                     '5 seconds' AND a.ts) GROUP BY date_bin(INTERVAL '10 seconds', ts)";
        let row = |second: i64, k| batch(&[Row { micros: second * SECOND, k: Some(k), n: 0 }]);
        let mut join = pipeline(query).await.unwrap();
        join.push_to("b", &row(9, 1)).unwrap();
        for stream in ["a", "b"] {
            // The watermark is at 12.
            assert!(join.push_to(stream, &row(42, 2)).unwrap().is_empty());
        }
        assert!(join.push_to("a", &row(13, 1)).unwrap().is_empty());
        let closed = join.advance(EventTime::from_micros(16 * SECOND)).unwrap();
        assert_eq!(exact_lines(&closed), ["|1970-01-01T00:00:00|1|"]);
        assert_eq!(join.late(), 0);
    });
}

#[test]
fn state_has_a_limit() {
    block_on(async {
        let mut join = pipeline(QUERIES[0]).await.unwrap();
        let rows: Vec<_> = (0..8192).map(|n| Row { micros: 0, k: Some(1), n }).collect();
        let full = (0..100).find_map(|_| join.push_to("a", &batch(&rows)).err()).unwrap();
        assert!(matches!(full, OperatorError::JoinFull { .. }), "{full}");
        assert!(full.to_string().contains("rows wait for partners in a join"), "{full}");
    });
}

#[test]
fn what_would_keep_rows_for_ever_is_refused_with_what_would_not() {
    for (query, expected) in [
        (
            "SELECT a.n FROM a JOIN b ON a.k = b.k",
            "a join of streams without bounds in time would keep every row for ever; add to ON: \
             AND b.ts BETWEEN a.ts - INTERVAL '1 minute' AND a.ts + INTERVAL '1 minute'",
        ),
        ("SELECT a.n FROM a JOIN b ON a.k = b.k AND b.ts > a.ts", "without bounds in time"),
        ("SELECT a.n FROM a CROSS JOIN b", "without bounds in time"),
        (
            "SELECT a.n FROM a JOIN b ON a.k = b.k AND b.ts BETWEEN a.ts AND a.ts - INTERVAL '1 s'",
            "the bounds in time exclude each other",
        ),
        (
            "SELECT a.n FROM a JOIN b ON b.ts BETWEEN a.ts AND a.ts + INTERVAL '1 month'",
            "without bounds in time",
        ),
        (
            "SELECT b.n FROM a RIGHT JOIN b ON a.ts = b.ts",
            "RIGHT JOIN is not there; exchange the sides and write LEFT JOIN",
        ),
        ("SELECT b.n FROM a FULL JOIN b ON a.ts = b.ts", "FULL JOIN is not there"),
        ("SELECT n FROM a UNION SELECT n FROM b", "write UNION ALL, which keeps none"),
    ] {
        let error = block_on(pipeline(query)).unwrap_err().to_string();
        assert!(error.contains(expected), "{query}\n  says: {error}\n  not:  {expected}");
    }
}
