//! Every mistake says where it is and what would work.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use crate::{Pipeline, SqlError};

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("room", DataType::Utf8, true),
        Field::new("temp", DataType::Float64, true),
    ]))
}

fn planned(sql: &str) -> Result<Pipeline, SqlError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let builder = Pipeline::builder("readings", schema()).watermark("ts", Duration::ZERO);
    runtime.block_on(builder.query(sql))
}

#[test]
fn queries_that_cannot_run_for_ever_are_refused_with_what_would_work() {
    let table = [
        (
            "SELECT room, count(*) FROM readings GROUP BY room",
            "GROUP BY without a window would keep every group for ever; write FROM TUMBLE(readings",
        ),
        ("SELECT DISTINCT room FROM readings", "DISTINCT would keep every row for ever; GROUP BY"),
        ("SELECT * FROM readings ORDER BY ts", "ORDER BY would wait for the last row"),
        ("SELECT * FROM readings LIMIT 1", "LIMIT would end the job; put LIMIT into"),
        (
            "SELECT * FROM readings a JOIN readings b ON a.room = b.room",
            "a join of streams without bounds in time would keep every row for ever; add to ON: AND b.ts",
        ),
        ("SELECT room FROM readings UNION SELECT room FROM readings", "write UNION ALL"),
        ("SELECT sum(temp) OVER () FROM readings", "this OVER has no ORDER BY; ORDER BY ts"),
        ("SELECT 1", "the query reads no stream; name one in FROM"),
        ("SELECT now() FROM readings", "`now()` is not the same each time; use the event time"),
        ("SELECT random() FROM readings", "`random()` is not the same each time"),
        (
            "SELECT temp FROM readings WHERE temp > (SELECT avg(temp) FROM readings)",
            "subqueries in expressions are not there yet in a job; use one in the SELECT",
        ),
        (
            "SELECT window_start, room, count(*) FROM TUMBLE(readings, ts, INTERVAL '1 minute') \
             GROUP BY ROLLUP (window_start, room)",
            "ROLLUP, CUBE and GROUPING SETS are not there yet; create a view for each",
        ),
        (
            "SELECT window_start, bit_xor(DISTINCT CAST(temp AS INT)) FROM \
             TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY window_start",
            "this GROUP BY cannot run as a job: ",
        ),
        (
            "SELECT count(*) FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY window_start",
            "rows of the answer are told apart by `window_start`, which is not in it; add",
        ),
        (
            "SELECT window_start, count(*) FROM TUMBLE(readings, ts, INTERVAL '1 minute') \
             GROUP BY window_start, room",
            "told apart by `readings.room`, which is not in it; add `readings.room` to the SELECT",
        ),
        (
            "SELECT window_start, count(*) FROM \
             (SELECT ts + INTERVAL '1 hour' AS ts, room FROM readings) GROUP BY window_start",
            "there is no column `window_start`",
        ),
    ];
    for (sql, expected) in table {
        let error = planned(sql).unwrap_err().to_string();
        let expected: Vec<_> = expected.split("; ").collect();
        let found = expected.iter().all(|part| error.contains(part));
        assert!(found, "{sql}\n  says: {error}\n  not:  {expected:?}");
    }
}

