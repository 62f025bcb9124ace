//! Jobs over several streams, and over streams and tables, in an engine over real Logs: what they
//! answer, what survives a crash, and who may not be dropped.
//!
//! A crash is an engine that is dropped at any moment, which ends its jobs where they are. The
//! oracle is the same query, asked of the history of the streams.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;

use std::time::Duration;

use edge_db::{Db, Entry, Table};
use edge_stream::{CaughtUpError, Engine, SqlError};
use serde::{Deserialize, Serialize};
use site::{LONG, append, ask, end, job, start};

const STREAMS: &str = "
CREATE STREAM IF NOT EXISTS orders (
  ts TIMESTAMP, room VARCHAR, n BIGINT, WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
) WITH (log = 'orders_raw', format = 'json');
CREATE STREAM IF NOT EXISTS doors (
  ts TIMESTAMP, room VARCHAR, n BIGINT, WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
) WITH (log = 'doors_raw', format = 'json');
";

const PAIRS: &str = "SELECT o.n AS n, d.n AS m, o.room FROM orders o LEFT JOIN doors d
ON o.room = d.room AND d.ts BETWEEN o.ts AND o.ts + INTERVAL '8 seconds'";

const BOTH: &str = "SELECT ts, room, n FROM orders UNION ALL SELECT ts, room, -n FROM doors";

const NEWEST: &str = "SELECT o.n AS n, d.n AS m, o.room FROM orders o
ASOF LEFT JOIN doors d MATCH_CONDITION (o.ts >= d.ts) ON o.room = d.room";

/// Each three of a room.
const THREES: &str = "SELECT room, n, m FROM orders MATCH_RECOGNIZE (PARTITION BY room ORDER BY ts
MEASURES FIRST(n) AS n, sum(b.n) AS m PATTERN (a b{2}) WITHIN INTERVAL '10 seconds'
DEFINE b AS b.n = PREV(b.n) + 3)";

#[derive(Serialize, Deserialize)]
struct Room {
    floor: u8,
    name: String,
}

