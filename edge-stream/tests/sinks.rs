//! Sinks into Logs, files and the application: rows lie in Logs and files once, whatever crashes, and
//! the application gets each with a number.
//!
//! A crash is an engine that is dropped at any moment, which ends its jobs where they are.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use edge_db::{Db, LogOptions, Seq, WhenFull};
use edge_stream::{ChannelError, Delivery, Engine};
use site::{LONG, SCRIPT, append, ask, cells, end, job, reading, start};

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
async fn a_log_that_nobody_reads_drops_its_oldest_or_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let own = LogOptions::new().max_bytes(1 << 20);
    db.log_with("own", own).unwrap();
    let script =
        "CREATE SINK a WITH (log = 'said', max_bytes = '4000') AS SELECT room, temp FROM readings;
                  CREATE SINK b WITH (log = 'kept', max_bytes = '4000', when_full = 'refuse') AS
                  SELECT room, temp FROM readings;
                  CREATE SINK c WITH (log = 'own') AS SELECT room FROM readings;
                  CREATE SINK d WITH (log = 'new') AS SELECT room FROM readings;";
    engine.execute(&format!("{SCRIPT}{script}")).await.unwrap();
    let options = |name: &str| db.find_log(name).unwrap().options();
    let dropping = LogOptions::new().when_full(WhenFull::DropOldest);
    assert_eq!((options("own"), options("new")), (own, dropping));
    assert_eq!(options("said"), dropping.max_bytes(4000));
    let (raw, said, kept) =
        (db.log("raw").unwrap(), db.log("said").unwrap(), db.log("kept").unwrap());
    while job(&engine, "b").error.is_none() {
        append(&db, &raw, (0..10).map(|n| reading(n, "lab", 20.0)));
        tokio::task::yield_now().await;
    }
    let error = job(&engine, "b").error.unwrap();
    assert!(error.contains("log `kept` is full: "), "{error}");
    assert!(
        error.contains("of 4000 bytes, and no cursor reads it: open one and advance it"),
        "{error}"
    );
    for _ in 0..20 {
        append(&db, &raw, (0..10).map(|n| reading(n, "lab", 20.0)));
        while job(&engine, "a").lag > 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(job(&engine, "a").error, None);
    let state = said.state().unwrap();
    assert!(state.bytes <= 4000 && state.first > Seq::ZERO, "{state:?}");
    assert_eq!(kept.bounds().unwrap().start, Seq::ZERO);

    // With room it goes on, and has all of it.
    db.log_with("kept", kept.options().max_bytes(1 << 20)).unwrap();
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(kept.bounds().unwrap().end, raw.bounds().unwrap().end);
    assert_eq!(said.bounds().unwrap().end, raw.bounds().unwrap().end);
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
        (sink("log = 'l', when_full = 'drop'", hot), "when_full is 'drop'; use 'drop_oldest', or"),
        (sink("log = 'l', max_bytes = '1 MB'", hot), "max_bytes is '1 MB'; use a number of bytes"),
        (
            sink("channel = 'l', max_bytes = '1'", hot),
            "`max_bytes` is about a log that others read",
        ),
        (sink("log = 'l', topic = 't'", hot), "a sink needs a topic, a log, a file or a channel"),
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
    assert_eq!(error, "line 1, column 1: `hot_rooms` feeds `x`: drop them first");
    end(&db, &engine).await;
}

/// Starts an engine whose sinks write below this folder.
async fn start_with_files(dir: &Path) -> (Db, Engine) {
    let db = Db::open(dir.join("site")).unwrap();
    let engine = Engine::builder().db(&db).files(dir.join("out")).start().await.unwrap();
    (db, engine)
}

fn lines(dir: &Path, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("out").join(file)).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(str::to_owned).collect()
}

const TO_FILE: &str = "CREATE SINK filed WITH (file = 'day/hot.csv', format = 'csv') AS \
                       SELECT temp, _seq FROM readings WHERE temp > 30;";

