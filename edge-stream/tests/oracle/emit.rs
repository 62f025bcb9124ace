//! EMIT: what a view shows after each step is the batch answer over the rows so far.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, StringArray};
use edge_stream::{Delta, EventTime, Pipeline, Stored};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::over_each_other::{self, Case};
use crate::rows::*;
use crate::tries;

/// Beside [`QUERIES`]: conditions that hold for a group, and then do not.
const HAVING: [&str; 3] = [
    "SELECT W, device, sum(n) AS s FROM T GROUP BY W, device HAVING sum(n) > 0",
    "SELECT W, n % 3 AS m, flag, 100 / (count(*) % 2) AS c FROM T GROUP BY W, n % 3, flag \
     HAVING count(*) % 2 = 1",
    "SELECT W, count(*) AS c, max(temp) AS t FROM T GROUP BY W HAVING count(*) % 3 > 0",
];

pub(crate) fn query(number: usize) -> &'static str {
    QUERIES.iter().chain(&HAVING).nth(number).unwrap()
}

pub(crate) const ALL: usize = QUERIES.len() + HAVING.len();

/// The same query without windows.
fn without_window(query: &str) -> String {
    let query = query.replace("SELECT W, ", "SELECT ").replace("BY W, ", "BY ");
    query.replace(" GROUP BY W", "")
}

/// What a table shows that the deltas of a query go into.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    rows: BTreeMap<Vec<String>, String>,
    /// Rows that went into it.
    pub(crate) given: usize,
}

impl View {
    fn take(&mut self, key: &[usize], deltas: Vec<Delta>) {
        for delta in deltas {
            match delta {
                Delta::Rows(rows) => {
                    let before = self.given;
                    for line in lines(std::slice::from_ref(&rows)) {
                        let cells: Vec<&str> = line.split('|').skip(1).collect();
                        let key = key.iter().map(|column| cells[*column].to_owned()).collect();
                        self.rows.insert(key, line.clone());
                        self.given += 1;
                    }
                    assert_eq!(self.given - before, rows.num_rows());
                    let keys = rows.project(key).unwrap();
                    let mut keys = lines(&[keys]);
                    keys.dedup();
                    assert!(key.is_empty() || keys.len() == rows.num_rows(), "a group came twice");
                }
                Delta::Gone(keys) => {
                    for line in lines(std::slice::from_ref(&keys)) {
                        let key = line.split('|').skip(1).take(keys.num_columns());
                        self.rows.remove(&key.map(str::to_owned).collect::<Vec<_>>());
                    }
                    if keys.num_columns() == 0 {
                        self.rows.clear();
                    }
                }
            }
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.rows.values().cloned().collect();
        lines.sort();
        lines
    }
}

/// A query that is fed piece by piece, and thrown away and made anew between them.
pub(crate) struct Run {
    sql: String,
    lateness: i64,
    pub(crate) pipeline: Pipeline,
    stored: Stored,
    pub(crate) view: View,
}

impl Run {
    pub(crate) async fn new(sql: String, lateness: i64) -> Run {
        let pipeline = pipeline_of(&sql, lateness).await;
        Run { sql, lateness, pipeline, stored: Stored::new(), view: View::default() }
    }

    /// Returns how many rows came out.
    pub(crate) async fn push(&mut self, rows: &[Row], is_crash: bool) -> usize {
        let before = self.view.given;
        let deltas = self.pipeline.push_deltas("t", &batch(rows)).unwrap();
        let key = self.pipeline.key().unwrap().to_vec();
        self.view.take(&key, deltas);
        if is_crash {
            store(&mut self.pipeline, &mut self.stored);
            self.pipeline = pipeline_of(&self.sql, self.lateness).await;
            self.pipeline.restore(&self.stored).unwrap();
        }
        self.view.given - before
    }

