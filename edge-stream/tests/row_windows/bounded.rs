//! A query over such windows means the same as a view, which a job keeps, and as a bounded query.

use edge_db::Entry;
use edge_stream::Engine;
use proptest::collection::vec;
use proptest::prelude::*;

use super::site::{LONG, SCRIPT, append, ask, end, reading, start};
use super::tries;

/// Behind all others, so that the watermark passes these, and no question ends with them; of a room of
/// its own, whose windows do not end.
fn last() -> Entry {
    reading(50_000, "end", -50.0)
}

const QUERIES: [(&str, &str); 5] = [
    (
        "tens",
        "SELECT window_start, window_end, room, count(*) AS n, avg(temp) AS temp \
         FROM COUNT_WINDOW(readings, DESCRIPTOR(ts), 3) \
         WHERE temp > -100 GROUP BY window_start, window_end, room",
    ),
    (
        "sliding",
        "SELECT window_start, window_end AS until, count(*) AS n \
         FROM COUNT_WINDOW(readings, ts, 4, 2, LONGEST => INTERVAL '1 minute') \
         WHERE temp > 0 GROUP BY 1, until",
    ),
    (
        "heated",
        "SELECT w.room AS place, window_start - INTERVAL '1 second' AS before, window_start, \
         window_end, max(temp) - min(temp) AS span FROM EVENT_WINDOW(TABLE readings PARTITION BY room, ts, \
         START WITH temp > 20, END WITH temp < 0, LONGEST => INTERVAL '1 minute') AS w \
         WHERE temp > -100 GROUP BY window_start, window_end, w.room HAVING count(*) > 1",
    ),
    (
        "states",
        "SELECT window_start, window_end, room, temp > 10 AS is_warm, count(DISTINCT temp) AS n \
         FROM STATE_WINDOW(readings, ts, temp > 10) WHERE temp > -100 \
         GROUP BY window_start, window_end, room, temp > 10",
    ),
    (
        "nested",
        "WITH warm AS (SELECT ts AS ts, room FROM readings WHERE temp > 0) \
         SELECT window_start, room, count(*) AS n \
         FROM COUNT_WINDOW(warm, ts, 2) GROUP BY window_start, room",
    ),
];

proptest! {
    #![proptest_config(tries::of(6))]

    #[test]
    fn a_view_is_the_bounded_answer(
        rows in vec((1u32..20, 0usize..3, -20i8..40, any::<bool>()), 1..60),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let (db, engine) = start(dir.path()).await;
            engine.execute(SCRIPT).await.unwrap();
            for (name, query) in QUERIES {
                let view = format!("CREATE MATERIALIZED VIEW {name} AS {query}");
                engine.execute(&view).await.unwrap();
            }
            let log = db.log("raw").unwrap();
            let mut clock = 10;
            let mut entries: Vec<_> = rows.iter().map(|(step, room, temp, is_swapped)| {
                clock += step;
                (reading(clock, ["a", "b", "c"][*room], f64::from(*temp)), *is_swapped, clock)
            }).collect();
            for place in 1..entries.len() {
                // Within the delay of the watermark.
                if entries[place].1 && entries[place].2 - entries[place - 1].2 < 5 {
                    entries.swap(place - 1, place);
                }
            }
            append(&db, &log, entries.into_iter().map(|(entry, ..)| entry).chain([last()]));
            engine.caught_up(LONG).await.unwrap();
            for (name, query) in QUERIES {
                same(&engine, name, query).await;
            }
            end(&db, &engine).await;
        });
    }
}

async fn same(engine: &Engine, view: &str, query: &str) {
    let order = |of: String| format!("SELECT * FROM ({of}) ORDER BY 1, 2, 3");
    let kept = ask(engine, &order(format!("SELECT * FROM {view}"))).await;
    let found = ask(engine, &order(query.to_owned())).await;
    assert_eq!(kept, found, "{view}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_at_the_last_row_is_in_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    let rows = [(0, 5.0), (10, 50.0), (20, 5.0), (90, 50.0), (95, 60.0)];
    append(&db, &log, rows.map(|(second, temp)| reading(second, "a", temp)));
    for (query, expected) in [
        (
            "SELECT CAST(window_start AS TIME), CAST(window_end AS TIME), count(*) \
             FROM COUNT_WINDOW(readings, ts, 2) GROUP BY window_start, window_end",
            vec!["00:00:00 00:00:10 2", "00:00:20 00:01:30 2"],
        ),
        (
            "SELECT room, CAST(window_start AS TIME), count(*) FROM EVENT_WINDOW(readings, ts, \
             START WITH temp > 40, END WITH temp < 10) GROUP BY room, window_start",
            vec!["a 00:00:10 2"],
        ),
        (
            "SELECT CAST(window_start AS TIME), CAST(window_end AS TIME), count(*) \
             FROM STATE_WINDOW(readings, ts, temp > 40, LONGEST => INTERVAL '30 seconds') \
             GROUP BY window_start, window_end",
            vec!["00:00:00 00:00:10 1", "00:00:10 00:00:20 1", "00:00:20 00:00:50 1"],
        ),
        ("SELECT count(*) FROM STATE_WINDOW(readings, ts, temp)", vec!["5"]),
        (
            "SELECT count(*) FROM (SELECT window_start FROM COUNT_WINDOW(readings, ts, 2) \
             GROUP BY window_start) WHERE window_start > TIMESTAMP '2026-01-01T00:00:10'",
            vec!["1"],
        ),
    ] {
        assert_eq!(ask(&engine, query).await, expected, "{query}");
    }
    let error = engine.sql("SELECT window_start FROM COUNT_WINDOW(readings, ts, 2)").await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("known only once its rows are grouped"), "{error}");
    let query = "EXPLAIN SELECT window_start, count(*) FROM COUNT_WINDOW(readings, ts, 2) \
                 GROUP BY window_start";
    let explained = ask(&engine, query).await.join(" ");
    assert!(explained.contains("COUNT_WINDOW: windows of 2 rows"), "{explained}");
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_windows_of_a_question_have_the_limit_of_a_job() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    append(&db, &log, (0..200).map(|second| reading(second, &format!("r{second}"), 1.0)));
    let query = "SELECT window_start, room, string_agg(repeat('x', 100000), '' ORDER BY ts) AS t \
                 FROM STATE_WINDOW(readings, ts, temp) GROUP BY window_start, room";
    let error = engine.sql(query).await.unwrap_err();
    let error =
        std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let error = error.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    assert!(error.contains("windows that rows close"), "{error}");
    end(&db, &engine).await;
}
