//! Rows that come late: closed windows show them as long as the stream allows, and where windows come
//! out once, they wait so long.

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use edge_stream::{EventTime, Stored};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::emit::*;
use crate::over_each_other;
use crate::rows::*;
use crate::tries;

/// What a model that takes rows piece by piece keeps of those that come late.
struct Model<'a> {
    windows: &'a [(i64, i64)],
    lateness: i64,
    /// Each row once for each of its windows that was kept when it came.
    rows: RecordBatch,
    watermark: i64,
    lost: u64,
}

impl Model<'_> {
    fn new(windows: &[(i64, i64)], lateness: i64) -> Model<'_> {
        let rows = over_each_other::spread(&[], windows);
        Model { windows, lateness: lateness * SECOND, rows, watermark: i64::MIN, lost: 0 }
    }

    fn take(&mut self, piece: &[Row]) {
        let gone = self.watermark.saturating_sub(self.lateness);
        let kept = self.windows.iter().filter(|(_, end)| end * SECOND > gone);
        let kept: Vec<_> = kept.copied().collect();
        let spread = over_each_other::spread(piece, &kept);
        self.rows = concat_batches(&spread.schema(), [&self.rows, &spread]).unwrap();
        for row in piece {
            let has = |windows: &[(i64, i64)]| {
                let holds =
                    |(start, end): &(i64, i64)| (start * SECOND..end * SECOND).contains(&time(row));
                windows.iter().any(holds)
            };
            self.lost += u64::from(has(self.windows) && !has(&kept));
        }
        self.watermark = self.watermark.max(watermark(piece).unwrap());
    }

    /// Rows of the windows that end until then.
    fn until(&self, until: i64) -> RecordBatch {
        let ends = self.rows.column(6).as_primitive::<TimestampMicrosecondType>();
        let is_closed: BooleanArray = ends.iter().map(|end| Some(end? <= until)).collect();
        filter_record_batch(&self.rows, &is_closed).unwrap()
    }
}

/// Rows of which some come behind the watermark.
fn late_rows() -> impl Strategy<Value = Vec<Row>> {
    (rows(), vec((any::<prop::sample::Index>(), 31i64..150), 1..20)).prop_map(|(mut rows, late)| {
        for (place, seconds) in late {
            let place = place.index(rows.len());
            rows[place].seconds = (rows[place].seconds - seconds).max(-300);
        }
        rows
    })
}