#[tokio::test(flavor = "multi_thread")]
async fn each_row_is_one_line_of_a_file_through_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = 0;
    for life in 0..8u32 {
        let (db, engine) = start_with_files(dir.path()).await;
        let script = format!("{SCRIPT}{TO_FILE}").replace("CREATE", "CREATE OR REPLACE");
        engine.execute(&script).await.unwrap();
        let log = db.log("raw").unwrap();
        for _ in 0..10 {
            append(&db, &log, (0..50).map(|n| reading(written + n, "lab", 31.0)));
            written += 50;
            tokio::task::yield_now().await;
        }
        if life % 2 == 1 {
            engine.caught_up(LONG).await.unwrap();
        }
        drop(engine);
        db.shutdown(LONG).unwrap();
        drop(db);
        // What a crash leaves of a step that was not committed.
        let path = dir.path().join("out/day/hot.csv");
        if let Ok(mut file) = std::fs::OpenOptions::new().append(true).open(path) {
            std::io::Write::write_all(&mut file, b"31.0,0\n31.").unwrap();
        }
    }
    let (db, engine) = start_with_files(dir.path()).await;
    engine.caught_up(LONG).await.unwrap();
    append(&db, &db.log("raw").unwrap(), [reading(9999, "lab", 31.0)]);
    engine.caught_up(LONG).await.unwrap();
    let rows = (0..=written).map(|seq| format!("31.0,{seq}"));
    let expected: Vec<_> = std::iter::once("temp,_seq".to_owned()).chain(rows).collect();
    assert_eq!(lines(dir.path(), "day/hot.csv"), expected);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_taken_away_or_emptied_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start_with_files(dir.path()).await;
    engine.execute(&format!("{SCRIPT}{TO_FILE}")).await.unwrap();
    let (log, path) = (db.log("raw").unwrap(), dir.path().join("out/day/hot.csv"));
    for (second, row) in ["31.0,0", "31.0,1", "31.0,2"].into_iter().enumerate() {
        append(&db, &log, [reading(u32::try_from(second).unwrap(), "lab", 31.0)]);
        engine.caught_up(LONG).await.unwrap();
        assert_eq!(lines(dir.path(), "day/hot.csv"), ["temp,_seq", row]);
        match second {
            0 => std::fs::rename(&path, dir.path().join("yesterday.csv")).unwrap(),
            1 => std::fs::write(&path, "").unwrap(),
            _ => {}
        }
    }
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_writes_no_file_that_is_not_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start_with_files(dir.path()).await;
    engine.execute(&format!("{SCRIPT}{TO_FILE}")).await.unwrap();
    append(&db, &db.log("raw").unwrap(), [reading(0, "lab", 31.0)]);
    engine.caught_up(LONG).await.unwrap();
    std::fs::write(dir.path().join("out/own.txt"), "mine").unwrap();
    let sink = |name: &str, options: &str| {
        format!("CREATE SINK {name} WITH ({options}) AS SELECT temp FROM readings")
    };
    let outside = "name a file below the folder of the engine";
    let wrong = [
        (sink("x", "file = 'own.txt'"), "own.txt already; move it away, or name another file"),
        (sink("x", "file = 'day'"), "day already; move it away"),
        (sink("x", "file = 'day/hot.csv'"), "sink `filed` writes there already"),
        (sink("x", "file = '../x'"), outside),
        (sink("x", "file = '/etc/x'"), outside),
        (sink("x", "file = ''"), outside),
        (sink("x", "file = 'x', format = 'cbor'"), "a file has lines; use 'json' or 'csv'"),
        (
            TO_FILE.replace("CREATE", "CREATE OR REPLACE").replace("hot.csv", "cold.csv"),
            "`filed` would send its rows elsewhere; drop it first",
        ),
        (
            TO_FILE.replace("CREATE", "CREATE OR REPLACE").replace("temp, _seq", "temp"),
            "it would write other columns into a file that has begun; drop it first",
        ),
    ];
    for (statement, expected) in wrong {
        let error = engine.execute(&statement).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{statement}: {error}");
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("out/own.txt")).unwrap(), "mine");
    // A dropped sink leaves its file, which another one does not overwrite.
    engine.execute("DROP SINK filed").await.unwrap();
    let error = engine.execute(TO_FILE).await.unwrap_err().to_string();
    assert!(error.contains("hot.csv already"), "{error}");
    engine.execute(&sink("json", "file = 'hot.ndjson'")).await.unwrap();
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(lines(dir.path(), "hot.ndjson"), [r#"{"temp":31.0}"#]);

    // A folder where the file should be is told, and stops nothing else.
    std::fs::remove_file(dir.path().join("out/hot.ndjson")).unwrap();
    std::fs::create_dir(dir.path().join("out/hot.ndjson")).unwrap();
    append(&db, &db.log("raw").unwrap(), [reading(1, "lab", 31.0)]);
    let told = "SELECT waiting, error IS NOT NULL FROM system.sinks WHERE name = 'json'";
    while ask(&engine, told).await != ["1 true"] {
        tokio::task::yield_now().await;
    }
    std::fs::remove_dir(dir.path().join("out/hot.ndjson")).unwrap();
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, told).await, ["0 false"]);
    engine.shutdown(LONG).await.unwrap();
    drop(engine);

    // Without the folder, rows wait.
    let engine = Engine::builder().db(&db).start().await.unwrap();
    append(&db, &db.log("raw").unwrap(), [reading(2, "lab", 31.0)]);
    engine.caught_up(LONG).await.unwrap();
    let error = engine.execute(&sink("x", "file = 'x'")).await.unwrap_err().to_string();
    assert!(error.contains("no folder for that; give it one: `EngineBuilder::files`"), "{error}");
    engine.shutdown(LONG).await.unwrap();
    drop(engine);
    let engine = Engine::builder().db(&db).files(dir.path().join("out")).start().await.unwrap();
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(lines(dir.path(), "hot.ndjson").len(), 2);
    end(&db, &engine).await;
}

