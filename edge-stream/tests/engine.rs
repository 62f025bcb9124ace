//! The engine over a real database: what is answered, what survives, what is refused.
//!
//! A crash is an engine that is dropped at any moment, which ends its jobs where they are; the
//! process is killed for real in `tests/promise.rs` of the workspace.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use edge_db::{Db, Entry, Log};
use edge_stream::{CaughtUpError, Engine, JobKind, JobStatus, SqlError};

const LONG: Duration = Duration::from_secs(60);

const SCRIPT: &str = "
CREATE STREAM readings (
  ts TIMESTAMP, room VARCHAR, temp DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
) WITH (log = 'raw', format = 'json');

CREATE MATERIALIZED VIEW heat AS
SELECT window_start, room, avg(temp) AS temp, count(*) AS n
FROM TUMBLE(readings, DESCRIPTOR(ts), INTERVAL '1 minute')
GROUP BY window_start, window_end, room;

CREATE MATERIALIZED VIEW hot AS SELECT room, temp, _seq FROM readings WHERE temp > 30;
";

async fn start(dir: &Path) -> (Db, Engine) {
    let db = Db::open(dir).unwrap();
    let engine = Engine::builder().db(&db).start().await.unwrap();
    (db, engine)
}

async fn end(db: &Db, engine: &Engine) {
    assert_eq!(engine.shutdown(LONG).await.unwrap().records, 0);
    db.shutdown(LONG).unwrap();
}

