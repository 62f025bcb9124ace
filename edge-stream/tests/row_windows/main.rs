//! The streamed answer over windows that rows open and close is the batch answer over the same rows.
//!
//! Generated rows come in generated batches, out of order within the watermark's delay, and some come
//! twice. At generated moments there is a checkpoint, or a crash: what came out since the last
//! checkpoint is forgotten, the pipeline is made anew, and the rows behind that checkpoint come again.
//! The oracle sorts all rows of a key and cuts windows out of them; DataFusion then groups by these.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/answers.rs"]
mod answers;
#[cfg(feature = "db")]
mod bounded;
mod oracle;
mod refusals;
#[cfg(feature = "db")]
#[path = "../support/site.rs"]
mod site;
#[path = "../support/tries.rs"]
mod tries;

use std::time::Duration;

use answers::{lines, store};
use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use edge_stream::{EventTime, Pipeline, Stored};
use oracle::{ALL, Row, SECOND, answer, batch, rows};
use proptest::collection::vec;
use proptest::prelude::*;

const DELAY: Duration = Duration::from_secs(30);

/// `W` stands for the windows; they are those of the device if that is among the keys.
const QUERIES: [&str; 7] = [
    "SELECT window_start, window_end, device, avg(temp) AS a, min(temp) AS b, max(temp) AS c, \
     count(*) AS n, sum(n) AS s FROM W GROUP BY window_start, window_end, device",
    "SELECT window_start, window_end, count(*) AS n, count(temp) AS c FROM W \
     GROUP BY window_start, window_end",
    "SELECT window_end, device, sum(n) AS s FROM W WHERE temp > 0 GROUP BY device, window_end",
    "SELECT window_start, device FROM W GROUP BY device, window_start HAVING count(*) > 2",
    "SELECT window_start, device, sum(n) FILTER (WHERE flag) AS s, max(n) - min(n) AS span FROM W \
     GROUP BY window_start, device",
    "SELECT window_start, device, count(DISTINCT n % 7) AS d, median(n) AS m, stddev(temp) AS sd, \
     bool_or(flag) AS o, last_value(n ORDER BY ts) AS l FROM W GROUP BY window_start, device",
    "SELECT window_start, window_end, array_agg(n ORDER BY ts) AS all_n, \
     string_agg(device, ',' ORDER BY ts) AS text FROM W GROUP BY window_start, window_end \
     HAVING window_end >= window_start + INTERVAL '3 seconds'",
];

async fn pipeline(windows: &str, query: &str) -> Pipeline {
    let query = query.replace(" W ", &format!(" {windows} "));
    let builder = Pipeline::builder("t", batch(&[]).schema()).watermark("ts", DELAY);
    builder.query(&query).await.unwrap_or_else(|error| panic!("{query}\n  says: {error}"))
}

