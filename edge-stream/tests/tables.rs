//! Tables that statements make and fill: what is in them, who looks it up, and what is refused.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;

use edge_stream::SqlError;
use site::{LONG, append, ask, end, reading, start};

const STREAM: &str = "
CREATE STREAM IF NOT EXISTS readings (
  ts TIMESTAMP, room VARCHAR, temp DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
) WITH (log = 'raw', format = 'json');
";

const ROOMS: &str = "
CREATE TABLE IF NOT EXISTS rooms (
  room VARCHAR, floor SMALLINT, high DOUBLE, since TIMESTAMP, PRIMARY KEY (room));
";

const HOT: &str = "
CREATE MATERIALIZED VIEW IF NOT EXISTS hot AS
SELECT r._seq, r.room, r.temp, l.floor FROM readings r JOIN rooms l ON r.room = l.room
WHERE r.temp > l.high;
";

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_table_are_looked_up_as_they_are_when_a_reading_comes() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    // It has columns before it has rows.
    engine.execute(&format!("{STREAM}{ROOMS}{HOT}")).await.unwrap();
    let rooms = "INSERT INTO rooms (high, room, floor) VALUES (20, 'lab', 2), (30.5, 'hall', 1)";
    engine.execute(rooms).await.unwrap();
    let log = db.log("raw").unwrap();
    append(&db, &log, [reading(0, "lab", 21.0), reading(1, "hall", 21.0), reading(2, "x", 99.0)]);
    engine.caught_up(LONG).await.unwrap();
    let hot = "SELECT room, temp, floor FROM hot ORDER BY _seq";
    assert_eq!(ask(&engine, hot).await, ["lab 21.0 2"]);

    // A row takes the place of that with its key, and of two in one statement the last.
    let anew =
        "INSERT INTO rooms VALUES ('hall', 7, 9, NULL), ('hall', 1, 10, '2026-01-01T00:00:00')";
    engine.execute(anew).await.unwrap();
    append(&db, &log, [reading(3, "hall", 21.0)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, hot).await, ["lab 21.0 2", "hall 21.0 1"]);
    let all = "SELECT * FROM rooms ORDER BY room";
    assert_eq!(ask(&engine, all).await, ["hall 1 10.0 2026-01-01T00:00:00", "lab 2 20.0"]);
    let described = ask(&engine, "DESCRIBE rooms").await;
    assert_eq!(described, ["room VARCHAR key", "floor SMALLINT", "high DOUBLE", "since TIMESTAMP"]);
    assert!(engine.export().contains("CREATE TABLE IF NOT EXISTS rooms ("), "{}", engine.export());
    assert!(!engine.jobs().iter().any(|job| job.name == "rooms"), "a table has no job");
    end(&db, &engine).await;
    drop((engine, log, db));

    let (db, engine) = start(dir.path()).await;
    assert_eq!(ask(&engine, all).await.len(), 2);
    append(&db, &db.log("raw").unwrap(), [reading(4, "lab", 22.0)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, hot).await.len(), 3);
    let error = engine.execute("DROP TABLE rooms").await.unwrap_err().to_string();
    assert_eq!(error, "line 1, column 1: `rooms` feeds `hot`: drop them first");
    engine.execute("DROP MATERIALIZED VIEW hot; DROP TABLE rooms").await.unwrap();
    engine.execute(ROOMS).await.unwrap();
    assert_eq!(ask(&engine, "SELECT count(*) FROM rooms").await, ["0"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_queries_are_put_into_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(STREAM).await.unwrap();
    let table =
        "CREATE TABLE days (day DATE, room VARCHAR, n BIGINT, most REAL, PRIMARY KEY (room, day))";
    engine.execute(table).await.unwrap();
    let log = db.log("raw").unwrap();
    append(&db, &log, (0..50).map(|n| reading(n, ["lab", "hall"][n as usize % 2], f64::from(n))));
    let insert = "INSERT INTO days WITH r AS (SELECT * FROM readings WHERE temp < 40)
                  SELECT date_trunc('day', ts), room, count(*), max(temp) FROM r GROUP BY 1, 2";
    engine.execute(insert).await.unwrap();
    engine.execute(insert).await.unwrap();
    let all = "SELECT * FROM days ORDER BY room";
    let expected = ["2026-01-01 hall 20 39.0", "2026-01-01 lab 20 38.0"];
    assert_eq!(ask(&engine, all).await, expected);
    engine.execute("INSERT INTO days (SELECT day, room || '2', n, most FROM days)").await.unwrap();
    assert_eq!(ask(&engine, "SELECT count(*), sum(n) FROM days").await, ["4 80"]);
    let windows = "INSERT INTO days (room, day, n) SELECT 'hour', window_start, count(*)
                   FROM TUMBLE(readings, ts, INTERVAL '1 hour') GROUP BY window_start";
    engine.execute(windows).await.unwrap();
    assert_eq!(ask(&engine, "SELECT n, most FROM days WHERE room = 'hour'").await, ["50"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_replaced_by_none_with_other_columns() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let table = "CREATE OR REPLACE TABLE t (a INT PRIMARY KEY, b VARCHAR)";
    engine.execute(table).await.unwrap();
    engine.execute("INSERT INTO t VALUES (1, 'one')").await.unwrap();
    engine.execute(table).await.unwrap();
    assert_eq!(ask(&engine, "SELECT * FROM t").await, ["1 one"]);
    let error = engine.execute(&table.replace("VARCHAR", "INT")).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "line 1, column 1: table `t` has other columns; DROP TABLE takes it away with its rows, or use \
         another name"
    );
    let again = table.replace(" OR REPLACE", "");
    assert!(matches!(engine.execute(&again).await, Err(SqlError::Exists { .. })));
    engine.execute(&again.replace("TABLE", "TABLE IF NOT EXISTS")).await.unwrap();
    assert_eq!(ask(&engine, "SELECT * FROM t").await, ["1 one"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_table_or_row_is_refused_with_what_would_work() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(&format!("{STREAM}{ROOMS}")).await.unwrap();
    engine.execute("CREATE MATERIALIZED VIEW v AS SELECT room FROM readings").await.unwrap();
    for (statement, expected) in [
        (
            "CREATE TABLE t",
            "line 1, column 15: a table needs columns; write CREATE TABLE limits (device VARCHAR, high \
             DOUBLE, PRIMARY KEY (device))",
        ),
        (
            "CREATE TABLE t (a INT)",
            "line 1, column 16: a table needs a PRIMARY KEY, which tells its rows apart; write CREATE",
        ),
        (
            "CREATE TABLE t (a INT,\n PRIMARY KEY (aa))",
            "line 2, column 15: there is no column `aa` for the key; did you mean `a`?",
        ),
        (
            "CREATE TABLE t (a INT PRIMARY KEY, b INT PRIMARY KEY)",
            "line 1, column 36: a table has one PRIMARY KEY; name all its columns in it: PRIMARY KEY (",
        ),
        ("CREATE TABLE t (a INT, PRIMARY KEY (a, a))", "column 40: column `a` is there twice"),
        ("CREATE TABLE t (a FOO, PRIMARY KEY (a))", "line 1, column 19: type FOO is not there"),
        (
            "CREATE TABLE t (a INT[], PRIMARY KEY (a))",
            "line 1, column 1: column `a` of type INTEGER[] is no key; use a number, a text or a time",
        ),
        (
            "CREATE TABLE t (a INT PRIMARY KEY) WITH (log = 'l')",
            "line 1, column 36: `WITH` does not belong here; end the statement with `;`",
        ),
        ("CREATE TABLE readings (a INT PRIMARY KEY)", "`readings` is a STREAM; use another name"),
        ("CREATE TABLE raw (a INT PRIMARY KEY)", "`raw` is a log; use another name"),
        ("DROP TABLE roms", "there is no TABLE `roms`; did you mean `rooms`?"),
        (
            "DROP TABLE v",
            "there is no TABLE `v`; it is a MATERIALIZED VIEW: DROP MATERIALIZED VIEW v",
        ),
        (
            "PAUSE TABLE rooms",
            "line 1, column 7: a table has no job; PAUSE JOB name, or the kind of it",
        ),
        ("INSERT INTO roms VALUES (1)", "there is no table `roms`; did you mean `rooms`?"),
        (
            "INSERT INTO readings VALUES (1)",
            "line 1, column 13: there is no table `readings`; it is a stream: append to its Log",
        ),
        (
            "INSERT INTO v VALUES ('a')",
            "it has the rows of its query: CREATE TABLE for rows of your own",
        ),
        (
            "INSERT INTO rooms SET a = 1",
            "line 1, column 19: expected VALUES or SELECT, found SET; write INSERT INTO limits VALUES",
        ),
        (
            "INSERT INTO rooms VALUES ('a', 1)",
            "INSERT gives 2 columns, and `rooms` takes 4: room, floor, high, since; name those that it \
             gives: INSERT INTO rooms (..)",
        ),
        (
            "INSERT INTO rooms (room, flor) VALUES ('a', 1)",
            "line 1, column 26: table `rooms` has no column `flor`; did you mean `floor`?",
        ),
        (
            "INSERT INTO rooms (room, floor) VALUES ('a', 1), ('b', 70000)",
            "column `floor` is SMALLINT: Can't cast value 70000 to type Int16",
        ),
        (
            "INSERT INTO rooms (room, high) VALUES ('a', 'much')",
            "column `high` is DOUBLE: Cannot cast string 'much' to value of Float64 type",
        ),
        (
            "INSERT INTO rooms (floor) VALUES (1)",
            "line 1, column 1: `room` is NULL, and tells rows apart; give each row a key",
        ),
        (
            "INSERT INTO rooms SELECT tmp FROM readings",
            "column 26: there is no column `tmp`; did you",
        ),
    ] {
        let error = engine.execute(statement).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{statement}\n  says: {error}\n  not:  {expected}");
    }
    let error = engine.sql("INSERT INTO rooms VALUES (1)").await.unwrap_err().to_string();
    assert_eq!(error, "line 1, column 1: INSERT is no question; give it to `execute`");
    // Not even the rows in front of the wrong one.
    assert_eq!(ask(&engine, "SELECT count(*) FROM rooms").await, ["0"]);
    end(&db, &engine).await;
}