proptest! {
    #![proptest_config(tries::of(12))]

    /// Closed windows show the rows that came late, and open ones nothing.
    #[test]
    fn late_rows_change_what_closed_windows_show(
        case in over_each_other::cases(),
        rows in late_rows(),
        cuts in vec((1usize..16, any::<bool>()), 1..6),
        number in 0..ALL,
        lateness in 0i64..120,
    ) {
        let query = query(number);
        block_on(async {
            let mut run = Run::new(windowed(&case.call, query), lateness).await;
            let mut model = Model::new(&case.windows, lateness);
            for (piece, _, is_crash) in pieces(&rows, &cuts) {
                run.push(piece, is_crash).await;
                model.take(piece);
                let expected = answer(query, WINDOW, model.until(model.watermark)).await;
                prop_assert_eq!(run.view.lines(), expected, "{} over {}", query, case.call);
                // Rows that WHERE leaves out are not late.
                prop_assert!(query.contains("WHERE") || run.pipeline.late() == model.lost);
            }
            run.end();
            let expected = answer(query, WINDOW, model.rows).await;
            prop_assert_eq!(run.view.lines(), expected, "{} over {}", query, case.call);
            Ok(())
        })?;
    }

    /// With EMIT CHANGES open and closed windows show all rows that have come in time.
    #[test]
    fn late_rows_are_changes_like_others(
        case in over_each_other::cases(),
        rows in late_rows(),
        cuts in vec((1usize..30, any::<bool>()), 1..6),
        number in 0..ALL,
        lateness in 0i64..120,
        every in prop::option::of(1i64..40),
    ) {
        let query = query(number);
        let emit = every.map_or("CHANGES".to_owned(), |n| format!("EVERY INTERVAL '{n} seconds'"));
        block_on(async {
            let sql = over(&case.call, query, &format!("EMIT {emit}"));
            let mut run = Run::new(sql, lateness).await;
            let mut model = Model::new(&case.windows, lateness);
            for (piece, _, is_crash) in pieces(&rows, &cuts) {
                let before = model.watermark;
                run.push(piece, is_crash).await;
                model.take(piece);
                let tick = |time: i64, every: i64| time.div_euclid(every * SECOND);
                let is_due = |every| tick(before, every) != tick(model.watermark, every);
                if every.is_none_or(is_due) {
                    let expected = answer(query, WINDOW, model.rows.clone()).await;
                    prop_assert_eq!(run.view.lines(), expected, "{} over {}", query, case.call);
                }
            }
            run.end();
            let expected = answer(query, WINDOW, model.rows).await;
            prop_assert_eq!(run.view.lines(), expected, "{} over {}", query, case.call);
            prop_assert!(query.contains("WHERE") || run.pipeline.late() == model.lost);
            Ok(())
        })?;
    }

    /// What takes final windows in waits until late rows cannot come any more.
    #[test]
    fn windows_are_final_where_they_come_out_once(
        rows in late_rows(),
        cuts in vec((1usize..16, any::<bool>()), 1..6),
        lateness in 0i64..120,
        number in 0usize..3,
    ) {
        let query = [
            "SELECT W, count(*) AS n, sum(s) AS s FROM \
             (SELECT W, device, sum(n) AS s FROM T GROUP BY W, device) GROUP BY W",
            "SELECT W, device, count(*) AS n FROM T GROUP BY W, device \
             QUALIFY row_number() OVER (PARTITION BY W ORDER BY count(*) DESC, device) = 1",
            "SELECT W, device, max(n) AS n FROM T GROUP BY W, device UNION ALL \
             SELECT W, device, min(n) AS n FROM T GROUP BY W, device",
        ][number];
        let case = over_each_other::tumble(10, 0);
        block_on(async {
            let sql = match number {
                0 => "WITH m AS (SELECT window_start AS ts, device, sum(n) AS s FROM \
                      TUMBLE(t, ts, INTERVAL '10 s') GROUP BY window_start, device) \
                      SELECT window_start, window_end, count(*) AS n, sum(s) AS s FROM \
                      TUMBLE(m, ts, INTERVAL '10 s') GROUP BY window_start, window_end".to_owned(),
                _ => windowed(&case.call, query),
            };
            let (mut pipeline, mut stored) = (pipeline_of(&sql, lateness).await, Stored::new());
            let mut model = Model::new(&case.windows, lateness);
            let mut found = Vec::new();
            for (piece, _, is_crash) in pieces(&rows, &cuts) {
                found.extend(pipeline.push(&batch(piece)).unwrap());
                model.take(piece);
                if is_crash {
                    store(&mut pipeline, &mut stored);
                    pipeline = pipeline_of(&sql, lateness).await;
                    pipeline.restore(&stored).unwrap();
                }
            }
            found.extend(pipeline.advance(EventTime::from_micros(i64::MAX)).unwrap());
            let expected = answer(query, WINDOW, model.rows).await;
            prop_assert_eq!(lines(&found), expected, "{}", query);
            prop_assert_eq!(pipeline.late() % model.lost.max(1), 0);
            Ok(())
        })?;
    }
}

#[test]
fn late_rows_are_told_of_before_their_window_goes() {
    block_on(async {
        let sql = "SELECT window_start, window_end, count(*) AS n FROM \
                   TUMBLE(t, ts, INTERVAL '1 s') GROUP BY window_start, window_end \
                   EMIT EVERY INTERVAL '40 seconds'";
        let mut pipeline = pipeline_of(sql, 20).await;
        let row = |seconds| Row { seconds, device: None, temp: None, n: 0, flag: None };
        // Event time is at 45, and windows that end behind 25 are kept.
        pipeline.push(&batch(&[row(75)])).unwrap();
        assert_eq!(lines(&pipeline.push(&batch(&[row(30)])).unwrap()), [""; 0]);
        // It is at 55 now, and the next time to tell of changes is 80.
        let out = pipeline.push(&batch(&[row(85)])).unwrap();
        assert_eq!(lines(&out), ["|1970-01-01T00:00:30|1970-01-01T00:00:31|1|"]);
        assert_eq!(pipeline.late(), 0);
    });
}

#[test]
fn sessions_wait_for_late_rows() {
    block_on(async {
        let sql = "SELECT window_start, window_end, count(*) AS n FROM \
                   SESSION(t, ts, INTERVAL '10 s') GROUP BY window_start, window_end";
        let mut pipeline = pipeline_of(sql, 60).await;
        let row = |seconds| Row { seconds, device: None, temp: None, n: 0, flag: None };
        for (seconds, late) in [(1, 0), (100, 0), (8, 0), (101, 0), (12, 0), (200, 0), (15, 1)] {
            assert_eq!(pipeline.late(), 0);
            let out = pipeline.push(&batch(&[row(seconds)])).unwrap();
            assert_eq!(pipeline.late(), late, "{seconds}");
            let is_end = seconds == 200;
            let expected = "|1970-01-01T00:00:01|1970-01-01T00:00:22|3|".to_owned();
            assert_eq!(lines(&out), if is_end { vec![expected] } else { vec![] });
        }
    });
}