    pub(crate) fn end(&mut self) {
        let deltas = self.pipeline.advance_deltas(EventTime::from_micros(i64::MAX)).unwrap();
        let key = self.pipeline.key().unwrap().to_vec();
        self.view.take(&key, deltas);
    }
}

pub(crate) async fn pipeline_of(sql: &str, lateness: i64) -> Pipeline {
    let builder = Pipeline::builder("t", batch(&[]).schema()).watermark("ts", DELAY);
    let lateness = Duration::from_secs(lateness.unsigned_abs());
    builder.allowed_lateness(lateness).query(sql).await.unwrap()
}

/// The query over windows of this call, and what `EMIT` says.
pub(crate) fn over(call: &str, query: &str, emit: &str) -> String {
    format!("{} {emit}", windowed(call, query))
}

/// Each piece, and whether there is a crash behind it.
pub(crate) fn pieces<'a>(
    rows: &'a [Row],
    cuts: &'a [(usize, bool)],
) -> impl Iterator<Item = (&'a [Row], &'a [Row], bool)> {
    let mut to = 0;
    cuts.iter().cycle().map_while(move |(size, is_crash)| {
        let from = to;
        to = (from + size).min(rows.len());
        (from < to).then(|| (&rows[from..to], &rows[..to], *is_crash))
    })
}

/// The rows of an answer that are those of windows which end until then.
fn closed(case: &Case, rows: &[Row], until: i64) -> RecordBatch {
    let windows = case.windows.iter().filter(|(_, end)| end * SECOND <= until);
    over_each_other::spread(rows, &windows.copied().collect::<Vec<_>>())
}

pub(crate) fn time(row: &Row) -> i64 {
    row.seconds * SECOND + row.n.rem_euclid(SECOND)
}

pub(crate) fn watermark(rows: &[Row]) -> Option<i64> {
    let delay = i64::try_from(DELAY.as_micros()).unwrap();
    rows.iter().map(|row| time(row) - delay).max()
}

pub(crate) const WINDOW: &str = "window_start, window_end";

proptest! {
    #![proptest_config(tries::of(12))]

    #[test]
    fn groups_without_window_show_all_rows_so_far(
        rows in rows(),
        cuts in vec((1usize..30, any::<bool>()), 1..6),
        number in 0..ALL,
    ) {
        let query = without_window(query(number));
        let sql = format!("{} EMIT CHANGES", query.replace(" T ", " t ").replace("FROM T", "FROM t"));
        block_on(async {
            let mut run = Run::new(sql, 0).await;
            for (piece, so_far, is_crash) in pieces(&rows, &cuts) {
                let given = run.push(piece, is_crash).await;
                prop_assert!(given <= piece.len(), "no others than those that have changed");
                let expected = answer(&query, "", batch(so_far)).await;
                prop_assert_eq!(run.view.lines(), expected, "{}", query);
            }
            Ok(())
        })?;
    }

    #[test]
    fn each_change_of_an_open_window_is_shown(
        case in over_each_other::cases(),
        rows in rows(),
        cuts in vec((1usize..30, any::<bool>()), 1..6),
        number in 0..ALL,
    ) {
        let query = query(number);
        block_on(async {
            let mut run = Run::new(over(&case.call, query, "EMIT CHANGES"), 0).await;
            for (piece, so_far, is_crash) in pieces(&rows, &cuts) {
                let given = run.push(piece, is_crash).await;
                let spread = over_each_other::spread(piece, &case.windows).num_rows();
                prop_assert!(given <= spread, "no others than those that have changed");
                let spread = over_each_other::spread(so_far, &case.windows);
                let expected = answer(query, WINDOW, spread).await;
                prop_assert_eq!(run.view.lines(), expected, "{} over {}", query, case.call);
            }
            let shown = run.view.given;
            run.end();
            prop_assert_eq!(run.view.given, shown, "windows that were shown close in silence");
            Ok(())
        })?;
    }

    /// All changes when the watermark has passed a multiple of the interval, and none before.
    #[test]
    fn what_has_changed_is_shown_each_time_that_event_time_has_come_on(
        rows in rows(),
        cuts in vec((1usize..16, any::<bool>()), 1..6),
        number in 0..ALL,
        every in 1i64..60,
    ) {
        let query = without_window(query(number));
        let emit = format!("EMIT EVERY INTERVAL '{every} seconds'");
        block_on(async {
            let mut run = Run::new(format!("{} {emit}", query.replace(" T ", " t ").replace("FROM T", "FROM t")), 0).await;
            let tick = |rows: &[Row]| watermark(rows).map(|time| time.div_euclid(every * SECOND));
            for (piece, so_far, is_crash) in pieces(&rows, &cuts) {
                let (before, shown) = (&so_far[..so_far.len() - piece.len()], run.view.given);
                run.push(piece, is_crash).await;
                if tick(before) == tick(so_far) {
                    prop_assert_eq!(run.view.given, shown, "{}", query);
                } else {
                    let expected = answer(&query, "", batch(so_far)).await;
                    prop_assert_eq!(run.view.lines(), expected, "{}", query);
                }
            }
            run.end();
            prop_assert_eq!(run.view.lines(), answer(&query, "", batch(&rows)).await);
            Ok(())
        })?;
    }

    /// The same of windows; and those that close are shown as they are then.
    #[test]
    fn open_windows_are_shown_each_time_and_closed_ones_at_once(
        case in over_each_other::cases(),
        rows in rows(),
        cuts in vec((1usize..16, any::<bool>()), 1..6),
        number in 0..ALL,
        every in 1i64..60,
    ) {
        let query = query(number);
        let emit = format!("EMIT EVERY INTERVAL '{every} seconds'");
        block_on(async {
            let mut run = Run::new(over(&case.call, query, &emit), 0).await;
            let tick = |rows: &[Row]| watermark(rows).map(|time| time.div_euclid(every * SECOND));
            for (piece, so_far, is_crash) in pieces(&rows, &cuts) {
                let before = &so_far[..so_far.len() - piece.len()];
                run.push(piece, is_crash).await;
                let is_due = tick(before) != tick(so_far);
                let until = if is_due { i64::MAX } else { watermark(so_far).unwrap() };
                let expected = answer(query, WINDOW, closed(&case, so_far, until)).await;
                let shown = run.view.lines();
                let missing = expected.iter().find(|line| !shown.contains(line));
                prop_assert_eq!(missing, None, "{} over {}", query, case.call);
                if is_due {
                    prop_assert_eq!(shown, expected);
                }
            }
            run.end();
            let spread = over_each_other::spread(&rows, &case.windows);
            prop_assert_eq!(run.view.lines(), answer(query, WINDOW, spread).await);
            Ok(())
        })?;
    }
}

