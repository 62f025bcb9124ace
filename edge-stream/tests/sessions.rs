//! The streamed answer over session windows is the batch answer over the same rows.
//!
//! Generated rows come in generated batches, out of order within the watermark's delay; between
//! batches the pipeline is, at generated moments, thrown away and made anew from its checkpoints.
//! The oracle sorts the times of each key and cuts them where a gap lies; DataFusion then groups
//! by what was found.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/answers.rs"]
mod answers;
#[path = "support/tries.rs"]
mod tries;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use answers::{lines, store};
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use edge_stream::{EventTime, Pipeline, Stored};
use proptest::collection::vec;
use proptest::prelude::*;

const SECOND: i64 = 1_000_000;
const GAP: i64 = 10 * SECOND;
const DELAY: Duration = Duration::from_secs(30);

/// `T` stands for the table; the sessions are those of the device if that is among the keys.
const QUERIES: [&str; 8] = [
    "SELECT window_start, window_end, device, avg(temp) AS a, min(temp) AS b, max(temp) AS c, \
     count(*) AS n, sum(n) AS s FROM T GROUP BY window_start, window_end, device",
    "SELECT window_start, window_end, count(*) AS n, count(temp) AS c FROM T \
     GROUP BY window_start, window_end",
    "SELECT window_end, device, sum(n) AS s FROM T WHERE temp > 0 GROUP BY device, window_end",
    "SELECT window_start, device FROM T GROUP BY device, window_start HAVING count(*) > 2",
    "SELECT window_start, device, sum(n) FILTER (WHERE flag) AS s, max(n) - min(n) AS span FROM T \
     GROUP BY window_start, device",
    "SELECT window_start, device, count(DISTINCT n % 7) AS d, median(n) AS m, stddev(temp) AS sd, \
     bool_or(flag) AS o FROM T GROUP BY window_start, device",
    "SELECT window_start, device, first_value(n ORDER BY n) AS f, last_value(n ORDER BY n, temp) \
     AS l, approx_distinct(n) AS d FROM T GROUP BY window_start, device",
    "SELECT window_start, array_agg(n ORDER BY n) AS all_n, \
     string_agg(device, ',' ORDER BY n, device) AS text FROM T GROUP BY window_start",
];

#[derive(Debug, Clone)]
struct Row {
    micros: i64,
    device: Option<u8>,
    temp: Option<i16>,
    n: i64,
    flag: Option<bool>,
}

/// Rows whose times go up, but for some seconds up and down that the watermark's delay covers.
/// Devices are so many that they lie in several buckets.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        0i64..8,
        0i64..30,
        prop::option::weighted(0.9, 0u8..6),
        prop::option::weighted(0.9, -50i16..100),
        -1000i64..1000,
        prop::option::weighted(0.9, any::<bool>()),
    );
    vec(row, 1..120).prop_map(|steps| {
        let mut clock = 0;
        let rows = steps.into_iter().map(|(step, back, device, temp, n, flag)| {
            clock += step;
            // Whole seconds: rows that are exactly a gap apart are common.
            Row { micros: (clock - back) * SECOND, device, temp, n, flag }
        });
        rows.collect()
    })
}

fn batch(rows: &[Row]) -> RecordBatch {
    let times = rows.iter().map(|row| row.micros);
    let devices = rows.iter().map(|row| row.device.map(|device| format!("d{device}")));
    let temps = rows.iter().map(|row| row.temp.map(f64::from));
    let columns: [(&str, ArrayRef, bool); 5] = [
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(times)), true),
        ("device", Arc::new(devices.collect::<StringArray>()), true),
        ("temp", Arc::new(temps.collect::<Float64Array>()), true),
        ("n", Arc::new(rows.iter().map(|row| Some(row.n)).collect::<Int64Array>()), true),
        ("flag", Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

async fn pipeline(query: &str) -> Pipeline {
    let query = query.replace(" T ", " SESSION(t, DESCRIPTOR(ts), INTERVAL '10 seconds') ");
    let schema = batch(&[]).schema();
    Pipeline::builder("t", schema).watermark("ts", DELAY).query(&query).await.unwrap()
}

/// The session of each row, among those with the same key.
fn sessions(rows: &[Row], key: impl Fn(&Row) -> Option<u8>) -> Vec<(i64, i64)> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|place| (key(&rows[*place]), rows[*place].micros));
    let runs = order.chunk_by(|a, b| {
        let (a, b) = (&rows[*a], &rows[*b]);
        key(a) == key(b) && b.micros - a.micros < GAP
    });
    let mut found = vec![(0, 0); rows.len()];
    for run in runs {
        let session = (rows[run[0]].micros, rows[*run.last().unwrap()].micros + GAP);
        run.iter().for_each(|place| found[*place] = session);
    }
    found
}

