//! Live topics: messages that come out of the broker's memory and lie nowhere. They are counted at most
//! once: a crash loses those that no checkpoint has, and doubles none; and what memory has no room
//! for is counted. A crash is an engine that is dropped with its broker, wherever its jobs are.

#![cfg(feature = "mq")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/device.rs"]
mod device;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/site.rs"]
mod site;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use device::Device;
use edge_db::{Db, Entry, Log, Seq};
use edge_mq::{Broker, Message};
use edge_stream::{Begin, Engine, PushError, Sample, Speed, Subscription, Update};
use gateway::Gateway;
use site::{LONG, append, ask, cells, job};

const VIBRATION: &str = "
CREATE STREAM IF NOT EXISTS vibration (press VARCHAR, ts TIMESTAMP, g DOUBLE, WATERMARK FOR ts)
  WITH (topic = 'press/{press}/vibration', journal = 'false', max_bytes = '65536');
";

/// All messages, those of closed windows, and the strong ones.
const JOBS: &str = "
CREATE MATERIALIZED VIEW IF NOT EXISTS counted AS
  SELECT press, count(*) AS n FROM vibration GROUP BY press EMIT CHANGES;
CREATE MATERIALIZED VIEW IF NOT EXISTS windows AS
  SELECT window_start, count(*) AS n, max(g) AS g
  FROM TUMBLE(vibration, DESCRIPTOR(ts), INTERVAL '10 seconds') GROUP BY window_start;
CREATE SINK IF NOT EXISTS strong WITH (log = 'strong_ones') AS
  SELECT press, ts, g FROM vibration WHERE g > 1;
";

/// A reading of a press, in the device's own time.
async fn vibrate(gateway: &Gateway, press: &str, second: u32, g: f64) {
    gateway.publish(&format!("press/{press}/vibration"), &reading(second, g)).await;
}

