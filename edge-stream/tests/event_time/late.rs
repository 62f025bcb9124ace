//! Rows behind the watermark of their stream, in a Log of their own. The oracle goes through all
//! records one by one.

use crate::site::{LONG, SCRIPT, append, ask, end, job, reading, start};
use edge_db::Entry;

const DIVERT: &str = "format = 'json', late = 'divert'";

fn script() -> String {
    SCRIPT.replace("format = 'json'", DIVERT)
}

/// Seconds that go up, but for some that lie up to 40 behind.
fn seconds(count: u32) -> Vec<u32> {
    let jumps = (0..count).map(|n| n.wrapping_mul(2_654_435_761) % 41);
    (40..)
        .zip(jumps)
        .map(|(clock, back)| if back % 3 == 0 { clock - back } else { clock })
        .collect()
}

/// The numbers of those behind the greatest in front of them by more than the delay.
fn late(seconds: &[u32]) -> Vec<String> {
    let (mut late, mut greatest) = (Vec::new(), 0);
    for (number, second) in seconds.iter().enumerate() {
        if second + 10 < greatest {
            late.push(number.to_string());
        }
        greatest = greatest.max(*second);
    }
    late
}

#[tokio::test(flavor = "multi_thread")]
async fn late_rows_lie_there_once_through_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let rows = seconds(1200);
    for (life, some) in (0u32..).zip(rows.chunks(200)) {
        let (db, engine) = start(dir.path()).await;
        let script = script().replace("STREAM", "STREAM IF NOT EXISTS");
        engine.execute(&script.replace("VIEW", "VIEW IF NOT EXISTS")).await.unwrap();
        let log = db.log("raw").unwrap();
        for (number, some) in (0u32..).zip(some.chunks(20)) {
            let first = life * 200 + number * 20;
            let rows = (first..).zip(some).map(|(n, second)| reading(*second, "lab", f64::from(n)));
            append(&db, &log, rows);
            if number % 3 == life % 3 {
                engine.caught_up(LONG).await.unwrap();
            }
        }
        drop(engine);
        db.shutdown(LONG).unwrap();
    }
    let (db, engine) = start(dir.path()).await;
    engine.caught_up(LONG).await.unwrap();
    let expected = late(&rows);
    assert!(expected.len() > 100, "{}", expected.len());
    let diverted = "SELECT CAST(temp AS INT) FROM readings_late ORDER BY readings_late._seq";
    assert_eq!(ask(&engine, diverted).await, expected);
    let status = job(&engine, "readings");
    assert_eq!((status.late, status.read), (expected.len() as u64, 1200));
    // Whatever a query finds late is there, and some that its open windows have taken in.
    let heat = job(&engine, "heat").late;
    assert!(heat > 0 && heat <= status.late, "{heat}");
    assert_eq!(ask(&engine, "SELECT count(*) FROM readings").await, ["1200"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_row_has_all_columns_of_its_stream_and_says_what_it_is_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let columns = "ts TIMESTAMP, t VARCHAR, b BOOLEAN, i BIGINT, d DOUBLE, c DECIMAL(20, 4), \
                   day DATE, bytes VARBINARY, list INT[], o STRUCT<x INT, y TIMESTAMP>";
    engine
        .execute(&format!(
            "CREATE STREAM s ({columns}, WATERMARK FOR ts AS ts) WITH (log = 'l', {DIVERT})"
        ))
        .await
        .unwrap();
    let log = db.log("l").unwrap();
    let full = r#"{"ts":"2026-01-01T00:00:00.123456","t":"a \"b\"\n","b":true,"i":9007199254740993,
        "d":0.1,"c":"1234567890123456.7891","day":"2026-02-03","bytes":"00ff","list":[1,null],
        "o":{"x":1,"y":"2026-01-01T00:00:01.5"}}"#;
    let at = edge_db::Time::from_micros(1_767_225_605_000_000);
    append(
        &db,
        &log,
        [
            Entry::new(r#"{"ts":"2026-01-01T00:00:00.123457"}"#),
            Entry::new(full).key("plant/a").header("client", "c1").at(at),
            Entry::new(r#"{"ts":"2026-01-01T00:00:00"}"#),
            Entry::new(r#"{"ts":"2026-01-01T00:00:00.123457"}"#),
        ],
    );
    engine.caught_up(LONG).await.unwrap();
    let all = "ts, t, b, i, d, c, day, bytes, list, o, _topic, _time, _client";
    let of = |table: &str, which: &str| format!("SELECT {all} FROM {table} {which}");
    let original = ask(&engine, &of("s", "WHERE _seq IN (1, 2) ORDER BY _seq")).await;
    assert!(
        original[0].contains("9007199254740993") && original[0].contains("00ff"),
        "{original:?}"
    );
    assert_eq!(ask(&engine, &of("s_late", "ORDER BY _seq")).await, original);

    let records = log_of(&db, "s_late");
    assert_eq!(
        records,
        [
            ("1".to_owned(), "2026-01-01T00:00:00.123457Z".to_owned()),
            ("2".to_owned(), "2026-01-01T00:00:00.123457Z".to_owned())
        ]
    );
    // And jobs can be had over them.
    engine
        .execute(&format!(
            "CREATE STREAM again ({columns}) WITH (log = 's_late', format = 'json');
             CREATE MATERIALIZED VIEW v AS SELECT t, c FROM again WHERE b"
        ))
        .await
        .unwrap();
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT c FROM v").await, ["1234567890123456.7891"]);
    end(&db, &engine).await;
}

fn log_of(db: &edge_db::Db, name: &str) -> Vec<(String, String)> {
    let records = db.log(name).unwrap().read(edge_db::Seq::ZERO, 100).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let of = |record: edge_db::RecordRef<'_>| {
        (text(record.header("seq").unwrap()), text(record.header("watermark").unwrap()))
    };
    records.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_record_are_not_late_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine
        .execute(
            "CREATE STREAM s (ts TIMESTAMP, n INT, WATERMARK FOR ts AS ts)
             WITH (log = 'l', format = 'csv', late = 'divert')",
        )
        .await
        .unwrap();
    let log = db.log("l").unwrap();
    append(&db, &log, ["9,0\n1,1", "9,2\n8,3\n7,4\n12,5", "11,6"].map(Entry::new));
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT n FROM s_late ORDER BY n").await, ["3", "4", "6"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_rows_are_kept_apart_from_when_the_stream_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    append(&db, &log, [reading(100, "lab", 0.0), reading(1, "lab", 1.0)]);
    engine.caught_up(LONG).await.unwrap();
    let stream = script().split(';').next().unwrap().replace("CREATE", "CREATE OR REPLACE");
    engine.execute(&stream).await.unwrap();
    append(&db, &log, [reading(100, "lab", 2.0), reading(3, "lab", 3.0)]);
    engine.caught_up(LONG).await.unwrap();
    let late = "SELECT temp FROM readings_late";
    assert_eq!(ask(&engine, late).await, ["3.0"]);
    let names = [
        ("CREATE MATERIALIZED VIEW x_late AS SELECT temp FROM readings", "names with _late"),
        (
            "CREATE STREAM s (ts TIMESTAMP, WATERMARK FOR ts) WITH (log = 's_late')",
            "stream `s` would read its own late rows",
        ),
    ];
    for (statement, expected) in names {
        let error = engine.execute(statement).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // Without the option what lies there stays, as records.
    engine.execute(&stream.replace("'divert'", "'drop'")).await.unwrap();
    append(&db, &log, [reading(4, "lab", 4.0)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT count(value) FROM readings_late").await, ["1"]);
    end(&db, &engine).await;
}
