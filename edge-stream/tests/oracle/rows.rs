//! Generated rows, queries over them, and the two answers.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::prelude::SessionContext;
use edge_stream::{EventTime, Pipeline, Stored};
use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) use super::answers::{lines, store};

pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const DELAY: Duration = Duration::from_secs(30);

/// `W` stands for the window, `T` for the table.
pub(crate) const QUERIES: [&str; 9] = [
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
pub(crate) struct Row {
    pub(crate) seconds: i64,
    pub(crate) device: Option<u8>,
    pub(crate) temp: Option<i16>,
    pub(crate) n: i64,
    pub(crate) flag: Option<bool>,
}

/// Rows whose times go up, but for some seconds up and down that the watermark's delay covers.
pub(crate) fn rows() -> impl Strategy<Value = Vec<Row>> {
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

pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
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

/// A query over windows that this call makes.
pub(crate) async fn pipeline_over(call: &str, query: &str) -> Pipeline {
    let (query, schema) = (windowed(call, query), batch(&[]).schema());
    Pipeline::builder("t", schema).watermark("ts", DELAY).query(&query).await.unwrap()
}

pub(crate) fn windowed(call: &str, query: &str) -> String {
    let query = query.replace(" T ", &format!(" {call} "));
    let query = query.replace("SELECT W", "SELECT window_start, window_end");
    query.replace("BY W", "BY window_start, window_end")
}

/// DataFusion's answer over these rows, grouped by this expression for the window.
pub(crate) async fn answer(query: &str, window: &str, rows: RecordBatch) -> Vec<String> {
    let context = SessionContext::new();
    context.register_batch("t", rows).unwrap();
    let query =
        format!("{query} ").replace(" T ", " t ").replace("SELECT W", &format!("SELECT {window}"));
    let query = query.replace("BY W", &format!("BY {window}"));
    lines(&context.sql(&query).await.unwrap().collect().await.unwrap())
}

/// Pushes the rows in pieces; behind some of them the pipeline is made anew from its checkpoints.
pub(crate) async fn streamed_over(
    call: &str,
    query: &str,
    rows: &[Row],
    cuts: &[(usize, bool)],
) -> (Vec<String>, u64) {
    let mut query_now = pipeline_over(call, query).await;
    let (mut answers, mut stored) = (Vec::new(), Stored::new());
    let mut rest = rows;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let (size, is_crash) = *cuts.next().unwrap();
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        answers.extend(query_now.push(&batch(piece)).unwrap());
        if is_crash {
            store(&mut query_now, &mut stored);
            query_now = pipeline_over(call, query).await;
            query_now.restore(&stored).unwrap();
        }
    }
    answers.extend(query_now.advance(EventTime::from_micros(i64::MAX)).unwrap());
    (lines(&answers), query_now.late())
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