#[test]
fn mistakes_name_line_and_column() {
    let table = [
        (
            "SELECT temprature FROM readings",
            "line 1, column 8: there is no column `temprature`; there are ts, room, temp",
        ),
        (
            "SELECT tmp FROM readings",
            "line 1, column 8: there is no column `tmp`; did you mean `temp`?",
        ),
        (
            "SELECT temp\nFROM readngs",
            "line 2, column 6: there is no stream, view or log `readngs`; did you mean `readings`?",
        ),
        (
            "SELECT temp FROM readings WHERE",
            "line 1, column 32: expected an expression, but the text ends",
        ),
        ("SELECT (temp FROM readings", "line 1, column 14: expected ), found FROM"),
        ("SELECT 'abc FROM readings", "line 1, column 8: Unterminated string literal"),
        ("SELECT temp FROM readings; SELECT 1", "line 1, column 28: one query at a time"),
        (
            "SELECT temp\n FROM HOP(readings, ts, INTERVAL '1 s')",
            "line 2, column 7: HOP takes a stream, a time column, a slide and size, and perhaps an offset: 4 \
             or 5 arguments, not 3; write HOP(",
        ),
        (
            "SELECT temp FROM TUMBLE(readings, ts)",
            "line 1, column 18: TUMBLE takes a stream, a time column, a size, and perhaps an offset: \
             3 or 4 arguments, not 2; write TUMBLE(",
        ),
        (
            "SELECT temp FROM TUMBLE(readings, ts, 5)",
            "line 1, column 18: TUMBLE's sizes are INTERVALs, not `5`",
        ),
        (
            "SELECT temp FROM TUMBLE(readings, DESCRIPTOR(tss), INTERVAL '1 s')",
            "line 1, column 46: there is no column `tss`; did you mean `ts`?",
        ),
        (
            "SELECT window_start FROM TUMBLE(readings, temp, INTERVAL '1 s')",
            "a window needs a TIMESTAMP column, this one is Float64",
        ),
        (
            "SELECT window_start, count(*) FROM TUMBLE(readings, ts, INTERVAL '1 month') GROUP BY window_start",
            "a fixed time from 1 microsecond to 10000 days",
        ),
        ("SELECT avgg(temp) FROM readings", "Invalid function 'avgg'. Did you mean 'avg'?"),
    ];
    for (sql, expected) in table {
        let error = planned(sql).unwrap_err().to_string();
        assert!(error.contains(expected), "{sql}\n  says: {error}\n  not:  {expected}");
    }
}

#[test]
fn text_that_would_overflow_the_stack_is_refused() {
    let many = |term: &str, count| {
        format!("SELECT temp FROM readings WHERE {}", vec![term; count].join(" OR "))
    };
    let error = planned(&many("temp = 1", 5000)).unwrap_err().to_string();
    assert!(error.contains("more than 300 operators; use IN (..) or CASE"), "{error}");
    assert!(planned(&many("temp = 1", 250)).is_ok());
    let nested = format!("SELECT {}temp{} FROM readings", "(".repeat(5000), ")".repeat(5000));
    let error = planned(&nested).unwrap_err().to_string();
    assert!(error.contains("nested too deeply"), "{error}");
}

#[test]
fn a_column_that_is_grouped_by_twice_is_one() {
    let sql = "SELECT window_start, room, count(*) FROM TUMBLE(readings, ts, INTERVAL '1 minute')
               GROUP BY 1, window_start, room, room";
    assert_eq!(planned(sql).unwrap().key(), Some(&[0, 1][..]));
}

#[test]
fn all_keys_tell_rows_apart_where_nothing_is_aggregated() {
    let sql = "SELECT window_start, room FROM TUMBLE(readings, ts, INTERVAL '1 minute')
               GROUP BY window_start, room";
    assert_eq!(planned(sql).unwrap().key(), Some(&[0, 1][..]));
    let error = planned(&sql.replace(", room FROM", " FROM")).unwrap_err().to_string();
    assert!(error.contains("told apart by `readings.room`, which is not in it"), "{error}");
}

#[test]
fn spellings_of_a_window_mean_the_same() {
    for from in [
        "TUMBLE(readings, ts, INTERVAL '1 minute')",
        "TUMBLE(readings, DESCRIPTOR(ts), INTERVAL '1 minute')",
        "TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)",
        "TABLE(TUMBLE(readings, DESCRIPTOR(ts), INTERVAL '60 seconds'))",
        "tumble(readings, descriptor(readings.ts), interval '1 minute') AS r",
    ] {
        let sql = format!("SELECT window_start, avg(temp) FROM {from} GROUP BY window_start");
        let query = planned(&sql).unwrap_or_else(|error| panic!("{from}: {error}"));
        assert_eq!(query.key(), Some(&[0][..]), "{from}");
    }
    let by_end = "SELECT room, window_end AS until, max(temp) AS t
                  FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY room, window_end";
    assert_eq!(planned(by_end).unwrap().key(), Some(&[1, 0][..]));
}

