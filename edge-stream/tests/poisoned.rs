//! What one device sends, or one job does, is its own matter: the output of all others is what it
//! is without it, and who looks is told what is wrong.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;

use edge_db::{Entry, Time};
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
