//! A query over sessions means the same as a view, which a job keeps, and as a bounded query.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;
#[path = "support/tries.rs"]
mod tries;

use edge_db::Entry;
use edge_stream::Engine;
use proptest::collection::vec;
use proptest::prelude::*;
use site::{LONG, SCRIPT, append, ask, end, reading, start};

/// `S` stands for the sessions.
fn with_session(sql: &str) -> String {
    sql.replace(" S ", " SESSION(readings, DESCRIPTOR(ts), INTERVAL '30 seconds') ")
}

/// Behind all others, so that their sessions have ended; of a room that no query looks at.
fn last() -> Entry {
    reading(50_000, "end", -1000.0)
}

const QUERIES: [(&str, &str); 5] = [
    (
        "by_room",
        "SELECT window_start, window_end, room, count(*) AS n, avg(temp) AS temp FROM S \
         WHERE temp > -100 GROUP BY window_start, window_end, room",
    ),
    (
        "of_all",
        "SELECT window_start, window_end AS until, count(*) AS n FROM S \
         WHERE temp > 0 GROUP BY 1, until",
    ),
    (
        "by_expression",
        "SELECT window_end, upper(room) = 'A' AS is_a, max(temp) - min(temp) AS span FROM S \
         WHERE temp > -100 GROUP BY window_end, is_a",
    ),
    (
        "by_partition",
        "SELECT s.room AS place, window_start - INTERVAL '1 second' AS before, window_start, \
         count(*) AS n FROM SESSION(TABLE readings PARTITION BY room, DESCRIPTOR(ts), \
         INTERVAL '30 seconds') AS s WHERE temp > -100 GROUP BY window_start, s.room \
         HAVING count(*) > 1",
    ),
    (
        "nested",
        "WITH warm AS (SELECT ts AS ts, room FROM readings WHERE temp > 0) \
         SELECT window_start, room, count(*) AS n \
         FROM SESSION(warm, ts, INTERVAL '30 seconds') GROUP BY window_start, room",
    ),
];

async fn same_twice(engine: &Engine) {
    for (name, query) in QUERIES {
        let order = |of: String| format!("SELECT * FROM ({of}) ORDER BY 1, 2, 3");
        let columns = "SELECT * FROM (SELECT * FROM V )".replace('V', name);
        let kept = ask(engine, &order(columns)).await;
        let found = ask(engine, &order(with_session(query))).await;
        assert_eq!(kept, found, "{name}");
    }
}

proptest! {
    #![proptest_config(tries::of(6))]

    #[test]
    fn a_view_is_the_bounded_answer(
        rows in vec((0u32..20, 0u32..10, 0usize..3, -20i8..40), 1..60),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let (db, engine) = start(dir.path()).await;
            engine.execute(SCRIPT).await.unwrap();
            for (name, query) in QUERIES {
                let view = format!("CREATE MATERIALIZED VIEW {name} AS {}", with_session(query));
                engine.execute(&view).await.unwrap();
            }
            let log = db.log("raw").unwrap();
            let mut clock = 10;
            let entries: Vec<_> = rows.iter().map(|(step, back, room, temp)| {
                clock += step;
                reading(clock - back, ["a", "b", "c"][*room], f64::from(*temp))
            }).collect();
            append(&db, &log, entries.into_iter().chain([last()]));
            engine.caught_up(LONG).await.unwrap();
            same_twice(&engine).await;
            end(&db, &engine).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bounded_queries_find_sessions_wherever_rows_are_grouped_by_them() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    // Room a: 0 to 29, and from 59 on, which is exactly the gap later. Room b in between.
    let rows = [(29, "a"), (0, "a"), (40, "b"), (59, "a"), (60, "a")];
    append(&db, &log, rows.map(|(second, room)| reading(second, room, 1.0)));
    for (query, expected) in [
        (
            "SELECT room, CAST(window_end AS TIME) AS e, count(*) FROM S GROUP BY room, window_end \
             ORDER BY room, e",
            vec!["a 00:00:59 2", "a 00:01:30 2", "b 00:01:10 1"],
        ),
        (
            "SELECT CAST(window_start AS TIME), count(*) FROM S GROUP BY window_start",
            vec!["00:00:00 5"],
        ),
        (
            "SELECT count(*) FROM (SELECT room, window_start FROM S GROUP BY room, window_start)",
            vec!["3"],
        ),
        (
            "SELECT count(*) FROM heat WHERE 3 = (SELECT count(*) FROM \
             (SELECT room, window_start FROM S GROUP BY room, window_start)) OR true",
            vec!["0"],
        ),
        (
            "SELECT s.room, count(*) FROM S AS s JOIN (SELECT 'b' AS room) AS wanted \
             ON s.room = wanted.room GROUP BY s.room, window_start",
            vec!["b 1"],
        ),
        ("SELECT count(*) FROM S ", vec!["5"]),
        ("SELECT sum(_seq) > 0 FROM S GROUP BY room HAVING min(room) = 'b'", vec!["true"]),
    ] {
        assert_eq!(ask(&engine, &with_session(query)).await, expected, "{query}");
    }
    let error = engine.sql(&with_session("SELECT window_start FROM S ")).await.unwrap_err();
    assert!(error.to_string().contains("known only once its rows are grouped"), "{error}");
    let query = "EXPLAIN SELECT window_start, count(*) FROM S GROUP BY window_start";
    let explained = ask(&engine, &with_session(query)).await;
    assert!(explained.join(" ").contains("lag("), "it is a plan like any other");
    end(&db, &engine).await;
}