fn reading(second: u32, room: &str, temp: f64) -> Entry {
    let (minute, second) = (second / 60, second % 60);
    let time = format!("2026-01-01T{:02}:{:02}:{second:02}", minute / 60, minute % 60);
    Entry::new(format!(r#"{{"ts":"{time}","room":"{room}","temp":{temp}}}"#))
}

fn append(db: &Db, log: &Log, entries: impl IntoIterator<Item = Entry>) {
    let mut batch = db.batch();
    entries.into_iter().for_each(|entry| batch.append(log, entry));
    batch.commit().unwrap();
}

/// The cells of an answer, row by row.
fn cells(answer: &[RecordBatch]) -> Vec<String> {
    let text = pretty_format_batches(answer).unwrap().to_string();
    let rows = text.lines().skip(3).filter(|line| line.starts_with('|'));
    rows.map(|row| row.split_whitespace().filter(|cell| *cell != "|").collect::<Vec<_>>().join(" "))
        .collect()
}

async fn ask(engine: &Engine, query: &str) -> Vec<String> {
    cells(&engine.sql(query).await.unwrap())
}

fn job(engine: &Engine, name: &str) -> JobStatus {
    engine.jobs().into_iter().find(|job| job.name == name).unwrap()
}

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
        assert_eq!((&record.value()[..], &record.key()[..]), (payload.as_bytes(), &b"t"[..]));
        let found = String::from_utf8(record.header("reason").unwrap().to_vec()).unwrap();
        assert!(found.contains(reason), "{payload}: {found}");
        assert_eq!(record.header("h").unwrap(), "1");
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
    assert_eq!(error.to_string(), "`readings` feeds `heat`, `hot`: drop them first");
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
async fn wrong_statements_and_queries_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    for (script, expected) in [
        (
            "CREATE MATERIALIZED VIEW v AS\nSELECT tmp FROM readings",
            "line 2, column 8: there is no column `tmp`; did you mean `temp`?",
        ),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT room, count(*) FROM readings GROUP BY room",
            "line 1, column 1: GROUP BY without a window",
        ),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT * FROM heat",
            "a job reads a stream, and `heat` is none; query it with SELECT",
        ),
        (
            "CREATE MATERIALIZED VIEW heat AS SELECT room FROM readings",
            "`heat` is there already: drop it first, or write IF NOT EXISTS",
        ),
        (
            "CREATE MATERIALIZED VIEW raw AS SELECT room FROM readings",
            "line 1, column 1: `raw` is a log; use another name",
        ),
        (
            "CREATE STREAM x_errors (a INT) WITH (log = 'l')",
            "names with _errors are those of what is no row",
        ),
        (
            "CREATE STREAM x (a INT) WITH (log = 'x_errors')",
            "stream `x` would read what it cannot read itself",
        ),
        (
            "CREATE STREAM IF NOT EXISTS heat (a INT) WITH (log = 'l')",
            "`heat` is a MATERIALIZED VIEW; use another name",
        ),
        (
            "CREATE STREAM s (ts TIMESTAMP, WATERMARK FOR ts AS now()) WITH (log = 'x')",
            "the watermark `now()` is no time that comes from a row; write WATERMARK FOR ts AS ts - INTERVAL",
        ),
        (
            "CREATE STREAM s (ts TIMESTAMP, WATERMARK FOR ts AS NULL) WITH (log = 'x')",
            "is no time that comes from a row",
        ),
        (
            "CREATE STREAM s (ts TIMESTAMP, n INT, WATERMARK FOR ts AS n) WITH (log = 'x')",
            "is no time that comes from a row",
        ),
        (
            "CREATE STREAM s (ts DOUBLE, WATERMARK FOR ts AS ts) WITH (log = 'x')",
            "the watermark's column `ts` is Float64; declare it TIMESTAMP",
        ),
        (
            "CREATE STREAM s (ts TIMESTAMP, WATERMARK FOR tx AS ts) WITH (log = 'x')",
            "no column `tx` for the watermark; did you mean `ts`?",
        ),
        (
            "CREATE STREAM s (room VARCHAR) WITH (topic = 'a/{room}')",
            "`s` is about a topic, and the engine has no broker",
        ),
        (
            "CREATE SINK s WITH (topic = 'a/{room}') AS SELECT room FROM readings",
            "`s` is about a topic, and the engine has no broker",
        ),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT INTERVAL '1 day' AS d FROM readings",
            "column `d` of type Interval(MonthDayNano) cannot be stored; CAST it",
        ),
    ] {
        let error = engine.execute(script).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{script}\n  says: {error}\n  not:  {expected}");
    }
    for (query, expected) in [
        ("CREATE TABLE t (a INT)", "this is no query; use SELECT here, and `execute` for CREATE"),
        ("DROP TABLE heat", "this is no query"),
        ("INSERT INTO heat SELECT * FROM heat", "this is no query"),
        (
            "SELECT * FROM hat",
            "line 1, column 15: there is no stream, view or log `hat`; did you mean `heat`?",
        ),
        ("SELECT 1 / 0", "query failed: Divide by zero"),
        ("SELEC 1", "line 1, column 1: "),
    ] {
        let error = engine.sql(query).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{query}\n  says: {error}\n  not:  {expected}");
    }
    assert_eq!(engine.jobs().len(), 3);
    let tables = ask(
        &engine,
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
    )
    .await;
    assert_eq!(tables, ["heat", "hot", "raw", "readings", "readings_errors"]);
    end(&db, &engine).await;
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Room {
    floor: u8,
    area: Option<f64>,
    tags: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_the_application_are_joined_with_views() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let rooms = db.table::<String, Room>("rooms").unwrap();
    let limits = db.table::<(String, u32), f64>("limits").unwrap();
    let mut batch = db.batch();
    for n in 0..3000u32 {
        let area = (n % 2 == 0).then_some(f64::from(n));
        let room = Room { floor: 2, area, tags: vec![format!("t{n}")] };
        batch.insert(&rooms, &format!("room {n}"), &room).unwrap();
        batch.insert(&limits, &("co2".to_owned(), n), &1.5).unwrap();
    }
    batch.commit().unwrap();
    engine.register(&rooms).unwrap();
    engine.register(&limits).unwrap();
    append(&db, &db.log("raw").unwrap(), [reading(0, "room 4", 20.0), reading(90, "x", 1.0)]);
    engine.caught_up(LONG).await.unwrap();
    let joined = "SELECT heat.temp, area, floor FROM heat JOIN rooms ON room = _key";
    assert_eq!(ask(&engine, joined).await, ["20.0 4.0 2"]);
    let counted = "SELECT count(*), count(area), max(area) FROM rooms";
    assert_eq!(ask(&engine, counted).await, ["3000 1500 2998.0"]);
    let all = "SELECT * FROM rooms ORDER BY area DESC NULLS LAST LIMIT 1";
    assert_eq!(ask(&engine, all).await, ["room 2998 2998.0 2 [t2998]"]);
    let limits = "SELECT _key_0, max(_key_1), sum(value) FROM limits GROUP BY _key_0";
    assert_eq!(ask(&engine, limits).await, ["co2 2999 4500.0"]);
    let view = "CREATE MATERIALIZED VIEW rooms AS SELECT room FROM readings";
    let error = engine.execute(view).await.unwrap_err().to_string();
    assert!(error.contains("`rooms` is a table of the application; use another name"), "{error}");
    assert!(matches!(
        engine.register(&db.table::<u8, u8>("heat").unwrap()),
        Err(SqlError::Exists { .. })
    ));
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
    engine.execute(SCRIPT).await.unwrap();
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
async fn one_query_sees_all_tables_at_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    let writer = std::thread::spawn({
        let (db, log) = (db.clone(), log.clone());
        move || (0..200).for_each(|n| append(&db, &log, [reading(n, "lab", 1.0)]))
    });
    let query = "SELECT (SELECT count(*) FROM raw) - (SELECT count(*) FROM readings)";
    while !writer.is_finished() {
        assert_eq!(ask(&engine, query).await, ["0"]);
    }
    writer.join().unwrap();
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_take_more_memory_than_they_may_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let engine = Engine::builder().db(&db).query_memory_bytes(1 << 20).start().await.unwrap();
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    for second in 0..20 {
        append(
            &db,
            &log,
            (0..1000).map(|n| reading(second, &format!("room {n} of {second}"), 1.0)),
        );
    }
    let error = engine.sql("SELECT * FROM readings").await.unwrap_err().to_string();
    assert_eq!(error, "answer is larger than 1048576 bytes: ask for fewer rows or columns");
    assert_eq!(ask(&engine, "SELECT count(*) FROM readings").await, ["20000"]);
    let grouped = "SELECT count(*) FROM (SELECT room, array_agg(temp) FROM readings GROUP BY room)";
    match engine.sql(grouped).await {
        Ok(answer) => assert_eq!(cells(&answer), ["20000"], "it may spill"),
        Err(error) => assert!(error.to_string().contains("Resources exhausted"), "{error}"),
    }
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