#[cfg(feature = "db")]
#[test]
fn wrong_statements_name_line_and_column_and_what_would_work() {
    let table = [
        ("SELECT 1", "line 1, column 1: `SELECT` begins no statement; a script has CREATE STREAM"),
        ("CREATE STREAM s", "line 1, column 16: a stream needs columns; write CREATE STREAM"),
        ("CREATE STREAM s (a FOO) WITH (topic = 'a')", "line 1, column 20: type FOO is not there"),
        (
            "CREATE STREAM s (a INT, a INT) WITH (topic = 'a')",
            "line 1, column 25: column `a` is there twice",
        ),
        (
            "CREATE STREAM s (_a INT) WITH (topic = 'a')",
            "line 1, column 18: column `_a`: names with _",
        ),
        (
            "CREATE STREAM s (a INT b INT) WITH (topic = 'a')",
            "line 1, column 24: expected , or ) behind a column, found b",
        ),
        ("CREATE STREAM s (a INT)", "line 1, column 24: expected WITH (..); WITH (topic ="),
        (
            "CREATE STREAM s (a INT) WITH (format = 'json')",
            "a stream needs a topic, a log or a table, one of them; WITH",
        ),
        (
            "CREATE STREAM s (a INT) WITH (topic = 'a', log = 'b')",
            "a stream needs a topic, a log or a table, one of them",
        ),
        (
            "CREATE STREAM s (a INT) WITH (topic = 'a', format = 'xml')",
            "line 1, column 44: format 'xml' is not there; use one of 'json', 'csv', 'raw'",
        ),
        (
            "CREATE STREAM s (a INT) WITH (topik = 'a')",
            "line 1, column 31: there is no option `topik`; did you mean `topic`?",
        ),
        (
            "CREATE STREAM s (a INT) WITH (topic = 'a', compression = 'b')",
            "line 1, column 44: there is no option `compression`; WITH (topic =",
        ),
        (
            "CREATE STREAM s (a INT) WITH (topic = 'a', qos = '1')",
            "line 1, column 44: there is no option `qos`; it is one of sinks; leave it out",
        ),
        (
            "CREATE STREAM s (a INT) WITH (topic = a)",
            "line 1, column 31: option `topic` needs a value: topic = '..'",
        ),
        (
            "CREATE STREAM s (a INT) WITH (log = 'a', max_ahead = '1 day')",
            "line 1, column 42: this option is about the event time, and the stream has none; declare",
        ),
        (
            "CREATE STREAM s (a INT) WITH (log = 'a', max_ahead = '1 month')",
            "line 1, column 42: max_ahead is '1 month'; use a length of time as in '1 hour', or",
        ),
        (
            "CREATE SINK s WITH (topic = 'a', max_ahead = '1 day') AS SELECT 1",
            "line 1, column 34: there is no option `max_ahead`; it is one of streams; leave it out",
        ),
        ("CREATE STREAM s (a INT) WITH (topic = 'a/+')", "has a wildcard; name the level instead"),
        (
            "CREATE STREAM s (a INT) WITH (log = 'a', late = 'updat')",
            "line 1, column 42: late is 'updat'; use 'drop', 'divert' to keep late rows in a log of their own, or 'update'",
        ),
        (
            "CREATE STREAM s (a INT) WITH (log = 'a', allowed_lateness = '1 month')",
            "allowed_lateness is '1 month'; use a fixed time such as '1 minute'",
        ),
        (
            "CREATE STREAM s (a INT) WITH (log = 'a', late = 'update')",
            "line 1, column 25: late = 'update' needs to know how late rows may be; write WITH",
        ),
        (
            "CREATE STREAM s (a INT) WITH (log = 'a', allowed_lateness = '1 s')",
            "allowed_lateness is for late = 'update'; write WITH",
        ),
        (
            "CREATE STREAM s (a INT) WITH (log = 'a', late = 'update', allowed_lateness = '1 s')",
            "rows are late behind a watermark, and the stream has none",
        ),
        (
            "CREATE SINK s WITH (topic = 'a', late = 'update') AS SELECT 1",
            "there is no option `late`",
        ),
        (
            "CREATE STREAM s (a INT) WITH (topic = 'x/{room}')",
            "level {room} of the topic is no column of text; declare `room VARCHAR`",
        ),
        (
            "CREATE STREAM s (\n  a INT\n) WITH (topic = 'a') garbage",
            "line 3, column 22: `garbage` does not belong here; end the statement with `;`",
        ),
        (
            "CREATE STREAM \"a/b\" (a INT) WITH (topic = 'a')",
            "line 1, column 15: `a/b` is no name for what is stored; use 1 to 64",
        ),
        (
            "CREATE SINK s WITH (format = 'json') AS SELECT 1",
            "a sink needs a topic, a log, a file or a channel, one of them; WITH (topic = 'alarm/{room}'",
        ),
        (
            "CREATE MATERIALIZED TABLE v AS SELECT 1",
            "line 1, column 21: expected VIEW, found TABLE",
        ),
        ("CREATE MATERIALIZED VIEW v SELECT 1", "line 1, column 28: expected AS, found SELECT"),
        ("CREATE MATERIALIZED VIEW v AS SELECT FROM", "line 1, column 42: "),
        ("DROP INDEX s", "line 1, column 6: DROP `INDEX` is no statement; DROP STREAM,"),
    ];
    for (sql, expected) in table {
        let error = super::statement::parse_script(sql).unwrap_err().to_string();
        assert!(error.contains(expected), "{sql}\n  says: {error}\n  not:  {expected}");
    }
}

