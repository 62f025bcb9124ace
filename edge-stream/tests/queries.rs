//! What is answered, over what, within which memory; and what is refused, with which words.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;

use std::time::Duration;

use arrow::array::AsArray;
use edge_db::{Db, Time};
use edge_stream::{Engine, SqlError};
use site::{LONG, SCRIPT, append, ask, end, reading, start};

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
        ("INSERT INTO heat SELECT * FROM heat", "line 1, column 1: INSERT is no question"),
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
async fn over_in_a_view_is_over_in_a_query() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let over = "SELECT room, ts, changed(temp) OVER w AS c, changed(temp, 1.5) OVER w AS b,
                latest(temp) OVER w AS l, lag(temp) OVER w AS g FROM readings
                WINDOW w AS (PARTITION BY room ORDER BY ts)";
    engine.execute(&format!("CREATE MATERIALIZED VIEW reports AS {over}")).await.unwrap();
    let log = db.log("raw").unwrap();
    let temps = [20.0, 20.0, 21.0, 22.0, 20.5, 20.5, 19.0];
    for (second, temp) in (0..).zip(temps) {
        append(&db, &log, [reading(second, "lab", temp), reading(second, "hall", -temp)]);
    }
    append(&db, &log, [reading(90, "lab", 20.0)]);
    engine.caught_up(LONG).await.unwrap();
    let view = ask(&engine, "SELECT * FROM reports ORDER BY room, ts").await;
    let query =
        format!("SELECT * FROM ({over}) WHERE ts < '2026-01-01T00:01:00' ORDER BY room, ts");
    assert_eq!(view, ask(&engine, &query).await);
    let of_lab = view.iter().filter(|row| row.starts_with("lab"));
    let of_lab: Vec<_> = of_lab.map(|row| row.split(' ').skip(2).collect::<Vec<_>>()).collect();
    let column = |at: usize| of_lab.iter().map(|row| row[at]).collect::<Vec<_>>();
    assert_eq!(column(0), ["true", "false", "true", "true", "true", "false", "true"]);
    assert_eq!(column(1), ["true", "false", "false", "true", "false", "false", "true"]);
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
    // One group cannot go on from disk.
    let gathered = "SELECT array_length(array_agg(value || value)) FROM raw";
    let error = engine.sql(gathered).await.unwrap_err();
    assert!(matches!(error, SqlError::QueryMemory { limit_bytes: 1_048_576, .. }));
    let expected = "query needs more memory than the 1048576 bytes that queries may take together: \
                    ask for fewer rows or groups, or allow more by \
                    `EngineBuilder::query_memory_bytes`";
    assert_eq!(error.to_string(), expected);
    assert_eq!(ask(&engine, "SELECT count(*) FROM readings").await, ["20000"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_take_longer_than_they_may_are_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let limit = Duration::from_millis(20);
    let engine = Engine::builder().db(&db).query_time(limit).start().await.unwrap();
    // Days of work.
    let query = "SELECT sum(a.value % 7) FROM generate_series(1, 100000000000000) AS a";
    let error = engine.sql(query).await.unwrap_err();
    let expected = "query took longer than 20ms, the limit: ask for less, by conditions on `_time` \
                    or `_seq`, or allow more by `EngineBuilder::query_time`";
    assert_eq!(error.to_string(), expected);
    end(&db, &engine).await;
}

/// How many rows the filter of a query has looked at, as DataFusion says it.
async fn looked_at(engine: &Engine, query: &str) -> String {
    let answer = engine.sql(&format!("EXPLAIN ANALYZE {query}")).await.unwrap();
    let plan = answer[0].column(1).as_string::<i32>().value(0).to_owned();
    // `selectivity=100% (10/10)`; what can never be true is planned without a filter.
    let Some((_, ratio)) = plan.split_once("selectivity=") else { return "0".to_owned() };
    let (_, counts) = ratio.split_once('(').unwrap();
    counts.split(['/', ')']).nth(1).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_on_seq_and_time_leave_records_unread() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let engine = Engine::builder().db(&db).start().await.unwrap();
    engine.execute(SCRIPT).await.unwrap();
    // One in a second, and each thousandth with a clock that is an hour behind.
    let time = |n: u32| i64::from(n) - if n.is_multiple_of(1000) { 3600 } else { 0 };
    let entry = |n| reading(n, "lab", 1.0).at(Time::from_micros(time(n) * 1_000_000));
    append(&db, &db.log("raw").unwrap(), (0..20_000).map(entry));
    for (condition, read, rows) in [
        ("_seq >= 19990", "10", 10),
        ("_seq < 5", "5", 5),
        ("_seq BETWEEN 8190 AND 8200", "11", 11),
        ("_seq IN (4, 9)", "6", 2),
        ("7 = _seq AND _seq % 2 = 1", "1", 1),
        ("_seq > 19999", "0", 0),
        ("_seq > 7 AND _seq < 7", "0", 0),
        ("_seq >= 5 OR _seq % 20000 = 3", "20.00 K", 19_996),
        ("_time >= '1970-01-01T05:25:00'", "500", 500),
        ("_time > TIMESTAMP '1970-01-01T05:25:00'", "500", 499),
        ("_time >= to_timestamp(19501)", "499", 499),
        ("_time BETWEEN '1970-01-01T05:15:00' AND '1970-01-01T05:20:00'", "1.10 K", 300),
        ("_time < '1970-01-01T00:00:10' AND _seq < 900", "900", 10),
        ("_time >= '1970-01-01T05:15:00' AND _seq >= 19500", "500", 500),
        ("_time > now()", "0", 0),
    ] {
        for table in ["readings", "raw"] {
            let query = format!("SELECT count(*) FROM {table} WHERE {condition}");
            assert_eq!(ask(&engine, &query).await, [rows.to_string()], "{query}");
            assert_eq!(looked_at(&engine, &query).await, read, "{query}");
        }
    }
    engine.caught_up(LONG).await.unwrap();
    end(&db, &engine).await;
}
