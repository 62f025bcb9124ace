//! Windows of all shapes as a user writes them: a view that a job keeps, and the same query over the
//! stream's history, which DataFusion answers, say the same; over a restart, too.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;

use edge_stream::Engine;
use site::{LONG, append, ask, end, reading, start};

const STREAM: &str = "
CREATE STREAM readings (
  ts TIMESTAMP, room VARCHAR, temp DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
) WITH (log = 'raw', format = 'json');
";

const QUERIES: [(&str, &str); 7] = [
    (
        "hopping",
        "SELECT window_start, window_end, room, count(*) AS n, max(temp) AS t
         FROM HOP(readings, DESCRIPTOR(ts), INTERVAL '20 seconds', INTERVAL '1 minute')
         WHERE temp < 90 GROUP BY window_start, window_end, room",
    ),
    (
        "cumulating",
        "SELECT window_start, window_end, room, count(*) AS n, max(temp) AS t
         FROM CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '20 seconds', INTERVAL '2 minutes')
         GROUP BY window_start, window_end, room HAVING count(*) > 1",
    ),
    (
        "shifted",
        "SELECT window_start, window_end, count(*) AS n, max(temp) AS t
         FROM TUMBLE(readings, ts, INTERVAL '1 minute', INTERVAL '15 seconds')
         GROUP BY window_start, window_end",
    ),
    (
        "with_gaps",
        "SELECT window_start, window_end, count(*) AS n, max(temp) AS t
         FROM HOP(readings, ts, INTERVAL '1 minute', INTERVAL '10 seconds', INTERVAL '5 seconds')
         GROUP BY window_start, window_end",
    ),
    (
        "filled",
        "SELECT window_start, window_end, room, locf(max(temp)) AS t,
           round(interpolate(avg(temp)), 3) AS line, coalesce(count(*), 0) AS n
         FROM TUMBLE(readings, ts, INTERVAL '10 seconds', GAP_FILL => INTERVAL '2 minutes')
         WHERE temp > 80 GROUP BY window_start, window_end, room",
    ),
    (
        "let_go",
        "SELECT window_end, locf(max(temp)) + 1 AS t, count(*) AS n
         FROM TUMBLE(TABLE readings, ts, INTERVAL '10 seconds', GAP_FILL => INTERVAL '35 seconds')
         WHERE temp > 80 GROUP BY window_end HAVING count(*) > 1",
    ),
    (
        "nested",
        "WITH m AS (
           SELECT window_start AS ts, room, max(temp) AS t, count(*) AS n
           FROM TUMBLE(readings, ts, INTERVAL '20 seconds') GROUP BY window_start, room)
         SELECT window_start, window_end, avg(t) AS t, sum(n) AS n
         FROM TUMBLE(m, DESCRIPTOR(ts), INTERVAL '1 minute')
         GROUP BY window_start, window_end",
    ),
];