/// What comes out of these rows in pieces, and how many came late. Behind each piece there is nothing,
/// a checkpoint, a checkpoint and a crash, or a crash.
async fn streamed(
    windows: &str,
    query: &str,
    rows: &[Row],
    cuts: &[(usize, u8)],
) -> (Vec<String>, u64) {
    let mut now = pipeline(windows, query).await;
    let (mut committed, mut answers, mut stored) = (Vec::new(), Vec::new(), Stored::new());
    let (mut position, mut next) = (0, 0);
    let mut cuts = cuts.iter();
    while next < rows.len() {
        let (size, what) = cuts.next().copied().unwrap_or((rows.len(), 0));
        let piece = next..rows.len().min(next + size);
        next = piece.end;
        answers.extend(now.push(&batch(&rows[piece])).unwrap());
        if matches!(what, 1 | 2) {
            store(&mut now, &mut stored);
            committed.append(&mut answers);
            position = next;
        }
        if what > 1 {
            now = pipeline(windows, query).await;
            now.restore(&stored).unwrap();
            answers.clear();
            next = position;
        }
    }
    committed.append(&mut answers);
    committed.extend(now.advance(EventTime::from_micros(i64::MAX)).unwrap());
    (lines(&committed), now.late())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn cuts() -> impl Strategy<Value = Vec<(usize, u8)>> {
    vec((1usize..20, 0u8..4), 1..30)
}

/// Rows that are not behind the watermark of those in front of them, and how many others there are.
fn in_time(rows: &[Row]) -> (Vec<Row>, u64) {
    let delay = i64::try_from(DELAY.as_micros()).unwrap();
    let (mut taken, mut late, mut watermark) = (Vec::new(), 0, i64::MIN);
    for row in rows {
        if row.micros < watermark {
            late += 1;
        } else {
            taken.push(row.clone());
        }
        watermark = watermark.max(row.micros - delay);
    }
    (taken, late)
}

proptest! {
    #![proptest_config(tries::of(24))]

    #[test]
    fn streamed_answer_is_the_batch_answer(
        mut rows in rows(),
        twice in vec((any::<prop::sample::Index>(), 0usize..5), 0..4),
        cuts in cuts(),
        windows in prop::sample::select(&ALL[..]),
    ) {
        for (place, behind) in twice {
            let place = place.index(rows.len());
            let mut again = rows[place].clone();
            // A microsecond of its own, for an order of its own.
            again.micros += 1000;
            rows.insert((place + behind).min(rows.len()), again);
        }
        let (rows, _) = in_time(&rows);
        for query in QUERIES {
            let expected = block_on(answer(&windows, query, &rows));
            let (found, late) = block_on(streamed(windows.sql, query, &rows, &cuts));
            prop_assert_eq!(late, 0, "{}: {}", windows.sql, query);
            prop_assert_eq!(&found, &expected, "{}: {}", windows.sql, query);
        }
    }

    #[test]
    fn rows_behind_the_watermark_are_late_and_in_no_window(
        mut rows in rows(),
        late in vec((any::<prop::sample::Index>(), 20i64..80), 1..8),
        is_crash in any::<bool>(),
        windows in prop::sample::select(&ALL[..]),
    ) {
        for (place, seconds) in late {
            let place = place.index(rows.len());
            rows[place].micros -= seconds * SECOND;
        }
        let (taken, expected_late) = in_time(&rows);
        let cuts = vec![(1, if is_crash { 2 } else { 0 }); rows.len()];
        let expected = block_on(answer(&windows, QUERIES[0], &taken));
        let (found, late) = block_on(streamed(windows.sql, QUERIES[0], &rows, &cuts));
        prop_assert_eq!(late, expected_late, "{}", windows.sql);
        prop_assert_eq!(&found, &expected, "{}", windows.sql);
    }
}

fn row(second: i64, device: u8, temp: i16) -> Row {
    Row { micros: second * SECOND, device: Some(device), temp: Some(temp), n: 1, flag: None }
}

const COUNT: &str = "SELECT window_start, window_end, device, count(*) AS n FROM W \
                     GROUP BY window_start, window_end, device";

async fn pushed(query: &mut Pipeline, rows: &[Row]) -> Vec<String> {
    lines(&query.push(&batch(rows)).unwrap())
}

async fn advanced(query: &mut Pipeline, second: i64) -> Vec<String> {
    lines(&query.advance(EventTime::from_micros(second * SECOND)).unwrap())
}

#[test]
fn windows_come_when_the_watermark_has_passed_the_row_that_closes_them() {
    block_on(async {
        let windows = "EVENT_WINDOW(t, ts, START WITH temp > 80, END WITH temp < 70)";
        let mut query = pipeline(windows, COUNT).await;
        let rows = [row(3, 1, 65), row(1, 1, 85), row(2, 1, 75), row(2, 2, 90)];
        assert!(pushed(&mut query, &rows).await.is_empty());
        assert!(advanced(&mut query, 3).await.is_empty(), "a row of that second may come");
        let closed = "|1970-01-01T00:00:01|1970-01-01T00:00:03|d1|3|".to_owned();
        assert_eq!(advanced(&mut query, 4).await, [closed]);
    });
}

#[test]
fn windows_come_in_the_order_of_their_ends() {
    block_on(async {
        let mut query = pipeline("COUNT_WINDOW(t, ts, 2)", COUNT).await;
        let first = (0..6u8).rev().map(|n| row(n.into(), 10 + n, 0));
        let second = (0..6u8).rev().map(|n| row(10 + i64::from(n), 10 + n, 0));
        let rows: Vec<_> = second.chain(first).collect();
        query.push(&batch(&rows)).unwrap();
        let ended = query.advance(EventTime::from_micros(60 * SECOND)).unwrap();
        let text = pretty_format_batches(&ended).unwrap().to_string();
        let devices = text.lines().skip(3).filter_map(|line| line.split('|').nth(3));
        let devices: Vec<_> = devices.map(str::trim).collect();
        assert_eq!(devices, ["d10", "d11", "d12", "d13", "d14", "d15"]);
    });
}

#[test]
fn what_no_row_closes_is_cut_off_by_the_watermark() {
    block_on(async {
        let minute = "LONGEST => INTERVAL '1 minute'";
        for (windows, expected) in [
            (format!("COUNT_WINDOW(t, ts, 2, {minute})"), vec![]),
            (
                format!("EVENT_WINDOW(t, ts, temp > 80, temp < 70, {minute})"),
                vec!["|1970-01-01T00:00:10|1970-01-01T00:01:10|d1|1|"],
            ),
            (
                format!("STATE_WINDOW(t, ts, temp > 80, {minute})"),
                vec!["|1970-01-01T00:00:10|1970-01-01T00:01:10|d1|1|"],
            ),
        ] {
            let mut query = pipeline(&windows, COUNT).await;
            let (mut stored, mut answers) = (Stored::new(), Vec::new());
            answers.extend(pushed(&mut query, &[row(10, 1, 90)]).await);
            answers.extend(advanced(&mut query, 70).await);
            assert!(answers.is_empty(), "{windows}: a row may end it at 1:10");
            store(&mut query, &mut stored);
            assert_eq!(stored.len(), 3, "{windows}: a bucket, the watermark, and the progress");
            answers.extend(advanced(&mut query, 71).await);
            assert_eq!(answers, expected, "{windows}");
            store(&mut query, &mut stored);
            assert_eq!(stored.len(), 2, "{windows}: the watermark and the progress");
        }
    });
}

#[test]
fn a_checkpoint_writes_what_has_changed_and_removes_what_has_gone() {
    block_on(async {
        let mut query = pipeline("COUNT_WINDOW(t, ts, 2)", COUNT).await;
        let mut stored = Stored::new();
        let rows: Vec<_> = (0..200).map(|device| row(0, device, 0)).collect();
        query.push(&batch(&rows)).unwrap();
        assert_eq!(store(&mut query, &mut stored).len(), 3, "rows that wait, watermark, progress");
        advanced(&mut query, 10).await;
        let all = store(&mut query, &mut stored).len();
        assert!(all > 20, "{all} buckets for 200 devices");
        assert!(stored.len() > 20, "the rows that waited have gone");
        assert_eq!(store(&mut query, &mut stored).len(), 1, "the progress");
        pushed(&mut query, &[row(15, 7, 0)]).await;
        assert_eq!(advanced(&mut query, 20).await.len(), 1);
        assert_eq!(store(&mut query, &mut stored).len(), 3, "a bucket, watermark, progress");
        let mut after = pipeline("COUNT_WINDOW(t, ts, 2)", COUNT).await;
        after.restore(&stored).unwrap();
        pushed(&mut after, &[row(25, 8, 0)]).await;
        let closed = "|1970-01-01T00:00:00|1970-01-01T00:00:25|d8|2|".to_owned();
        assert_eq!(advanced(&mut after, 30).await, [closed]);
    });
}

#[test]
fn more_state_than_the_limit_is_an_error() {
    block_on(async {
        let query = "SELECT window_start, device, string_agg(repeat('x', 100000), '' ORDER BY n) AS t \
                     FROM W GROUP BY window_start, device";
        let mut query = pipeline("STATE_WINDOW(t, ts, temp)", query).await;
        let rows: Vec<_> = (0..200).map(|device| row(0, device, 0)).collect();
        query.push(&batch(&rows)).unwrap();
        advanced(&mut query, 10).await;
        let error = query.checkpoint().unwrap_err().to_string();
        let said = "200 windows that rows close and 0 rows that wait for the watermark take";
        assert!(error.contains(said) && error.contains("the limit is 16777216"), "{error}");
    });
}

#[test]
fn the_state_of_another_query_is_refused() {
    block_on(async {
        let state = async |windows: &str| {
            let mut query = pipeline(windows, COUNT).await;
            query.push(&batch(&[row(0, 1, 0), row(40, 1, 0)])).unwrap();
            let mut stored = Stored::new();
            store(&mut query, &mut stored);
            stored
        };
        let stored = state("STATE_WINDOW(t, ts, temp)").await;
        for other in ["STATE_WINDOW(t, ts, flag)", "COUNT_WINDOW(t, ts, 9)"] {
            let error = pipeline(other, COUNT).await.restore(&stored).unwrap_err().to_string();
            assert!(error.contains("does not belong to this query"), "{error}");
        }
    });
}

#[test]
fn the_value_of_a_state_may_be_grouped_by() {
    block_on(async {
        for (windows, keys) in [
            ("STATE_WINDOW(t, ts, temp)", "device, temp"),
            ("STATE_WINDOW(t PARTITION BY device, ts, temp)", "temp, device"),
            ("STATE_WINDOW(t, ts, temp % 2 = 1)", "device, temp % 2 = 1"),
            ("STATE_WINDOW(t, ts, temp % 2 = 1) AS w", "device, w.temp % 2 = 1"),
            ("STATE_WINDOW(t PARTITION BY device, ts, temp % 2) AS w", "device, temp % 2"),
            ("(SELECT * FROM STATE_WINDOW(t, ts, temp % 2 = 1)) AS s", "temp % 2 = 1, device"),
            (
                "(SELECT *, temp % 2 AS odd FROM STATE_WINDOW(t, ts, temp % 2 = 1)) AS s",
                "device, odd = 1",
            ),
        ] {
            let query = format!(
                "SELECT window_start, {keys}, count(*) AS n FROM W GROUP BY window_start, {keys}"
            );
            let mut query = pipeline(windows, &query).await;
            assert_eq!(query.key().map(<[usize]>::len), Some(2), "{windows}: window and device");
            let rows = [(0, 5), (1, 5), (2, 6), (3, 5)].map(|(at, temp)| row(at, 1, temp));
            query.push(&batch(&rows)).unwrap();
            let found = advanced(&mut query, 60).await;
            assert_eq!(found.len(), 2, "{windows}: {found:?}");
            assert!(found[0].ends_with("|2|") && found[1].ends_with("|1|"), "{found:?}");
        }
    });
}

#[test]
fn windows_over_windows_are_over_their_ends() {
    block_on(async {
        let query = |time: &str| {
            format!(
                "WITH hot AS (SELECT {time} AS at, device, count(*) AS n \
                 FROM EVENT_WINDOW(t, ts, START WITH temp > 80, END WITH temp < 70) \
                 GROUP BY window_start, window_end, device) \
                 SELECT window_start, count(*) AS times, sum(n) AS n \
                 FROM TUMBLE(hot, at, INTERVAL '1 minute') GROUP BY window_start"
            )
        };
        let builder = || Pipeline::builder("t", batch(&[]).schema()).watermark("ts", DELAY);
        let refused = builder().query(&query("window_start")).await.unwrap_err().to_string();
        assert!(refused.contains("or of sessions its window_end"), "{refused}");
        let mut query = builder().query(&query("window_end")).await.unwrap();
        let rows = [(0, 90), (50, 60), (55, 90), (61, 60), (120, 60)];
        let mut answers = Vec::new();
        for (second, temp) in rows {
            answers.extend(pushed(&mut query, &[row(second, 1, temp)]).await);
        }
        assert_eq!(answers, ["|1970-01-01T00:00:00|1|2|"], "at 1:30");
        answers.extend(advanced(&mut query, 1000).await);
        let all = ["|1970-01-01T00:00:00|1|2|", "|1970-01-01T00:01:00|1|2|"];
        assert_eq!((answers, query.late()), (all.map(str::to_owned).to_vec(), 0));
    });
}

#[test]
fn rows_of_one_closed_window_are_ranked_together() {
    block_on(async {
        let ranked = format!(
            "{COUNT} QUALIFY row_number() OVER (PARTITION BY window_end ORDER BY device) = 1"
        );
        let windows = "STATE_WINDOW(t, ts, temp, LONGEST => INTERVAL '10 seconds')";
        let mut query = pipeline(windows, &ranked).await;
        // One is cut off at 10 s, of the others a row says so.
        let rows = [row(0, 3, 0), row(5, 1, 0), row(5, 2, 0), row(10, 1, 1), row(10, 2, 1)];
        pushed(&mut query, &rows).await;
        assert!(advanced(&mut query, 10).await.is_empty());
        let first = "|1970-01-01T00:00:05|1970-01-01T00:00:10|d1|1|".to_owned();
        assert_eq!(advanced(&mut query, 11).await, [first]);
    });
}

#[test]
fn a_condition_triggers_a_look_at_the_last_minute() {
    block_on(async {
        let query = "SELECT ts, device, mean, n FROM (SELECT ts, device, temp, avg(temp) OVER w AS mean, \
                     count(*) OVER w AS n FROM t WINDOW w AS (PARTITION BY device ORDER BY ts \
                     RANGE BETWEEN INTERVAL '60 seconds' PRECEDING AND CURRENT ROW)) WHERE temp > 80";
        let mut query = pipeline("t", query).await;
        let rows = [(0, 40), (50, 60), (60, 90), (111, 81), (112, 70)];
        let rows = rows.map(|(second, temp)| row(second, 1, temp));
        let mut found = pushed(&mut query, &rows).await;
        found.extend(advanced(&mut query, 1000).await);
        let expected =
            ["|1970-01-01T00:01:00|d1|63.333333|3|", "|1970-01-01T00:01:51|d1|85.500000|2|"];
        assert_eq!(found, expected);
    });
}

#[test]
fn bounds_may_go_through_queries_in_between() {
    block_on(async {
        let inner = "SELECT a.device AS d, a.window_start, a.window_end AS until, n FROM \
                     EVENT_WINDOW(t, ts, START WITH temp > 80, END WITH temp < 70) AS a WHERE n > 0";
        let query = format!(
            "WITH hot AS ({inner}) SELECT h.window_start, h.until, h.d, count(*) AS n FROM hot AS h \
             GROUP BY h.window_start, h.until, h.d"
        );
        let mut query = pipeline("t", &query).await;
        pushed(&mut query, &[row(0, 1, 90), row(1, 1, 75), row(2, 1, 60)]).await;
        let closed = "|1970-01-01T00:00:00|1970-01-01T00:00:02|d1|3|".to_owned();
        assert_eq!(advanced(&mut query, 10).await, [closed]);
    });
}

#[test]
fn late_rows_that_are_allowed_are_in_their_windows() {
    block_on(async {
        let query = COUNT.replace(" W ", " COUNT_WINDOW(t, ts, 2) ");
        let builder = Pipeline::builder("t", batch(&[]).schema()).watermark("ts", Duration::ZERO);
        let builder = builder.allowed_lateness(Duration::from_secs(10));
        let mut query = builder.query(&query).await.unwrap();
        pushed(&mut query, &[row(0, 1, 0), row(20, 1, 0)]).await;
        pushed(&mut query, &[row(12, 1, 0)]).await;
        pushed(&mut query, &[row(9, 1, 0)]).await;
        let closed = "|1970-01-01T00:00:00|1970-01-01T00:00:12|d1|2|".to_owned();
        assert_eq!(advanced(&mut query, 100).await, [closed]);
        assert_eq!(query.late(), 1, "the one of 0:09");
    });
}

#[test]
fn keys_without_a_window_are_forgotten() {
    block_on(async {
        let query = "SELECT window_start, n, string_agg(device, ',' ORDER BY ts) AS t, \
                     count(DISTINCT temp) AS c FROM W GROUP BY window_start, n";
        for windows in [
            "EVENT_WINDOW(t, ts, START WITH temp > 80, END WITH temp < 70)",
            "COUNT_WINDOW(t, ts, 2, LONGEST => INTERVAL '1 second')",
        ] {
            let mut query = pipeline(windows, query).await;
            let rows = |second: i64| {
                let rows = (0..5000).map(|n| Row { n, ..row(second, 1, 75) });
                batch(&rows.collect::<Vec<_>>())
            };
            for second in [0, 2, 4] {
                query.push(&rows(second)).unwrap();
            }
            assert!(advanced(&mut query, 100).await.is_empty(), "{windows}");
            let mut stored = Stored::new();
            store(&mut query, &mut stored);
            assert_eq!(stored.len(), 2, "{windows}: the watermark, and the progress");
        }
    });
}

/// Windows of any kind are planned from columns that are declared to be without nulls.
#[test]
fn columns_may_be_declared_to_be_without_nulls() {
    block_on(async {
        let rows = batch(&[row(1, 1, 1), row(2, 1, 2)]);
        let columns = ["ts", "device", "n"];
        let columns = columns.map(|name| (name, rows.column_by_name(name).unwrap().clone(), false));
        let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        for windows in [
            "COUNT_WINDOW(t, ts, 2)",
            "EVENT_WINDOW(t, ts, n = 1, n = 1)",
            "STATE_WINDOW(t, ts, n)",
        ] {
            let query = format!(
                "SELECT window_start, device, sum(n) AS s FROM {windows} GROUP BY window_start, device"
            );
            let builder = Pipeline::builder("t", rows.schema()).watermark("ts", DELAY);
            let mut query = builder.query(&query).await.unwrap();
            query.push(&rows).unwrap();
            let ended = query.advance(EventTime::from_micros(i64::MAX)).unwrap();
            assert!(ended[0].num_rows() > 0, "{windows}");
        }
    });
}