const BY_ROOM: &str = "SELECT room, count(*) FROM readings GROUP BY room";

#[test]
fn emit_that_cannot_be_is_refused_with_what_would_work() {
    const WINDOW: &str = "SELECT window_start, count(*) FROM";
    let hop = |slide: &str| {
        format!(
            "{WINDOW} HOP(readings, ts, INTERVAL '{slide}', INTERVAL '1 hour') GROUP BY \
             window_start EMIT CHANGES"
        )
    };
    let table = [
        (BY_ROOM.to_owned(), "or EMIT CHANGES behind the query"),
        (
            format!("{BY_ROOM} EMIT ON WINDOW CLOSE"),
            "GROUP BY without a window would keep every group for ever",
        ),
        (
            format!("{BY_ROOM} EMIT UPDATES"),
            "line 1, column 56: EMIT `UPDATES` is not there; write EMIT CHANGES, EMIT EVERY INTERVAL",
        ),
        (format!("{BY_ROOM} EMIT ON WINDOW END"), "line 1, column 66: expected CLOSE, found END"),
        (
            format!("{BY_ROOM}\n EMIT EVERY 5"),
            "line 2, column 13: `5` is no fixed time; write EMIT EVERY INTERVAL '1 second'",
        ),
        (format!("{BY_ROOM} EMIT EVERY INTERVAL '1 month'"), "`INTERVAL '1 month'` is no fixed"),
        (format!("{BY_ROOM} EMIT EVERY INTERVAL '0 s'"), "`INTERVAL '0 s'` is no fixed time"),
        (format!("{BY_ROOM} EMIT CHANGES LIMIT 1"), "`LIMIT` does not belong here"),
        (
            format!("SELECT * FROM ({BY_ROOM} EMIT CHANGES)"),
            "line 1, column 66: EMIT is about the whole query; write it once, behind the last clause",
        ),
        (
            "SELECT sum(n) FROM (SELECT room, count(*) AS n FROM readings GROUP BY room) EMIT CHANGES"
                .to_owned(),
            "GROUP BY window_start, ..: EMIT CHANGES is about the outermost GROUP BY",
        ),
        (
            "SELECT room FROM readings EMIT EVERY INTERVAL '1 s'".to_owned(),
            "line 1, column 27: EMIT EVERY gives out groups again and again, and a query without \
             GROUP BY each row once; leave it out",
        ),
        (
            "SELECT room, lag(temp) OVER (PARTITION BY room ORDER BY ts) FROM readings EMIT CHANGES"
                .to_owned(),
            "EMIT CHANGES gives out groups again and again, and OVER each row once; leave it out",
        ),
        (
            format!("{BY_ROOM}, ts EMIT CHANGES"),
            "a group for each `readings.ts` would be kept for ever; GROUP BY a window of it",
        ),
        (
            "SELECT count(*) FROM readings GROUP BY room EMIT CHANGES".to_owned(),
            "told apart by `readings.room`, which is not in it; add `readings.room` to the SELECT",
        ),
        (
            format!("{WINDOW} SESSION(readings, ts, INTERVAL '1 s') GROUP BY window_start EMIT CHANGES"),
            "the bounds of a session, which tell its row apart, change with each row; leave EMIT out",
        ),
        (
            format!(
                "{WINDOW} TUMBLE(readings, ts, INTERVAL '1 s', GAP_FILL => INTERVAL '1 minute') \
                 GROUP BY window_start EMIT CHANGES"
            ),
            "EMIT CHANGES gives out groups again and again, and GAP_FILL each row once",
        ),
        (
            hop("1 second"),
            "each change of a row would be 3600 rows, as windows of 3600s each 1s lie over each \
             other; leave EMIT out, use TUMBLE, or at most 64",
        ),
        (
            format!("{WINDOW} TUMBLE(readings, ts, INTERVAL '1 s') GROUP BY window_start QUALIFY \
                     row_number() OVER (PARTITION BY window_start ORDER BY count(*)) = 1 EMIT CHANGES"),
            "EMIT CHANGES gives out groups again and again, and OVER each row once",
        ),
    ];
    for (sql, expected) in table {
        let error = planned(&sql).unwrap_err().to_string();
        assert!(error.contains(expected), "{sql}\n  says: {error}\n  not:  {expected}");
    }
    drop(planned(&hop("1 minute")).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let without_time = Pipeline::builder("readings", schema());
    let error =
        runtime.block_on(without_time.query(&format!("{BY_ROOM} EMIT EVERY INTERVAL '1 s'")));
    assert_eq!(
        error.unwrap_err().to_string(),
        "line 1, column 51: EMIT EVERY goes by event time, and `readings` has none; declare \
         WATERMARK FOR _time, which is the arrival, or write EMIT CHANGES"
    );
}

#[test]
fn emit_is_a_name_like_others_where_it_is_no_clause() {
    for sql in [
        "SELECT emit.room FROM readings emit",
        "SELECT room emit FROM readings",
        "SELECT a.room FROM readings a JOIN readings emit ON a.room = emit.room AND a.ts = emit.ts",
        "SELECT emit changes FROM (SELECT room AS emit FROM readings)",
        "SELECT room FROM readings EMIT CHANGES",
        "SELECT room, count(*) FROM readings AS \"EMIT\" GROUP BY room emit every interval '1' SECOND",
        "SELECT room, count(*) FROM readings EMIT GROUP BY room EMIT CHANGES",
    ] {
        drop(planned(sql).unwrap_or_else(|error| panic!("{sql}\n  says: {error}")));
    }
}

#[cfg(feature = "db")]
#[test]
fn emit_belongs_to_the_statement_and_to_no_other() {
    use super::statement::parse_script;
    let view = |emit: &str| format!("CREATE MATERIALIZED VIEW v AS {BY_ROOM}{emit}");
    let script = format!("{}\n;\n{};", view("\nEMIT CHANGES -- each"), view(""));
    let statements = parse_script(&script).unwrap();
    assert_eq!(statements[0].text, view("\nEMIT CHANGES -- each"));
    assert_eq!(statements[1].text, view(""));
    let definition = |sql: &str| match parse_script(sql).unwrap().remove(0).action {
        super::statement::Action::Create { what, .. } => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(definition(&view(" EMIT  changes")), definition(&view("\n\nEMIT CHANGES")));
    assert_eq!(definition(&view(" EMIT ON WINDOW CLOSE")), definition(&view("")));
    assert_ne!(definition(&view(" EMIT CHANGES")), definition(&view("")));
    for sql in ["SELECT room FROM readings EMIT CHANGES", "DESCRIBE readings EMIT CHANGES"] {
        let error = super::question::parse_question(sql).unwrap_err().to_string();
        assert!(
            error.contains("EMIT does not belong here; it stands behind the query of a"),
            "{error}"
        );
    }
}

#[cfg(feature = "db")]
#[test]
fn each_statement_keeps_its_own_text() {
    let script = "-- à la carte\nCREATE STREAM s (a INT, WATERMARK FOR a AS a - 1) WITH (log = 'l');\n\n  DROP SINK IF EXISTS x ;;";
    let statements = super::statement::parse_script(script).unwrap();
    let texts: Vec<_> = statements.iter().map(|statement| statement.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "CREATE STREAM s (a INT, WATERMARK FOR a AS a - 1) WITH (log = 'l')",
            "DROP SINK IF EXISTS x",
        ]
    );
    assert_eq!(statements[1].position.to_string(), "line 4, column 3");
}

#[cfg(feature = "db")]
#[test]
fn page_of_the_language_names_each_option() {
    use super::options::{OF_SINKS, OF_STREAMS};
    let page = include_str!("../../docs/sql.md");
    for (heading, options) in [("Streams", &OF_STREAMS[..]), ("Sinks", &OF_SINKS[..])] {
        let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
        let section = section.split("\n## ").next().unwrap();
        for option in options {
            let row = format!("\n| `{option}` |");
            assert!(section.contains(&row), "{heading} of docs/sql.md have no `{option}`");
        }
    }
}
