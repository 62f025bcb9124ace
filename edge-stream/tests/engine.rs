//! The engine over a real database: what jobs compute, what survives, what stops nothing.
//!
//! A crash is an engine that is dropped at any moment, which ends its jobs where they are; the
//! process is killed for real in `tests/promise.rs` of the workspace.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;

use std::time::Duration;

use edge_db::Entry;
use edge_stream::{CaughtUpError, Engine, JobKind, SqlError};
use futures::FutureExt;
use site::{LONG, SCRIPT, append, ask, end, job, reading, start};

#[tokio::test(flavor = "multi_thread")]
async fn closed_windows_are_in_the_view_and_open_ones_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    append(
        &db,
        &log,
        [reading(0, "lab", 20.0), reading(30, "lab", 22.0), reading(59, "hall", 10.0)],
    );
    append(&db, &log, [reading(75, "lab", 40.0)]);
    engine.caught_up(LONG).await.unwrap();
    let heat = "SELECT window_start, room, temp, n FROM heat";
    let minute_0 = ["2026-01-01T00:00:00 hall 10.0 1", "2026-01-01T00:00:00 lab 21.0 2"];
    assert_eq!(ask(&engine, heat).await, minute_0);
    assert_eq!(ask(&engine, "SELECT * FROM hot").await, ["lab 40.0 3"]);
    end(&db, &engine).await;

    let (db, engine) = start(dir.path()).await;
    let log = db.log("raw").unwrap();
    append(&db, &log, [reading(80, "lab", 42.0), reading(140, "lab", 1.0)]);
    engine.caught_up(LONG).await.unwrap();
    let minute_1 = ["2026-01-01T00:01:00 lab 41.0 2"];
    assert_eq!(ask(&engine, heat).await, [minute_0.as_slice(), &minute_1].concat());
    assert_eq!(ask(&engine, "SELECT * FROM hot").await, ["lab 40.0 3", "lab 42.0 4"]);
    let heat = job(&engine, "heat");
    assert_eq!((heat.kind, heat.read, heat.out, heat.late), (JobKind::View, 6, 3, 0));
    assert_eq!(heat.position, log.bounds().unwrap().end);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_counted_once_through_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = 0;
    for life in 0..8u32 {
        let (db, engine) = start(dir.path()).await;
        let script = SCRIPT.replace("STREAM", "STREAM IF NOT EXISTS");
        engine.execute(&script.replace("VIEW", "VIEW IF NOT EXISTS")).await.unwrap();
        let log = db.log("raw").unwrap();
        for _ in 0..10 {
            append(&db, &log, (0..50).map(|n| reading(written + n, &format!("r{}", n % 3), 50.0)));
            written += 50;
            tokio::task::yield_now().await;
        }
        if life % 2 == 1 {
            // Some have committed something, and all are somewhere.
            job(&engine, "heat");
            engine.caught_up(Duration::from_millis(u64::from(life))).await.ok();
        }
        drop(engine);
        db.shutdown(LONG).unwrap();
        drop(db);
    }
    let (db, engine) = start(dir.path()).await;
    let log = db.log("raw").unwrap();
    append(&db, &log, [reading(written + 3600, "end", 0.0)]);
    engine.caught_up(LONG).await.unwrap();
    let rooms = "SELECT room, sum(n) FROM heat GROUP BY room ORDER BY room";
    let batch =
        "SELECT room, count(*) FROM readings WHERE room <> 'end' GROUP BY room ORDER BY room";
    assert_eq!(ask(&engine, rooms).await, ask(&engine, batch).await);
    assert_eq!(ask(&engine, "SELECT sum(n) FROM heat").await, [written.to_string()]);
    let hot = "SELECT count(*), count(DISTINCT _seq) FROM hot";
    assert_eq!(ask(&engine, hot).await, [format!("{written} {written}")]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_row_lies_in_the_log_of_errors_once_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    let bad = [
        ("not json", "Encountered unexpected 'o'"),
        (r#"{"ts":"2026-01-01T00:00:00","temp":"warm"}"#, "temp"),
        (r#"{"room":"lab","temp":1}"#, "`ts` is missing, and it is the event time"),
        ("", "payload is not one JSON object"),
        ("[1, 2]", "expected"),
        (r#"{"ts":1}{"ts":2}"#, "payload is not one JSON object"),
        (r#"{"ts":"2026-01-01T00:00:00""#, "payload ends inside a JSON object"),
    ];
    append(&db, &log, [reading(0, "lab", 31.0)]);
    append(
        &db,
        &log,
        bad.iter().map(|(payload, _)| Entry::new(*payload).key("t").header("h", "1")),
    );
    append(&db, &log, [reading(90, "lab", 32.0)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT sum(n) FROM heat").await, ["1"]);
    assert_eq!(ask(&engine, "SELECT count(*) FROM hot").await, ["2"]);
    assert_eq!(ask(&engine, "SELECT count(*) FROM readings").await, ["2"]);
    for name in ["readings", "heat", "hot"] {
        assert_eq!(job(&engine, name).undecodable, bad.len() as u64, "{name}");
    }
    let errors = db.log("readings_errors").unwrap();
    let records = errors.read(edge_db::Seq::ZERO, 100).unwrap();
    assert_eq!(records.len(), bad.len());
    for (record, (payload, reason)) in records.iter().zip(bad) {
        assert_eq!((record.value(), record.key()), (payload.as_bytes(), &b"t"[..]));
        let found = String::from_utf8(record.header("reason").unwrap().to_vec()).unwrap();
        assert!(found.contains(reason), "{payload}: {found}");
        assert_eq!(record.header("h").unwrap(), b"1");
    }
    let asked = "SELECT get_field(headers, 'seq'), key FROM readings_errors ORDER BY _seq LIMIT 1";
    assert_eq!(ask(&engine, asked).await, ["1 t"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_leaves_nothing_and_can_be_created_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    append(&db, &log, [reading(0, "lab", 31.0), reading(90, "lab", 1.0)]);
    engine.caught_up(LONG).await.unwrap();

    let error = engine.execute("DROP STREAM readings").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 1, column 1: `readings` feeds `heat`, `hot`: drop them first"
    );
    let error = engine.execute("DROP SINK heat").await.unwrap_err().to_string();
    assert_eq!(
        error,
        "line 1, column 1: there is no SINK `heat`; it is a MATERIALIZED VIEW: DROP MATERIALIZED VIEW heat"
    );
    let error = engine.execute("DROP MATERIALIZED VIEW haet").await.unwrap_err().to_string();
    assert_eq!(
        error,
        "line 1, column 1: there is no MATERIALIZED VIEW `haet`; did you mean `heat`?"
    );
    engine
        .execute("DROP MATERIALIZED VIEW heat; DROP MATERIALIZED VIEW IF EXISTS heat")
        .await
        .unwrap();
    assert!(matches!(engine.sql("SELECT * FROM heat").await, Err(SqlError::Statement { .. })));
    end(&db, &engine).await;

    let (db, engine) = start(dir.path()).await;
    assert_eq!(engine.jobs().len(), 2);
    let heat = SCRIPT.split(';').nth(1).unwrap();
    engine.execute(heat).await.unwrap();
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT n FROM heat").await, ["1"]);
    assert_eq!(job(&engine, "heat").read, 2, "it begins with the oldest record");
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watermark_may_be_computed_from_any_column() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    // A clock that runs ahead cannot close the windows of others.
    let script = SCRIPT.replace("AS ts - INTERVAL '10 seconds'", "AS least(ts, _time)");
    engine.execute(&script).await.unwrap();
    let log = db.log("raw").unwrap();
    append(&db, &log, [reading(0, "lab", 1.0).at(edge_db::Time::from_micros(1_000_000))]);
    engine.caught_up(LONG).await.unwrap();
    let watermark = job(&engine, "heat").watermark.unwrap();
    assert_eq!(watermark, edge_db::Time::from_micros(1_000_000));
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_sends_stops_no_job() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let script = SCRIPT.replace("format = 'json'", "format = 'json', ts_format = 'us'");
    engine.execute(&script).await.unwrap();
    let log = db.log("raw").unwrap();
    let long = "x".repeat(300_000);
    append(
        &db,
        &log,
        [
            Entry::new(r#"{"ts":8400000000000000000,"room":"lab","temp":99}"#),
            Entry::new(r#"{"ts":-9223372036854775808,"room":"lab","temp":99}"#),
            Entry::new(format!(
                r#"{{"ts":1,"temp":{}{}}}"#,
                "[".repeat(400_000),
                "]".repeat(400_000)
            )),
            reading(0, &long, 99.0),
            reading(90, "lab", 99.0),
        ],
    );
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT length(room), n FROM heat").await, ["300000 1"]);
    assert_eq!(ask(&engine, "SELECT count(*) FROM hot").await, ["2"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_errors_that_is_there_keeps_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let own = db.log("readings_errors").unwrap();
    let megabyte = vec![b'x'; 1 << 20];
    (0..20).for_each(|_| append(&db, &own, [Entry::new(megabyte.clone())]));
    engine.execute(SCRIPT).await.unwrap();
    append(&db, &db.log("raw").unwrap(), [Entry::new("not json")]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(own.bounds().unwrap(), edge_db::Seq::ZERO..edge_db::Seq::new(21));
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_engine_at_a_time_runs_over_a_database() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    for _ in 0..20 {
        // The next one waits for the tasks of the one before it.
        let next = tokio::spawn({
            let db = db.clone();
            async move { Engine::builder().db(&db).start().await }
        });
        assert!(!next.is_finished());
        next.abort();
    }
    drop(engine);
    let engine = Engine::builder().db(&db).start().await.unwrap();
    assert_eq!(engine.jobs().len(), 3);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_says_why_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let view = "CREATE MATERIALIZED VIEW bad AS SELECT 1 / CAST(temp AS INT) AS x FROM readings";
    engine.execute(view).await.unwrap();
    let log = db.log("raw").unwrap();
    append(&db, &log, [reading(0, "lab", 31.0), reading(1, "lab", 0.0), reading(90, "lab", 1.0)]);
    // It never catches up, so each call ends at its deadline; the others do.
    let error = loop {
        let error = engine.caught_up(Duration::from_millis(50)).await.unwrap_err();
        let CaughtUpError::Behind { job: behind, .. } = &error else { panic!("{error}") };
        let is_done = |name| job(&engine, name).position == log.bounds().unwrap().end;
        if behind.error.is_some() && ["readings", "heat", "hot"].into_iter().all(is_done) {
            assert_eq!(behind.name, "bad");
            break error.to_string();
        }
    };
    assert!(error.contains("Divide by zero"), "{error}");
    assert_eq!(ask(&engine, "SELECT sum(n) FROM heat").await, ["2"]);
    let left = engine.shutdown(LONG).await.unwrap();
    assert_eq!(left.records, 3, "what the failing job has not committed");
    db.shutdown(LONG).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_carried_out_whole_even_if_nobody_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    append(&db, &db.log("raw").unwrap(), [reading(0, "lab", 1.0), reading(90, "lab", 1.0)]);
    engine.caught_up(LONG).await.unwrap();
    let tenfold = SCRIPT.split(';').nth(1).unwrap().replace("count(*)", "count(*) * 10");
    // Polled once, and dropped.
    assert!(engine.execute("DROP MATERIALIZED VIEW heat").now_or_never().is_none());
    // Which of the two gets its turn first is open; half a DROP is not.
    while let Err(error) = engine.execute(&tenfold).await {
        assert!(matches!(error, SqlError::Exists { .. }), "{error}");
    }
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT n FROM heat").await, ["10"]);
    assert_eq!(job(&engine, "heat").read, 2);
    end(&db, &engine).await;
}
