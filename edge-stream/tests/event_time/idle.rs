//! Quiet streams. The oracle of a pipeline is a loop over what happens, with no more than two
//! watermarks and a map of counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use edge_db::{Db, Entry, Time};
use edge_stream::{Engine, Pipeline, Stored};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::site::{LONG, append, ask, end, job, start};
use crate::tries;

const SECOND: i64 = 1_000_000;

const COUNTS: &str = "WITH u AS (SELECT ts FROM a UNION ALL SELECT ts FROM b)
SELECT window_start, count(*) AS n FROM TUMBLE(u, ts, INTERVAL '10 seconds') GROUP BY window_start";

#[derive(Debug, Clone)]
enum Event {
    /// Rows of a stream, by their seconds.
    Rows(usize, Vec<i64>),
    Idle(usize),
    /// The pipeline goes on from a checkpoint of this moment.
    Crash,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (0usize..2, 0u8..8, vec((0i64..12, 0i64..25), 1..5));
    vec(event, 1..40).prop_map(|events| {
        let mut clocks = [0, 0];
        let event = |(stream, kind, steps): (usize, u8, Vec<(i64, i64)>)| match kind {
            0 => Event::Crash,
            1 | 2 => Event::Idle(stream),
            _ => Event::Rows(stream, {
                let row = |(step, back)| {
                    clocks[stream] += step;
                    clocks[stream] - back
                };
                steps.into_iter().map(row).collect()
            }),
        };
        events.into_iter().map(event).collect()
    })
}

fn rows(seconds: &[i64]) -> RecordBatch {
    let times = seconds.iter().map(|second| second * SECOND);
    let times = Arc::new(TimestampMicrosecondArray::from_iter_values(times)) as ArrayRef;
    RecordBatch::try_from_iter([("ts", times)]).unwrap()
}

async fn pipeline() -> Pipeline {
    let delay = Duration::from_secs(5);
    let builder = Pipeline::builder("a", rows(&[]).schema()).watermark("ts", delay);
    let builder = builder.stream("b", rows(&[]).schema()).watermark("ts", delay);
    builder.query(COUNTS).await.unwrap()
}

/// The windows in the order in which they are answered, by their second, and the late rows.
type Answer = (Vec<(i64, i64)>, u64);

async fn streamed(events: &[Event]) -> Answer {
    let (mut query, mut stored, mut answer) = (pipeline().await, Stored::new(), Vec::new());
    for event in events {
        let given = match event {
            Event::Rows(stream, seconds) => query.push_to(["a", "b"][*stream], &rows(seconds)),
            Event::Idle(stream) => query.set_idle(["a", "b"][*stream]),
            Event::Crash => {
                for (key, change) in query.checkpoint().unwrap() {
                    match change {
                        Some(bytes) => drop(stored.insert(key, bytes)),
                        None => drop(stored.remove(&key)),
                    }
                }
                query = pipeline().await;
                query.restore(&stored).unwrap();
                Ok(Vec::new())
            }
        };
        for batch in given.unwrap() {
            let starts = batch.column(0).as_primitive::<TimestampMicrosecondType>();
            let counts = batch.column(1).as_primitive::<Int64Type>();
            answer.extend(
                starts
                    .values()
                    .iter()
                    .map(|start| start / SECOND)
                    .zip(counts.values().iter().copied()),
            );
        }
    }
    (answer, query.late())
}

fn expected(events: &[Event]) -> Answer {
    let (mut watermarks, mut idle, mut reached) = ([None::<i64>; 2], [false; 2], None::<i64>);
    let (mut open, mut answer, mut late) = (BTreeMap::new(), Vec::new(), 0);
    for event in events {
        match event {
            Event::Crash => {}
            Event::Idle(stream) => idle[*stream] = true,
            Event::Rows(stream, seconds) => {
                idle[*stream] = false;
                for second in seconds {
                    let start = second.div_euclid(10) * 10;
                    match reached.is_some_and(|reached| start + 10 <= reached) {
                        true => late += 1,
                        false => *open.entry(start).or_insert(0) += 1,
                    }
                }
                let newest = seconds.iter().max().map(|second| second - 5);
                watermarks[*stream] = watermarks[*stream].max(newest);
            }
        }
        let now = match idle {
            [true, true] => watermarks[0].max(watermarks[1]),
            [true, false] => watermarks[1],
            [false, true] => watermarks[0],
            [false, false] => watermarks[0].min(watermarks[1]),
        };
        reached = reached.max(now);
        while let Some((start, _)) = open.first_key_value()
            && reached.is_some_and(|reached| start + 10 <= reached)
        {
            answer.extend(open.pop_first());
        }
    }
    (answer, late)
}

