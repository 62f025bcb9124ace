//! Sinks into Logs: rows lie there once, whatever crashes, for whoever reads the Log.
//!
//! A crash is an engine that is dropped at any moment, which ends its jobs where they are.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;

use std::time::Duration;

use site::{LONG, SCRIPT, append, ask, end, reading, start};

const HOT: &str = "CREATE SINK hots WITH (log = 'hots', format = 'json') AS \
                   SELECT room, temp, _seq AS n FROM readings WHERE temp > 30;";
const OF_HOT: &str = "CREATE STREAM hot_rooms (room VARCHAR, temp DOUBLE, n BIGINT) \
                      WITH (log = 'hots', format = 'json');";

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_sink_are_in_its_log_once_through_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = 0;
    for life in 0..8u32 {
        let (db, engine) = start(dir.path()).await;
        let script = format!("{SCRIPT}{HOT}{OF_HOT}").replace("CREATE", "CREATE OR REPLACE");
        engine.execute(&script).await.unwrap();
        let log = db.log("raw").unwrap();
        for _ in 0..10 {
            append(&db, &log, (0..50).map(|n| reading(written + n, "lab", 31.0)));
            written += 50;
            tokio::task::yield_now().await;
        }
        if life % 2 == 1 {
            engine.caught_up(Duration::from_millis(u64::from(life))).await.ok();
        }
        drop(engine);
        db.shutdown(LONG).unwrap();
    }
    let (db, engine) = start(dir.path()).await;
    engine.caught_up(LONG).await.unwrap();
    let count = "SELECT count(*), count(DISTINCT n), max(n) FROM hot_rooms WHERE temp = 31";
    assert_eq!(ask(&engine, count).await, [format!("{written} {written} {}", written - 1)]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_job_reads_what_a_sink_writes_and_the_log_outlives_the_sink() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let by_room = "CREATE MATERIALIZED VIEW by_room AS SELECT room, temp FROM hot_rooms;";
    engine.execute(&format!("{SCRIPT}{HOT}{OF_HOT}{by_room}")).await.unwrap();
    let log = db.log("raw").unwrap();
    append(&db, &log, [reading(0, "lab", 31.0), reading(1, "hall", 3.0), reading(2, "hall", 32.0)]);
    engine.caught_up(LONG).await.unwrap();
    // The rows of the sink are there; what reads them may be a step behind.
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT room, temp FROM by_room").await, ["lab 31.0", "hall 32.0"]);
    let raw = ask(&engine, "SELECT key, value FROM hots").await;
    assert_eq!(raw[0], r#"{"room":"lab","temp":31.0,"n":0}"#);
    let sinks = ask(&engine, "SELECT name, state, reads, log, waiting, topic FROM system.sinks");
    assert_eq!(sinks.await, ["hots running readings hots"]);

    let columns =
        HOT.replace("CREATE", "CREATE OR REPLACE").replace("temp, _seq", "temp * 2, _seq");
    engine.execute(&columns).await.unwrap();
    assert_eq!(ask(&engine, "SELECT count(*) FROM hots").await, ["2"], "nothing is said twice");
    // The application writes to it, too.
    db.log("hots").unwrap().append(edge_db::Entry::new(r#"{"room":"own","temp":1}"#)).unwrap();
    engine.execute("DROP SINK hots").await.unwrap();
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT count(*), max(room) FROM by_room").await, ["3 own"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_that_a_sink_writes_is_one_that_a_stream_reads() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let formats = ["json", "cbor", "arrow_ipc", "csv", "csv', header = 'true', delimiter = ';"];
    for (number, format) in formats.iter().enumerate() {
        let script = format!(
            "CREATE SINK s{number} WITH (log = 'l{number}', format = '{format}') AS \
               SELECT ts, room, temp FROM readings; \
             CREATE STREAM r{number} (ts TIMESTAMP, room VARCHAR, temp DOUBLE) \
               WITH (log = 'l{number}', format = '{format}');"
        );
        engine.execute(&script).await.unwrap();
    }
    let log = db.log("raw").unwrap();
    append(&db, &log, [reading(0, "lab", 31.5), reading(1, "the; \\\"hall\\\"", 3.0)]);
    engine.caught_up(LONG).await.unwrap();
    let rows = |of: &str| format!("SELECT ts, room, temp FROM {of} ORDER BY ts");
    let expected = ask(&engine, &rows("readings")).await;
    assert_eq!(expected[1], "2026-01-01T00:00:01 the; \"hall\" 3.0");
    for number in 0..formats.len() {
        assert_eq!(ask(&engine, &rows(&format!("r{number}"))).await, expected, "{number}");
    }
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_would_never_end_or_write_where_it_must_not_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(&format!("{SCRIPT}{HOT}{OF_HOT}")).await.unwrap();
    let sink = |options: &str, query: &str| format!("CREATE SINK x WITH ({options}) AS {query}");
    let hot = "SELECT room FROM hot_rooms";
    let wrong = [
        (
            sink("log = 'hots'", hot),
            "`x` would read what it writes to log `hots`; write to another",
        ),
        (sink("log = 'raw'", hot), "`x` would read what it writes to log `raw`"),
        (
            HOT.replace("CREATE", "CREATE OR REPLACE").replace("'hots'", "'raw'"),
            "`hots` would read what it writes to log `raw`",
        ),
        (sink("log = 'hots_errors'", hot), "`hots_errors` is a log of what is no row"),
        (sink("log = 'l', qos = '1'", hot), "`qos` is about messages to a topic; WITH (topic"),
        (sink("log = 'l', topic = 't'", hot), "a sink needs a topic or a log, one of them"),
        (sink("topic = 't', qos = '3'", hot), "qos is '3'; use '0', '1' or '2'"),
        (sink("topic = 't', retained = 'yes'", hot), "retained is 'yes'; use 'true' or 'false'"),
        (sink("log = 'l', format = 'sparkplug_b'", hot), "a sink does not write 'sparkplug_b'"),
        (sink("log = 'l', format = 'raw'", "SELECT room, temp FROM readings"), "not 2"),
        (
            "CREATE STREAM x (a INT) WITH (log = 'l', qos = '1')".to_owned(),
            "there is no option `qos`",
        ),
    ];
    for (statement, expected) in wrong {
        let error = engine.execute(&statement).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{statement}: {error}");
    }
    // In a line it may be as long as it likes.
    engine.execute(&sink("log = 'next'", hot)).await.unwrap();
    let error = engine.execute("DROP STREAM hot_rooms").await.unwrap_err().to_string();
    assert_eq!(error, "`hot_rooms` feeds `x`: drop them first");
    end(&db, &engine).await;
}