/// What is closed at this time.
async fn closed(engine: &Engine, query: &str, by: &str) -> Vec<String> {
    let query = format!("SELECT * FROM ({query}) WHERE window_end <= TIMESTAMP '{by}'");
    let mut rows = ask(engine, &query).await;
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn views_over_windows_say_what_the_history_says() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(STREAM).await.unwrap();
    for (name, query) in QUERIES {
        engine.execute(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await.unwrap();
    }
    let log = db.log("raw").unwrap();
    let rooms = ["lab", "hall", "roof"];
    // Some seconds up and down, as far as the watermark allows.
    let readings = |from: u32, to: u32| {
        let seconds = (from..to).step_by(3);
        seconds.map(move |second| {
            let back = second.wrapping_mul(7) % 10;
            reading(
                second.saturating_sub(back),
                rooms[(second as usize / 3) % 3],
                f64::from(second % 100),
            )
        })
    };
    append(&db, &log, readings(0, 250));
    engine.caught_up(LONG).await.unwrap();
    end(&db, &engine).await;
    drop((engine, log, db));

    let (db, engine) = start(dir.path()).await;
    let log = db.log("raw").unwrap();
    append(&db, &log, readings(250, 600));
    append(&db, &log, [reading(610, "lab", 1.0)]);
    engine.caught_up(LONG).await.unwrap();
    for (name, query) in QUERIES {
        let expected = closed(&engine, query, "2026-01-01T00:10:00").await;
        let found = closed(&engine, &format!("SELECT * FROM {name}"), "2026-01-01T00:10:00").await;
        assert!(expected.len() >= 9, "{name}: {expected:?}");
        assert_eq!(found, expected, "{name}");
        let all = ask(&engine, &format!("SELECT count(*) FROM {name}")).await;
        assert_eq!(all, [expected.len().to_string()], "{name} has what is closed, and no more");
    }
    end(&db, &engine).await;
}

/// Each says of all rows so far what DataFusion says of the history.
const LIVE: [(&str, &str); 5] = [
    ("whole", "SELECT count(*) AS n, max(temp) AS t FROM readings HAVING count(*) % 2 = 1"),
    ("by_room", "SELECT room, count(*) AS n, max(temp) AS t FROM readings GROUP BY room"),
    ("odd", "SELECT room, count(*) AS n FROM readings GROUP BY room HAVING count(*) % 2 = 1"),
    ("open", QUERIES[0].1),
    ("growing", QUERIES[1].1),
];

#[tokio::test(flavor = "multi_thread")]
async fn views_that_emit_changes_say_what_the_history_says_at_any_time() {
    let dir = tempfile::tempdir().unwrap();
    let (mut db, mut engine) = start(dir.path()).await;
    engine.execute(STREAM).await.unwrap();
    for (name, query) in LIVE {
        let view = format!("CREATE MATERIALIZED VIEW {name} AS {query} EMIT CHANGES;");
        engine.execute(&view).await.unwrap();
    }
    let exported = engine.export();
    for step in 0..6u32 {
        let log = db.log("raw").unwrap();
        let rooms = ["lab", "hall", "roof"];
        let seconds = (step * 40..step * 43 + 7).step_by(5);
        append(
            &db,
            &log,
            seconds.map(|second| {
                reading(second, rooms[(second as usize / 5) % 3], f64::from(second % 100))
            }),
        );
        engine.caught_up(LONG).await.unwrap();
        for (name, query) in LIVE {
            let (mut found, mut expected) =
                (ask(&engine, &format!("SELECT * FROM {name}")).await, ask(&engine, query).await);
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{name}");
        }
        if step % 2 == 1 {
            end(&db, &engine).await;
            drop((engine, log, db));
            (db, engine) = start(dir.path()).await;
            assert_eq!(engine.export(), exported);
        }
    }
    let steps = ask(&engine, "EXPLAIN JOB by_room").await.join(" ");
    for part in
        ["max(readings.temp); each change comes out", "each group with its aggregates never"]
    {
        assert!(steps.contains(part), "{steps}");
    }
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_rows_change_closed_windows_as_long_as_the_stream_says() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let late = "late = 'update', allowed_lateness = '1 minute', format";
    engine.execute(&STREAM.replace("format", late)).await.unwrap();
    let query = "SELECT window_start, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '1 minute') \
                 GROUP BY window_start";
    engine.execute(&format!("CREATE MATERIALIZED VIEW minutes AS {query}")).await.unwrap();
    engine
        .execute(&format!(
            "CREATE MATERIALIZED VIEW hours AS WITH m AS ({}) \
             SELECT window_start, window_end, sum(n) AS n FROM TUMBLE(m, ts, INTERVAL '1 minute')
             GROUP BY window_start, window_end",
            query.replace("window_start, count", "window_start AS ts, count")
        ))
        .await
        .unwrap();
    let exported = engine.export();
    let minutes = "SELECT n FROM minutes ORDER BY window_start";
    let final_ones = "SELECT n FROM hours ORDER BY window_start";
    let log = db.log("raw").unwrap();
    // The watermark is 10 seconds behind the newest row.
    for (second, shown, finals, late) in [
        (0, vec![], vec![], 0),
        (75, vec!["1"], vec![], 0),
        (30, vec!["2"], vec![], 0),
        (129, vec!["2"], vec![], 0),
        (31, vec!["3"], vec![], 0),
        (130, vec!["3", "1"], vec!["3"], 0),
        (32, vec!["3", "1"], vec!["3"], 1),
        (90, vec!["3", "2"], vec!["3"], 1),
    ] {
        append(&db, &log, [reading(second, "lab", 1.0)]);
        engine.caught_up(LONG).await.unwrap();
        assert_eq!(ask(&engine, minutes).await, shown, "{second}");
        assert_eq!(ask(&engine, final_ones).await, finals, "{second}");
        let jobs = engine.jobs();
        let counted = jobs.iter().filter(|job| job.name != "readings").map(|job| job.late);
        assert_eq!(counted.collect::<Vec<_>>(), [late, late], "{second}");
    }
    let steps = ask(&engine, "EXPLAIN JOB minutes").await.join(" ");
    assert!(steps.contains("that it is in by 60s, as late rows change it"), "{steps}");
    let steps = ask(&engine, "EXPLAIN JOB hours").await.join(" ");
    assert!(steps.contains("that it is in by 60s, so that late rows are in it"), "{steps}");
    end(&db, &engine).await;
    drop((engine, log, db));

    let (db, engine) = start(dir.path()).await;
    assert_eq!(engine.export(), exported);
    append(&db, &db.log("raw").unwrap(), [reading(91, "lab", 1.0), reading(250, "lab", 1.0)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, minutes).await, ["3", "3", "2"]);
    assert_eq!(ask(&engine, final_ones).await, ["3", "3", "2"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_windows_cannot_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(STREAM).await.unwrap();
    for (query, expected) in [
        (
            "SELECT window_start, temp FROM HOP(readings, ts, INTERVAL '1 s', INTERVAL '1 minute')",
            "a row lies in several windows of HOP and CUMULATE; GROUP BY window_start",
        ),
        (
            "SELECT window_start, count(*) FROM HOP(readings, ts, INTERVAL '1 s', INTERVAL '1 minute')
             WHERE window_start > TIMESTAMP '2026-01-01T00:00:00' GROUP BY window_start",
            "a row lies in several windows of HOP and CUMULATE; GROUP BY window_start",
        ),
        (
            "SELECT window_start, count(*) FROM
             CUMULATE(readings, ts, INTERVAL '7 s', INTERVAL '1 minute') GROUP BY window_start",
            "the size of CUMULATE windows is a multiple of their step",
        ),
        (
            "SELECT window_start, count(*) FROM
             CUMULATE(readings, ts, INTERVAL '1 s', INTERVAL '1 minute') GROUP BY window_start",
            "windows of CUMULATE that begin together are told apart by their ends; GROUP BY window_",
        ),
        (
            "SELECT window_start, count(*) FROM
             CUMULATE(readings, ts, INTERVAL '1 s', INTERVAL '1 minute')
             GROUP BY window_start, window_end",
            "rows of the answer are told apart by `window_end`, which is not in it; add `window_end`",
        ),
        (
            "SELECT window_start, count(*) FROM
             HOP(readings, ts, INTERVAL '7 milliseconds', INTERVAL '1 hour') GROUP BY window_start",
            "are made of 3600000 panes, the greatest time that divides both, and at most 10000",
        ),
        (
            "SELECT window_start, count(*) FROM HOP(readings, ts, INTERVAL '1 hour') GROUP BY 1",
            "HOP takes a stream, a time column, a slide and size, and perhaps an offset",
        ),
        (
            "SELECT window_start, count(*) FROM HOP(readings, ts, INTERVAL '1 s', INTERVAL '1 hour',
             GAP_FILL => INTERVAL '1 hour') GROUP BY window_start",
            ": GAP_FILL is there for TUMBLE alone",
        ),
        (
            "SELECT window_start, count(*) FROM TUMBLE(readings, ts, INTERVAL '1 hour',
             GAP_FILL => 3) GROUP BY window_start",
            "GAP_FILL is an INTERVAL, not `3`",
        ),
        (
            "SELECT window_start, count(*) FROM TUMBLE(readings, ts, INTERVAL '1 hour',
             GAP_FILL => INTERVAL '1 minute') GROUP BY window_start",
            "how long a key may have no rows, the time of 1 to 10000 windows, not of 0",
        ),
        (
            "SELECT window_start, temp FROM TUMBLE(readings, ts, INTERVAL '1 s',
             GAP_FILL => INTERVAL '1 minute')",
            "GAP_FILL is for windows that rows are grouped by; GROUP BY window_start",
        ),
        (
            "SELECT window_start, locf(max(temp)) FROM TUMBLE(readings, ts, INTERVAL '1 s')
             GROUP BY window_start",
            "`locf` gives the windows of GAP_FILL values, in their SELECT list; write FROM TUMBLE(",
        ),
        (
            "SELECT window_start, max(temp) FROM TUMBLE(readings, ts, INTERVAL '1 s',
             GAP_FILL => INTERVAL '1 minute') GROUP BY window_start HAVING locf(max(temp)) > 1",
            "conditions on them stand in a SELECT around it",
        ),
        (
            "SELECT window_start, interpolate(max(room)) FROM TUMBLE(readings, ts, INTERVAL '1 s',
             GAP_FILL => INTERVAL '1 minute') GROUP BY window_start",
            "interpolate takes a number, not Utf8",
        ),
        (
            "WITH m AS (SELECT window_start, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '1 s')
             GROUP BY window_start) SELECT sum(n) FROM m",
            "GROUP BY over the result of windows needs windows, too; name the inner query by WITH",
        ),
        (
            "WITH m AS (SELECT window_start, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '1 s')
             GROUP BY window_start) SELECT sum(n) FROM TUMBLE(m, window_start, INTERVAL '1 minute')
             GROUP BY window_end",
            "a window over rows that have a column `window_start` already; give it another name",
        ),
    ] {
        let created = engine.execute(&format!("CREATE MATERIALIZED VIEW v AS {query}")).await;
        let error = created.unwrap_err().to_string();
        assert!(error.contains(expected), "{query}\n says: {error}");
    }
    end(&db, &engine).await;
}
