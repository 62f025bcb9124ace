//! What changes in a table or view, as a stream: each change is one row, once, through crashes and for
//! whoever reads it; and what is no table is refused.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use edge_stream::{Begin, Engine, PushError, Sample, Speed, SqlError, Update};
use site::{LONG, SCRIPT, append, ask, cells, end, job, reading, start};

const ROOMS: &str = "
CREATE TABLE IF NOT EXISTS rooms (room VARCHAR, floor SMALLINT, since TIMESTAMP, PRIMARY KEY (room));
CREATE STREAM IF NOT EXISTS room_changes WITH (table = 'rooms');
";

/// A change may be written by one job and read by the next.
async fn caught_up(engine: &Engine) {
    for _ in 0..2 {
        engine.caught_up(LONG).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_a_table_is_a_row() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(ROOMS).await.unwrap();
    let moved = "CREATE MATERIALIZED VIEW moved AS
                 SELECT _seq, room, floor FROM room_changes WHERE _op = 'update'";
    engine.execute(moved).await.unwrap();
    let mut live =
        engine.subscribe("SELECT room, _op FROM room_changes", Begin::Now).await.unwrap();
    engine.execute("INSERT INTO rooms (room, floor) VALUES ('lab', 2), ('hall', 1)").await.unwrap();
    engine
        .execute("INSERT INTO rooms (room, floor) VALUES ('lab', 3), ('x', 9), ('x', 8)")
        .await
        .unwrap();
    let all = "SELECT _seq, room, floor, _op FROM room_changes ORDER BY _seq";
    let expected =
        ["0 lab 2 insert", "1 hall 1 insert", "2 lab 3 update", "3 x 9 insert", "4 x 8 update"];
    assert_eq!(ask(&engine, all).await, expected);
    let mut given = Vec::new();
    while given.len() < 5 {
        let Some(Ok(Update::Rows { rows, next })) = live.next().await else { panic!() };
        given.extend(cells(&[rows]));
        assert!(next.is_some(), "it can be gone on from");
    }
    assert_eq!(given[2..], ["lab update", "x insert", "x update"]);
    caught_up(&engine).await;
    assert_eq!(ask(&engine, "SELECT room, floor FROM moved ORDER BY _seq").await, ["lab 3", "x 8"]);
    let described = [
        "room VARCHAR",
        "floor SMALLINT",
        "since TIMESTAMP",
        "_op VARCHAR of every record",
        "_time Timestamp(µs, \"UTC\") event time",
        "_seq BIGINT of every record",
    ];
    assert_eq!(ask(&engine, "DESCRIBE room_changes").await, described);
    // The time of the commit is between that of the stream and now.
    let times = "SELECT min(_time) > '2026-01-01', max(_time) <= now() FROM room_changes";
    assert_eq!(ask(&engine, times).await, ["true true"]);
    drop(live);
    end(&db, &engine).await;
    drop((db, engine));

    let (db, engine) = start(dir.path()).await;
    assert_eq!(ask(&engine, all).await, expected);
    engine.execute("INSERT INTO rooms (room, floor) VALUES ('hall', 0)").await.unwrap();
    caught_up(&engine).await;
    assert_eq!(ask(&engine, "SELECT room, floor FROM moved").await.len(), 3);
    assert_eq!(job(&engine, "room_changes").undecodable, 0);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_counted_once_through_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let counts = "CREATE MATERIALIZED VIEW IF NOT EXISTS counts AS
                  SELECT room, _op AS op, count(*) AS n, max(floor) AS floor FROM room_changes
                  GROUP BY room, _op EMIT CHANGES;
                  CREATE STREAM IF NOT EXISTS counted WITH (table = 'counts');
                  CREATE SINK IF NOT EXISTS said WITH (log = 'said') AS
                  SELECT room, n FROM counted WHERE op = 'update' AND _op = 'update';";
    let mut written = 0;
    for life in 0..6 {
        let (db, engine) = start(dir.path()).await;
        engine.execute(&format!("{ROOMS}{counts}")).await.unwrap();
        for n in 0..15 {
            let insert = format!("INSERT INTO rooms (room, floor) VALUES ('r{}', {n})", n % 5);
            engine.execute(&insert).await.unwrap();
            written += 1;
        }
        if life % 2 == 1 {
            engine.caught_up(LONG).await.unwrap();
        }
        drop(engine);
        db.shutdown(LONG).unwrap();
    }
    let (db, engine) = start(dir.path()).await;
    for _ in 0..3 {
        engine.caught_up(LONG).await.unwrap();
    }
    let by_op = "SELECT op, sum(n) FROM counts GROUP BY op ORDER BY op";
    assert_eq!(
        ask(&engine, by_op).await,
        ["insert 5".to_owned(), format!("update {}", written - 5)]
    );
    let all = "SELECT count(*), count(DISTINCT _seq) FROM room_changes";
    assert_eq!(ask(&engine, all).await, [format!("{written} {written}")]);
    // What the sink has said last of each room is what the view shows.
    engine
        .execute("CREATE STREAM heard (room VARCHAR, n BIGINT) WITH (log = 'said')")
        .await
        .unwrap();
    let heard = "SELECT room, max(n) FROM heard GROUP BY room ORDER BY room";
    let shown = "SELECT room, n FROM counts WHERE op = 'update' ORDER BY room";
    assert_eq!(ask(&engine, heard).await, ask(&engine, shown).await);
    let twice = "SELECT room, n FROM heard GROUP BY room, n HAVING count(*) > 1";
    assert_eq!(ask(&engine, twice).await, [""; 0]);
    engine.caught_up(LONG).await.unwrap();
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_leave_a_view_are_deletes_with_what_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let script = "CREATE MATERIALIZED VIEW few AS SELECT room, count(*) AS n, max(temp) AS temp
                  FROM readings GROUP BY room HAVING count(*) < 3 EMIT CHANGES;
                  CREATE STREAM few_changes WITH (table = 'few');
                  CREATE STREAM hot_changes (WATERMARK FOR _time) WITH (table = 'heat');";
    engine.execute(&format!("{SCRIPT}{script}")).await.unwrap();
    let log = db.log("raw").unwrap();
    for (second, temp) in [(0, 10.0), (1, 11.0), (2, 12.0), (3, 13.0)] {
        append(&db, &log, [reading(second, "lab", temp)]);
        engine.caught_up(LONG).await.unwrap();
    }
    append(&db, &log, [reading(80, "hall", 1.0)]);
    caught_up(&engine).await;
    let changes = "SELECT room, n, temp, _op FROM few_changes WHERE room = 'lab' ORDER BY _seq";
    let expected = ["lab 1 10.0 insert", "lab 2 11.0 update", "lab 2 11.0 delete"];
    assert_eq!(ask(&engine, changes).await, expected);
    let closed = "SELECT window_start, room, n, _op FROM hot_changes";
    assert_eq!(ask(&engine, closed).await, ["2026-01-01T00:00:00 lab 4 insert"]);

    // A view in whose place another one comes would bring all its rows once more.
    let again = SCRIPT.split(';').nth(1).unwrap().replace("CREATE", "CREATE OR REPLACE");
    let error = engine.execute(&again.replace("avg", "max")).await.unwrap_err();
    assert!(matches!(error, SqlError::InUse { .. }), "{error}");
    assert!(
        error.to_string().contains("column 1: `heat` feeds `hot_changes`: drop them"),
        "{error}"
    );
    engine.execute("DROP STREAM hot_changes").await.unwrap();
    engine.execute(&again.replace("avg", "max")).await.unwrap();
    caught_up(&engine).await;
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn event_time_of_a_change_may_be_a_column() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine
        .execute(
            &ROOMS.replace(" WITH", "(WATERMARK FOR since AS since - INTERVAL '1 second') WITH"),
        )
        .await
        .unwrap();
    let view =
        "CREATE MATERIALIZED VIEW by_minute AS SELECT window_start, count(*) AS n, max(_op) AS op
                FROM TUMBLE(room_changes, since, INTERVAL '1 minute') GROUP BY window_start";
    engine.execute(view).await.unwrap();
    let insert = "INSERT INTO rooms (room, since) VALUES ('a', '2026-01-01T00:00:10'), ('b', NULL),
                  ('a', '2026-01-01T00:00:59'), ('c', '2026-01-01T00:02:00')";
    engine.execute(insert).await.unwrap();
    caught_up(&engine).await;
    assert_eq!(ask(&engine, "SELECT * FROM by_minute").await, ["2026-01-01T00:00:00 2 update"]);
    assert_eq!(job(&engine, "room_changes").undecodable, 1);
    let reason = "SELECT get_field(headers, 'reason') FROM room_changes_errors";
    assert_eq!(ask(&engine, reason).await, ["`since` is missing, and it is the event time"]);

    // The same stream with another watermark, and late rows apart.
    let late = "CREATE OR REPLACE STREAM room_changes (WATERMARK FOR since)
                WITH (table = 'rooms', late = 'divert', max_ahead = 'none')";
    engine.execute(late).await.unwrap();
    engine.execute("INSERT INTO rooms (room, since) VALUES ('d', '2026-01-01T00:03:00'), ('d', '2026-01-01T00:01:00')").await.unwrap();
    caught_up(&engine).await;
    let late = "SELECT room, since, _op FROM room_changes_late";
    assert_eq!(ask(&engine, late).await, ["d 2026-01-01T00:01:00 update"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_kept_as_long_as_a_stream_is_over_them() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(ROOMS).await.unwrap();
    engine.execute("CREATE STREAM others WITH (table = 'rooms')").await.unwrap();
    let insert = "INSERT INTO rooms (room) VALUES ('lab')";
    engine.execute(insert).await.unwrap();
    let error = engine.execute("DROP TABLE rooms").await.unwrap_err().to_string();
    assert_eq!(error, "line 1, column 1: `rooms` feeds `others`, `room_changes`: drop them first");
    engine.execute("DROP STREAM room_changes").await.unwrap();
    engine.execute(insert).await.unwrap();
    assert_eq!(ask(&engine, "SELECT _op FROM others ORDER BY _seq").await, ["insert", "update"]);
    let export = engine.export();
    assert!(export.find("CREATE TABLE") < export.find("CREATE STREAM others"), "{export}");

    engine.execute("DROP STREAM others; DROP TABLE rooms").await.unwrap();
    let table = "CREATE TABLE rooms (id BIGINT PRIMARY KEY)";
    engine.execute(&format!("{table}; INSERT INTO rooms VALUES (1)")).await.unwrap();
    engine
        .execute("CREATE STREAM anew WITH (table = 'rooms'); INSERT INTO rooms VALUES (2)")
        .await
        .unwrap();
    assert_eq!(ask(&engine, "SELECT id, _op FROM anew").await, ["2 insert"]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(job(&engine, "anew").undecodable, 0);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_stream_of_changes_is_refused_with_what_would_work() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(&format!("{SCRIPT}{ROOMS}")).await.unwrap();
    engine.execute("CREATE SINK s WITH (log = 'said') AS SELECT room FROM readings").await.unwrap();
    let own = db.table::<u64, f64>("own").unwrap();
    engine.register(&own).unwrap();
    for (options, expected) in [
        (
            "table = 'room'",
            "line 1, column 1: there is no table or view `room`; did you mean `rooms`?",
        ),
        (
            "table = 'readings'",
            "line 1, column 1: `readings` is a stream, and has no changes; read it",
        ),
        (
            "table = 's'",
            "`s` is a sink, and has no changes; write the rows WITH (log = 'name'), and",
        ),
        (
            "table = 'own'",
            "`own` is a Table of the application, whose changes are no stream; CREATE TABLE",
        ),
        (
            "table = 'hot'",
            "column `_seq` of `hot` has the name of one that every stream of changes has",
        ),
        (
            "table = 'rooms', log = 'l'",
            "column 17: a stream needs a topic, a log or a table, one of them",
        ),
        (
            "table = 'rooms', format = 'csv'",
            "column 40: the changes of a table have no format; leave it",
        ),
        ("tabel = 'rooms'", "line 1, column 23: there is no option `tabel`; did you mean `table`?"),
    ] {
        let statement = format!("CREATE STREAM c WITH ({options})");
        let error = engine.execute(&statement).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{statement}\n  says: {error}\n  not:  {expected}");
    }
    let columns = "CREATE STREAM c (room VARCHAR) WITH (table = 'rooms')";
    let error = engine.execute(columns).await.unwrap_err().to_string();
    assert!(
        error.contains("column 17: the columns of a stream of changes are those of its"),
        "{error}"
    );
    let column = "CREATE STREAM c (WATERMARK FOR sinse) WITH (table = 'rooms')";
    let error = engine.execute(column).await.unwrap_err().to_string();
    assert!(error.contains("there is no column `sinse`; did you mean `since`?"), "{error}");
    let log = "CREATE STREAM c (room VARCHAR) WITH (log = 'stream.changes.rooms')";
    let error = engine.execute(log).await.unwrap_err().to_string();
    assert!(error.contains("has the changes of a table; write table = 'rooms'"), "{error}");
    let sink = "CREATE SINK c WITH (log = 'stream.changes.rooms') AS SELECT room FROM readings";
    let error = engine.execute(sink).await.unwrap_err().to_string();
    assert!(error.contains("is a log of what changes in a table; use another name"), "{error}");

    let rows =
        RecordBatch::try_from_iter([("room", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    let refused = engine.push("room_changes", &rows.unwrap()).await.unwrap_err();
    assert!(
        matches!(&refused, PushError::Rows { reason, .. } if reason.contains("changes of a table"))
    );
    let file = dir.path().join("rows.ndjson");
    std::fs::write(&file, "{}\n").unwrap();
    let refused = engine.replay(&file, "room_changes", Speed::Max).await.unwrap_err().to_string();
    assert!(refused.ends_with("the rows of the stream are the changes of a table"), "{refused}");
    // Nothing of it has written to the table's changes.
    assert_eq!(ask(&engine, "SELECT count(*) FROM room_changes").await, ["0"]);

    engine.execute("INSERT INTO rooms (room) VALUES ('lab')").await.unwrap();
    let trial = "CREATE STREAM c WITH (table = 'rooms'); SELECT room, _op FROM c";
    let tried = engine.try_out(trial, Sample::Newest(10)).await.unwrap();
    assert_eq!(cells(&tried.rows), ["lab insert"]);
    engine.caught_up(LONG).await.unwrap();
    end(&db, &engine).await;
}
