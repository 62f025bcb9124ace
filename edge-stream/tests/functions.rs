//! Functions of the application in queries and jobs; and what one that panics does to the others.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, ColumnarValue, ScalarUDF, Volatility, create_udaf, create_udf,
};
use edge_db::Db;
use edge_stream::Engine;
use site::{LONG, SCRIPT, append, ask, end, job, reading};

/// A function of one number.
fn of_number(
    name: &str,
    volatility: Volatility,
    of: impl Fn(f64) -> f64 + Send + Sync + 'static,
) -> ScalarUDF {
    let of = Arc::new(move |args: &[ColumnarValue]| {
        let numbers = args[0].to_array(1)?;
        let numbers = numbers.as_primitive::<Float64Type>().unary::<_, Float64Type>(&of);
        Ok(ColumnarValue::Array(Arc::new(numbers) as ArrayRef))
    });
    create_udf(name, vec![DataType::Float64], DataType::Float64, volatility, of)
}

/// The sum of squares, by an accumulator for each group.
#[derive(Debug, Default)]
struct Squares(f64);

impl Accumulator for Squares {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<Float64Type>();
        self.0 += values.iter().flatten().map(|value| value * value).sum::<f64>();
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.0.into())
    }

    fn size(&self) -> usize {
        size_of::<Squares>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.0.into()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let sums: &Float64Array = states[0].as_primitive();
        self.0 += sums.iter().flatten().sum::<f64>();
        Ok(())
    }
}

fn squares() -> AggregateUDF {
    let number = DataType::Float64;
    let of =
        Arc::new(|_: AccumulatorArgs<'_>| Ok(Box::<Squares>::default() as Box<dyn Accumulator>));
    let (returns, state) = (Arc::new(number.clone()), Arc::new(vec![number.clone()]));
    create_udaf("squares", vec![number], returns, Volatility::Immutable, of, state)
}

async fn start(dir: &std::path::Path) -> (Db, Engine) {
    let db = Db::open(dir).unwrap();
    let fragile = |value: f64| {
        assert!(value < 1000.0, "cannot take {value}");
        value
    };
    let engine = Engine::builder()
        .db(&db)
        .function(of_number("fahrenheit", Volatility::Immutable, |c| c * 1.8 + 32.0))
        .function(of_number("fragile", Volatility::Immutable, fragile))
        .function(of_number("dice", Volatility::Volatile, |n| n))
        .aggregate(squares());
    (db, engine.start().await.unwrap())
}

/// Records with text that is JSON, beside what they are.
const EVENTS: &str = "
CREATE STREAM events (kind VARCHAR, payload VARCHAR) WITH (log = 'events', format = 'json');
CREATE MATERIALIZED VIEW hot AS
SELECT _seq, payload->>'device' AS device, json_get_float(payload, 'temp') AS temp FROM events
WHERE payload->>'device' <> 'x' AND json_get_float(payload, 'temp') > 30;
";

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_json_in_text_are_read_in_queries_and_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(EVENTS).await.unwrap();
    let payloads = [
        r#"{"device":"press","temp":31.5,"tags":["a","b"],"at":{"line":7}}"#,
        r#"{"device":"x","temp":99}"#,
        r#"{"device":"oven","temp":"warm"}"#,
        "no JSON",
        r#"{"device":"saw","temp":40}"#,
    ];
    let entries = payloads.map(|payload| {
        let payload = format!("{payload:?}");
        edge_db::Entry::new(format!(r#"{{"kind":"e","payload":{payload}}}"#))
    });
    let query =
        "SELECT payload->>'device' AS device FROM events WHERE payload->>'device' LIKE 's%'";
    let mut live = engine.subscribe(query, edge_stream::Begin::Now).await.unwrap();
    append(&db, &db.log("events").unwrap(), entries);
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(
        ask(&engine, "SELECT device, temp FROM hot ORDER BY _seq").await,
        ["press 31.5", "saw 40.0"]
    );
    let Some(Ok(edge_stream::Update::Rows { rows, .. })) = live.next().await else { panic!() };
    assert_eq!(site::cells(&[rows]), ["saw"]);
    let tried = engine.try_out(query, edge_stream::Sample::Newest(9)).await.unwrap();
    assert_eq!(site::cells(&tried.rows), ["saw"]);

    // Arrows bind closer than what is around them.
    for (of_first, expected) in [
        ("payload->>'device'", "press"),
        ("payload->'at'->>'line' = '7'", "true"),
        ("'press' = payload->>'device' AND payload->'tags'->>1 = 'b'", "true"),
        ("payload->>'device' = payload->>'device'", "true"),
        ("payload->>'device' || '-' || (payload->'at'->>'line')", "press-7"),
        ("payload->>'device' IN ('oven', 'press')", "true"),
        ("payload->>'nothing' IS NULL", "true"),
        ("'press-7' = payload->>'device' || '-7'", "true"),
        ("2 + CAST(payload->'temp' AS DOUBLE) * 2", "65.0"),
        ("100 > length(payload->>'device') + 1", "true"),
        ("'a' || payload->>'device' || 'b' = 'apressb'", "true"),
        ("'x' < payload->>'device' || 'z' IS FALSE", "true"),
        ("'line 7' LIKE 'line ' || payload->'at'->>'line'", "true"),
        ("NOT payload->>'device' LIKE 'p%'", "false"),
        ("payload->>'device' BETWEEN 'o' AND 'q'", "true"),
        ("CAST(payload->'temp' AS DOUBLE) + 1", "32.5"),
        ("json_get_int(payload, 'at', 'line') + json_length(payload, 'tags')", "9"),
        ("json_contains(payload, 'at', 'line')", "true"),
    ] {
        let query = format!("SELECT {of_first} FROM events WHERE _seq = 0");
        assert_eq!(ask(&engine, &query).await, [expected], "{of_first}");
    }
    let deep = format!("SELECT payload{} FROM events", "->'a'".repeat(1000));
    let error = engine.sql(&deep).await.unwrap_err().to_string();
    assert!(error.contains("the statement has more than 300 operators"), "{error}");
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_of_whole_numbers_that_does_not_fit_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let rows = |of: &[&str]| of.iter().map(|row| format!("({row})")).collect::<Vec<_>>().join(", ");
    let most = i64::MAX.to_string();
    let numbers = rows(&[&format!("1, {most}"), "2, 1", "3, -5", "3, NULL", "3, 7", "4, NULL"]);
    let sums = |query: &str| query.replace("NUMBERS", &format!("(VALUES {numbers}) AS t(k, n)"));
    for (query, expected) in [
        // What fits in the end fits, if there is one sum of all.
        ("SELECT sum(n) FROM NUMBERS WHERE k < 4 AND n <> 7", (i64::MAX - 4).to_string()),
        ("SELECT sum(n) FROM NUMBERS WHERE k = 4", String::new()),
        ("SELECT sum(DISTINCT n) FROM NUMBERS WHERE k = 3", "2".to_owned()),
        ("SELECT max(s) FROM (SELECT sum(n) AS s FROM NUMBERS GROUP BY k)", most.clone()),
        ("SELECT sum(CAST(n AS DECIMAL(38, 0))) FROM NUMBERS WHERE n > 0", "9223372036854775815".to_owned()),
        ("SELECT sum(CAST(k AS BIGINT UNSIGNED)) FROM NUMBERS", "16".to_owned()),
        (
            "SELECT max(s) FROM (SELECT sum(n) OVER (ORDER BY k, n ROWS BETWEEN CURRENT ROW AND CURRENT ROW)
             AS s FROM NUMBERS)",
            most.clone(),
        ),
    ] {
        assert_eq!(ask(&engine, &sums(query)).await, [expected], "{query}");
    }
    for query in [
        "SELECT sum(n) FROM NUMBERS WHERE n > 0",
        "SELECT sum(DISTINCT n) FROM NUMBERS WHERE n > 0",
        "SELECT k % 1, sum(n) FROM NUMBERS WHERE n > 0 GROUP BY k % 1",
        "SELECT sum(n) OVER (ORDER BY k ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM NUMBERS",
        "SELECT sum(DISTINCT n) OVER (ORDER BY k, n DESC ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) \
         FROM NUMBERS WHERE n > 0",
        "SELECT sum(CAST(n AS BIGINT UNSIGNED)) FROM (SELECT n FROM NUMBERS WHERE k = 1 UNION ALL
         SELECT n FROM NUMBERS WHERE k = 1 UNION ALL SELECT n FROM NUMBERS WHERE k = 1)",
    ] {
        let error = engine.sql(&sums(query)).await.unwrap_err().to_string();
        assert!(
            error.contains("does not fit into a whole number of 64 bits; sum it as"),
            "{query}: {error}"
        );
    }
    end(&db, &engine).await;
}