/// As if this version put groups elsewhere than the one that has stored them.
#[test]
fn groups_that_lie_in_other_buckets_are_found_and_moved() {
    block_on(async {
        let sql = "SELECT device, count(*) AS c FROM t GROUP BY device EMIT CHANGES";
        let row = |device| Row { seconds: 1, device: Some(device), temp: None, n: 1, flag: None };
        let rows: Vec<_> = (0..20).map(row).collect();
        let (mut pipeline, mut right) = (pipeline_of(sql, 0).await, Stored::new());
        pipeline.push(&batch(&rows)).unwrap();
        store(&mut pipeline, &mut right);
        let moved = right.iter().map(|(key, bytes)| {
            let mut key = key.clone();
            if let [_, .., number] = key.as_mut_slice() {
                *number = number.wrapping_add(100);
            }
            (key, bytes.clone())
        });
        let mut stored: Stored = moved.collect();
        let mut pipeline = pipeline_of(sql, 0).await;
        pipeline.restore(&stored).unwrap();
        let out = pipeline.push(&batch(&rows[..1])).unwrap();
        assert_eq!(lines(&out), ["|d0|2|"]);
        store(&mut pipeline, &mut stored);
        assert!(stored.keys().eq(right.keys()), "{:?}", stored.keys());
        let mut pipeline = pipeline_of(sql, 0).await;
        pipeline.restore(&stored).unwrap();
        let out = pipeline.push(&batch(&rows)).unwrap();
        assert_eq!((lines(&out)[0].as_str(), lines(&out)[19].as_str()), ("|d0|3|", "|d9|2|"));
    });
}

#[test]
fn more_groups_than_fit_into_the_state_are_refused_by_name() {
    block_on(async {
        let sql =
            "SELECT upper(device) AS d, count(*) AS c FROM t GROUP BY upper(device) EMIT CHANGES";
        let mut pipeline = pipeline_of(sql, 0).await;
        let row = Row { seconds: 1, device: None, temp: None, n: 1, flag: None };
        let rows = batch(&vec![row; 1000]);
        let mut error = None;
        for number in 0..100 {
            let mut columns = rows.columns().to_vec();
            let devices = (0..1000).map(|n| format!("{number} {n} {}", "x".repeat(1000)));
            columns[1] = Arc::new(devices.map(Some).collect::<StringArray>());
            pipeline.push(&RecordBatch::try_new(rows.schema(), columns).unwrap()).unwrap();
            error = pipeline.checkpoint().err();
            if error.is_some() {
                break;
            }
        }
        let error = error.unwrap().to_string();
        assert!(error.starts_with("GROUP BY without a window holds "), "{error}");
        assert!(error.ends_with("in 17000 groups, the limit is 16777216"), "{error}");
    });
}