fn reading(second: u32, g: f64) -> String {
    format!(r#"{{"ts":"2026-01-01T00:{:02}:{:02}","g":{g}}}"#, second / 60, second % 60)
}

async fn update(live: &mut Subscription) -> Update {
    live.next().await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_devices_are_rows_with_their_metadata_and_nothing_of_them_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(dir.path()).await;
    let stream = VIBRATION.replace(", max_bytes = '65536'", "");
    // Who is here before the stream says nothing to it.
    let retained = Message::new("press/0/vibration".parse().unwrap(), reading(0, 0.1));
    gateway.broker.local().publish(retained.retain(true)).await.unwrap();
    gateway.run(&format!("{stream}{JOBS}")).await;
    gateway.caught_up().await;
    let mut device = Device::connect(&gateway.broker, "sensor-7");
    let before = gateway.db.stats().written_bytes;
    for second in 0..200 {
        let padding = "x".repeat(20_000);
        let reading = reading(second, 0.5).replace('}', &format!(r#","raw":"{padding}"}}"#));
        device.publish("press/7/vibration", &reading);
    }
    gateway.caught_up().await;
    assert_eq!(gateway.ask("SELECT * FROM counted").await, ["7 200"]);
    assert_eq!(gateway.ask("SELECT count(*), sum(n) FROM windows").await, ["19 190"]);
    let written = gateway.db.stats().written_bytes - before;
    assert!(written < 400_000, "4 MB were published, and {written} bytes stored");
    assert_eq!(gateway.db.find_log("vibration").map(|log| log.name().to_owned()), None);
    assert!(gateway.broker.journal_rules().is_empty());
    let metadata = "SELECT press, _topic, _seq, _qos, _client, _time IS NULL FROM vibration \
                    WHERE _seq >= 198 AND _time > TIMESTAMP '2020-01-01'";
    let row = |seq: u32| format!("7 press/7/vibration {seq} 1 sensor-7 false");
    assert_eq!(gateway.ask(metadata).await, [row(198), row(199)]);
    // The application is no client.
    vibrate(&gateway, "8", 300, 0.5).await;
    let client = "SELECT _qos, _client IS NULL FROM vibration WHERE press = '8'";
    assert_eq!(gateway.ask(client).await, ["1 true"]);
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_what_was_in_memory_alone_and_nothing_counts_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut counted = 0;
    for life in 0..5u32 {
        let gateway = Gateway::with(dir.path(), &format!("{VIBRATION}{JOBS}")).await;
        // In the first life nothing is paused.
        gateway.run("RESUME JOB counted; RESUME JOB strong").await;
        for number in 0..20 {
            vibrate(&gateway, "a", life * 100 + number, 2.0).await;
        }
        gateway.caught_up().await;
        counted += 20;
        let status = job(&gateway.engine, "counted");
        assert_eq!((status.read, status.missed, status.lag), (counted, 0, 0));
        assert_eq!(status.position, Seq::new(20), "positions begin anew with each process");
        assert_eq!(gateway.ask("SELECT n FROM counted").await, [counted.to_string()]);
        // Whoever stands still in this process goes on where it stood.
        gateway.run("PAUSE JOB counted; PAUSE JOB strong").await;
        for number in 20..25 {
            vibrate(&gateway, "a", life * 100 + number, 2.0).await;
        }
        if life % 2 == 0 {
            gateway.run("RESUME JOB counted; RESUME JOB strong").await;
            gateway.caught_up().await;
            counted += 5;
            assert_eq!(gateway.ask("SELECT n FROM counted").await, [counted.to_string()]);
        }
        // Else nobody has these when the process ends.
        gateway.crash();
    }
    let gateway = Gateway::start(dir.path()).await;
    assert_eq!(gateway.ask("SELECT n FROM counted").await, [counted.to_string()]);
    let strong = gateway.db.log("strong_ones").unwrap().bounds().unwrap();
    assert_eq!(strong.end.get(), counted);
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_windows_and_the_watermark_go_on_over_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let windows = "SELECT n, g FROM windows ORDER BY window_start";
    let gateway = Gateway::with(dir.path(), &format!("{VIBRATION}{JOBS}")).await;
    for (second, g) in [(0, 0.1), (5, 0.2), (12, 0.3)] {
        vibrate(&gateway, "a", second, g).await;
    }
    gateway.caught_up().await;
    assert_eq!(gateway.ask(windows).await, ["2 0.2"]);
    gateway.crash();

    let gateway = Gateway::start(dir.path()).await;
    // The first one is late: its window was closed before the crash.
    for (second, g) in [(3, 0.9), (15, 0.2), (25, 0.1)] {
        vibrate(&gateway, "a", second, g).await;
    }
    gateway.caught_up().await;
    assert_eq!(gateway.ask(windows).await, ["2 0.2", "2 0.3"]);
    assert_eq!(job(&gateway.engine, "windows").late, 1);
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_memory_has_no_room_for_is_counted_and_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::with(dir.path(), &format!("{VIBRATION}{JOBS}")).await;
    let all = "SELECT g FROM vibration";
    let mut live = gateway.engine.subscribe(all, Begin::Now).await.unwrap();
    gateway.run("PAUSE JOB counted").await;
    let mut device = Device::connect(&gateway.broker, "sensor");
    (0..3000).for_each(|_| device.publish("press/a/vibration", &reading(1, 0.5)));
    let dropped = gateway.ask("SELECT dropped FROM system.streams").await;
    let dropped: u64 = dropped[0].parse().unwrap();
    // A message takes 100 to 200 bytes of 64 KiB.
    assert!((2300..2700).contains(&dropped), "{dropped}");
    let kept = 3000 - dropped;
    assert_eq!(gateway.ask("SELECT count(*) FROM vibration").await, [kept.to_string()]);

    gateway.run("RESUME JOB counted").await;
    gateway.caught_up().await;
    let status = job(&gateway.engine, "counted");
    assert_eq!((status.read, status.missed), (kept, dropped));
    let shown = "SELECT rows_in, missed FROM system.jobs WHERE name = 'counted'";
    assert_eq!(gateway.ask(shown).await, [format!("{kept} {dropped}")]);
    assert_eq!(gateway.ask("SELECT n FROM counted").await, [kept.to_string()]);
    // Who kept up has all of it.
    let others = ["vibration", "windows", "strong"].map(|name| job(&gateway.engine, name));
    assert!(others.iter().all(|other| other.read + other.missed == 3000), "{others:?}");

    let stream = "vibration".to_owned();
    assert_eq!(update(&mut live).await, Update::Missed { stream, records: dropped });
    let Update::Rows { rows, next } = update(&mut live).await else { panic!() };
    assert_eq!((rows.num_rows() as u64, next), (kept, None));
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_topic_is_joined_with_a_log_and_each_pair_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let join = "
CREATE STREAM parts (press VARCHAR, ts TIMESTAMP, part VARCHAR, WATERMARK FOR ts) WITH (log = 'parts');
CREATE MATERIALIZED VIEW pairs AS SELECT v.press, v.g, p.part FROM vibration v JOIN parts p
ON v.press = p.press AND p.ts BETWEEN v.ts - INTERVAL '5 seconds' AND v.ts + INTERVAL '5 seconds';";
    let pairs = "SELECT g, part FROM pairs ORDER BY part, g";
    let part = |second: u32, part: &str| {
        let row = reading(second, 0.0).replace(r#""g":0"#, &format!(r#""part":"{part}""#));
        Entry::new(row.replace('{', r#"{"press":"a","#))
    };
    let parts = |db: &Db| -> Log { db.log("parts").unwrap() };
    let gateway = Gateway::with(dir.path(), &format!("{VIBRATION}{join}")).await;
    vibrate(&gateway, "a", 0, 0.1).await;
    vibrate(&gateway, "a", 1, 0.2).await;
    append(&gateway.db, &parts(&gateway.db), [part(2, "x")]);
    gateway.caught_up().await;
    assert_eq!(gateway.ask(pairs).await, ["0.1 x", "0.2 x"]);
    gateway.crash();

    let gateway = Gateway::start(dir.path()).await;
    append(&gateway.db, &parts(&gateway.db), [part(4, "y")]);
    vibrate(&gateway, "a", 6, 0.3).await;
    gateway.caught_up().await;
    let all = ["0.1 x", "0.2 x", "0.3 x", "0.1 y", "0.2 y", "0.3 y"];
    assert_eq!(gateway.ask(pairs).await, all);
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_rows_and_what_is_no_row_are_kept_in_logs_as_of_any_stream() {
    let dir = tempfile::tempdir().unwrap();
    let stream = VIBRATION.replace("'65536'", "'65536', late = 'divert'");
    let gateway = Gateway::with(dir.path(), &stream).await;
    gateway.publish("press/a/vibration", "no JSON").await;
    for second in [10, 3, 12] {
        vibrate(&gateway, "a", second, f64::from(second)).await;
    }
    gateway.caught_up().await;
    gateway.crash();
    let gateway = Gateway::start(dir.path()).await;
    vibrate(&gateway, "a", 11, 11.0).await;
    gateway.caught_up().await;
    let late = "SELECT press, g FROM vibration_late ORDER BY vibration_late._seq";
    assert_eq!(gateway.ask(late).await, ["a 3.0", "a 11.0"]);
    let errors = gateway.db.log("vibration_errors").unwrap().read(Seq::ZERO, 9).unwrap();
    assert_eq!((errors.len(), errors.get(0).unwrap().value()), (1, &b"no JSON"[..]));
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_says_what_is_live_and_takes_it_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::with(dir.path(), &format!("{VIBRATION}{JOBS}")).await;
    gateway.run("CREATE STREAM stored (press VARCHAR) WITH (topic = 'stored/{press}', journal = 'true')").await;
    let streams =
        "SELECT name, log IS NULL, topic, promise, dropped FROM system.streams ORDER BY name";
    let expected = [
        "stored false stored/{press} exactly once",
        "vibration true press/{press}/vibration at most once 0",
    ];
    assert_eq!(gateway.ask(streams).await, expected);
    let described = gateway.ask("DESCRIBE vibration").await;
    assert_eq!(described[3], "_topic VARCHAR of every record; live, at most once");
    assert!(described[5].ends_with("live, at most once: from 0 at each start"), "{described:?}");
    let steps = gateway.ask("EXPLAIN JOB strong").await;
    assert!(steps[0].contains("read vibration, live: at most once"), "{steps:?}");

    let exported = gateway.engine.export();
    gateway.end().await;
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::with(dir.path(), &exported).await;
    assert_eq!(gateway.engine.export(), exported);
    vibrate(&gateway, "a", 0, 0.1).await;
    gateway.caught_up().await;
    assert_eq!(gateway.ask("SELECT * FROM counted").await, ["a 1"]);
    assert!(gateway.db.find_log("vibration").is_none());
    gateway.end().await;
    // Without its broker it is silent, and the rest goes on.
    let db = Db::open(dir.path()).unwrap();
    let engine = Engine::builder().db(&db).start().await.unwrap();
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT * FROM counted").await, ["a 1"]);
    assert!(ask(&engine, "SELECT * FROM vibration").await.is_empty());
    site::end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_replaced_begins_with_what_memory_holds() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::with(dir.path(), &format!("{VIBRATION}{JOBS}")).await;
    let counted = "SELECT n FROM counted";
    let by = |factor: u32| {
        format!(
            "CREATE OR REPLACE MATERIALIZED VIEW counted AS SELECT press, count(*) * {factor} AS n
             FROM vibration GROUP BY press EMIT CHANGES"
        )
    };
    for second in 0..3 {
        vibrate(&gateway, "a", second, 0.1).await;
    }
    gateway.run(&by(10)).await;
    vibrate(&gateway, "a", 3, 0.1).await;
    gateway.caught_up().await;
    assert_eq!(gateway.ask(counted).await, ["40"]);
    gateway.crash();
    let gateway = Gateway::start(dir.path()).await;
    vibrate(&gateway, "a", 4, 0.1).await;
    gateway.caught_up().await;
    assert_eq!(gateway.ask(counted).await, ["50"]);
    gateway.run(&by(100)).await;
    assert_eq!(gateway.ask(counted).await, ["100"], "of earlier ones nothing is left");

    // Another topic: who reads the stream goes on, and each message counts once.
    let moved = VIBRATION.replace("IF NOT EXISTS ", "").replace("CREATE", "CREATE OR REPLACE");
    gateway.run(&moved.replace("'press/{press}/vibration'", "'{press}/a/vibration'")).await;
    vibrate(&gateway, "b", 5, 0.1).await;
    for topic in ["a/a/vibration", "press/a/vibration"] {
        gateway.publish(topic, &reading(6, 0.1)).await;
    }
    gateway.caught_up().await;
    assert_eq!(gateway.ask("SELECT * FROM counted ORDER BY press").await, ["a 200", "press 100"]);
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_becomes_live_and_journaled_again_where_nobody_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(dir.path()).await;
    let stream = |journal: bool| {
        format!(
            "CREATE OR REPLACE STREAM vibration (press VARCHAR, g DOUBLE)
             WITH (topic = 'press/{{press}}/vibration', journal = '{journal}')"
        )
    };
    let rows = "SELECT count(*) FROM vibration";
    for is_live in [true, false, true] {
        gateway.run(&stream(!is_live)).await;
        vibrate(&gateway, "a", 0, 0.1).await;
        // Its Log stays, as that of a dropped stream does.
        assert_eq!(gateway.ask(rows).await, ["1"], "{is_live}");
        assert_eq!(gateway.broker.journal_rules().is_empty(), is_live);
    }
    gateway.run("CREATE SINK s WITH (log = 'out') AS SELECT g FROM vibration").await;
    assert_eq!(
        gateway.refused(&stream(true)).await,
        "line 1, column 1: `vibration` would read another log, and `s` read it; drop them first, or \
         create a stream of another name"
    );
    gateway.run("DROP SINK s").await;
    gateway.run(&stream(true)).await;
    gateway.run("CREATE SINK s WITH (log = 'out') AS SELECT g FROM vibration").await;
    assert_eq!(
        gateway.refused(&stream(false)).await,
        "line 1, column 1: `vibration` would read a live topic, and no log, and `s` read it; drop them \
         first, or create a stream of another name"
    );
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_topic_is_waited_for_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let stream = VIBRATION.replace("'65536'", "'65536', idle_timeout = '1 hour'");
    let join = "
CREATE STREAM parts (press VARCHAR, ts TIMESTAMP, part VARCHAR, WATERMARK FOR ts) WITH (log = 'parts');
CREATE MATERIALIZED VIEW pairs AS SELECT p.part, v.g FROM parts p LEFT JOIN vibration v
ON v.press = p.press AND v.ts BETWEEN p.ts - INTERVAL '5 seconds' AND p.ts + INTERVAL '5 seconds';";
    Gateway::with(dir.path(), &format!("{stream}{join}")).await.crash();
    // These came before the next life, in which nobody has heard the topic yet.
    let db = Db::open(dir.path()).unwrap();
    let part = |second: u32, part: &str| {
        let ts = format!("2026-01-01T00:{:02}:{:02}", second / 60, second % 60);
        Entry::new(format!(r#"{{"press":"a","ts":"{ts}","part":"{part}"}}"#))
    };
    append(&db, &db.log("parts").unwrap(), [part(2, "x"), part(200, "y")]);
    db.shutdown(LONG).unwrap();

    let gateway = Gateway::start(dir.path()).await;
    gateway.caught_up().await;
    assert!(gateway.ask("SELECT * FROM pairs").await.is_empty(), "it may have what belongs to x");
    vibrate(&gateway, "a", 3, 0.1).await;
    vibrate(&gateway, "a", 100, 0.2).await;
    gateway.caught_up().await;
    assert_eq!(gateway.ask("SELECT part, g FROM pairs").await, ["x 0.1"]);
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_tried_out_on_what_memory_holds() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::with(dir.path(), VIBRATION).await;
    for (second, g) in [(0, 3.0), (1, 0.5), (2, 4.0)] {
        vibrate(&gateway, "a", second, g).await;
    }
    let strong = "SELECT g FROM vibration WHERE g > 1";
    for (newest, expected) in [(2, vec!["4.0"]), (u64::MAX, vec!["3.0", "4.0"])] {
        let tried = gateway.engine.try_out(strong, Sample::Newest(newest)).await.unwrap();
        assert_eq!(cells(&tried.rows), expected, "{newest}");
    }
    assert_eq!(gateway.engine.jobs().len(), 1, "that of the stream");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::with(dir.path(), VIBRATION).await;
    let with = |options: &str| format!("CREATE STREAM s (a INT) WITH ({options})");
    for (script, expected) in [
        (
            with("topic = 's', journal = 'no'"),
            "line 1, column 44: journal is 'no'; use 'true', or 'false' to keep messages in memory alone",
        ),
        (
            with("log = 's', journal = 'false'"),
            "line 1, column 42: `journal` is about the messages of a topic; leave it out",
        ),
        (
            with("topic = 's', max_bytes = '100000'"),
            "line 1, column 44: `max_bytes` is about what memory holds of a topic that is not journaled; \
             add journal = 'false', or leave it out: a log has a limit of its own",
        ),
        (
            with("topic = 's', journal = 'false', max_bytes = '100'"),
            "line 1, column 63: max_bytes is '100'; use a number of bytes, '65536' at least",
        ),
        (
            "CREATE STREAM s WITH (topic = 's', journal = 'false')".to_owned(),
            "line 1, column 17: nothing of a live topic is stored that would say which columns there are; \
             declare them: (ts TIMESTAMP, temp DOUBLE, ..)",
        ),
        (
            "CREATE SINK s WITH (topic = 's', journal = 'false') AS SELECT g FROM vibration"
                .to_owned(),
            "line 1, column 34: there is no option `journal`; it is one of streams; leave it out",
        ),
    ] {
        assert_eq!(gateway.refused(&script).await, expected, "{script}");
    }
    let begin = Begin::At(Seq::ZERO);
    let error = gateway.engine.subscribe("SELECT g FROM vibration", begin).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 1, column 1: `vibration` is a live topic, whose positions end with the process; begin now, \
         or at the oldest record that memory has"
    );
    let rows = [("g", Arc::new(Int64Array::from(vec![1])) as ArrayRef)];
    let rows = RecordBatch::try_from_iter(rows).unwrap();
    let error = gateway.engine.push("vibration", &rows).await.unwrap_err();
    assert!(matches!(&error, PushError::Live { stream } if stream == "vibration"), "{error:?}");
    let file = dir.path().join("x.ndjson");
    let error = gateway.engine.replay(&file, "vibration", Speed::Max).await.unwrap_err();
    assert!(error.to_string().contains("is a live topic, and nothing of it is stored"), "{error}");
    gateway.end().await;

    let db = Db::open(dir.path().join("alone")).unwrap();
    let engine = Engine::builder().db(&db).start().await.unwrap();
    let error = engine.execute(VIBRATION).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "line 2, column 1: `vibration` is about a topic, and the engine has no broker: give it one when \
         it is built"
    );
    site::end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_begins_with_what_memory_holds_or_now() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    // It needs no database.
    let broker = Broker::builder().start().await.unwrap();
    let engine = Engine::builder().db(&db).broker(&broker).start().await.unwrap();
    let gateway = Gateway { db, broker, engine };
    gateway.run(VIBRATION).await;
    vibrate(&gateway, "a", 0, 0.1).await;
    let query = "SELECT g FROM vibration";
    for (begin, expected) in [(Begin::Oldest, vec!["0.1", "0.2"]), (Begin::Now, vec!["0.3"])] {
        let mut live = gateway.engine.subscribe(query, begin).await.unwrap();
        let g = if begin == Begin::Oldest { 0.2 } else { 0.3 };
        vibrate(&gateway, "a", 1, g).await;
        let Update::Rows { rows, next } = update(&mut live).await else { panic!() };
        assert_eq!(
            (cells(&[rows]), next),
            (expected.into_iter().map(str::to_owned).collect(), None)
        );
    }
    gateway.end().await;
}