const VIEWS: &str = "
CREATE MATERIALIZED VIEW own AS
SELECT window_start, squares(temp) AS s, max(fahrenheit(temp)) AS f
FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY window_start;
CREATE MATERIALIZED VIEW broken AS SELECT fragile(temp) AS temp FROM readings;
";

#[tokio::test(flavor = "multi_thread")]
async fn own_functions_run_in_queries_and_jobs_and_one_that_panics_stops_its_job_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    engine.execute(VIEWS).await.unwrap();
    let error = engine.execute("CREATE MATERIALIZED VIEW v AS SELECT dice(temp) FROM readings");
    let error = error.await.unwrap_err().to_string();
    assert!(error.contains("`dice()` is not the same each time a job computes it"), "{error}");
    let log = db.log("raw").unwrap();
    append(&db, &log, [reading(0, "lab", 2.0), reading(1, "lab", 3.0)]);
    engine.caught_up(LONG).await.unwrap();
    end(&db, &engine).await;
    drop((engine, log, db));

    // Half of the window is in the stored state.
    let (db, engine) = start(dir.path()).await;
    let log = db.log("raw").unwrap();
    append(&db, &log, [reading(2, "lab", 4.0), reading(90, "lab", 5000.0)]);
    let behind = engine.caught_up(LONG);
    let is_told = async {
        while job(&engine, "broken").error.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        caught_up = behind => panic!("`broken` cannot have: {caught_up:?}"),
        () = is_told => {}
    }
    let error = job(&engine, "broken").error.unwrap();
    assert!(error.contains("cannot take 5000"), "{error}");
    while ask(&engine, "SELECT count(*) FROM heat").await != ["1"]
        || ask(&engine, "SELECT count(*) FROM own").await != ["1"]
    {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&engine, "SELECT s, f FROM own").await, ["29.0 39.2"]);
    assert_eq!(ask(&engine, "SELECT count(*) FROM broken").await, ["2"]);
    assert_eq!(job(&engine, "heat").error, None);
    // A query that calls it fails, and the engine goes on.
    let error = engine.sql("SELECT fragile(temp) FROM readings").await.unwrap_err().to_string();
    assert!(error.contains("query failed") && error.contains("cannot take 5000"), "{error}");
    assert_eq!(ask(&engine, "SELECT max(fahrenheit(temp)) FROM readings").await, ["9032.0"]);
}