const TO_CHANNEL: &str = "CREATE SINK told WITH (channel = 'hot') AS \
                          SELECT room, temp FROM readings WHERE temp > 30;";

#[tokio::test(flavor = "multi_thread")]
async fn an_application_receives_each_delivery_and_the_last_again_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(&format!("{SCRIPT}{TO_CHANNEL}")).await.unwrap();
    let log = db.log("raw").unwrap();
    for second in 0..3 {
        append(&db, &log, [reading(second, "lab", 31.0 + f64::from(second))]);
        engine.caught_up(LONG).await.unwrap();
    }
    let mut channel = engine.channel("hot").unwrap();
    let error = engine.channel("hot").unwrap_err().to_string();
    assert_eq!(error, "somebody receives from the channel `hot` already");
    assert!(matches!(engine.channel("told"), Err(ChannelError::NoSink { .. })));
    for seq in 0..2 {
        let delivery = channel.recv().await.unwrap().unwrap();
        assert_eq!((delivery.seq, &*delivery.sink), (Seq::new(seq), "told"));
        assert_eq!(cells(&[delivery.rows]), [format!("lab {}.0", 31 + seq)]);
    }
    let waiting = "SELECT waiting FROM system.sinks";
    assert_eq!(ask(&engine, waiting).await, ["2"], "the second is not taken yet");
    drop((channel, engine));

    let engine = Engine::builder().db(&db).start().await.unwrap();
    let mut channel = engine.channel("hot").unwrap();
    for seq in 1..3 {
        let delivery = channel.recv().await.unwrap().unwrap();
        assert_eq!(delivery.seq, Seq::new(seq));
        assert_eq!(cells(&[delivery.rows]), [format!("lab {}.0", 31 + seq)]);
    }
    // It waits for the next.
    let next = tokio::spawn(async move { (channel.recv().await.unwrap(), channel) });
    append(&db, &log, [reading(9, "hall", 40.0)]);
    let (delivery, mut channel) = next.await.unwrap();
    assert_eq!(cells(&[delivery.unwrap().rows]), ["hall 40.0"]);

    // And ends with the sink, or the engine.
    let next = tokio::spawn(async move { channel.recv().await.unwrap().is_none() });
    engine.execute("DROP SINK told").await.unwrap();
    assert!(next.await.unwrap());
    engine.execute(TO_CHANNEL).await.unwrap();
    let mut channel = engine.channel("hot").unwrap();
    engine.shutdown(LONG).await.unwrap();
    assert!(channel.recv().await.unwrap().is_none());
    drop(channel);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_is_called_again_until_it_has_taken_a_delivery() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let engine = Engine::builder().db(&db).callback("hot", {
        let calls = Arc::clone(&calls);
        move |delivery: Delivery| {
            let mut calls = calls.lock().unwrap();
            calls.push((delivery.seq.get(), cells(&[delivery.rows]).remove(0)));
            match calls.len() {
                1 => Err("not now".into()),
                3 => std::panic::panic_any("not so"),
                _ => Ok(()),
            }
        }
    });
    let engine = engine.start().await.unwrap();
    engine.execute(&format!("{SCRIPT}{TO_CHANNEL}")).await.unwrap();
    assert!(matches!(engine.channel("hot"), Err(ChannelError::InUse { .. })));
    append(&db, &db.log("raw").unwrap(), [reading(0, "lab", 31.0)]);
    let error = "SELECT error FROM system.sinks";
    while ask(&engine, error).await != ["not now"] {
        tokio::task::yield_now().await;
    }
    engine.caught_up(LONG).await.unwrap();
    append(&db, &db.log("raw").unwrap(), [reading(1, "hall", 32.0)]);
    while ask(&engine, error).await != ["panicked: not so"] {
        tokio::task::yield_now().await;
    }
    let (lab, hall) = ("lab 31.0".to_owned(), "hall 32.0".to_owned());
    let expected = [(0, lab.clone()), (0, lab), (1, hall.clone())];
    assert!(calls.is_poisoned());
    calls.clear_poison();
    assert_eq!(*calls.lock().unwrap(), expected);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(calls.lock().unwrap().last(), Some(&(1, hall)));
    assert_eq!(ask(&engine, "SELECT waiting, error FROM system.sinks").await, ["0"]);
    end(&db, &engine).await;
}

