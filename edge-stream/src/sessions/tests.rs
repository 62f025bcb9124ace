//! What SESSION takes, and what is refused with what would work.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use crate::{Pipeline, SqlError};

fn planned(sql: &str) -> Result<Pipeline, SqlError> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("room", DataType::Utf8, true),
        Field::new("desk", DataType::Utf8, true),
        Field::new("temp", DataType::Float64, true),
    ]));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let builder = Pipeline::builder("readings", schema).watermark("ts", Duration::ZERO);
    runtime.block_on(builder.query(sql))
}

/// `S` stands for the sessions.
fn with_session(sql: &str) -> String {
    sql.replace(" S ", " SESSION(readings, DESCRIPTOR(ts), INTERVAL '30 seconds') ")
}

#[test]
fn session_has_the_spellings_of_flink() {
    for sessions in [
        "SESSION(readings, DESCRIPTOR(ts), INTERVAL '30 seconds')",
        "SESSION(readings, ts, INTERVAL '30 seconds')",
        "TABLE(SESSION(TABLE readings, DESCRIPTOR(ts), INTERVAL '30 seconds'))",
        "session(table readings partition by room, descriptor(ts), interval '30 seconds')",
        "SESSION(readings PARTITION BY room, ts, INTERVAL '30 seconds') AS s",
    ] {
        let sql = format!(
            "SELECT window_start, window_end, room, count(*) FROM {sessions} \
             WHERE temp > 0 GROUP BY window_start, window_end, room HAVING count(*) > 1"
        );
        let query = planned(&sql).unwrap_or_else(|error| panic!("{sql}\n  says: {error}"));
        assert_eq!(query.key(), Some(&[0, 2][..]), "{sql}");
    }
    let two = "SELECT window_end, desk, room FROM \
               SESSION(readings PARTITION BY room, desk, ts, INTERVAL '30 seconds') \
               GROUP BY window_end, desk, room";
    assert_eq!(planned(two).unwrap().key(), Some(&[0, 1, 2][..]));
}

#[test]
fn bounds_of_sessions_are_of_no_use_before_rows_are_grouped() {
    for sql in [
        "SELECT * FROM S ",
        "SELECT window_start FROM S ",
        "SELECT window_start, window_end, count(*) FROM S WHERE window_start > now() GROUP BY 1, 2",
        "SELECT window_start + INTERVAL '1 s', count(*) FROM S GROUP BY 1",
        "SELECT window_start, max(window_end) FROM S GROUP BY window_start",
        "SELECT window_start, count(*) FILTER (WHERE window_end > ts) FROM S GROUP BY window_start",
        "SELECT w, count(*) FROM (SELECT window_start - INTERVAL '1 s' AS w FROM S ) GROUP BY w",
        "SELECT DISTINCT window_start FROM S ",
        "SELECT window_start FROM S UNION ALL SELECT ts FROM readings",
        "SELECT window_start, lag(temp) OVER (ORDER BY ts) FROM S ",
        "SELECT temp FROM readings WHERE ts IN (SELECT window_start FROM S )",
        "SELECT temp FROM S WHERE EXISTS (SELECT 1 FROM readings WHERE readings.ts = window_end)",
        "SELECT window_start, count(*) FROM S GROUP BY ROLLUP (window_start)",
        "SELECT a.temp FROM S AS a JOIN readings AS b ON a.window_start = b.ts",
    ] {
        let error = planned(&with_session(sql)).unwrap_err().to_string();
        let expected =
            "of a session is known only once its rows are grouped; GROUP BY window_start";
        assert!(error.contains(expected), "{sql}\n  says: {error}");
    }
}

#[test]
fn mistakes_in_session_say_what_would_work() {
    let table = [
        (
            "SELECT temp\n FROM SESSION(readings, ts)",
            "line 2, column 7: SESSION takes a stream, a time column and a gap; write SESSION(",
        ),
        (
            "SELECT temp FROM SESSION(readings, room, ts, INTERVAL '1 s')",
            "line 1, column 18: SESSION takes a stream, a time column and a gap; write SESSION(",
        ),
        (
            "SELECT temp FROM SESSION(readings, ts, 5)",
            "line 1, column 18: SESSION's gap is an INTERVAL, not `5`",
        ),
        (
            "SELECT temp FROM SESSION(readings PARTITION BY upper(room), ts, INTERVAL '1 s')",
            "line 1, column 18: SESSION's PARTITION BY takes columns, not `upper(room)`",
        ),
        (
            "SELECT temp FROM SESSION(readings PARTITION BY rom, ts, INTERVAL '1 s')",
            "line 1, column 48: there is no column `rom`; did you mean `room`?",
        ),
        (
            "SELECT temp FROM SESSION(readings, DESCRIPTOR(tss), INTERVAL '1 s')",
            "line 1, column 47: there is no column `tss`; did you mean `ts`?",
        ),
        (
            "SELECT window_start FROM SESSION(readings, temp, INTERVAL '1 s')",
            "a window needs a TIMESTAMP column, this one is Float64",
        ),
        (
            "SELECT window_start FROM SESSION(readings, ts, INTERVAL '1 month')",
            "a fixed time from 1 microsecond to 10000 days",
        ),
        (
            "SELECT window_start, desk FROM SESSION(readings PARTITION BY room, ts, INTERVAL '1 s') \
             GROUP BY window_start, desk",
            "sessions are those of the keys of GROUP BY, not of `readings.room` alone; leave out",
        ),
        (
            "SELECT window_start, room, desk FROM \
             SESSION(readings PARTITION BY room, ts, INTERVAL '1 s') \
             GROUP BY window_start, room, desk",
            "sessions are those of the keys of GROUP BY, not of `readings.room` alone",
        ),
        (
            "SELECT window_start FROM SESSION(readings PARTITION BY room, ts, INTERVAL '1 s') \
             GROUP BY window_start",
            "sessions are those of the keys of GROUP BY, not of `readings.room` alone",
        ),
        (
            "SELECT session_start(ts, INTERVAL '1 s') AS s, count(*) FROM readings GROUP BY s",
            "`session_start` is what SESSION in FROM is made of; write FROM SESSION(",
        ),
        (
            "SELECT window_start, bit_xor(DISTINCT CAST(temp AS INT)) FROM \
             SESSION(readings, ts, INTERVAL '1 minute') GROUP BY window_start",
            "this GROUP BY cannot run as a job: ",
        ),
        (
            "SELECT count(*) FROM SESSION(readings, ts, INTERVAL '1 minute') GROUP BY window_start",
            "rows of the answer are told apart by `window_start`, which is not in it; add",
        ),
    ];
    for (sql, expected) in table {
        let error = planned(sql).unwrap_err().to_string();
        assert!(error.contains(expected), "{sql}\n  says: {error}\n  not:  {expected}");
    }
}