async fn oracle(query: &str, rows: &[Row]) -> Vec<String> {
    let is_filtered = query.contains("WHERE temp > 0");
    let rows: Vec<_> =
        rows.iter().filter(|row| !is_filtered || row.temp > Some(0)).cloned().collect();
    let is_keyed = query.split("GROUP BY").nth(1).unwrap().contains("device");
    let found = sessions(&rows, |row| if is_keyed { row.device } else { None });
    let bound = |of: fn(&(i64, i64)) -> i64| {
        Arc::new(TimestampMicrosecondArray::from_iter_values(found.iter().map(of))) as ArrayRef
    };
    let rows = batch(&rows);
    let names = rows.schema();
    let names = names.fields().iter().map(|field| field.name().as_str());
    let columns = names.zip(rows.columns().iter().cloned());
    let bounds = [("window_start", bound(|found| found.0)), ("window_end", bound(|found| found.1))];
    let columns = columns.chain(bounds).map(|(name, column)| (name, column, true));
    let table = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let context = SessionContext::new();
    context.register_batch("t", table).unwrap();
    let query = query.replace(" T ", " t ");
    lines(&context.sql(&query).await.unwrap().collect().await.unwrap())
}

/// Pushes the rows in pieces; behind some of them there is a checkpoint, and behind some of these
/// the pipeline is made anew from all of them.
async fn streamed(query: &str, rows: &[Row], cuts: &[(usize, u8)]) -> (Vec<String>, u64) {
    let mut query_now = pipeline(query).await;
    let (mut answers, mut stored) = (Vec::new(), Stored::new());
    let mut rest = rows;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let (size, what) = *cuts.next().unwrap();
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        answers.extend(query_now.push(&batch(piece)).unwrap());
        if what > 0 {
            store(&mut query_now, &mut stored);
        }
        if what > 1 {
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

/// What comes of rows that come one by one, as the definition has it: sessions that are open or
/// closed, by device, as (first, last, count); and late rows.
fn one_by_one(rows: &[Row]) -> (Vec<(i64, i64, u64)>, u64) {
    let delay = i64::try_from(DELAY.as_micros()).unwrap();
    let mut by_device: BTreeMap<Option<u8>, Vec<(i64, i64, u64)>> = BTreeMap::new();
    let (mut closed, mut late, mut watermark) = (Vec::new(), 0, i64::MIN);
    for row in rows {
        let open = by_device.entry(row.device).or_default();
        let touches = |(first, last, _): &(i64, i64, u64)| {
            row.micros < last + GAP && row.micros + GAP > *first
        };
        let (touched, mut others): (Vec<_>, Vec<_>) = open.iter().copied().partition(touches);
        if touched.is_empty() && row.micros + GAP <= watermark {
            late += 1;
        } else {
            let all = touched.into_iter().chain([(row.micros, row.micros, 1)]);
            others.extend(all.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1), a.2 + b.2)));
        }
        *open = others;
        watermark = watermark.max(row.micros - delay);
        for open in by_device.values_mut() {
            let has_ended = |(_, last, _): &(i64, i64, u64)| last + GAP <= watermark;
            closed.extend(open.extract_if(.., |session| has_ended(session)));
        }
    }
    closed.extend(by_device.into_values().flatten());
    closed.sort_unstable();
    (closed, late)
}

