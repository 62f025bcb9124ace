//! How the windows are written, and what is refused with what would work.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use edge_stream::{Pipeline, SqlError};

fn planned(sql: &str) -> Result<Pipeline, SqlError> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("seen", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("room", DataType::Utf8, true),
        Field::new("desk", DataType::Utf8, true),
        Field::new("temp", DataType::Float64, true),
    ]));
    let builder = Pipeline::builder("readings", schema).watermark("ts", Duration::ZERO);
    super::block_on(builder.query(sql))
}

#[test]
fn windows_have_several_spellings() {
    for windows in [
        "COUNT_WINDOW(readings, DESCRIPTOR(ts), 10)",
        "count_window(readings, ts, 10, 2)",
        "COUNT_WINDOW(TABLE readings PARTITION BY room, DESCRIPTOR(ts), 10, 2)",
        "TABLE(COUNT_WINDOW(TABLE readings, ts, 10, LONGEST => INTERVAL '1 hour'))",
        "EVENT_WINDOW(readings, ts, temp > 80, temp < 70)",
        "EVENT_WINDOW(readings, DESCRIPTOR(ts), START WITH temp > 80, END WITH temp < 70)",
        "event_window(readings partition by room, ts, start with temp > 80, end with temp < 70, \
         longest => interval '1 hour') AS w",
        "EVENT_WINDOW(readings, ts, START WITH CASE WHEN room = 'a' THEN TRUE END, END WITH temp < 70)",
        "STATE_WINDOW(readings, ts, temp > 80)",
        "STATE_WINDOW(readings PARTITION BY room, ts, desk, LONGEST => INTERVAL '1 hour') AS w",
    ] {
        let sql = format!(
            "SELECT window_start, window_end, room, count(*) FROM {windows} \
             WHERE temp > 0 GROUP BY window_start, window_end, room HAVING count(*) > 1"
        );
        let query = planned(&sql).unwrap_or_else(|error| panic!("{sql}\n  says: {error}"));
        assert_eq!(query.key(), Some(&[0, 2][..]), "{sql}");
    }
    let two = "SELECT window_end, desk, room FROM \
               COUNT_WINDOW(readings PARTITION BY room, desk, ts, 10, 5) \
               GROUP BY window_end, desk, room";
    assert_eq!(planned(two).unwrap().key(), Some(&[0, 1, 2][..]));
}

#[test]
fn bounds_are_of_no_use_before_rows_are_grouped() {
    for windows in [
        "COUNT_WINDOW(readings, ts, 10)",
        "EVENT_WINDOW(readings, ts, START WITH temp > 80, END WITH temp < 70)",
        "STATE_WINDOW(readings, ts, temp > 80)",
    ] {
        for sql in [
            "SELECT * FROM W ",
            "SELECT window_start, count(*) FROM W WHERE window_start > seen GROUP BY 1",
            "SELECT window_start, max(window_end) FROM W GROUP BY window_start",
            "SELECT DISTINCT window_start FROM W ",
            "SELECT window_start FROM W UNION ALL SELECT ts FROM readings",
            "SELECT window_start, lag(temp) OVER (ORDER BY ts) FROM W ",
            "SELECT window_start, count(*) FROM W GROUP BY ROLLUP (window_start)",
        ] {
            let sql = sql.replace(" W ", &format!(" {windows} "));
            let error = planned(&sql).unwrap_err().to_string();
            let name = windows.split('(').next().unwrap();
            let expected = format!(
                "of a window of {name} is known only once its rows are grouped; GROUP BY window_start"
            );
            assert!(error.contains(&expected), "{sql}\n  says: {error}");
        }
        let sql = format!("SELECT temp FROM {windows}");
        let kept = planned(&sql).unwrap();
        assert_eq!(kept.schema().fields().len(), 1, "{sql}: what decides is not in it");
    }
}

