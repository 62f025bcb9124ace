//! What one device sends, or one job does, is its own matter: the output of all others is what it
//! is without it, and who looks is told what is wrong.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use edge_db::{Db, Entry, Time};
use edge_stream::Engine;
use site::{LONG, SCRIPT, append, ask, end, job, reading, start};

/// 2026 began, in seconds.
const NEW_YEAR: u32 = 1_767_225_600;
const YEAR: u32 = 365 * 86_400;

/// A reading of this second that came so many seconds behind it.
fn came(second: u32, behind: i64, room: &str, temp: f64) -> Entry {
    let time = (i64::from(NEW_YEAR + second) + behind) * 1_000_000;
    reading(second, room, temp).at(Time::from_micros(time))
}

/// The same with a clock that is a year ahead.
fn year_ahead(second: u32) -> Entry {
    let payload = format!(r#"{{"ts":{},"room":"lab","temp":99}}"#, NEW_YEAR + YEAR + second);
    let time = i64::from(NEW_YEAR + second) * 1_000_000;
    Entry::new(payload).at(Time::from_micros(time))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_a_year_ahead_makes_nobody_else_late() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    append(&db, &log, [came(0, 1, "lab", 1.0), year_ahead(1), came(2, 1, "lab", 2.0)]);
    engine.caught_up(LONG).await.unwrap();
    append(&db, &log, [year_ahead(3), came(30, 1, "hall", 3.0), came(90, 1, "end", 4.0)]);
    engine.caught_up(LONG).await.unwrap();

    let heat = "SELECT window_start, room, n FROM heat ORDER BY room";
    let minutes = ["2026-01-01T00:00:00 hall 1", "2026-01-01T00:00:00 lab 2"];
    assert_eq!(ask(&engine, heat).await, minutes);
    let told = "SELECT name, ahead, late, undecodable FROM system.jobs ORDER BY name";
    assert_eq!(ask(&engine, told).await, ["heat 2 0 0", "hot 2 0 0", "readings 2 0 0"]);
    assert_eq!(ask(&engine, "SELECT count(*) FROM readings").await, ["4"]);
    let errors = "SELECT value, get_field(headers, 'reason') FROM readings_errors ORDER BY _seq";
    let errors = ask(&engine, errors).await;
    assert_eq!(errors.len(), 2);
    let reason = "`ts` is 2027-01-01T00:00:03Z, and it came at 2026-01-01T00:00:03Z: more than \
                  max_ahead = '1 day' ahead";
    assert!(errors[1].contains(r#""temp":99"#) && errors[1].ends_with(reason), "{errors:?}");

    // From the beginning of the Log it is the same.
    let heat_again = SCRIPT.split(';').nth(1).unwrap().replace("VIEW heat", "VIEW again");
    engine.execute(&heat_again).await.unwrap();
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, &heat.replace("heat", "again")).await, minutes);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_a_clock_may_run_ahead_is_an_option() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let with = |max_ahead: &str| {
        let option = format!("format = 'json', max_ahead = '{max_ahead}'");
        SCRIPT.split(';').next().unwrap().replace("format = 'json'", &option)
    };
    engine.execute(&with("none")).await.unwrap();
    append(
        &db,
        &db.log("raw").unwrap(),
        [came(0, 0, "lab", 1.0), came(5, -5, "lab", 1.0), year_ahead(0)],
    );
    engine.caught_up(LONG).await.unwrap();
    assert_eq!((job(&engine, "readings").ahead, job(&engine, "readings").read), (0, 3));
    for (max_ahead, rows) in [("366 days", "3"), ("5 seconds", "2"), ("4 seconds", "1")] {
        let replaced = with(max_ahead).replace("CREATE", "CREATE OR REPLACE");
        engine.execute(&replaced).await.unwrap();
        assert_eq!(ask(&engine, "SELECT count(*) FROM readings").await, [rows], "{max_ahead}");
    }
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_clock_has_jumped_back_its_rows_are_late_until_it_has_come_as_far_again() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    let log = db.log("raw").unwrap();
    append(&db, &log, (0..150).step_by(10).map(|second| came(second, 0, "lab", 31.0)));
    engine.caught_up(LONG).await.unwrap();
    // By two minutes, both of which are closed.
    append(&db, &log, (30..150).step_by(10).map(|second| came(second, 120, "lab", 31.0)));
    append(&db, &log, [came(200, 120, "lab", 31.0)]);
    engine.caught_up(LONG).await.unwrap();
    let heat = "SELECT window_start, n FROM heat ORDER BY window_start";
    let minutes = ["2026-01-01T00:00:00 6", "2026-01-01T00:01:00 6", "2026-01-01T00:02:00 6"];
    assert_eq!(ask(&engine, heat).await, minutes);
    assert_eq!((job(&engine, "heat").late, job(&engine, "heat").ahead), (9, 0));
    assert_eq!(job(&engine, "hot").out, 28, "where no window is, no row is late");
    end(&db, &engine).await;
}

const HEALTHY: &str = "
CREATE STREAM readings (
  ts TIMESTAMP, room VARCHAR, temp DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
) WITH (log = 'raw', format = 'json');
CREATE MATERIALIZED VIEW heat AS SELECT window_start, room, avg(temp) AS temp, count(*) AS n
  FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY window_start, room;
CREATE MATERIALIZED VIEW visits AS SELECT window_start, window_end, room, max(temp) AS temp
  FROM SESSION(readings, ts, INTERVAL '8 seconds') GROUP BY window_start, window_end, room;
CREATE MATERIALIZED VIEW steps AS SELECT ts, room, temp - lag(temp) OVER w AS step FROM readings
  WINDOW w AS (PARTITION BY room ORDER BY ts);
CREATE MATERIALIZED VIEW pairs AS SELECT a.ts, a.room, b.room AS other FROM readings a
  JOIN readings b ON a.temp % 2 = b.temp % 2
  AND b.ts BETWEEN a.ts + INTERVAL '1 second' AND a.ts + INTERVAL '8 seconds';
CREATE MATERIALIZED VIEW hot AS SELECT ts, room FROM readings WHERE temp > 30;
";

/// Each job with what it says of itself.
const BAD: [(&str, &str, &str); 5] = [
    (
        "sum",
        "SELECT window_start, sum(9223372036854775800 + CAST(temp AS BIGINT) % 8) AS x
         FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY window_start",
        "does not fit into a whole number of 64 bits; sum it as DECIMAL: sum(CAST(.. AS DECIMAL(38, 0)))",
    ),
    (
        "overflow",
        "SELECT CAST(temp AS DECIMAL(38, 0)) * CAST(repeat('9', 38) AS DECIMAL(38, 0)) AS x
         FROM readings",
        "could not compute: Arithmetic overflow: Overflow happened on: 7 * 99999999999",
    ),
    ("panic", "SELECT fragile(temp) AS x FROM readings", "panicked: cannot take 13"),
    (
        "full",
        "SELECT window_start, ts, repeat(room, 300) AS name, avg(temp) AS t
         FROM TUMBLE(readings, ts, INTERVAL '1 day') GROUP BY window_start, ts, repeat(room, 300)",
        "the limit of a job is 500000: most of it, ",
    ),
    (
        "division",
        "SELECT ts, sum(1 / CAST(temp - 7 AS INT)) OVER (ORDER BY ts) AS x FROM readings",
        "could not compute: Divide by zero",
    ),
];

/// A function of one number.
fn function(name: &str, of: impl Fn(f64) -> f64 + Send + Sync + 'static) -> ScalarUDF {
    let of = Arc::new(move |args: &[ColumnarValue]| {
        let numbers = args[0].to_array(1)?;
        let numbers = numbers.as_primitive::<Float64Type>().unary::<_, Float64Type>(&of);
        Ok(ColumnarValue::Array(Arc::new(numbers) as ArrayRef))
    });
    create_udf(name, vec![DataType::Float64], DataType::Float64, Volatility::Immutable, of)
}

async fn engine_with(dir: &Path, function: ScalarUDF) -> (Db, Engine) {
    let db = Db::open(dir).unwrap();
    let builder = Engine::builder().db(&db).function(function).job_state_bytes(500_000);
    (db, builder.start().await.unwrap())
}

/// Readings of an hour in batches, with what is bad between them or without it.
fn batches(with_bad: bool) -> Vec<Vec<Entry>> {
    let rooms = ["lab", "hall", "attic"];
    let reading = |n: u32| came(n * 3, 0, rooms[n as usize % 3], f64::from(n * 7 % 40));
    let good = |n: u32| (n * 40..(n + 1) * 40).map(reading);
    let bad = |n: u32| {
        let at = Time::from_micros(i64::from(NEW_YEAR + n * 120) * 1_000_000);
        [Entry::new("no row").at(at), year_ahead(n * 120)].into_iter().filter(move |_| with_bad)
    };
    (0..30).map(|n| bad(n).chain(good(n)).collect()).collect()
}

async fn answers(engine: &Engine) -> Vec<Vec<String>> {
    let mut answers = Vec::new();
    for view in ["heat", "visits", "steps", "pairs", "hot"] {
        let all: Vec<_> = ask(engine, &format!("SELECT * FROM {view} ORDER BY 1, 2")).await;
        answers.push(all);
    }
    answers.push(ask(engine, "SELECT ts, room, temp FROM readings ORDER BY ts").await);
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn each_poisoned_job_says_what_is_wrong_and_the_others_answer_as_without_it() {
    let fragile = || {
        function("fragile", |temp| {
            assert!(temp != 13.0, "cannot take {temp}");
            temp
        })
    };
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = engine_with(dir.path(), fragile()).await;
    engine.execute(HEALTHY).await.unwrap();
    let log = db.log("raw").unwrap();
    batches(false).into_iter().for_each(|batch| append(&db, &log, batch));
    engine.caught_up(LONG).await.unwrap();
    let expected = answers(&engine).await;
    let sizes: Vec<_> = expected.iter().map(Vec::len).collect();
    assert!(sizes.iter().all(|size| *size > 100), "{sizes:?}");
    end(&db, &engine).await;

    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = engine_with(dir.path(), fragile()).await;
    engine.execute(HEALTHY).await.unwrap();
    for (name, query, _) in BAD {
        engine.execute(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await.unwrap();
    }
    let log = db.log("raw").unwrap();
    let mut said = BTreeMap::new();
    for batch in batches(true) {
        append(&db, &log, batch);
        tokio::task::yield_now().await;
    }
    for round in 0.. {
        assert!(round < 1000, "{said:?}, {:?}", engine.jobs());
        // The bad ones never catch up, so this ends at its deadline.
        engine.caught_up(Duration::from_millis(50)).await.unwrap_err();
        let failed = engine.jobs().into_iter().filter_map(|job| Some((job.name, job.error?)));
        said.extend(failed);
        let at_end = |job: &edge_stream::JobStatus| job.lag == 0;
        let healthy = engine.jobs().iter().filter(|job| at_end(job)).count();
        if (healthy, said.len()) == (6, BAD.len()) {
            break;
        }
    }
    for (name, _, expected) in BAD {
        let times = said[name].matches(expected).count();
        assert_eq!(times, 1, "{name}: {}", said[name]);
    }
    let full = &said["full"];
    assert!(full.contains("groups, is that of `tumbling windows of"), "{full}");
    assert_eq!(answers(&engine).await, expected);
    let counts = "SELECT undecodable, ahead, late FROM system.jobs WHERE name = 'readings'";
    assert_eq!(ask(&engine, counts).await, ["30 30 0"]);
    assert_eq!(ask(&engine, "SELECT count(*) FROM readings_errors").await, ["60"]);
    engine.shutdown(LONG).await.unwrap();
    db.shutdown(LONG).unwrap();
}

/// Who waits at it goes on once it is dropped, even by a test that fails.
#[derive(Default)]
struct Gate(Arc<OnceLock<()>>);

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.set(()).ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_does_not_come_back_from_a_step_holds_up_no_other() {
    let gate = Gate::default();
    let stuck = function("stuck", {
        let gate = Arc::clone(&gate.0);
        move |temp| {
            gate.wait();
            temp
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = engine_with(dir.path(), stuck).await;
    engine
        .execute("CREATE MATERIALIZED VIEW v AS SELECT stuck(temp) AS x FROM readings")
        .await
        .unwrap_err();
    engine.execute(HEALTHY).await.unwrap();
    for n in 0..20 {
        let view =
            format!("CREATE MATERIALIZED VIEW v{n} AS SELECT stuck(temp) AS x FROM readings");
        engine.execute(&view).await.unwrap();
    }
    let log = db.log("raw").unwrap();
    batches(false).into_iter().for_each(|batch| append(&db, &log, batch));
    while engine.jobs().iter().filter(|job| job.lag == 0).count() < 6 {
        engine.caught_up(Duration::from_millis(50)).await.unwrap_err();
    }
    assert!((0..20).all(|n| job(&engine, &format!("v{n}")).read == 0));
    drop(gate);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(ask(&engine, "SELECT count(*) FROM v19").await, ["1200"]);
    end(&db, &engine).await;
}