proptest! {
    #![proptest_config(tries::of(16))]

    #[test]
    fn streamed_answer_is_the_batch_answer(
        rows in rows(),
        cuts in vec((1usize..20, 0u8..3), 1..6),
    ) {
        for query in QUERIES {
            let expected = block_on(oracle(query, &rows));
            let (found, late) = block_on(streamed(query, &rows, &cuts));
            prop_assert_eq!(late, 0, "{}", query);
            prop_assert_eq!(&found, &expected, "{}", query);
        }
    }

    #[test]
    fn a_row_behind_the_watermark_is_late_unless_a_session_is_open_for_it(
        mut rows in rows(),
        late in vec((any::<prop::sample::Index>(), 20i64..80), 1..8),
        is_crash in any::<bool>(),
    ) {
        for (place, seconds) in late {
            let place = place.index(rows.len());
            rows[place].micros -= seconds * SECOND;
        }
        let query = "SELECT window_start, device, CAST(window_start AS BIGINT) AS f, \
                     CAST(window_end AS BIGINT) AS l, count(*) AS n FROM T \
                     GROUP BY window_start, window_end, device";
        let (found, late) = block_on(streamed(query, &rows, &[(1, if is_crash { 2 } else { 0 })]));
        let (sessions, expected_late) = one_by_one(&rows);
        prop_assert_eq!(late, expected_late);
        let mut found: Vec<_> = found.iter().map(|line| {
            let cells: Vec<_> = line.split('|').collect();
            let number = |cell: usize| cells[cell].parse::<i64>().unwrap();
            (number(3), number(4) - GAP, number(5).cast_unsigned())
        }).collect();
        found.sort_unstable();
        prop_assert_eq!(found, sessions);
    }
}

fn row(second: i64, device: u8) -> Row {
    Row { micros: second * SECOND, device: Some(device), temp: Some(1), n: 1, flag: None }
}

const COUNT: &str = "SELECT window_start, window_end, device, count(*) AS n FROM T \
                     GROUP BY window_start, window_end, device";

#[test]
fn sessions_come_when_they_have_ended_and_in_the_order_of_their_ends() {
    block_on(async {
        let mut query = pipeline(COUNT).await;
        let rows: Vec<_> = (0..6u8)
            .rev()
            .flat_map(|n| [row(n.into(), 10 + n), row(i64::from(n) + 9, 1)])
            .collect();
        assert!(query.push(&batch(&rows)).unwrap().is_empty());
        assert!(query.push(&batch(&[row(39, 2)])).unwrap().is_empty());
        let ended = query.push(&batch(&[row(45, 2)])).unwrap();
        let text = pretty_format_batches(&ended).unwrap().to_string();
        let devices: Vec<_> =
            text.lines().skip(3).filter_map(|line| line.split('|').nth(3)).collect();
        let devices: Vec<_> = devices.iter().map(|device| device.trim()).collect();
        assert_eq!(devices, ["d10", "d11", "d12", "d13", "d14", "d15"]);
    });
}

#[test]
fn a_checkpoint_writes_what_has_changed_and_removes_what_has_ended() {
    block_on(async {
        let mut query = pipeline(COUNT).await;
        let mut stored = Stored::new();
        let rows: Vec<_> = (0..200).map(|device| row(0, device)).collect();
        query.push(&batch(&rows)).unwrap();
        let all = store(&mut query, &mut stored).len();
        assert!(all > 20, "{all} buckets for 200 devices");
        query.push(&batch(&[row(5, 7)])).unwrap();
        assert_eq!(store(&mut query, &mut stored).len(), 2, "a bucket, and the progress");
        assert_eq!(store(&mut query, &mut stored).len(), 1, "the progress");
        query.push(&batch(&[row(60, 7)])).unwrap();
        store(&mut query, &mut stored);
        assert_eq!(stored.len(), 2, "a bucket, and the progress");
        let mut after = pipeline(COUNT).await;
        after.restore(&stored).unwrap();
        let rest = after.advance(EventTime::from_micros(i64::MAX)).unwrap();
        assert_eq!(lines(&rest), ["|1970-01-01T00:01:00|1970-01-01T00:01:10|d7|1|"]);
    });
}

#[test]
fn more_state_than_the_limit_is_an_error() {
    block_on(async {
        let query = "SELECT window_start, device, string_agg(repeat('x', 100000), '' ORDER BY n) AS t \
                     FROM T GROUP BY window_start, device";
        let mut query = pipeline(query).await;
        let rows: Vec<_> = (0..200).map(|device| row(0, device)).collect();
        query.push(&batch(&rows)).unwrap();
        let error = query.checkpoint().unwrap_err().to_string();
        assert!(error.contains("bytes of state in 200 groups, the limit is 16777216"), "{error}");
    });
}