#[test]
fn mistakes_say_where_and_what_would_work() {
    let table = [
        (
            "SELECT temp\n FROM COUNT_WINDOW(readings, ts)",
            "line 2, column 7: COUNT_WINDOW takes a stream, a time column and a number of rows; \
             write COUNT_WINDOW(stream, DESCRIPTOR(time_column), 100), or",
        ),
        (
            "SELECT temp FROM COUNT_WINDOW(readings, ts, 1, 2, 3)",
            "line 1, column 18: COUNT_WINDOW takes a stream, a time column and a number of rows",
        ),
        (
            "SELECT temp FROM COUNT_WINDOW(readings, ts, 0)",
            "line 1, column 18: COUNT_WINDOW's number of rows is a whole one from 1 to 1000000, not `0`",
        ),
        (
            "SELECT temp FROM COUNT_WINDOW(readings, ts, -5)",
            "line 1, column 18: COUNT_WINDOW's number of rows is a whole one from 1 to 1000000, not `-5`",
        ),
        (
            "SELECT temp FROM COUNT_WINDOW(readings, ts, INTERVAL '5 s')",
            "is a whole one from 1 to 1000000, not `INTERVAL '5 s'`",
        ),
        (
            "SELECT temp FROM COUNT_WINDOW(readings, ts, 10, 11)",
            "line 1, column 18: COUNT_WINDOW's second number is a whole one from 1 to the first, 10, not \
             `11`",
        ),
        (
            "SELECT temp FROM COUNT_WINDOW(readings, ts, 65, 1)",
            "line 1, column 18: a row would lie in 65 windows of 65 rows each 1, and 64 are the most",
        ),
        (
            "SELECT temp FROM COUNT_WINDOW(readings, ts, 10, LONGEST => 5)",
            "line 1, column 18: LONGEST is an INTERVAL, not `5`",
        ),
        (
            "SELECT temp FROM COUNT_WINDOW(readings, ts, 10, WITHIN => INTERVAL '5 s')",
            "line 1, column 18: COUNT_WINDOW has no argument `within`, but LONGEST",
        ),
        (
            "SELECT temp FROM COUNT_WINDOW(readings, upper(room), 10)",
            "line 1, column 18: COUNT_WINDOW",
        ),
        (
            "SELECT temp FROM EVENT_WINDOW(readings, ts, temp > 80)",
            "line 1, column 18: EVENT_WINDOW takes a stream, a time column and two conditions; write \
             EVENT_WINDOW(stream, DESCRIPTOR(time_column), START WITH temp > 80, END WITH temp < 70)",
        ),
        (
            "SELECT temp FROM EVENT_WINDOW(readings, ts, END WITH temp < 70, START WITH temp > 80)",
            "line 1, column 18: START WITH stands in front of END WITH, behind the time column",
        ),
        (
            "SELECT window_start FROM EVENT_WINDOW(readings, ts, START WITH temp, END WITH temp < 70) \
             GROUP BY window_start",
            "line 1, column 64: START WITH of EVENT_WINDOW is a condition, and `readings.temp` is Float64; \
             compare it with something: START WITH temp > 80",
        ),
        (
            "SELECT window_start FROM EVENT_WINDOW(readings, ts, temp > 80, tmp < 70)",
            "line 1, column 64: there is no column `tmp`; did you mean `temp`?",
        ),
        (
            "SELECT temp FROM STATE_WINDOW(readings, ts)",
            "line 1, column 18: STATE_WINDOW takes a stream, a time column and a value; write \
             STATE_WINDOW(stream, DESCRIPTOR(time_column), status): a window lasts",
        ),
        (
            "SELECT temp FROM STATE_WINDOW(readings PARTITION BY upper(room), ts, temp)",
            "line 1, column 18: STATE_WINDOW's PARTITION BY takes columns, not `upper(room)`",
        ),
        (
            "SELECT window_start FROM STATE_WINDOW(readings, temp, temp) GROUP BY window_start",
            "a window needs a TIMESTAMP column, this one is Float64",
        ),
        (
            "SELECT window_start FROM STATE_WINDOW(readings, seen, temp) GROUP BY window_start",
            "STATE_WINDOW goes by event time, and this one is not over that of `readings`; use the \
             column of WATERMARK FOR",
        ),
        (
            "SELECT window_start FROM STATE_WINDOW(readings, ts, temp, LONGEST => INTERVAL '1 month') \
             GROUP BY window_start",
            "a fixed time from 1 microsecond to 10000 days",
        ),
        (
            "SELECT window_start, desk FROM COUNT_WINDOW(readings PARTITION BY room, ts, 10) \
             GROUP BY window_start, desk",
            "windows are those of the keys of GROUP BY, not of `readings.room` alone; leave out",
        ),
        (
            "SELECT count_start(ts, INTERVAL '1 s', 1, 1) AS s, count(*) FROM readings GROUP BY s",
            "`count_start` is what COUNT_WINDOW in FROM is made of; write FROM COUNT_WINDOW(",
        ),
        (
            "SELECT a.window_start, b.window_end FROM COUNT_WINDOW(readings, ts, 1) AS a JOIN \
             COUNT_WINDOW(readings, ts, 2) AS b ON a.room = b.room GROUP BY a.window_start, b.window_end",
            "the query groups by windows of two kinds",
        ),
        (
            "SELECT window_start, bit_xor(DISTINCT CAST(temp AS INT)) FROM \
             COUNT_WINDOW(readings, ts, 10) GROUP BY window_start",
            "this GROUP BY cannot run as a job: ",
        ),
        (
            "SELECT count(*) FROM COUNT_WINDOW(readings, ts, 10) GROUP BY window_start",
            "rows of the answer are told apart by `window_start`, which is not in it; add",
        ),
        (
            "SELECT window_start FROM COUNT_WINDOW(readings, ts, 10) GROUP BY window_start EMIT CHANGES",
            "line 1, column 79: EMIT CHANGES gives out groups again and again, and COUNT_WINDOW each row \
             once; leave it out: rows come out as soon as they are final",
        ),
    ];
    for (sql, expected) in table {
        let error = planned(sql).err().map_or("is taken".to_owned(), |error| error.to_string());
        assert!(error.contains(expected), "{sql}\n  says: {error}\n  not:  {expected}");
    }
}