proptest! {
    #![proptest_config(tries::of(64))]

    #[test]
    fn nobody_waits_for_a_stream_that_is_idle_and_what_was_answered_stays(events in events()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assert_eq!(runtime.block_on(streamed(&events)), expected(&events));
    }
}

const PAIRS: &str = "CREATE MATERIALIZED VIEW IF NOT EXISTS pairs AS
SELECT o.n AS n, d.n AS m FROM orders o LEFT JOIN doors d ON d.ts BETWEEN o.ts AND o.ts + INTERVAL '2 seconds'";

fn streams(idle_timeout: &str) -> String {
    let stream = |name: &str, options: &str| {
        format!(
            "CREATE STREAM IF NOT EXISTS {name} (ts TIMESTAMP, n BIGINT, WATERMARK FOR ts AS ts)
             WITH (log = '{name}_raw', format = 'json'{options});"
        )
    };
    let options = format!(", idle_timeout = '{idle_timeout}'");
    format!("{}{}{PAIRS}", stream("orders", ""), stream("doors", &options))
}

/// A row of this second of the year 2026, that came so many minutes ago.
fn event(second: i64, n: i64, minutes_ago: i64) -> Entry {
    let now = Time::now().micros();
    let payload = format!(r#"{{"ts":{},"n":{n}}}"#, 1_767_225_600 + second);
    Entry::new(payload).at(Time::from_micros(now - minutes_ago * 60 * SECOND))
}

async fn put(db: &Db, log: &str, events: impl IntoIterator<Item = Entry>) {
    append(db, &db.log(log).unwrap(), events);
}

async fn pairs(engine: &Engine) -> Vec<String> {
    ask(engine, "SELECT n, m FROM pairs ORDER BY n").await
}

/// Waits until these are the pairs: who is idle may be found behind the last record.
async fn until_pairs(db: &Db, engine: &Engine, expected: &[&str]) {
    let mut stored = db.keyspace("stream.state.pairs").unwrap().watch();
    while pairs(engine).await != expected {
        tokio::time::timeout(LONG, stored.changed()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_records_from_before_it_is_known_which_stream_was_quiet() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    put(&db, "doors_raw", [event(0, 10, 90)]).await;
    put(&db, "orders_raw", [event(0, 0, 90), event(10, 1, 70), event(20, 2, 50), event(30, 3, 49)])
        .await;
    engine.execute(&streams("30 minutes")).await.unwrap();
    until_pairs(&db, &engine, &["0 10", "1", "2"]).await;
    let idle = "SELECT idle FROM system.jobs WHERE name = 'pairs'";
    // The commit is seen before the job has said what is in it.
    while ask(&engine, idle).await != ["doors"] {
        tokio::task::yield_now().await;
    }
    end(&db, &engine).await;
    drop((db, engine));

    // It is still idle; what it says of the time that the others have passed is late.
    let (db, engine) = start(dir.path()).await;
    put(&db, "doors_raw", [event(21, 11, 0), event(30, 12, 0)]).await;
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(pairs(&engine).await, ["0 10", "1", "2", "3 12"]);
    assert_eq!(ask(&engine, idle).await, [""]);
    assert_eq!(job(&engine, "pairs").late, 1);
    put(&db, "orders_raw", [event(60, 4, 0), event(70, 5, 0)]).await;
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(pairs(&engine).await.len(), 4, "it is waited for again");
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_engine_was_away_no_stream_was_quiet() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(&streams("30 minutes")).await.unwrap();
    put(&db, "doors_raw", [event(0, 10, 90)]).await;
    put(&db, "orders_raw", [event(0, 0, 90)]).await;
    engine.caught_up(LONG).await.unwrap();
    end(&db, &engine).await;
    drop((db, engine));

    let (db, engine) = start(dir.path()).await;
    put(&db, "orders_raw", [event(10, 1, 0), event(20, 2, 0)]).await;
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(pairs(&engine).await, ["0 10"]);
    // What waited at the devices meanwhile is in time.
    put(&db, "doors_raw", [event(11, 11, 0), event(30, 12, 0)]).await;
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(pairs(&engine).await, ["0 10", "1 11"]);
    assert_eq!(job(&engine, "pairs").late, 0);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_quiet_now_is_waited_for_no_longer_than_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    // Longer than until the next checkpoint, which looks, too.
    engine.execute(&streams("1500 milliseconds")).await.unwrap();
    put(&db, "orders_raw", [event(0, 0, 0), event(10, 1, 0)]).await;
    // Nothing comes any more, and still the row comes out.
    until_pairs(&db, &engine, &["0"]).await;
    end(&db, &engine).await;
}
