//! Statements about what is there already: replaced, halted, shown, exported; over restarts and
//! crashes. A crash is an engine that is dropped at any moment, which ends its jobs, and what it
//! builds, where they are.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;

use edge_db::{Db, Seq};
use edge_stream::{Engine, JobState, SqlError};
use site::{LONG, SCRIPT, append, ask, end, job, reading, start};

const HEAT: &str = "SELECT window_start, room, temp, n FROM heat ORDER BY window_start, room";

/// The view of [`SCRIPT`] with another query: `n` is ten times what it was.
fn tenfold() -> String {
    let heat = SCRIPT.split(';').nth(1).unwrap();
    heat.replace("CREATE", "CREATE OR REPLACE").replace("count(*)", "count(*) * 10")
}

/// Three windows of the lab, of which the last is open.
async fn filled(db: &Db, engine: &Engine) {
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    append(db, &log, [reading(0, "lab", 31.0), reading(61, "lab", 32.0), reading(135, "lab", 1.0)]);
    engine.caught_up(LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_replaced_by_the_answer_of_its_new_query_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    filled(&db, &engine).await;
    engine.execute(&tenfold()).await.unwrap();
    let minutes = ["2026-01-01T00:00:00 lab 31.0 10", "2026-01-01T00:01:00 lab 32.0 10"];
    assert_eq!(ask(&engine, HEAT).await, minutes);
    end(&db, &engine).await;

    let (db, engine) = start(dir.path()).await;
    assert_eq!(ask(&engine, HEAT).await, minutes);
    let log = db.log("raw").unwrap();
    append(&db, &log, [reading(150, "lab", 3.0), reading(200, "lab", 3.0)]);
    engine.caught_up(LONG).await.unwrap();
    // The window that was open when the new query took over has the rows from before.
    let open = ["2026-01-01T00:02:00 lab 2.0 20"];
    assert_eq!(ask(&engine, HEAT).await, [minutes.as_slice(), &open].concat());
    let state: Vec<_> = db.keyspace("stream.state.heat").unwrap().iter().unwrap().collect();
    assert!(state.is_empty(), "the old one has left nothing");

    // And back into the place that it had at first.
    engine
        .execute(&SCRIPT.split(';').nth(1).unwrap().replace("CREATE", "CREATE OR REPLACE"))
        .await
        .unwrap();
    assert_eq!(ask(&engine, "SELECT sum(n) FROM heat").await, ["4"]);
    engine.execute("DROP MATERIALIZED VIEW heat").await.unwrap();
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_statement_again_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let script = SCRIPT.replace("CREATE", "CREATE OR REPLACE");
    engine.execute(&script).await.unwrap();
    let log = db.log("raw").unwrap();
    append(&db, &log, [reading(0, "lab", 31.0), reading(90, "lab", 1.0)]);
    engine.caught_up(LONG).await.unwrap();
    // Whatever were built anew would not have these rows.
    let mut batch = db.batch();
    batch.trim(&log, Seq::new(2));
    batch.commit().unwrap();
    engine.execute(&script.replace("count(*)", "-- how many\n count( * )")).await.unwrap();
    assert_eq!(ask(&engine, "SELECT n FROM heat").await, ["1"]);
    assert_eq!(ask(&engine, "SELECT count(*) FROM hot").await, ["1"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_a_view_is_replaced_leaves_the_old_or_the_new() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    for minute in 0..3 {
        let rows = (0..9000).map(|n| reading(minute * 60 + n % 60, &format!("r{}", n % 7), 1.0));
        append(&db, &log, rows);
    }
    append(&db, &log, [reading(600, "end", 1.0)]);
    engine.caught_up(LONG).await.unwrap();
    end(&db, &engine).await;
    let mut replaced = Vec::new();
    for commits in 0..4 {
        let (db, engine) = start(dir.path()).await;
        let next = if commits % 2 == 0 { tenfold() } else { tenfold().replace("10", "100") };
        let before = ask(&engine, "SELECT sum(n), count(*) FROM heat").await;
        let slots =
            ["stream.state.heat", "stream.state.heat.b"].map(|name| db.keyspace(name).unwrap());
        let mut built = slots.each_ref().map(edge_db::Keyspace::watch);
        let building = tokio::spawn({
            let engine = engine.clone();
            async move { engine.execute(&next).await }
        });
        for _ in 0..commits {
            let [a, b] = &mut built;
            tokio::select! { () = a.changed() => {}, () = b.changed() => {} }
        }
        building.abort();
        drop(building.await);
        drop(engine);
        db.shutdown(LONG).unwrap();
        drop((db, slots, built));

        let (db, engine) = start(dir.path()).await;
        let now = ask(&engine, "SELECT sum(n), count(*) FROM heat").await;
        let factor = if commits % 2 == 0 { 10 } else { 100 };
        let new = [format!("{} 21", 27_000 * factor)];
        assert!(now == before || now == new, "{now:?} is neither {before:?} nor {new:?}");
        replaced.push(now == new && now != before);
        engine.caught_up(LONG).await.unwrap();
        let used = ["stream.state.heat", "stream.state.heat.b"]
            .map(|name| db.keyspace(name).unwrap().iter().unwrap().count());
        assert!(used.contains(&0), "what was being built is gone: {used:?}");
        end(&db, &engine).await;
    }
    assert!(replaced.contains(&false), "no crash came in between");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_all_old_rows_or_all_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    filled(&db, &engine).await;
    for round in 2..12u32 {
        let next = tenfold().replace("10", &round.to_string());
        let replacing = tokio::spawn({
            let engine = engine.clone();
            async move { engine.execute(&next).await }
        });
        while !replacing.is_finished() {
            let sum = ask(&engine, "SELECT sum(n) FROM heat").await.remove(0);
            let whole = [round, round - 1].map(|round| (2 * round).to_string());
            assert!(whole.contains(&sum), "{sum} in round {round}");
        }
        replacing.await.unwrap().unwrap();
    }
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_fails_on_the_rows_replaces_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    filled(&db, &engine).await;
    let bad = "CREATE OR REPLACE MATERIALIZED VIEW hot AS SELECT 1 / CAST(temp - 1 AS INT) AS x FROM readings";
    let error = engine.execute(bad).await.unwrap_err();
    assert!(matches!(error, SqlError::Build { .. }), "{error}");
    assert!(
        error.to_string().contains("the old one stays: could not compute: Divide by zero"),
        "{error}"
    );
    let error = engine.execute(&tenfold().replace("avg(temp)", "avg(tmp)")).await.unwrap_err();
    assert!(error.to_string().contains("did you mean `temp`?"), "{error}");
    let error =
        engine.execute("CREATE OR REPLACE MATERIALIZED VIEW readings AS SELECT temp FROM readings");
    assert_eq!(
        error.await.unwrap_err().to_string(),
        "line 1, column 1: `readings` is a STREAM; use another name"
    );
    append(&db, &db.log("raw").unwrap(), [reading(200, "lab", 50.0)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT temp FROM hot ORDER BY temp").await, ["31.0", "32.0", "50.0"]);
    assert_eq!(ask(&engine, "SELECT sum(n) FROM heat").await, ["3"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_replaced_under_what_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    filled(&db, &engine).await;
    let stream = SCRIPT.split(';').next().unwrap().replace("CREATE", "CREATE OR REPLACE");
    let wider = stream.replace("temp DOUBLE", "hum DOUBLE, temp DOUBLE");
    let wider = wider.replace("'10 seconds'", "'1 hour'");
    engine.execute(&wider).await.unwrap();
    assert_eq!(ask(&engine, "SELECT count(*), count(hum) FROM readings").await, ["3 0"]);
    let log = db.log("raw").unwrap();
    append(&db, &log, [reading(300, "lab", 50.0)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT sum(n) FROM heat").await, ["2"], "an hour has not gone by");
    end(&db, &engine).await;

    let (db, engine) = start(dir.path()).await;
    append(&db, &log_of(&db), [reading(4000, "lab", 50.0)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT sum(n) FROM heat").await, ["4"]);
    assert_eq!(job(&engine, "heat").late, 0);
    assert_eq!(
        ask(&engine, "SELECT temp FROM hot ORDER BY _seq LIMIT 3").await,
        ["31.0", "32.0", "50.0"]
    );
    let damp = "CREATE MATERIALIZED VIEW damp AS SELECT hum FROM readings WHERE hum > 1";
    engine.execute(damp).await.unwrap();

    // What reads it would have lost a column, would give other ones, or is somewhere else.
    let error = engine.execute(&stream).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "line 2, column 1: what reads it cannot go on: `damp` (there is no column `hum`); \
         drop it first, or keep the columns that it reads"
    );
    let error = engine.execute(&wider.replace("temp DOUBLE", "temp INT")).await.unwrap_err();
    assert!(error.to_string().contains("`hot` (its rows would have other columns)"), "{error}");
    let error = engine.execute(&wider.replace("'raw'", "'other'")).await.unwrap_err().to_string();
    assert!(error.contains("would read another log, and `damp`, `heat`, `hot` read it"), "{error}");
    append(&db, &log_of(&db), [reading(8000, "lab", 51.0)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT sum(n) FROM heat").await, ["5"]);
    assert_eq!(ask(&engine, "SELECT max(temp) FROM hot").await, ["51.0"]);
    end(&db, &engine).await;
}

fn log_of(db: &Db) -> edge_db::Log {
    db.log("raw").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_job_stands_still_over_restarts_until_it_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    filled(&db, &engine).await;
    engine.execute("PAUSE JOB hot; PAUSE MATERIALIZED VIEW hot;").await.unwrap();
    append(&db, &log_of(&db), [reading(200, "lab", 50.0)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT sum(n) FROM heat").await, ["3"]);
    let hot = job(&engine, "hot");
    assert_eq!((hot.state, hot.read, hot.lag), (JobState::Paused, 3, 1));
    end(&db, &engine).await;

    let (db, engine) = start(dir.path()).await;
    engine.caught_up(LONG).await.unwrap();
    // It is as it was, whatever else is done to it.
    let other =
        "CREATE OR REPLACE MATERIALIZED VIEW hot AS SELECT temp FROM readings WHERE temp > 31";
    engine.execute(other).await.unwrap();
    assert_eq!(ask(&engine, "SELECT temp FROM hot").await, ["32.0"]);
    assert_eq!(job(&engine, "hot").state, JobState::Paused);
    engine.execute("RESUME JOB hot").await.unwrap();
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT temp FROM hot ORDER BY temp").await, ["32.0", "50.0"]);
    let hot = job(&engine, "hot");
    assert_eq!((hot.state, hot.read, hot.lag), (JobState::Running, 4, 0));
    end(&db, &engine).await;

    let (db, engine) = start(dir.path()).await;
    append(&db, &log_of(&db), [reading(201, "lab", 51.0)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT count(*) FROM hot").await, ["3"]);
    let wrong = [
        ("PAUSE JOB hott", "there is no JOB `hott`; did you mean `hot`?"),
        (
            "RESUME SINK hot",
            "there is no SINK `hot`; it is a MATERIALIZED VIEW: RESUME MATERIALIZED VIEW hot",
        ),
        ("PAUSE hot", "PAUSE `hot` is no statement; PAUSE JOB name, or the kind of it"),
    ];
    for (statement, expected) in wrong {
        let error = engine.execute(statement).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{statement}: {error}");
    }
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_makes_the_same_catalog_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    // By name, views would come in front of their stream, and one ends with a comment.
    let script = SCRIPT.replace("temp > 30;", "temp > 30 -- hot\n;");
    engine.execute(&script).await.unwrap();
    engine.execute(&tenfold()).await.unwrap();
    engine.execute("PAUSE JOB hot").await.unwrap();
    let exported = engine.export();
    end(&db, &engine).await;

    let other = tempfile::tempdir().unwrap();
    let (db, engine) = start(other.path()).await;
    engine.execute(&exported).await.unwrap();
    assert_eq!(engine.export(), exported);
    assert_eq!(job(&engine, "hot").state, JobState::Paused);
    append(&db, &log_of(&db), [reading(0, "lab", 31.0), reading(90, "lab", 32.0)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT n FROM heat").await, ["10"]);
    end(&db, &engine).await;
    let (db, engine) = start(other.path()).await;
    assert_eq!(engine.export(), exported);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_tells_what_there_is_and_how_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    filled(&db, &engine).await;
    let bad = "CREATE MATERIALIZED VIEW bad AS SELECT 1 / CAST(temp - 1 AS INT) AS x FROM readings";
    engine.execute(bad).await.unwrap();
    engine.execute("PAUSE JOB hot").await.unwrap();
    append(&db, &log_of(&db), [reading(20, "lab", 0.0), edge_db::Entry::new("no row")]);
    let numbers = "SELECT name, kind, state, rows_in, rows_out, late, undecodable, position, lag \
                   FROM system.jobs WHERE name <> 'bad' ORDER BY name";
    engine.caught_up(std::time::Duration::from_millis(1)).await.unwrap_err();
    let expected = [
        "heat MATERIALIZED VIEW running 5 2 1 1 5 0",
        "hot MATERIALIZED VIEW paused 3 2 0 0 3 2",
        "readings STREAM running 5 0 0 1 5 0",
    ];
    while ask(&engine, numbers).await != expected {
        tokio::task::yield_now().await;
    }
    let more = "SELECT watermark, state_bytes > 0, checkpoint_at IS NOT NULL, checkpoint_micros > 0, \
                error IS NULL, missed, retries FROM system.jobs WHERE name = 'heat'";
    assert_eq!(ask(&engine, more).await, ["2026-01-01T00:02:05 true true true true 0 0"]);
    let failing = "SELECT error, failed_since IS NOT NULL FROM system.jobs WHERE state = 'failed' \
                   AND name = 'bad' AND retries > 0";
    while ask(&engine, failing).await.is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(ask(&engine, failing).await[0].contains("Divide by zero error true"));
    assert_eq!(ask(&engine, "SELECT name, reads FROM system.views").await.len(), 3);
    let shown = ask(&engine, "SHOW STREAMS").await;
    assert!(
        shown[0].starts_with("readings running raw exactly once CREATE STREAM readings"),
        "{shown:?}"
    );
    assert_eq!(
        ask(&engine, "SHOW MATERIALIZED VIEWS;").await.len(),
        ask(&engine, "SHOW VIEWS").await.len()
    );
    assert_eq!(ask(&engine, "show jobs").await.len(), 4);
    assert!(ask(&engine, "SHOW SINKS").await.is_empty());
    assert!(!ask(&engine, "SHOW TABLES").await.is_empty());
    let error = engine.sql("SHOW STREMS").await.unwrap_err().to_string();
    assert_eq!(error, "line 1, column 6: SHOW `STREMS` is no question; did you mean SHOW STREAMS?");
    engine.execute("DROP MATERIALIZED VIEW bad; RESUME JOB hot").await.unwrap();
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_and_operators_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    filled(&db, &engine).await;
    let columns = ask(&engine, "DESCRIBE readings").await;
    assert_eq!(
        columns[..4],
        [
            "ts TIMESTAMP event time",
            "room VARCHAR",
            "temp DOUBLE",
            "_topic VARCHAR of every record"
        ]
    );
    let columns = ask(&engine, "DESCRIBE heat").await;
    assert_eq!(
        columns,
        ["window_start TIMESTAMP key", "room VARCHAR key", "temp DOUBLE", "n BIGINT"]
    );
    assert!(ask(&engine, "DESCRIBE raw").await[0].starts_with("_seq Int64"));
    assert!(ask(&engine, "DESCRIBE system.jobs").await[0].starts_with("name Utf8"));

    let explained = ask(&engine, &format!("EXPLAIN {}", tenfold())).await;
    let expected = [
        ("1 read readings", "the position, and the watermark"),
        (
            "tumbling windows of 60s by room@",
            "the watermark passes the end of the last window that it is in",
        ),
    ];
    for (start, end) in expected {
        let is_there = explained.iter().any(|row| row.contains(start) && row.contains(end));
        assert!(is_there, "{start}: {explained:#?}");
    }
    assert_eq!(ask(&engine, "EXPLAIN JOB heat").await.len(), explained.len());
    let rows = ask(&engine, "EXPLAIN STREAMING SELECT room FROM readings WHERE temp > 3").await;
    assert!(rows[1].starts_with("2 rows where temp@1 > 3 1 nothing"), "{rows:#?}");
    let hop = "EXPLAIN STREAMING SELECT window_start, count(*) FROM \
               HOP(readings, ts, INTERVAL '10 seconds', INTERVAL '1 minute') GROUP BY window_start";
    let rows = ask(&engine, hop).await;
    let said = "windows of 60s each 10s: count";
    assert!(
        rows.iter().any(|row| row.contains(said) && row.contains("each 10s of open")),
        "{rows:#?}"
    );
    let batch = ask(&engine, "EXPLAIN SELECT room FROM readings").await;
    assert!(batch[0].starts_with("logical_plan"), "{batch:?}");
    let wrong = [
        (
            "EXPLAIN JOB readings",
            "`readings` is a stream, and has no operators; name a view or sink",
        ),
        ("EXPLAIN JOB hott", "there is no JOB `hott`; did you mean `hot`?"),
        ("EXPLAIN STREAMING SELECT * FROM readings LIMIT 1", "LIMIT would end the job"),
        (
            "EXPLAIN CREATE STREAM s (a INT) WITH (log = 'l')",
            "line 1, column 9: a stream has no operators",
        ),
        (
            "INSERT INTO readings SELECT * FROM readings",
            "INSERT is no question; give it to `execute`",
        ),
    ];
    for (question, expected) in wrong {
        let error = engine.sql(question).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{question}: {error}");
    }
    for statement in ["INSERT INTO readings VALUES (1)", "CREATE TABLE t (a INT)", "SHOW JOBS"] {
        let error = engine.execute(statement).await.unwrap_err().to_string();
        let expected = ["append to its Log", "needs a PRIMARY KEY", "go to `sql`"];
        assert!(expected.iter().any(|help| error.contains(help)), "{statement}: {error}");
    }
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_rows_up_in_a_view_finds_those_of_its_successor() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    filled(&db, &engine).await;
    let found = "CREATE MATERIALIZED VIEW found AS SELECT r.temp, h.n FROM readings r JOIN heat h \
                 ON h.room = r.room AND h.window_start = tumble_start(r.ts, INTERVAL '1 minute')";
    engine.execute(found).await.unwrap();
    engine.execute(&tenfold()).await.unwrap();
    append(&db, &log_of(&db), [reading(62, "lab", 7.0)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT n FROM found WHERE temp = 7").await, ["10"]);
    let error = engine.execute(&tenfold().replace("AS n", "AS m")).await.unwrap_err().to_string();
    assert!(error.contains("what reads it cannot go on: `found` (there is no column"), "{error}");
    end(&db, &engine).await;

    // Its successor stands in front of what reads it, as it did itself.
    let (db, engine) = start(dir.path()).await;
    append(&db, &log_of(&db), [reading(63, "lab", 8.0)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT n FROM found WHERE temp = 8").await, ["10"]);
    end(&db, &engine).await;
}

#[cfg(feature = "mq")]
#[tokio::test(flavor = "multi_thread")]
async fn a_sink_is_replaced_and_each_row_is_said_by_one_of_the_two() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let broker = edge_mq::Broker::builder().db(&db).start().await.unwrap();
    let engine = Engine::builder().db(&db).broker(&broker).start().await.unwrap();
    engine.execute(SCRIPT).await.unwrap();
    let sink = "CREATE OR REPLACE SINK said WITH (topic = 'said/{room}', format = 'json') AS \
                SELECT room, temp FROM readings WHERE temp > 0";
    engine.execute(sink).await.unwrap();
    let log = log_of(&db);
    append(&db, &log, [reading(0, "lab", 1.0), reading(1, "lab", 2.0)]);
    engine.caught_up(LONG).await.unwrap();
    engine.execute(&sink.replace("temp FROM", "temp * 10 AS temp FROM")).await.unwrap();
    append(&db, &log, [reading(2, "lab", 3.0)]);
    engine.caught_up(LONG).await.unwrap();
    let said = "SELECT key, value FROM said ORDER BY _seq";
    let rows = [1.0, 2.0, 30.0].map(|temp| format!(r#"said/lab {{"room":"lab","temp":{temp:?}}}"#));
    assert_eq!(ask(&engine, said).await, rows);
    assert_eq!(job(&engine, "said").out, 1);
    engine.shutdown(LONG).await.unwrap();
    broker.shutdown(LONG).await.unwrap();
    db.shutdown(LONG).unwrap();
}

#[cfg(feature = "mq")]
#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_emits_changes_says_each_of_them_once() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let broker = edge_mq::Broker::builder().db(&db).start().await.unwrap();
    let engine = Engine::builder().db(&db).broker(&broker).start().await.unwrap();
    engine.execute(SCRIPT).await.unwrap();
    let sink = "CREATE SINK said WITH (topic = 'said/{room}', format = 'json') AS \
                SELECT room, count(*) AS n FROM readings GROUP BY room EMIT CHANGES";
    engine.execute(sink).await.unwrap();
    let log = log_of(&db);
    // What is read together comes out together.
    append(&db, &log, [reading(0, "lab", 1.0), reading(1, "lab", 2.0)]);
    engine.caught_up(LONG).await.unwrap();
    append(&db, &log, [reading(2, "lab", 3.0)]);
    engine.caught_up(LONG).await.unwrap();
    let rows = [2, 3].map(|n| format!(r#"said/lab {{"room":"lab","n":{n}}}"#));
    assert_eq!(ask(&engine, "SELECT key, value FROM said ORDER BY _seq").await, rows);
    // Another EMIT is another sink: it begins with what the old one has not said.
    let every = sink.replace("CREATE", "CREATE OR REPLACE");
    let every = every.replace("CHANGES", "EVERY INTERVAL '1 minute'");
    engine.execute(&every).await.unwrap();
    append(&db, &log, [reading(3, "lab", 3.0), reading(4, "hall", 3.0)]);
    engine.caught_up(LONG).await.unwrap();
    append(&db, &log, [reading(100, "lab", 3.0)]);
    engine.caught_up(LONG).await.unwrap();
    let later = ask(&engine, "SELECT key, value FROM said WHERE _seq >= 2 ORDER BY key").await;
    let later_rows = [("hall", 1), ("lab", 5)]
        .map(|(room, n)| format!(r#"said/{room} {{"room":"{room}","n":{n}}}"#));
    assert_eq!(later, later_rows);
    engine.shutdown(LONG).await.unwrap();
    broker.shutdown(LONG).await.unwrap();
    db.shutdown(LONG).unwrap();
}