#[test]
fn keys_whose_rows_all_came_late_are_forgotten() {
    block_on(async {
        let query = "SELECT window_start, n, string_agg(device, ',' ORDER BY ts) AS t, \
                     count(DISTINCT temp) AS c FROM T GROUP BY window_start, n";
        let mut query = pipeline(query).await;
        query.push(&batch(&[row(1000, 1)])).unwrap();
        let late: Vec<_> = (2..5000).map(|n| Row { n, ..row(0, 1) }).collect();
        assert!(query.push(&batch(&late)).unwrap().is_empty());
        let mut stored = Stored::new();
        store(&mut query, &mut stored);
        assert_eq!((query.late(), stored.len()), (4998, 2), "a bucket, and the progress");
    });
}

#[test]
fn the_state_of_another_query_is_refused() {
    block_on(async {
        let mut one = pipeline(QUERIES[0]).await;
        one.push(&batch(&[row(1, 1)])).unwrap();
        let mut stored = Stored::new();
        store(&mut one, &mut stored);
        let error = pipeline(QUERIES[1]).await.restore(&stored).unwrap_err();
        assert!(error.to_string().contains("does not belong to this query"), "{error}");
    });
}

#[test]
fn columns_may_be_declared_to_be_without_nulls() {
    block_on(async {
        let rows = batch(&[row(1, 1)]);
        let columns = ["ts", "device", "n"]
            .map(|name| (name, ArrayRef::clone(rows.column_by_name(name).unwrap()), false));
        let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        for windows in ["TUMBLE", "SESSION"] {
            let query = format!(
                "SELECT window_start, device, sum(n) AS s FROM {windows}(t, ts, INTERVAL '1 minute') \
                 GROUP BY window_start, device"
            );
            let builder = Pipeline::builder("t", rows.schema()).watermark("ts", DELAY);
            let mut query = builder.query(&query).await.unwrap();
            query.push(&rows).unwrap();
            let ended = query.advance(EventTime::from_micros(i64::MAX)).unwrap();
            assert_eq!(ended[0].num_rows(), 1, "{windows}");
        }
    });
}

#[test]
fn windows_over_sessions_are_over_their_ends() {
    block_on(async {
        let query = |time: &str| {
            format!(
                "WITH s AS (SELECT {time} AS ts, device, count(*) AS n \
                 FROM SESSION(t, ts, INTERVAL '10 seconds') \
                 GROUP BY window_start, window_end, device) \
                 SELECT window_start, count(*) AS sessions, sum(n) AS n \
                 FROM TUMBLE(s, ts, INTERVAL '1 minute') GROUP BY window_start"
            )
        };
        let builder = || Pipeline::builder("t", batch(&[]).schema()).watermark("ts", DELAY);
        let refused = builder().query(&query("window_start")).await.unwrap_err().to_string();
        assert!(refused.contains("or of sessions its window_end"), "{refused}");
        let mut query = builder().query(&query("window_end")).await.unwrap();
        // One session that ends in the first minute and one that ends in the second.
        let rows = [row(0, 1), row(5, 1), row(45, 1), row(52, 1), row(100, 2)];
        let mut answers = Vec::new();
        for row in &rows {
            answers.extend(query.push(&batch(std::slice::from_ref(row))).unwrap());
        }
        assert_eq!(lines(&answers), ["|1970-01-01T00:00:00|1|2|"], "at 1:10");
        answers.extend(query.advance(EventTime::from_micros(i64::MAX)).unwrap());
        let all = ["|1970-01-01T00:00:00|1|2|", "|1970-01-01T00:01:00|2|3|"];
        assert_eq!((lines(&answers), query.late()), (all.map(str::to_owned).to_vec(), 0));
    });
}

#[test]
fn buckets_of_another_version_are_sorted_anew() {
    block_on(async {
        let mut query = pipeline(COUNT).await;
        let mut right = Stored::new();
        query.push(&batch(&[row(0, 1)])).unwrap();
        store(&mut query, &mut right);
        let moved = right.iter().map(|(key, bytes)| {
            let mut key = key.clone();
            if let [_, .., number] = key.as_mut_slice() {
                *number ^= 1;
            }
            (key, bytes.clone())
        });
        let mut stored: Stored = moved.collect();
        let mut query = pipeline(COUNT).await;
        query.restore(&stored).unwrap();
        query.push(&batch(&[row(5, 1)])).unwrap();
        store(&mut query, &mut stored);
        assert!(stored.keys().eq(right.keys()), "{:?}", stored.keys());
        let rest = query.advance(EventTime::from_micros(i64::MAX)).unwrap();
        assert_eq!(lines(&rest), ["|1970-01-01T00:00:00|1970-01-01T00:00:15|d1|2|"]);
    });
}