#[cfg(feature = "mq")]
#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_of_every_kind_of_statement_is_the_same_after_export_and_import() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut exported = Vec::<String>::new();
    for dir in &dirs {
        let db = Db::open(dir.path().join("site")).unwrap();
        let broker = edge_mq::Broker::builder().db(&db).start().await.unwrap();
        let files = dir.path().join("out");
        let engine = Engine::builder().db(&db).broker(&broker).files(files);
        let engine = engine.start().await.unwrap();
        match exported.first() {
            Some(script) => engine.execute(script).await.unwrap(),
            None => {
                append(&db, &db.log("raw").unwrap(), [reading(0, "lab", 31.0)]);
                let script = format!(
                    "{SCRIPT}{HOT}{OF_HOT}{TO_FILE}{TO_CHANNEL}
                    create stream guessed with (log = 'raw'); -- its columns are inferred
                    CREATE STREAM \"Over-Topic\" (room VARCHAR, \"Temp\" DOUBLE PATH '$.a.b', at TIMESTAMP,
                        WATERMARK FOR at) WITH (topic = 'a/{{room}}', format = 'cbor', ts_format = 'ms');
                    CREATE SINK said WITH (topic = 'b/{{room}}', qos = '2', retained = 'true') AS
                        SELECT room, \"Temp\" FROM \"Over-Topic\"; -- ends with a comment
                    CREATE MATERIALIZED VIEW both AS SELECT r.temp, h.n FROM readings r
                        JOIN heat h ON h.room = r.room AND h.window_start = r.ts;
                    PAUSE SINK said; PAUSE JOB guessed; RESUME STREAM guessed;
                    CREATE OR REPLACE MATERIALIZED VIEW heat AS SELECT window_start, room,
                        max(temp) AS temp, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '2 minutes')
                        GROUP BY window_start, room;
                    CREATE STREAM gone (a INT) WITH (log = 'gone'); DROP STREAM gone;"
                );
                engine.execute(&script).await.unwrap();
            }
        }
        exported.push(engine.export());
        let listed = "SELECT name, kind, state FROM system.jobs ORDER BY name";
        exported.push(ask(&engine, listed).await.join("\n"));
        let log = db.log("raw").unwrap();
        append(&db, &log, [reading(1, "lab", 32.0), reading(500, "x", 1.0)]);
        engine.caught_up(LONG).await.unwrap();
        let last = "SELECT temp FROM heat WHERE room = 'lab'";
        assert_eq!(ask(&engine, last).await, ["32.0"]);
        assert_eq!(
            lines(dir.path(), "day/hot.csv").last().unwrap(),
            &format!("32.0,{}", log.bounds().unwrap().end.get() - 2)
        );
        engine.shutdown(LONG).await.unwrap();
        broker.shutdown(LONG).await.unwrap();
    }
    assert_eq!(exported[0], exported[2]);
    assert_eq!(exported[1], exported[3]);
    assert!(
        exported[1].contains("said SINK paused") && exported[1].contains("guessed STREAM running")
    );
    assert_eq!(exported[1].lines().count(), 11);
}
