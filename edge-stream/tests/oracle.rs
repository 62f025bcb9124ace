//! The streamed answer is DataFusion's batch answer over the same rows.
//!
//! Generated rows come in generated batches, out of order within the watermark's delay; between
//! batches the pipeline is, at generated moments, thrown away and made anew from its checkpoints.
//! The oracle sees all rows at once and knows nothing of our windows: it groups by `date_bin`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use edge_stream::{EventTime, Pipeline, Stored};
use proptest::collection::vec;
use proptest::prelude::*;

const SECOND: i64 = 1_000_000;
const DELAY: Duration = Duration::from_secs(30);

/// `W` stands for the window, `T` for the table.
const QUERIES: [&str; 9] = [
    "SELECT W, device, avg(temp) AS a, min(temp) AS b, max(temp) AS c, count(*) AS n, sum(n) AS s \
     FROM T GROUP BY W, device",
    "SELECT W, count(*) AS n, count(temp) AS c FROM T GROUP BY W",
    "SELECT W, device, flag, sum(n) AS s FROM T WHERE temp > 0 GROUP BY W, device, flag",
    "SELECT W, device, count(*) AS n FROM T GROUP BY W, device HAVING count(*) > 2",
    "SELECT W, device, sum(n) FILTER (WHERE flag) AS s, max(n) - min(n) AS span FROM T \
     GROUP BY W, device",
    "SELECT W, count(DISTINCT device) AS d, sum(DISTINCT n) AS s FROM T GROUP BY W",
    "SELECT W, device, median(n) AS m, stddev(temp) AS sd, var_pop(n) AS v, bool_or(flag) AS o \
     FROM T GROUP BY W, device",
    "SELECT W, device, first_value(n ORDER BY n) AS f, last_value(n ORDER BY n, temp) AS l, \
     approx_distinct(n) AS d FROM T GROUP BY W, device",
    "SELECT W, upper(device) AS device, array_agg(n ORDER BY n) AS all_n, \
     string_agg(device, ',' ORDER BY n) AS text FROM T GROUP BY W, upper(device)",
];

#[derive(Debug, Clone)]
struct Row {
    seconds: i64,
    device: Option<u8>,
    temp: Option<i16>,
    n: i64,
    flag: Option<bool>,
}

/// Rows whose times go up, but for some seconds up and down that the watermark's delay covers.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        0i64..8,
        0i64..30,
        prop::option::weighted(0.9, 0u8..4),
        prop::option::weighted(0.9, -50i16..100),
        -1000i64..1000,
        prop::option::weighted(0.9, any::<bool>()),
    );
    vec(row, 1..120).prop_map(|steps| {
        let mut clock = 0;
        let rows = steps.into_iter().map(|(step, back, device, temp, n, flag)| {
            clock += step;
            Row { seconds: clock - back, device, temp, n, flag }
        });
        rows.collect()
    })
}

fn batch(rows: &[Row]) -> RecordBatch {
    let times = rows.iter().map(|row| row.seconds * SECOND + row.n.rem_euclid(SECOND));
    let devices = rows.iter().map(|row| row.device.map(|device| format!("d{device}")));
    let columns: [(&str, ArrayRef, bool); 5] = [
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(times)), true),
        ("device", Arc::new(devices.collect::<StringArray>()), true),
        (
            "temp",
            Arc::new(rows.iter().map(|row| row.temp.map(f64::from)).collect::<Float64Array>()),
            true,
        ),
        ("n", Arc::new(rows.iter().map(|row| Some(row.n)).collect::<Int64Array>()), true),
        ("flag", Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

async fn pipeline(query: &str) -> Pipeline {
    let query = query.replace(" T ", " TUMBLE(t, DESCRIPTOR(ts), INTERVAL '10 seconds') ");
    let query = query.replace("SELECT W", "SELECT window_start").replace("BY W", "BY window_start");
    let schema = batch(&[]).schema();
    Pipeline::builder("t", schema).watermark("ts", DELAY).query(&query).await.unwrap()
}

async fn oracle(query: &str, rows: &[Row]) -> Vec<String> {
    let context = SessionContext::new();
    context.register_batch("t", batch(rows)).unwrap();
    let bin = "date_bin(INTERVAL '10 seconds', ts)";
    let query = query.replace(" T ", " t ").replace("SELECT W", &format!("SELECT {bin}"));
    let query = query.replace("BY W", &format!("BY {bin}"));
    lines(&context.sql(&query).await.unwrap().collect().await.unwrap())
}

/// The rows as text, in an order of their own, without the header.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let text = pretty_format_batches(batches).unwrap().to_string();
    let rows = text.lines().skip(3).filter(|line| line.starts_with('|'));
    let cells = rows.map(|line| {
        let cells = line.split('|').map(|cell| rounded(cell.trim()));
        cells.collect::<Vec<_>>().join("|")
    });
    let mut lines: Vec<_> = cells.collect();
    lines.sort();
    lines
}

/// Sums of floats depend on their order in the last digits.
fn rounded(cell: &str) -> String {
    let is_float = cell.contains('.') && !cell.contains('[');
    cell.parse::<f64>().map_or(cell.to_owned(), |value| {
        if is_float { format!("{value:.6}") } else { cell.to_owned() }
    })
}

/// Pushes the rows in pieces; behind some of them the pipeline is made anew from its checkpoints.
async fn streamed(query: &str, rows: &[Row], cuts: &[(usize, bool)]) -> (Vec<String>, u64) {
    let mut query_now = pipeline(query).await;
    let (mut answers, mut stored) = (Vec::new(), Stored::new());
    let mut rest = rows;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let (size, is_crash) = *cuts.next().unwrap();
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        answers.extend(query_now.push(&batch(piece)).unwrap());
        if is_crash {
            for (key, change) in query_now.checkpoint().unwrap() {
                match change {
                    Some(bytes) => drop(stored.insert(key, bytes)),
                    None => drop(stored.remove(&key)),
                }
            }
            query_now = pipeline(query).await;
            query_now.restore(&stored).unwrap();
        }
    }
    answers.extend(query_now.advance(EventTime::from_micros(i64::MAX)).unwrap());
    (lines(&answers), query_now.late())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

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
            found.iter().map(|line| line.split('|').nth(2).unwrap().parse::<u64>().unwrap()).sum();
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
        let rows: Vec<_> = (0..60_000)
            .map(|n| Row { seconds: 1, device: None, temp: Some(1), n, flag: None })
            .collect();
        let query = "SELECT W, n, avg(temp) AS a, count(*) AS c, sum(n) AS s FROM T GROUP BY W, n";
        let mut first = pipeline(query).await;
        let mut stored = Stored::new();
        for life in 0..3 {
            first.push(&batch(&rows[life * 20_000..(life + 1) * 20_000])).unwrap();
            for (key, change) in first.checkpoint().unwrap() {
                stored.insert(key, change.unwrap());
            }
            first = pipeline(query).await;
            first.restore(&stored).unwrap();
        }
        let closed = first.advance(EventTime::from_micros(i64::MAX)).unwrap();
        assert_eq!(closed.iter().map(RecordBatch::num_rows).sum::<usize>(), 60_000);
    });
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