fn event(second: u32, room: &str, n: u32) -> Entry {
    let time =
        format!("2026-01-01T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    Entry::new(format!(r#"{{"ts":"{time}","room":"{room}","n":{n}}}"#))
}

fn put(db: &Db, rooms: &Table<String, Room>, key: &str, floor: u8) {
    let mut batch = db.batch();
    let name = format!("{key} on {floor}");
    batch.insert(rooms, &key.to_owned(), &Room { floor, name }).unwrap();
    batch.commit().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_pair_is_there_once_through_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = 0;
    for life in 0..8u32 {
        let (db, engine) = start(dir.path()).await;
        engine.execute(STREAMS).await.unwrap();
        let views = format!(
            "CREATE MATERIALIZED VIEW IF NOT EXISTS pairs AS {PAIRS};
             CREATE MATERIALIZED VIEW IF NOT EXISTS both AS {BOTH};
             CREATE MATERIALIZED VIEW IF NOT EXISTS newest AS {NEWEST};
             CREATE MATERIALIZED VIEW IF NOT EXISTS threes AS {THREES}"
        );
        engine.execute(&views).await.unwrap();
        let (orders, doors) = (db.log("orders_raw").unwrap(), db.log("doors_raw").unwrap());
        for _ in 0..10 {
            let some = |step: usize| {
                let rows = (written..written + 40).step_by(step);
                rows.map(|n| event(n, &format!("r{}", n % 3), n)).collect::<Vec<_>>()
            };
            append(&db, &orders, some(1));
            append(&db, &doors, some(2));
            written += 40;
            tokio::task::yield_now().await;
        }
        if life % 2 == 1 {
            // Some have committed something, and all are somewhere.
            engine.caught_up(Duration::from_millis(u64::from(life))).await.ok();
        }
        drop(engine);
        db.shutdown(LONG).unwrap();
        drop(db);
    }
    let (db, engine) = start(dir.path()).await;
    for log in ["orders_raw", "doors_raw"] {
        append(&db, &db.log(log).unwrap(), [event(written + 3600, "end", 0)]);
    }
    engine.caught_up(LONG).await.unwrap();
    let ordered = |from: &str| {
        format!("SELECT n, m, room FROM {from} WHERE room <> 'end' ORDER BY n, m NULLS FIRST")
    };
    let expected = ask(&engine, &ordered(&format!("({PAIRS})"))).await;
    assert!(expected.len() > 4000, "{}", expected.len());
    assert_eq!(ask(&engine, &ordered("pairs")).await, expected);
    assert_eq!(job(&engine, "pairs").late, 0);
    // Of the same room, and even.
    let newest = "(SELECT n, CASE WHEN n % 2 = 0 THEN n WHEN n >= 3 THEN n - 3 END AS m, room \
                  FROM orders)";
    let expected = ask(&engine, &ordered(newest)).await;
    assert_eq!(ask(&engine, &ordered("newest")).await, expected);
    let threes = format!(
        "(SELECT n, n * 2 + 9 AS m, room FROM orders WHERE n / 3 % 3 = 0 AND n + 6 < {written})"
    );
    let expected = ask(&engine, &ordered(&threes)).await;
    assert!(expected.len() > 300, "{}", expected.len());
    assert_eq!(ask(&engine, &ordered("threes")).await, expected);
    let counted = "SELECT count(*), count(DISTINCT n), sum(n) FROM";
    let expected = ask(&engine, &format!("{counted} ({BOTH})")).await;
    assert_eq!(ask(&engine, &format!("{counted} both")).await, expected);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_what_joins_and_patterns_keep_of_each_key() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(STREAMS).await.unwrap();
    for (query, expected) in [
        (
            NEWEST,
            ["the newest right row not behind the left one", "for each key its newest right row"],
        ),
        (
            THREES,
            ["(a b{2}) within 10 s", "rows from the first one on at which a match may still begin"],
        ),
    ] {
        let steps = ask(&engine, &format!("EXPLAIN STREAMING {query}")).await.join("\n");
        for text in expected {
            assert!(steps.contains(text), "{steps}\n  does not say: {text}");
        }
        // Both are there for jobs so far.
        let error = engine.sql(query).await.unwrap_err().to_string();
        assert!(error.contains("is there for jobs, not for a query over history"), "{error}");
    }
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_says_how_far_it_is_in_each_of_its_streams() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    // Two streams over one Log have a position each.
    let second = STREAMS.replace("doors_raw", "orders_raw");
    engine.execute(&second).await.unwrap();
    engine.execute(&format!("CREATE MATERIALIZED VIEW both AS {BOTH}")).await.unwrap();
    let log = db.log("orders_raw").unwrap();
    append(&db, &log, (0..5).map(|n| event(n, "lab", n)));
    engine.caught_up(LONG).await.unwrap();
    let status = job(&engine, "both");
    let inputs = status.inputs.iter().map(|input| (input.stream.as_str(), input.position));
    let at_end = log.bounds().unwrap().end;
    assert_eq!(inputs.collect::<Vec<_>>(), [("orders", at_end), ("doors", at_end)]);
    assert_eq!((status.position, status.read, status.out), (at_end, 10, 10));
    for stream in ["orders", "doors"] {
        let refused = engine.execute(&format!("DROP STREAM {stream}")).await.unwrap_err();
        assert!(matches!(refused, SqlError::InUse { .. }), "{refused}");
    }
    engine.execute("DROP MATERIALIZED VIEW both; DROP STREAM doors").await.unwrap();
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_looked_up_in_the_table_as_it_is_when_they_are_processed() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let rooms = db.table::<String, Room>("rooms").unwrap();
    put(&db, &rooms, "lab", 2);
    let engine = Engine::builder().db(&db).table(&rooms).start().await.unwrap();
    engine.execute(STREAMS).await.unwrap();
    let from = "FROM orders o JOIN rooms r ON o.room = r._key";
    engine
        .execute(&format!(
            "CREATE MATERIALIZED VIEW known AS SELECT n, floor, name {from};
             CREATE MATERIALIZED VIEW low AS SELECT n, floor {} AND floor < 3",
            from.replace("JOIN", "LEFT JOIN")
        ))
        .await
        .unwrap();
    let log = db.log("orders_raw").unwrap();
    append(&db, &log, [event(1, "lab", 1), event(2, "hall", 2), event(3, "lab", 3)]);
    engine.caught_up(LONG).await.unwrap();
    put(&db, &rooms, "lab", 3);
    put(&db, &rooms, "hall", 1);
    append(&db, &log, [event(4, "lab", 4), event(5, "hall", 5)]);
    engine.caught_up(LONG).await.unwrap();
    let known = ["1 2 lab on 2", "3 2 lab on 2", "4 3 lab on 3", "5 1 hall on 1"];
    assert_eq!(ask(&engine, "SELECT * FROM known ORDER BY n").await, known);
    let low = ["1 2", "2", "3 2", "4", "5 1"];
    assert_eq!(ask(&engine, "SELECT * FROM low ORDER BY n").await, low);
    end(&db, &engine).await;
    drop((engine, db));

    let db = Db::open(dir.path()).unwrap();
    let rooms = db.table::<String, Room>("rooms").unwrap();
    let engine = Engine::builder().db(&db).table(&rooms).start().await.unwrap();
    append(&db, &db.log("orders_raw").unwrap(), [event(6, "hall", 6)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT n, floor FROM known WHERE n = 6").await, ["6 1"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_looked_up_only_by_what_equals_the_key_and_where_the_rest_holds() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let levels = db.table::<i64, Room>("levels").unwrap();
    let mut batch = db.batch();
    for (key, floor) in [(1, 2), (2, 5), (3, 9)] {
        batch.insert(&levels, &key, &Room { floor, name: format!("level {key}") }).unwrap();
    }
    batch.commit().unwrap();
    let engine = Engine::builder().db(&db).table(&levels).start().await.unwrap();
    engine.execute(STREAMS).await.unwrap();
    let log = db.log("orders_raw").unwrap();
    append(&db, &log, (1..=8).map(|n| event(n, "lab", n)));
    for (name, join, expected) in [
        // Half of an odd number is no whole one.
        ("halves", "JOIN levels l ON o.n * 0.5 = l._key", &["2 2", "4 5", "6 9"][..]),
        ("low", "JOIN levels l ON o.n = l._key AND l.floor < 6", &["1 2", "2 5"]),
        (
            "known",
            "JOIN levels l ON o.n = l._key AND nullif(l.floor, 5) < o.n + 7",
            &["1 2", "3 9"],
        ),
        (
            "all_known",
            "LEFT JOIN levels l ON o.n = l._key AND nullif(l.floor, 5) < o.n + 7 WHERE o.n < 5",
            &["1 2", "2", "3 9", "4"],
        ),
    ] {
        let view =
            format!("CREATE MATERIALIZED VIEW {name} AS SELECT o.n, l.floor FROM orders o {join}");
        engine.execute(&view).await.unwrap();
        engine.caught_up(LONG).await.unwrap();
        assert_eq!(
            ask(&engine, &format!("SELECT * FROM {name} ORDER BY n")).await,
            expected,
            "{join}"
        );
    }
    // Rows keep their event time.
    let floors = "CREATE MATERIALIZED VIEW floors AS SELECT window_start, l.floor, count(*) AS c FROM \
                  TUMBLE(orders, ts, INTERVAL '1 minute') o JOIN levels l ON o.n % 2 = l._key \
                  GROUP BY window_start, l.floor";
    engine.execute(floors).await.unwrap();
    append(&db, &log, [event(90, "end", 0)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT floor, c FROM floors").await, ["2 4"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_looked_up_in_a_view_by_its_key_and_the_view_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(STREAMS).await.unwrap();
    engine
        .execute(
            "CREATE MATERIALIZED VIEW counts AS SELECT window_start, room, count(*) AS c
             FROM TUMBLE(orders, ts, INTERVAL '1 minute') GROUP BY window_start, room",
        )
        .await
        .unwrap();
    let orders = db.log("orders_raw").unwrap();
    append(&db, &orders, [event(1, "lab", 1), event(2, "lab", 2), event(3, "hall", 3)]);
    append(&db, &orders, [event(90, "end", 0)]);
    engine.caught_up(LONG).await.unwrap();
    let join = "CREATE MATERIALIZED VIEW with_counts AS SELECT d.n, c.c FROM doors d LEFT JOIN
         counts c ON c.room = d.room AND c.window_start = tumble_start(d.ts, INTERVAL '1 minute')";
    engine.execute(join).await.unwrap();
    let doors = db.log("doors_raw").unwrap();
    append(&db, &doors, [event(5, "lab", 1), event(6, "attic", 2), event(65, "lab", 3)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT * FROM with_counts ORDER BY n").await, ["1 2", "2", "3"]);
    let refused = engine.execute("DROP MATERIALIZED VIEW counts").await.unwrap_err();
    assert!(matches!(refused, SqlError::InUse { .. }), "{refused}");
    for (query, expected) in [
        (
            "SELECT d.n FROM doors d JOIN counts c ON c.room = d.room",
            "table `counts` is looked up by its key, and ON does not say what `window_start` \
             equals; write ON stream.column = counts.window_start AND stream.column = counts.room",
        ),
        (
            "SELECT d.n FROM counts c JOIN doors d ON c.room = d.room",
            "changes of table `counts` make no rows of a job; write the stream first",
        ),
        (
            "SELECT d.n FROM doors d JOIN with_counts w ON w.n = d.n",
            "rows of `with_counts` have no key that they can be looked up by",
        ),
    ] {
        let create = format!("CREATE MATERIALIZED VIEW v AS {query}");
        let error = engine.execute(&create).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{query}\n  says: {error}\n  not:  {expected}");
    }
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_join_is_told_which_stream_is_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(STREAMS).await.unwrap();
    // The division fails, and the job stops in front of it.
    let query = "SELECT 1 / (o.n - d.n) AS n FROM orders o JOIN doors d ON o.ts = d.ts";
    engine.execute(&format!("CREATE MATERIALIZED VIEW sums AS {query}")).await.unwrap();
    for log in ["orders_raw", "doors_raw"] {
        append(&db, &db.log(log).unwrap(), [event(1, "lab", 1000)]);
    }
    let behind = engine.caught_up(Duration::from_secs(3)).await.unwrap_err();
    let CaughtUpError::Behind { job, stream, .. } = &behind else { panic!("{behind}") };
    assert_eq!(job.name, "sums");
    assert!(["orders", "doors"].contains(&stream.as_str()), "{stream}");
    assert!(behind.to_string().contains("Divide by zero"), "{behind}");
}
