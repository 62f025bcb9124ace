//! Each format from a Log into queries and jobs, written by encoders that are not ours: ciborium,
//! arrow's writer, prost. Columns inferred, batches pushed, files replayed.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;
#[path = "support/sparkplug.rs"]
mod sparkplug;

use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray, TimestampSecondArray};
use arrow::ipc::writer::StreamWriter;
use ciborium::cbor;
use edge_db::{Db, Entry, Seq};
use edge_stream::{Engine, PushError, ReplayError, Speed};
use site::{LONG, append, ask, end, job, start};
use sparkplug::{Held, metric, payload};

/// A stream `s` over the Log `raw`, with these records in it.
async fn site(
    dir: &tempfile::TempDir,
    stream: &str,
    entries: impl IntoIterator<Item = Entry>,
) -> (Db, Engine) {
    let (db, engine) = start(dir.path()).await;
    append(&db, &db.log("raw").unwrap(), entries);
    engine.execute(stream).await.unwrap();
    engine.caught_up(LONG).await.unwrap();
    (db, engine)
}

/// The reasons in the Log of errors.
fn reasons(db: &Db) -> Vec<String> {
    let log = db.log("s_errors").unwrap();
    let records = log.read(Seq::ZERO, 100).unwrap();
    let reason = |record: edge_db::RecordRef<'_>| record.header("reason").unwrap().to_vec();
    records.iter().map(|record| String::from_utf8(reason(record)).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn json_has_nested_fields_arrays_and_paths() {
    let dir = tempfile::tempdir().unwrap();
    let stream = "CREATE STREAM s (
        id VARCHAR PATH '$.device.id', up BOOLEAN PATH '$.device.up',
        pos STRUCT<x DOUBLE, at TIMESTAMP>, v DOUBLE[]
      ) WITH (log = 'raw', format = 'json')";
    let (db, engine) = site(
        &dir,
        stream,
        [
            Entry::new(
                r#"{"device":{"id":"a","up":1},"pos":{"x":"1.5","at":1767225600},"v":[1,2e0]}"#,
            ),
            Entry::new(r#"{"device":{"id":"b"}}"#),
            Entry::new(r#"{"v":[1,"x"]}"#),
            Entry::new(r#"{"device":7}"#),
        ],
    )
    .await;
    let query = "SELECT id, up, pos['x'], pos['at'], v[2] FROM s ORDER BY id";
    assert_eq!(ask(&engine, query).await, ["a true 1.5 2026-01-01T00:00:00 2.0", "b"]);
    let reasons = reasons(&db);
    assert_eq!(reasons[0], r#"column `v` is DOUBLE[], and the record has `[1,"x"]`"#);
    assert!(reasons[1].starts_with("column `id` is VARCHAR"), "{}", reasons[1]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_has_lines_with_and_without_a_header() {
    let dir = tempfile::tempdir().unwrap();
    let stream = "CREATE STREAM s (ts TIMESTAMP, room VARCHAR, temp DOUBLE)
      WITH (log = 'raw', format = 'csv', delimiter = ';')";
    let lines = "2026-01-01 00:00:00;\"a;b\";1e1\n1767225601;hall;\n";
    let (db, engine) = site(
        &dir,
        stream,
        [Entry::new(lines), Entry::new("1;x"), Entry::new("1;x;warm"), Entry::new("")],
    )
    .await;
    let query = "SELECT ts, room, temp, _seq FROM s ORDER BY ts";
    assert_eq!(
        ask(&engine, query).await,
        ["2026-01-01T00:00:00 a;b 10.0 0", "2026-01-01T00:00:01 hall 0"]
    );
    assert_eq!(
        reasons(&db),
        [
            "line 1 has 2 fields, and there are 3 columns",
            "column `temp` is DOUBLE, and the record has `\"warm\"`",
            "payload has no line"
        ]
    );
    let stream = "CREATE STREAM h (temp DOUBLE, room VARCHAR)
      WITH (log = 'named', format = 'csv', header = 'true')";
    engine.execute(stream).await.unwrap();
    append(&db, &db.log("named").unwrap(), [Entry::new("x,Room,temp\n1,lab,2\n1,hall,3\n")]);
    assert_eq!(ask(&engine, "SELECT room, temp FROM h").await, ["lab 2.0", "hall 3.0"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_payload_is_the_column() {
    let dir = tempfile::tempdir().unwrap();
    let stream = "CREATE STREAM s (temp DOUBLE) WITH (log = 'raw', format = 'raw');
      CREATE STREAM t (line VARCHAR) WITH (log = 'raw', format = 'raw');
      CREATE STREAM b (bytes VARBINARY) WITH (log = 'raw', format = 'raw')";
    let entries = [Entry::new(" 21.5\n"), Entry::new("warm"), Entry::new(vec![0xFF])];
    let (db, engine) = site(&dir, stream, entries).await;
    assert_eq!(ask(&engine, "SELECT temp FROM s").await, ["21.5"]);
    assert_eq!(ask(&engine, "SELECT line FROM t WHERE line = 'warm'").await, ["warm"]);
    assert_eq!(ask(&engine, "SELECT bytes FROM b WHERE _seq = 2").await, ["ff"]);
    assert_eq!(reasons(&db)[0], "column `temp` is DOUBLE, and the record has `\"warm\"`");
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cbor_of_another_encoder_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let stream = "CREATE STREAM s (ts TIMESTAMP, id VARCHAR PATH '$.dev.id', temp DOUBLE,
        n BIGINT, ok BOOLEAN, v INTEGER[], b VARBINARY, WATERMARK FOR ts)
      WITH (log = 'raw', format = 'cbor')";
    let encoded = |value: ciborium::Value| {
        let mut bytes = Vec::new();
        ciborium::into_writer(&value, &mut bytes).unwrap();
        Entry::new(bytes)
    };
    let row = cbor!({
        "ts" => 1_767_225_600.5, "dev" => { "id" => "a" }, "temp" => 21, "n" => -5, "ok" => true,
        "v" => [1, 2, 3], "b" => ciborium::Value::Bytes(vec![1, 0xAB])
    });
    let wrong = cbor!({ "ts" => 1, "temp" => "warm" });
    let entries = [encoded(row.unwrap()), encoded(wrong.unwrap()), encoded(cbor!([1]).unwrap())];
    let (db, engine) = site(&dir, stream, entries).await;
    let query = "SELECT ts, id, temp, n, ok, v[3], b FROM s";
    assert_eq!(ask(&engine, query).await, ["2026-01-01T00:00:00.500 a 21.0 -5 true 3 01ab"]);
    assert_eq!(
        reasons(&db),
        [
            "column `temp` is DOUBLE, and the record has `\"warm\"`",
            "expected one CBOR map, found array"
        ]
    );
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arrow_batches_of_another_writer_are_read_by_column_name() {
    let dir = tempfile::tempdir().unwrap();
    let stream = "CREATE STREAM s (ts TIMESTAMP, temp DOUBLE, n INTEGER, other VARCHAR,
        WATERMARK FOR ts) WITH (log = 'raw', format = 'arrow_ipc')";
    let rows = RecordBatch::try_from_iter([
        ("n", Arc::new(StringArray::from(vec!["1", "2"])) as _),
        ("ts", Arc::new(TimestampSecondArray::from(vec![1_767_225_600, 1_767_225_601])) as _),
        ("temp", Arc::new(Int64Array::from(vec![Some(20), None])) as _),
    ])
    .unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), rows.schema_ref()).unwrap();
    writer.write(&rows).unwrap();
    writer.write(&rows).unwrap();
    let sound = writer.into_inner().unwrap();
    let cut = sound[..sound.len() / 2].to_vec();
    let (db, engine) = site(&dir, stream, [Entry::new(sound), Entry::new(cut)]).await;
    let query = "SELECT ts, temp, n, other FROM s ORDER BY ts LIMIT 1";
    assert_eq!(ask(&engine, query).await, ["2026-01-01T00:00:00 20.0 1"]);
    assert_eq!(ask(&engine, "SELECT count(*), count(temp), sum(n) FROM s").await, ["4 2 6"]);
    assert_eq!(reasons(&db), ["payload is no Arrow IPC stream"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arrival_is_an_event_time() {
    let dir = tempfile::tempdir().unwrap();
    let stream = "CREATE STREAM s (n BIGINT, WATERMARK FOR _time)
        WITH (log = 'raw', format = 'json');
      CREATE MATERIALIZED VIEW v AS SELECT window_start, sum(n) AS n
        FROM TUMBLE(s, DESCRIPTOR(_time), INTERVAL '1 minute') GROUP BY window_start, window_end";
    let at = |second: i64| edge_db::Time::from_micros(second * 1_000_000);
    let entries = [0, 59, 60].map(|second| Entry::new(r#"{"n":1}"#).at(at(second)));
    let (db, engine) = site(&dir, stream, entries).await;
    assert_eq!(ask(&engine, "SELECT window_start, n FROM v").await, ["1970-01-01T00:00:00Z 2"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_left_out_are_inferred_and_kept_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let create = "CREATE STREAM s (WATERMARK FOR ts) WITH (log = 'raw', format = 'json')";
    let error = engine.execute(create).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "line 1, column 1: log `raw` is empty, so it says nothing of columns; \
         declare columns: (ts TIMESTAMP, temp DOUBLE, ..)"
    );
    let rows = [
        r#"{"ts":1767225600,"deviceId":"a","n":1,"on":true,"at":"2026-01-01T00:00:00Z"}"#,
        "not json",
        r#"{"ts":1767225601,"n":1.5,"list":[1,2],"in":{"x":null,"y":"z"},"_own":1,"mixed":1}"#,
        r#"{"ts":1767225602,"mixed":{"a":1},"nothing":null}"#,
    ];
    append(&db, &db.log("raw").unwrap(), rows.map(Entry::new));
    engine.execute(create).await.unwrap();
    let row = "SELECT deviceId, n, \"on\", at, ts FROM s WHERE _seq = 0";
    let found = ["a 1.0 true 2026-01-01T00:00:00 2026-01-01T00:00:00"];
    assert_eq!(ask(&engine, row).await, found);
    assert_eq!(ask(&engine, "SELECT list[2], \"in\"['y'] FROM s WHERE _seq = 2").await, ["2 z"]);
    assert!(engine.sql("SELECT mixed FROM s").await.is_err());
    end(&db, &engine).await;

    let (db, engine) = start(dir.path()).await;
    append(&db, &db.log("raw").unwrap(), [Entry::new(r#"{"ts":1767225603,"extra":1}"#)]);
    assert_eq!(ask(&engine, row).await, found);
    assert!(engine.sql("SELECT extra FROM s").await.is_err(), "columns stay as they were");
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushed_batches_are_stored_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine
        .execute(
            "CREATE STREAM s (n BIGINT, temp DOUBLE) WITH (log = 'raw', format = 'arrow_ipc');
             CREATE STREAM j (n BIGINT) WITH (log = 'other', format = 'json');
             CREATE MATERIALIZED VIEW v AS SELECT n FROM s WHERE temp > 1",
        )
        .await
        .unwrap();
    let rows = |temps: Vec<f64>| {
        let numbers = Int64Array::from_iter_values(0..i64::try_from(temps.len()).unwrap());
        let (numbers, temps) = (Arc::new(numbers), Arc::new(Float64Array::from(temps)));
        RecordBatch::try_from_iter([("n", numbers as _), ("temp", temps as _)]).unwrap()
    };
    engine.push("s", &rows((0..20_000).map(f64::from).collect())).await.unwrap();
    assert_eq!(ask(&engine, "SELECT count(*), sum(n) FROM s").await, ["20000 199990000"]);
    assert_eq!(db.log("raw").unwrap().bounds().unwrap().end, Seq::new(3), "records stay small");
    let wrong = RecordBatch::try_from_iter([("n", Arc::new(StringArray::from(vec!["x"])) as _)]);
    let error = engine.push("s", &wrong.unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("column `n` is BIGINT, and the record has"), "{error}");
    let error = engine.push("j", &rows(vec![1.0])).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "stream `j` does not take the batch: it is not of format 'arrow_ipc'"
    );
    assert!(matches!(engine.push("v", &rows(vec![1.0])).await, Err(PushError::NoStream { .. })));
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT count(*) FROM v").await, ["19998"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_become_records_of_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine
        .execute(
            "CREATE STREAM j (ts TIMESTAMP, temp DOUBLE, WATERMARK FOR ts)
               WITH (log = 'j', format = 'json');
             CREATE STREAM c (ts TIMESTAMP, temp DOUBLE) WITH (log = 'c', format = 'csv');
             CREATE STREAM h (temp DOUBLE) WITH (log = 'h', format = 'csv', header = 'true')",
        )
        .await
        .unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let lines = file("a.ndjson", "{\"ts\":1,\"temp\":1}\r\n\n{\"ts\":1.01,\"temp\":2}");
    assert_eq!(engine.replay(&lines, "j", Speed::Recorded).await.unwrap(), 2);
    let table = file("a.csv", "ts,temp\n2,3\n3,4\n");
    assert_eq!(engine.replay(&table, "j", Speed::Max).await.unwrap(), 2);
    assert_eq!(engine.replay(&table, "c", Speed::Max).await.unwrap(), 3);
    assert_eq!(engine.replay(&table, "h", Speed::Max).await.unwrap(), 2);
    assert_eq!(ask(&engine, "SELECT temp FROM j ORDER BY ts").await, ["1.0", "2.0", "3.0", "4.0"]);
    assert_eq!(ask(&engine, "SELECT sum(temp) FROM c").await, ["7.0"]);
    assert_eq!(ask(&engine, "SELECT sum(temp) FROM h").await, ["7.0"]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(job(&engine, "c").undecodable, 1, "the header is no row where none was declared");
    let error = engine.replay(&lines, "c", Speed::Max).await.unwrap_err();
    assert!(matches!(&error, ReplayError::File { .. }), "{error}");
    assert!(
        error
            .to_string()
            .ends_with("a.ndjson: a .ndjson file cannot be replayed into a stream of format 'csv'")
    );
    end(&db, &engine).await;
}

const SPARKPLUG: &str = "CREATE STREAM s (edge_node_id VARCHAR, device_id VARCHAR,
    message_type VARCHAR, name VARCHAR, ts TIMESTAMP, value DOUBLE, value_text VARCHAR,
    quality INTEGER, WATERMARK FOR ts) WITH (log = 'raw', format = 'sparkplug_b');
  CREATE MATERIALIZED VIEW v AS
    SELECT message_type, device_id, name, value, value_text, quality FROM s";

fn spoken(kind: &str, device: &str, payload: Vec<u8>) -> Entry {
    let topic = format!("spBv1.0/plant/{kind}/node{device}");
    Entry::new(payload).key(topic)
}

#[tokio::test(flavor = "multi_thread")]
async fn sparkplug_metrics_are_rows_and_aliases_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let birth = |session| {
        payload(
            1_767_225_600_000,
            vec![
                metric("bdSeq", None, 8, Held::Long(session)),
                metric("n", Some(1), 3, Held::Int(0)),
            ],
        )
    };
    let device = vec![
        metric("temp", Some(2), 10, Held::Double(20.5)),
        metric("on", Some(3), 11, Held::Bool(true)),
        metric("state", Some(4), 12, Held::Text("idle".to_owned())),
    ];
    let (db, engine) = site(
        &dir,
        SPARKPLUG,
        [
            spoken("NDATA", "", payload(1, vec![metric("", Some(1), 0, Held::Int(1))])),
            spoken("NBIRTH", "", birth(7)),
            spoken("DBIRTH", "/dev", payload(1_767_225_600_000, device)),
        ],
    )
    .await;
    let query = "SELECT * FROM v WHERE message_type = ";
    assert_eq!(
        ask(&engine, &format!("{query}'DBIRTH' ORDER BY name")).await,
        [
            "DBIRTH dev on 1.0 true 192",
            "DBIRTH dev state idle 192",
            "DBIRTH dev temp 20.5 20.5 192"
        ]
    );
    assert_eq!(reasons(&db), ["alias 1 is in no birth of plant/node that this stream has seen"]);
    end(&db, &engine).await;

    let (db, engine) = start(dir.path()).await;
    let minus_5 = Held::Int(u32::from_ne_bytes((-5i32).to_ne_bytes()));
    let mut stale = metric("", Some(2), 0, Held::Double(21.5));
    stale.quality(500);
    let log = db.log("raw").unwrap();
    let data = [
        spoken("NDATA", "", payload(1_767_225_601_000, vec![metric("", Some(1), 0, minus_5)])),
        spoken("DDATA", "/dev", payload(1_767_225_602_000, vec![stale])),
        spoken("NDEATH", "", payload(0, vec![metric("bdSeq", None, 8, Held::Long(6))])),
    ];
    append(&db, &log, data);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, &format!("{query}'NDATA'")).await, ["NDATA n -5.0 -5 192"]);
    assert_eq!(ask(&engine, &format!("{query}'DDATA'")).await, ["DDATA dev temp 21.5 21.5 500"]);
    let death = format!("{query}'NDEATH' ORDER BY name");
    assert_eq!(ask(&engine, &death).await, ["NDEATH bdSeq 6.0 6 192"], "of an earlier session");
    let dead = payload(0, vec![metric("bdSeq", None, 8, Held::Long(7))]);
    append(&db, &log, [spoken("DDEATH", "/dev", payload(0, vec![])), spoken("NDEATH", "", dead)]);
    engine.caught_up(LONG).await.unwrap();
    let dead = ["NDEATH dev on 500", "NDEATH dev state 500", "NDEATH dev temp 500", "NDEATH n 500"];
    let found = ask(&engine, &format!("{query}'NDEATH' AND quality = 500")).await;
    assert_eq!(found.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    assert!(dead.iter().all(|row| found.contains(&(*row).to_owned())), "{found:?}");
    assert_eq!(ask(&engine, &format!("{query}'DDEATH'")).await.len(), 3);
    // The history says the same as the job.
    let both = "SELECT count(*) FROM s UNION ALL SELECT count(*) FROM v";
    let both = ask(&engine, both).await;
    assert_eq!(both[0], both[1]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_cannot_be_say_what_would_do() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let table = [
        ("(x INT)", "format = 'cborr'", "format 'cborr' is not there; use 'cbor'"),
        (
            "(x INT)",
            "format = 'json', ts_format = 'min'",
            "ts_format 'min' is not there; numbers are",
        ),
        ("(x INT)", "format = 'csv', delimiter = ';;'", "delimiter ';;'; use one ASCII character"),
        ("(x INT)", "format = 'csv', header = 'yes'", "header is 'yes'; use 'true' or 'false'"),
        ("(x INT, y INT)", "format = 'raw'", "format 'raw' has one column, the payload, and not 2"),
        ("(x INT[])", "format = 'csv'", "column `x` of type INTEGER[] cannot come from csv"),
        ("(x INT PATH 'a')", "format = 'csv'", "column `x`: a PATH leads into json and cbor only"),
        ("(x INT PATH '')", "format = 'json'", "a PATH is the names of at most 16 fields"),
        ("(x INT PATH 'a', a STRUCT<b INT>)", "format = 'json'", "field `a` is one thing"),
        ("(valeu DOUBLE)", "format = 'sparkplug_b'", "has no column `valeu`, but group_id VARCHAR"),
        (
            "(value INT)",
            "format = 'sparkplug_b'",
            "column `value` of format 'sparkplug_b' is DOUBLE",
        ),
        ("", "format = 'cbor'", "columns can be left out for format 'json' alone"),
    ];
    for (columns, options, message) in table {
        let create = format!("CREATE STREAM s {columns} WITH (log = 'raw', {options})");
        let error = engine.execute(&create).await.unwrap_err().to_string();
        assert!(error.starts_with("line 1, column ") && error.contains(message), "{error}");
    }
    end(&db, &engine).await;
}
