//! `watermark_by`: a clock for each key of a stream. The oracle goes through all records one by one,
//! and looks at every key behind each.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema};
use edge_db::{Db, Entry, Time};
use edge_stream::{Engine, EventTime, Pipeline};

use crate::site::{LONG, append, ask, end, job, start};

const MINUTE: i64 = 60;

/// Seconds of the year 2026, as all times below.
const YEAR: i64 = 1_767_225_600;

/// How far rows of a device lie behind each other at most.
const DELAY: i64 = 10;

/// When a record arrived, from which device, and the time that it tells.
type Event = (i64, &'static str, i64);

fn script(options: &str) -> String {
    format!(
        "CREATE STREAM IF NOT EXISTS readings (
           ts TIMESTAMP, device VARCHAR, n BIGINT, WATERMARK FOR ts AS ts - INTERVAL '{DELAY} seconds'
         ) WITH (log = 'raw', format = 'json', late = 'divert', watermark_by = 'device'{options});
         CREATE MATERIALIZED VIEW IF NOT EXISTS heat AS SELECT window_start, device, count(*) AS n
         FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY window_start, device;"
    )
}

fn entries(first: usize, events: &[Event]) -> impl Iterator<Item = Entry> {
    (first..).zip(events).map(|(number, (arrived, device, second))| {
        let time = YEAR + second;
        let device = if device.is_empty() { "null".to_owned() } else { format!("{device:?}") };
        Entry::new(format!(r#"{{"ts":{time},"device":{device},"n":{number}}}"#))
            .at(Time::from_micros((YEAR + arrived) * 1_000_000))
    })
}

fn put(db: &Db, first: usize, events: &[Event]) {
    append(db, &db.log("raw").unwrap(), entries(first, events));
}

/// The numbers of the late rows, and how far event time has come.
fn expected(events: &[Event], idle: Option<i64>) -> (Vec<String>, Option<i64>) {
    let (mut known, mut late) = (BTreeMap::<&str, (i64, i64)>::new(), Vec::new());
    let (mut clock, mut last, mut current) = (0, None::<i64>, None);
    for (number, (arrived, device, second)) in events.iter().enumerate() {
        clock += idle.zip(last).map_or(0, |(idle, last)| (arrived - last).clamp(0, idle / 2));
        last = Some(*arrived);
        match current.is_some_and(|current| *second < current) {
            true => late.push(number.to_string()),
            false => {
                let of = known.entry(*device).or_insert((i64::MIN, clock));
                *of = (of.0.max(second - DELAY), clock);
            }
        }
        if let Some(idle) = idle {
            if clock < idle {
                continue;
            }
            known.retain(|_, (_, heard)| *heard + idle > clock);
        }
        current = current.max(known.values().map(|(mark, _)| *mark).min());
    }
    (late, current)
}

async fn diverted(engine: &Engine) -> Vec<String> {
    ask(engine, "SELECT n FROM readings_late ORDER BY n").await
}

fn watermark(engine: &Engine, name: &str) -> Option<i64> {
    let watermark = job(engine, name).watermark;
    watermark.map(|time| time.micros() / 1_000_000 - YEAR)
}

/// Five devices and rows of none. One is away for a time and sends what it has; of another one the clock is
/// set back.
fn site() -> Vec<Event> {
    let names = ["a", "b", "c", "away", "back", ""];
    let (mut now, mut sent) = (0, [0; 6]);
    let events = (0..900u32).map(|n| {
        let random = n.wrapping_mul(2_654_435_761) >> 8;
        now += i64::from(random % 3);
        let device = match random as usize / 8 % 6 {
            3 if (300..500).contains(&n) => 0,
            device => device,
        };
        let behind = i64::from(random / 64 % 15);
        sent[device] = match device {
            3 => now.min(sent[3] + 30),
            4 if n > 600 => now - 500,
            _ => now,
        };
        (now, names[device], sent[device] - behind)
    });
    events.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_late_depends_on_the_records_in_front_alone_through_crashes() {
    for idle in [None, Some(2 * MINUTE)] {
        let dir = tempfile::tempdir().unwrap();
        let events = site();
        let options =
            idle.map_or(String::new(), |idle| format!(", idle_timeout = '{idle} seconds'"));
        for (life, some) in events.chunks(150).enumerate() {
            let (db, engine) = start(dir.path()).await;
            engine.execute(&script(&options)).await.unwrap();
            for (number, few) in some.chunks(13).enumerate() {
                put(&db, life * 150 + number * 13, few);
                if number % 3 == life % 3 {
                    engine.caught_up(LONG).await.unwrap();
                }
            }
            // Its jobs end where they are.
            drop(engine);
            db.shutdown(LONG).unwrap();
        }
        let (db, engine) = start(dir.path()).await;
        engine
            .execute(&script(&options).replace("VIEW IF NOT EXISTS heat", "VIEW later"))
            .await
            .unwrap();
        engine.caught_up(LONG).await.unwrap();
        let (late, reached) = expected(&events, idle);
        assert!(late.len() > 50, "{}", late.len());
        assert_eq!(diverted(&engine).await, late);
        let all = ["readings", "heat", "later"].map(|name| watermark(&engine, name));
        assert_eq!(all, [reached; 3]);
        for view in ["heat", "later"] {
            assert!(job(&engine, view).late <= late.len() as u64);
        }
        let kept = job(&engine, "heat").inputs[0].keys.clone().unwrap();
        assert_eq!(Some(kept), job(&engine, "readings").inputs[0].keys);
        end(&db, &engine).await;
    }
}

/// Two devices tell the time each minute for five hours. A third one does, too, but for the fourth hour,
/// of which it tells at its end.
fn with_an_hour_away() -> Vec<Event> {
    let mut events = Vec::new();
    for minute in 0..300 {
        let now = minute * MINUTE;
        events.extend([(now, "a", now), (now, "b", now)]);
        match minute {
            180..240 => {}
            240 => events.extend((180..=240).map(|of| (now, "c", of * MINUTE))),
            _ => events.push((now, "c", now)),
        }
    }
    events
}

/// How many rows were late, and minutes of the fourth hour that the third device is answered for.
async fn answered(dir: &Path, options: &str) -> (usize, String) {
    let (db, engine) = start(dir).await;
    engine.execute(&script(options)).await.unwrap();
    let events = with_an_hour_away();
    // A query closes its windows behind each piece that it reads.
    let before = events.iter().position(|(arrived, ..)| *arrived == 240 * MINUTE).unwrap() + 2;
    let (first, rest) = events.split_at(before);
    put(&db, 0, first);
    engine.caught_up(LONG).await.unwrap();
    put(&db, before, rest);
    engine.caught_up(LONG).await.unwrap();
    let hour = "SELECT count(*) FROM heat WHERE device = 'c'
                AND window_start >= TIMESTAMP '2026-01-01T03:00:00'
                AND window_start < TIMESTAMP '2026-01-01T04:00:00'";
    let answer = (diverted(&engine).await.len(), ask(&engine, hour).await.concat());
    end(&db, &engine).await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_sends_after_an_hour_is_in_time_if_it_was_waited_for() {
    let events = with_an_hour_away();
    for (options, idle) in [("", None), (", idle_timeout = '2 hours'", Some(120 * MINUTE))] {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(expected(&events, idle).0.len(), 0);
        assert_eq!(answered(dir.path(), options).await, (0, "60".to_owned()), "{options}");
    }
    let (late, _) = expected(&events, Some(10 * MINUTE));
    assert_eq!(late.len(), 60);
    let dir = tempfile::tempdir().unwrap();
    let (diverted, minutes) = answered(dir.path(), ", idle_timeout = '10 minutes'").await;
    assert_eq!((diverted, minutes.as_str()), (60, "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_gateway_was_off_no_device_was_quiet() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(&script(", idle_timeout = '10 minutes'")).await.unwrap();
    let both = |minute: i64| ["a", "b"].map(|device| (minute * MINUTE, device, minute * MINUTE));
    let mut events: Vec<Event> = (0..60).flat_map(both).collect();
    // Both tell of the time between, one after the other.
    let back = 240 * MINUTE;
    for device in ["a", "b"] {
        events.extend((60..240).map(|minute| (back, device, minute * MINUTE)));
    }
    assert_eq!(expected(&events, Some(10 * MINUTE)).0.len(), 0);
    put(&db, 0, &events);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(diverted(&engine).await.len(), 0);
    assert_eq!(watermark(&engine, "heat"), Some(239 * MINUTE - DELAY));
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_shown_who_holds_up_event_time() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(&script(", idle_timeout = '10 minutes'")).await.unwrap();
    let shown = "SELECT keys, slowest_key, keys_crowded_out FROM system.jobs ORDER BY name";
    put(&db, 0, &[(0, "a", 0), (0, "slow", -500), (290, "a", 300), (580, "", 600)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, shown).await, ["3 slow 0", "3 slow 0"]);
    let keys = job(&engine, "heat").inputs[0].keys.clone().unwrap();
    assert_eq!(keys.watermark, Some(Time::from_micros((YEAR - 510) * 1_000_000)));
    put(&db, 4, &[(900, "a", 900), (901, "a", 901)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, shown).await, ["2 NULL 0", "2 NULL 0"]);
    assert_eq!(watermark(&engine, "heat"), Some(600 - DELAY));
    let explained = ask(&engine, "EXPLAIN JOB heat").await;
    let reads = "the position, and the watermark of each device it moves on, or the key is idle";
    assert!(explained.iter().any(|step| step.contains(reads)), "{explained:?}");
    // The statement is what is kept of a stream.
    let sql = ask(&engine, "SELECT sql FROM system.streams").await.concat();
    assert!(sql.contains("watermark_by = 'device'"), "{sql}");
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_too_many_keys_the_one_that_is_silent_longest_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let stream = "CREATE STREAM s (ts TIMESTAMP, n BIGINT, WATERMARK FOR ts)
                  WITH (log = 'l', late = 'divert', watermark_by = 'n', idle_timeout = '1 hour')";
    engine.execute(stream).await.unwrap();
    let row = |n: i64| {
        Entry::new(format!(r#"{{"ts":{},"n":{n}}}"#, YEAR + n))
            .at(Time::from_micros((YEAR + n) * 1_000_000))
    };
    let log = db.log("l").unwrap();
    for from in (0..10_100).step_by(1000) {
        append(&db, &log, (from..10_100.min(from + 1000)).map(row));
    }
    engine.caught_up(LONG).await.unwrap();
    let keys = job(&engine, "s").inputs[0].keys.clone().unwrap();
    // An hour is less than all of them.
    assert_eq!((keys.count, keys.slowest.as_deref(), keys.crowded_out), (3600, Some("6500"), 0));
    let replaced = stream.replace("CREATE", "CREATE OR REPLACE").replace("1 hour", "1 day");
    engine.execute(&replaced).await.unwrap();
    for from in (10_100..20_000).step_by(1000) {
        append(&db, &log, (from..20_000.min(from + 1000)).map(row));
    }
    engine.caught_up(LONG).await.unwrap();
    let keys = job(&engine, "s").inputs[0].keys.clone().unwrap();
    assert_eq!(
        (keys.count, keys.slowest.as_deref(), keys.crowded_out),
        (10_000, Some("10000"), 3500)
    );
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_be_given_other_keys_and_event_time_does_not_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let stream = |by: &str| {
        script(by)
            .split(';')
            .next()
            .unwrap()
            .replace("IF NOT EXISTS ", "")
            .replace("CREATE STREAM", "CREATE OR REPLACE STREAM")
    };
    let plain = stream("").replace(", watermark_by = 'device'", "");
    let numbered = stream("").replace("'device'", "'n'");
    engine.execute(&script("")).await.unwrap();
    put(&db, 0, &[(0, "a", 100), (0, "b", 200), (0, "c", 300)]);
    engine.caught_up(LONG).await.unwrap();
    let keys = |name: &str| job(&engine, name).inputs[0].keys.clone().map(|keys| keys.count);
    assert_eq!(watermark(&engine, "heat"), Some(90));
    let stored = || {
        ["heat", "readings"].map(|job| {
            let state = db.keyspace(&format!("stream.state.{job}")).unwrap();
            let all = state.iter().unwrap().map(|entry| entry.unwrap().0.to_vec());
            all.filter(|key| [&[0xFF, 2][..], &[0xFD, 1]].contains(&&key[..key.len().min(2)]))
                .count()
        })
    };
    assert_eq!(stored(), [4, 4]);

    // The others are not waited for, and not remembered.
    engine.execute(&plain).await.unwrap();
    put(&db, 3, &[(0, "c", 301)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!((watermark(&engine, "heat"), keys("heat")), (Some(291), None));
    assert_eq!(stored(), [0, 0]);

    engine.execute(&stream("")).await.unwrap();
    put(&db, 4, &[(0, "a", 295), (0, "b", 400), (0, "b", 290)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!((watermark(&engine, "heat"), keys("heat")), (Some(291), Some(2)));
    assert_eq!(diverted(&engine).await, ["6"]);

    // Keys of one column say nothing of those of another.
    engine.execute(&numbered).await.unwrap();
    put(&db, 7, &[(0, "a", 500)]);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!((watermark(&engine, "heat"), keys("heat")), (Some(490), Some(1)));
    assert_eq!(stored(), [2, 2]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_waits_for_each_key_through_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let join = "
        CREATE STREAM IF NOT EXISTS doors (ts TIMESTAMP, device VARCHAR, n BIGINT, WATERMARK FOR ts)
        WITH (log = 'doors', format = 'json');
        CREATE MATERIALIZED VIEW IF NOT EXISTS pairs AS SELECT r.n, d.n AS door FROM readings r
        LEFT JOIN doors d ON r.device = d.device
        AND d.ts BETWEEN r.ts - INTERVAL '5 seconds' AND r.ts + INTERVAL '5 seconds'";
    let steps = [
        ("raw", [(0, "a", 0), (0, "b", 20)], vec![]),
        ("doors", [(0, "b", 21), (0, "a", 100)], vec!["1 1"]),
        // Without clocks of their own, this one would say that nothing more comes of a.
        ("raw", [(0, "b", 50), (0, "b", 60)], vec!["1 1"]),
        ("raw", [(0, "a", 70), (0, "a", 80)], vec!["0", "1 1"]),
    ];
    for (log, events, expected) in steps {
        let (db, engine) = start(dir.path()).await;
        engine.execute(&format!("{}{join}", script(""))).await.unwrap();
        let log = db.log(log).unwrap();
        let first = usize::try_from(log.bounds().unwrap().end.get()).unwrap();
        append(&db, &log, entries(if log.name() == "raw" { first } else { 1 }, &events));
        engine.caught_up(LONG).await.unwrap();
        assert_eq!(ask(&engine, "SELECT n, door FROM pairs ORDER BY n").await, expected);
        drop(engine);
        db.shutdown(LONG).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_cannot_tell_keys_is_refused_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine
        .execute("CREATE TABLE limits (device VARCHAR, high DOUBLE, PRIMARY KEY (device))")
        .await
        .unwrap();
    append(&db, &db.log("l").unwrap(), [Entry::new(r#"{"ts":"2026-01-01","device":"a","x":0.5}"#)]);
    let columns = "(ts TIMESTAMP, device VARCHAR, temp DOUBLE, WATERMARK FOR ts)";
    let like = "name a column of text or whole numbers, such as a named level of the topic";
    let cases = [
        (
            format!("CREATE STREAM s {columns}\nWITH (log = 'l', watermark_by = 'devise')"),
            "line 2, column 18: watermark_by: there is no column `devise`; did you mean `device`?".to_owned(),
        ),
        (
            format!("CREATE STREAM s {columns}\nWITH (log = 'l', watermark_by = 'temp')"),
            format!("line 2, column 18: watermark_by: column `temp` is Float64; {like}"),
        ),
        (
            "CREATE STREAM s (ts TIMESTAMP, device VARCHAR)\nWITH (log = 'l', watermark_by = 'device')"
                .to_owned(),
            "line 2, column 18: this option is about the event time, and the stream has none; declare \
             it: WATERMARK FOR ts AS ts - INTERVAL '5 seconds'"
                .to_owned(),
        ),
        (
            "DROP STREAM IF EXISTS x;\n CREATE STREAM s (WATERMARK FOR ts) WITH (log = 'l', watermark_by = 'x')"
                .to_owned(),
            format!("line 2, column 2: watermark_by: column `x` is Float64; {like}"),
        ),
        (
            "CREATE STREAM s WITH (table = 'limits', watermark_by = 'line')".to_owned(),
            format!("line 1, column 1: watermark_by: there is no column `line`; {like}"),
        ),
        (
            "CREATE SINK s WITH (log = 'x', watermark_by = 'a') AS SELECT 1".to_owned(),
            "line 1, column 32: there is no option `watermark_by`; it is one of streams; leave it out"
                .to_owned(),
        ),
    ];
    for (statement, expected) in cases {
        let error = engine.execute(&statement).await.unwrap_err().to_string();
        assert_eq!(error, expected, "{statement}");
    }
    let schema = Arc::new(Schema::new(vec![Field::new("device", DataType::Utf8, true)]));
    let builder = Pipeline::builder("t", schema).watermark_by("device", None);
    let error = builder.query("SELECT device FROM t").await.unwrap_err().to_string();
    assert_eq!(error, "`t` has watermark_by, and no watermark; call watermark, too");
    // What every stream has may tell keys, and a table may have them.
    engine
        .execute(&format!(
            "CREATE STREAM s {columns} WITH (log = 'l', watermark_by = '_client');
             CREATE STREAM changes WITH (table = 'limits', watermark_by = 'device')"
        ))
        .await
        .unwrap();
    end(&db, &engine).await;
}

#[tokio::test]
async fn an_application_that_brings_its_own_rows_has_keys_too() {
    let rows = |rows: &[(&str, i64)]| {
        let devices = StringArray::from_iter_values(rows.iter().map(|(device, _)| device));
        let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|(_, time)| *time));
        let columns: [(&str, ArrayRef); 2] =
            [("device", Arc::new(devices)), ("ts", Arc::new(times))];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let pipeline = async |idle: Option<Duration>| {
        let builder = Pipeline::builder("t", rows(&[]).schema()).watermark("ts", Duration::ZERO);
        builder.watermark_by("device", idle).query("SELECT device FROM t").await
    };
    let mut query = pipeline(None).await.unwrap();
    query.push(&rows(&[("b", 50), ("a", 100)])).unwrap();
    assert_eq!(query.watermark(), Some(EventTime::from_micros(50)));
    let stored = query.checkpoint().unwrap().into_iter().filter_map(|(key, one)| Some((key, one?)));
    query = pipeline(None).await.unwrap();
    query.restore(&stored.collect()).unwrap();
    query.push(&rows(&[("a", 200), ("b", 70)])).unwrap();
    assert_eq!(query.watermark(), Some(EventTime::from_micros(70)));
    let error = pipeline(Some(Duration::from_secs(1))).await.unwrap_err().to_string();
    assert!(error.ends_with("add a TIMESTAMP `_time`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_names_neither_key_nor_arrival_goes_by_them() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let script = script(", idle_timeout = '2 minutes'").replace("late = 'divert', ", "");
    let script = script.replace("window_start, device, count", "window_start, count");
    engine
        .execute(&script.replace("GROUP BY window_start, device", "GROUP BY window_start"))
        .await
        .unwrap();
    put(&db, 0, &site());
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(watermark(&engine, "heat"), expected(&site(), Some(2 * MINUTE)).1);
    end(&db, &engine).await;
}
