//! Live answers: who listens gets each row once, also after having been away, and is told what was
//! missed; views give what they take in; nobody else notices. And what is tried out before it is there.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;
#[path = "support/sparkplug.rs"]
mod sparkplug;

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use edge_db::{Db, Entry, LogOptions, Seq, WhenFull};
use edge_stream::{Begin, Engine, Sample, Subscription, SubscriptionError, Update};
use futures::{FutureExt, StreamExt};
use site::{LONG, SCRIPT, append, ask, cells, end, job, reading, start};
use sparkplug::{Held, metric, payload};

const HOT: &str = "SELECT room, temp FROM readings WHERE temp > 30";

/// The next rows, and where to go on.
async fn rows(live: &mut Subscription) -> (Vec<String>, Option<Seq>) {
    match live.next().await.unwrap().unwrap() {
        Update::Rows { rows, next } => (cells(&[rows]), next),
        other => panic!("{other:?}"),
    }
}

/// So many rows, however they come.
async fn take(live: &mut Subscription, count: usize) -> Vec<String> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(rows(live).await.0);
    }
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_gets_rows_from_now_on_or_from_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    append(&db, &log, [reading(0, "old", 31.0)]);
    let mut live = engine.subscribe(HOT, Begin::Now).await.unwrap();
    assert_eq!(live.schema().field(1).name(), "temp");
    append(&db, &log, [reading(1, "lab", 32.0), reading(2, "lab", 3.0), Entry::new("no row")]);
    assert_eq!(rows(&mut live).await, (vec!["lab 32.0".to_owned()], Some(Seq::new(4))));
    assert!(live.next().now_or_never().is_none(), "there is no more");
    // Nothing is lost with a future that is dropped, however far it was.
    append(&db, &log, [reading(3, "hall", 33.0)]);
    let update = loop {
        match live.next().now_or_never() {
            Some(update) => break update,
            None => tokio::task::yield_now().await,
        }
    };
    let Some(Ok(Update::Rows { rows: hall, .. })) = update else { panic!("{update:?}") };
    assert_eq!(cells(&[hall]), ["hall 33.0"]);
    drop(live);

    // The client is away; the engine, too.
    append(&db, &log, [reading(4, "lab", 34.0)]);
    engine.caught_up(LONG).await.unwrap();
    end(&db, &engine).await;
    let (db, engine) = start(dir.path()).await;
    let mut live = engine.subscribe(HOT, Begin::At(Seq::new(4))).await.unwrap();
    assert_eq!(take(&mut live, 2).await, ["hall 33.0", "lab 34.0"]);
    let mut oldest = engine.subscribe(HOT, Begin::Oldest).await.unwrap().boxed();
    let Some(Ok(Update::Rows { rows: first, .. })) = oldest.next().await else { panic!() };
    assert_eq!(cells(&[first])[..2], ["old 31.0", "lab 32.0"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_and_goes_misses_no_row_and_gets_none_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    let numbered = "SELECT _seq FROM readings WHERE temp > 30";
    let (mut at, mut got, mut hot) = (Seq::ZERO, Vec::new(), Vec::new());
    for visit in 0..20u32 {
        let mut live = engine.subscribe(numbered, Begin::At(at)).await.unwrap();
        for part in 0..visit % 4 {
            let temps = (0..visit + part).map(|n| 29.0 + f64::from(n % 3));
            let first = log.bounds().unwrap().end.get();
            hot.extend((first..).zip(temps.clone()).filter(|(_, temp)| *temp > 30.0));
            append(&db, &log, temps.map(|temp| reading(visit, "lab", temp)));
            if got.len() < hot.len() && part == 1 {
                let (some, next) = rows(&mut live).await;
                got.extend(some);
                at = next.unwrap();
            }
        }
    }
    let mut live = engine.subscribe(numbered, Begin::At(at)).await.unwrap();
    got.extend(take(&mut live, hot.len() - got.len()).await);
    assert!(got.into_iter().eq(hot.iter().map(|(seq, _)| seq.to_string())));
    assert!(hot.len() > 50);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_falls_behind_is_told_how_much_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let log = db.log_with("raw", LogOptions::new().max_bytes(64 << 10)).unwrap();
    engine.execute(SCRIPT).await.unwrap();
    let mut live = engine.subscribe(HOT, Begin::Now).await.unwrap();
    append(&db, &log, [reading(0, "lab", 31.0)]);
    assert_eq!(take(&mut live, 1).await, ["lab 31.0"]);
    let mut written = 0;
    while log.bounds().unwrap().start < Seq::new(1000) {
        append(&db, &log, (0..100).map(|_| reading(1, "lab", 31.0)));
        written += 100;
        // The jobs are not held up by who does not listen.
        engine.caught_up(LONG).await.unwrap();
    }
    let first = live.next().await.unwrap().unwrap();
    let Update::Missed { stream, records } = first else { panic!("{first:?}") };
    assert_eq!((stream.as_str(), records), ("readings", log.bounds().unwrap().start.get() - 1));
    let rest = written - usize::try_from(records).unwrap();
    assert_eq!(take(&mut live, rest).await.len(), rest);
    assert_eq!(job(&engine, "hot").missed, 0);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_on_at_a_place_that_the_log_has_dropped_is_told_how_much_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let options = LogOptions::new().max_bytes(16 << 10).when_full(WhenFull::DropOldest);
    let log = db.log_with("raw", options).unwrap();
    engine.execute(SCRIPT).await.unwrap();
    while log.bounds().unwrap().start < Seq::new(100) {
        append(&db, &log, (0..50).map(|_| reading(1, "lab", 31.0)));
    }
    engine.caught_up(LONG).await.unwrap();
    let kept = log.bounds().unwrap();
    let of_view = "SELECT temp FROM hot";
    for query in [HOT, of_view] {
        for (begin, gone) in [(7, kept.start.get() - 7), (kept.start.get(), 0)] {
            let mut live = engine.subscribe(query, Begin::At(Seq::new(begin))).await.unwrap();
            if gone > 0 {
                let first = live.next().await.unwrap().unwrap();
                let stream = "readings".to_owned();
                assert_eq!(first, Update::Missed { stream, records: gone }, "{query}");
            }
            let rest = usize::try_from(kept.end.since(kept.start)).unwrap();
            assert_eq!(take(&mut live, rest).await.len(), rest, "{query}");
        }
    }
    // Nothing is there any more, and none of it goes unsaid.
    let mut batch = db.batch();
    batch.trim(&log, kept.end);
    batch.commit().unwrap();
    let mut live = engine.subscribe(HOT, Begin::At(Seq::new(7))).await.unwrap();
    let first = live.next().await.unwrap().unwrap();
    let (stream, records) = ("readings".to_owned(), kept.end.get() - 7);
    assert_eq!(first, Update::Missed { stream, records });
    append(&db, &log, [reading(2, "lab", 32.0)]);
    let (next, at) = rows(&mut live).await;
    assert_eq!((next, at), (vec!["lab 32.0".to_owned()], Some(Seq::new(kept.end.get() + 1))));
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_gives_what_it_takes_in_with_what_it_held_before() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    append(
        &db,
        &log,
        [reading(0, "lab", 20.0), reading(61, "lab", 30.0), reading(90, "lab", 40.0)],
    );
    engine.caught_up(LONG).await.unwrap();
    let warm = "SELECT room, temp, n AS count FROM heat WHERE temp > 25";
    let mut live = engine.subscribe(warm, Begin::Now).await.unwrap();
    let mut all = engine.subscribe("SELECT * FROM heat", Begin::Now).await.unwrap();
    append(
        &db,
        &log,
        [reading(100, "hall", 1.0), reading(119, "lab", 50.0), reading(200, "x", 1.0)],
    );
    let (rows_of_view, next) = rows(&mut live).await;
    assert_eq!((rows_of_view, next), (vec!["lab 40.0 3".to_owned()], None));
    engine.caught_up(LONG).await.unwrap();
    let minute_1 = "SELECT * FROM heat WHERE window_start = '2026-01-01T00:01:00' ORDER BY room";
    let mut given = take(&mut all, 2).await;
    given.sort();
    assert_eq!(given, ask(&engine, minute_1).await);

    // Without a state it is as a stream.
    let by_room = "SELECT temp FROM hot WHERE room = 'lab'";
    let mut live = engine.subscribe(by_room, Begin::At(Seq::new(2))).await.unwrap();
    let (first, next) = rows(&mut live).await;
    assert_eq!((first, next), (vec!["40.0".to_owned(), "50.0".to_owned()], Some(Seq::new(6))));
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_begin_where_the_subscription_does() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    append(
        &db,
        &log,
        [reading(0, "lab", 20.0), reading(30, "lab", 30.0), reading(75, "lab", 40.0)],
    );
    let query = SCRIPT.split("heat AS").nth(1).unwrap().split(';').next().unwrap();
    let mut oldest = engine.subscribe(query, Begin::Oldest).await.unwrap();
    let minute_0 = (vec!["2026-01-01T00:00:00 lab 25.0 2".to_owned()], None);
    assert_eq!(rows(&mut oldest).await, minute_0);
    let mut second = engine.subscribe(query, Begin::At(Seq::new(1))).await.unwrap();
    assert_eq!(rows(&mut second).await.0, ["2026-01-01T00:00:00 lab 30.0 1"]);
    let mut now = engine.subscribe(query, Begin::Now).await.unwrap();
    append(&db, &log, [reading(80, "lab", 50.0), reading(140, "lab", 1.0)]);
    assert_eq!(rows(&mut now).await.0, ["2026-01-01T00:01:00 lab 50.0 1"]);
    assert_eq!(rows(&mut oldest).await.0, ["2026-01-01T00:01:00 lab 45.0 2"]);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_subscribed_to_is_refused_with_what_would_work() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let engine = Engine::builder().db(&db).subscriptions(2).start().await.unwrap();
    engine.execute(SCRIPT).await.unwrap();
    let both = "SELECT temp FROM readings UNION ALL SELECT temp FROM other";
    engine.execute("CREATE STREAM other (temp DOUBLE) WITH (log = 'other')").await.unwrap();
    let wrong = [
        (both, Begin::At(Seq::ZERO), "line 1, column 1: the query reads several streams, and a"),
        (HOT, Begin::At(Seq::new(7)), "column 1: the Log of `readings` ends at 0, in front of 7"),
        ("\n  SELECT n FROM heat", Begin::At(Seq::ZERO), "line 2, column 3: what the view held at"),
        (
            "-- n\nSELECT count(*) FROM heat",
            Begin::Now,
            "line 2, column 1: GROUP BY without a window",
        ),
        ("SELECT tmp FROM heat", Begin::Now, "line 1, column 8: there is no column `tmp`"),
        ("SELECT * FROM hott", Begin::Now, "did you mean `hot`?"),
        (
            "SELECT * FROM raw",
            Begin::Now,
            "line 1, column 1: a job reads a stream, and `raw` is none",
        ),
        ("SHOW JOBS", Begin::Now, "line 1, column 1: expected"),
    ];
    for (query, begin, expected) in wrong {
        let error = engine.subscribe(query, begin).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{query}: {error}");
    }
    let live = [engine.subscribe(HOT, Begin::Now).await, engine.subscribe(both, Begin::Now).await];
    let error = engine.subscribe(HOT, Begin::Now).await.unwrap_err().to_string();
    assert!(error.contains("too many subscriptions are open: drop one"), "{error}");
    drop(live);
    drop(engine.subscribe(HOT, Begin::Now).await.unwrap());
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_with_what_it_reads_and_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let other = "CREATE STREAM other (temp DOUBLE) WITH (log = 'other');";
    engine.execute(&format!("{SCRIPT}{other}")).await.unwrap();
    let log = db.log("raw").unwrap();

    let divide = "SELECT 1 / CAST(temp - 1 AS INT) AS x FROM readings";
    let mut failing = engine.subscribe(divide, Begin::Now).await.unwrap();
    append(&db, &log, [reading(0, "lab", 1.0)]);
    let error = failing.next().await.unwrap().unwrap_err().to_string();
    assert!(error.contains("Divide by zero"), "{error}");
    assert!(failing.next().await.is_none());
    engine.caught_up(LONG).await.unwrap();

    let mut dropped = engine.subscribe("SELECT temp FROM other", Begin::Now).await.unwrap();
    let ended = tokio::spawn(async move { (dropped.next().await, dropped.next().await) });
    engine.execute("DROP STREAM other").await.unwrap();
    let (error, end_of_it) = ended.await.unwrap();
    assert!(matches!(&error, Some(Err(SubscriptionError::Changed { name })) if name == "other"));
    assert!(end_of_it.is_none());

    let mut replaced = engine.subscribe("SELECT n FROM heat", Begin::Now).await.unwrap();
    let heat = SCRIPT.split(';').nth(1).unwrap().replace("CREATE", "CREATE OR REPLACE");
    engine.execute(&heat.replace("count(*)", "count(*) * 10")).await.unwrap();
    let error = replaced.next().await.unwrap().unwrap_err().to_string();
    assert_eq!(error, "`heat` was dropped or replaced");

    let mut live = engine.subscribe(HOT, Begin::Now).await.unwrap();
    let waiting = tokio::spawn(async move { live.next().await.is_none() });
    let mut orphan = engine.subscribe(HOT, Begin::Now).await.unwrap();
    end(&db, &engine).await;
    assert!(waiting.await.unwrap());
    drop(engine);
    assert!(orphan.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_of_a_birth_before_the_subscription_are_known_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let script = "CREATE STREAM plant (name VARCHAR, value DOUBLE) \
                  WITH (log = 'plant', format = 'sparkplug_b')";
    engine.execute(script).await.unwrap();
    let log = db.log("plant").unwrap();
    let topic = |kind: &str| format!("spBv1.0/g/{kind}/n");
    let put = |kind: &str, payload: Vec<u8>| {
        log.append(Entry::new(payload).key(topic(kind))).unwrap();
    };
    put("NBIRTH", payload(0, vec![metric("temp", Some(7), 10, Held::Double(1.0))]));
    put("NDATA", payload(1, vec![metric("", Some(7), 0, Held::Double(20.0))]));
    engine.caught_up(LONG).await.unwrap();
    let query = "SELECT name, value FROM plant WHERE value IS NOT NULL";
    let mut now = engine.subscribe(query, Begin::Now).await.unwrap();
    let mut second = engine.subscribe(query, Begin::At(Seq::new(1))).await.unwrap();
    put("NDATA", payload(2, vec![metric("", Some(7), 0, Held::Double(21.0))]));
    assert_eq!(take(&mut now, 1).await, ["temp 21.0"]);
    assert_eq!(take(&mut second, 2).await, ["temp 20.0", "temp 21.0"]);
    // They are known in a query that wants one record, and where the newest is tried out.
    assert_eq!(ask(&engine, "SELECT name, value FROM plant WHERE _seq = 2").await, ["temp 21.0"]);
    engine.caught_up(LONG).await.unwrap();
    let tried = engine.try_out(query, Sample::Newest(1)).await.unwrap();
    assert_eq!(cells(&tried.rows), ["temp 21.0"]);
    end(&db, &engine).await;
}

const HEAT: &str = "CREATE MATERIALIZED VIEW warm AS
    SELECT window_start, room, avg(temp) AS temp, count(*) AS n
    FROM TUMBLE(readings, DESCRIPTOR(ts), INTERVAL '1 minute') GROUP BY window_start, room";

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_tried_out_over_the_newest_records_and_nothing_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    let newest = [reading(125, "lab", 40.0), Entry::new("no row"), reading(130, "lab", 50.0)];
    append(&db, &log, (0..20_000).map(|n| reading(n % 60, "lab", 20.0)));
    append(&db, &log, [reading(61, "lab", 30.0)]);
    append(&db, &log, newest);
    engine.caught_up(LONG).await.unwrap();
    let (names, jobs) = (db.names(), engine.export());

    // The newest three, and the window that is open is answered.
    let tried = engine.try_out(HEAT, Sample::Newest(3)).await.unwrap();
    assert_eq!(cells(&tried.rows), ["2026-01-01T00:02:00 lab 45.0 2"]);
    assert_eq!((tried.undecodable, tried.late, tried.script.as_str()), (1, 0, HEAT));
    let [rejected] = tried.rejected.as_slice() else { panic!("{:?}", tried.rejected) };
    assert_eq!((rejected.stream.as_str(), rejected.seq), ("readings", Seq::new(20_002)));
    let stored = "SELECT headers['reason'] FROM readings_errors";
    assert_eq!(ask(&engine, stored).await, std::slice::from_ref(&rejected.reason));

    // All of them are those that a job has read, and the open window.
    let all = engine.try_out(HEAT, Sample::Newest(u64::MAX)).await.unwrap();
    let closed = ask(&engine, "SELECT * FROM heat ORDER BY 1").await;
    assert_eq!(closed.len(), 2);
    assert_eq!(cells(&all.rows), [closed, cells(&tried.rows)].concat());
    assert_eq!(all.schema.field(3).name(), "n");
    assert_eq!((db.names(), engine.export()), (names, jobs), "nothing has changed");
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_tried_out_with_the_columns_that_are_inferred() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let log = db.log("raw").unwrap();
    append(&db, &log, [reading(0, "lab", 20.0), Entry::new("[1]"), reading(61, "hall", 21.5)]);
    let names = db.names();
    let stream = "CREATE STREAM seen (WATERMARK FOR ts AS ts - INTERVAL '1 second') \
                  WITH (log = 'raw', format = 'json')";
    let tried = engine.try_out(stream, Sample::Newest(10)).await.unwrap();
    let with_columns =
        stream.replace("(WATER", r#"("room" VARCHAR, "temp" DOUBLE, "ts" TIMESTAMP, WATER"#);
    assert_eq!(tried.script, with_columns);
    let columns: Vec<_> = tried.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(columns[..4], ["room", "temp", "ts", "_topic"]);
    let shown: Vec<_> = tried.rows.iter().map(|rows| rows.project(&[0, 1, 5]).unwrap()).collect();
    assert_eq!(cells(&shown), ["lab 20.0 0", "hall 21.5 2"]);
    assert_eq!((tried.rejected[0].seq, tried.undecodable), (Seq::new(1), 1));

    // A view over a stream that is not there, either.
    let both = format!("{stream};\n{}", HEAT.replace("readings", "seen"));
    let tried = engine.try_out(&both, Sample::Newest(10)).await.unwrap();
    let minutes = ["2026-01-01T00:00:00 lab 20.0 1", "2026-01-01T00:01:00 hall 21.5 1"];
    assert_eq!(cells(&tried.rows), minutes);
    assert_eq!((db.names(), engine.jobs().len()), (names, 0), "nothing is stored");
    let error = engine.sql("SELECT * FROM seen").await.unwrap_err().to_string();
    assert!(error.contains("there is no stream, view or log `seen`"), "{error}");
    end(&db, &engine).await;
}

/// Temperatures of the lab at these seconds.
fn temperatures(rows: &[(i64, f64)]) -> RecordBatch {
    let times = rows.iter().map(|(second, _)| second * 1_000_000);
    let temps = rows.iter().map(|(_, temp)| *temp);
    let columns: [(&str, ArrayRef); 3] = [
        ("temp", Arc::new(Float64Array::from_iter_values(temps))),
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(times))),
        ("room", Arc::new(StringArray::from(vec!["lab"; rows.len()]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_the_application_are_tried_out_in_place_of_records() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    append(&db, &db.log("raw").unwrap(), [reading(0, "lab", 99.0)]);
    let rows = |rows: &[(i64, f64)]| ("readings".to_owned(), temperatures(rows));
    let given = vec![rows(&[(0, 20.0), (100, 30.0)]), rows(&[(5, 1.0), (110, 40.0)])];
    let tried = engine.try_out(HEAT, Sample::Rows(given)).await.unwrap();
    let minutes = ["1970-01-01T00:00:00 lab 20.0 1", "1970-01-01T00:01:00 lab 35.0 2"];
    assert_eq!(cells(&tried.rows), minutes);
    assert_eq!((tried.late, tried.undecodable), (1, 0));

    let sink = "CREATE SINK s WITH (topic = 'a/{room}') AS SELECT room, temp FROM readings";
    let tried = engine.try_out(sink, Sample::Rows(vec![rows(&[(0, 20.0)])])).await.unwrap();
    assert_eq!(cells(&tried.rows), ["lab 20.0"]);

    let wrong_name = vec![("reading".to_owned(), temperatures(&[(0, 1.0)]))];
    let text =
        RecordBatch::try_from_iter([("temp", Arc::new(StringArray::from(vec!["warm"])) as _)]);
    let no_time =
        RecordBatch::try_from_iter([("temp", Arc::new(Float64Array::from(vec![1.0])) as _)]);
    let of_readings = |rows| Sample::Rows(vec![("readings".to_owned(), rows)]);
    let divide = "SELECT 1 / CAST(temp - 1 AS INT) AS x FROM readings";
    let wrong = [
        (HEAT, Sample::Rows(wrong_name), "rows of `reading`, which is not read; did you mean"),
        (HEAT, of_readings(text.unwrap()), "column `temp` is DOUBLE, and the record has"),
        (HEAT, of_readings(no_time.unwrap()), "`ts` is missing, and it is the event time"),
        (divide, of_readings(temperatures(&[(0, 1.0)])), "fails on these rows: could not compute"),
    ];
    for (statement, over, expected) in wrong {
        let error = engine.try_out(statement, over).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_created_cannot_be_tried_out() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let wrong = [
        ("", "line 1, column 1: there is nothing to try out; write CREATE STREAM"),
        ("SELECT 1 FROM readings; SELECT 2", "line 1, column 25: here begins something behind"),
        ("DROP STREAM readings", "line 1, column 1: expected"),
        ("SELECT tmp FROM readings", "there is no column `tmp`; did you mean `temp`?"),
        ("SELECT n FROM heat", "a job reads a stream, and `heat` is none"),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT INTERVAL '1 day' AS d FROM readings",
            "line 1, column 1: column `d` of type Interval(MonthDayNano) cannot be stored",
        ),
        (
            "CREATE SINK s WITH (topic = 'a/{line}') AS SELECT room FROM readings",
            "line 1, column 1: level {line} of the topic is no column of the query",
        ),
        (
            "CREATE STREAM empty WITH (log = 'nothing', format = 'json')",
            "line 1, column 1: log `nothing` is empty, so it says nothing of columns",
        ),
    ];
    for (statement, expected) in wrong {
        let error = engine.try_out(statement, Sample::Newest(1)).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{statement}\n  says: {error}\n  not:  {expected}");
    }
    assert_eq!(engine.jobs().len(), 3);
    end(&db, &engine).await;
}
