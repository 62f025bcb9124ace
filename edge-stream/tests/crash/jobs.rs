//! A job for each operator that keeps something, and how to see what it has said.

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use edge_db::{Db, Seq};
use edge_stream::Engine;

/// Where the rows of a job are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// In a view: its rows, in any order.
    View,
    /// In a Log of this name: its records, in their order.
    Log,
    /// In such a Log, where rows of several streams come in the order in which these were read.
    LogOfSeveral,
}

impl Shown {
    pub(crate) async fn rows(self, db: &Db, engine: &Engine, name: &str) -> Vec<String> {
        match self {
            Shown::View => answer(engine, &format!("SELECT * FROM {name}")).await,
            Shown::Log => records(db, name, true),
            Shown::LogOfSeveral => {
                let mut records = records(db, name, false);
                records.sort();
                records
            }
        }
    }
}

/// What the records of a Log say, but for when they were stored; if wanted with their places.
fn records(db: &Db, log: &str, with_place: bool) -> Vec<String> {
    let log = db.log(log).unwrap();
    let (mut rows, mut position) = (Vec::new(), Seq::ZERO);
    loop {
        let records = log.read(position, 1000).unwrap();
        position = records.next();
        if records.is_empty() {
            return rows;
        }
        for record in &records {
            let headers: Vec<_> = record.headers().collect();
            let place = with_place.then(|| record.seq());
            rows.push(format!("{place:?} {:?} {:?} {headers:?}", record.key(), record.value()));
        }
    }
}

const STREAMS: [&str; 4] = [
    "CREATE STREAM IF NOT EXISTS readings (ts TIMESTAMP, device VARCHAR, n BIGINT, temp DOUBLE,
       WATERMARK FOR ts AS ts - INTERVAL '10 seconds') WITH (log = 'readings_raw', format = 'json')",
    "CREATE STREAM IF NOT EXISTS doors (ts TIMESTAMP, device VARCHAR, n BIGINT,
       WATERMARK FOR ts AS ts - INTERVAL '10 seconds') WITH (log = 'doors_raw', format = 'json')",
    "CREATE STREAM IF NOT EXISTS strays (ts TIMESTAMP, device VARCHAR, n BIGINT,
       WATERMARK FOR ts AS ts - INTERVAL '10 seconds')
       WITH (log = 'strays_raw', format = 'json', late = 'divert')",
    // Over what a sink writes.
    "CREATE STREAM IF NOT EXISTS hot_readings (ts TIMESTAMP, device VARCHAR, n BIGINT,
       WATERMARK FOR ts AS ts - INTERVAL '10 seconds') WITH (log = 'hots', format = 'json')",
];

const TUMBLED: &str = "SELECT window_start, device, count(*) AS c, sum(temp) AS s, max(n) AS m
  FROM TUMBLE(readings, DESCRIPTOR(ts), INTERVAL '10 seconds') GROUP BY window_start, device";
const HOPPED: &str = "SELECT window_start, window_end, device, count(*) AS c, avg(temp) AS a
  FROM HOP(readings, DESCRIPTOR(ts), INTERVAL '3 seconds', INTERVAL '12 seconds')
  GROUP BY window_start, window_end, device";
const VISITED: &str = "SELECT window_start, window_end, device, count(*) AS c, sum(n) AS s
  FROM SESSION(readings PARTITION BY device, DESCRIPTOR(ts), INTERVAL '3 seconds')
  GROUP BY window_start, window_end, device";
const PAIRED: &str = "SELECT r.n AS n, d.n AS m, r.device AS device FROM readings r LEFT JOIN doors d
  ON r.device = d.device AND d.ts BETWEEN r.ts - INTERVAL '1 second' AND r.ts + INTERVAL '2 seconds'";

/// Each with its name, which is that of its Log, too.
pub(crate) const JOBS: &[(&str, Shown, &str)] = &[
    ("tumbled", Shown::View, TUMBLED),
    ("hopped", Shown::View, HOPPED),
    ("visited", Shown::View, VISITED),
    ("paired", Shown::View, PAIRED),
    (
        "changing",
        Shown::View,
        "SELECT window_start, device, count(*) AS c, sum(temp) AS s
         FROM TUMBLE(readings, DESCRIPTOR(ts), INTERVAL '20 seconds') GROUP BY window_start, device
         HAVING count(*) < 15 EMIT CHANGES",
    ),
    (
        "totals",
        Shown::View,
        "SELECT n % 50 AS k, count(*) AS c, sum(temp) AS s, last_value(n ORDER BY n) AS l
         FROM readings GROUP BY n % 50 EMIT CHANGES",
    ),
    (
        "filled",
        Shown::View,
        "SELECT window_start, device, locf(max(n)) AS m, count(*) AS c FROM TUMBLE(readings,
         DESCRIPTOR(ts), INTERVAL '2 seconds', GAP_FILL => INTERVAL '10 seconds')
         GROUP BY window_start, device",
    ),
    (
        "newest",
        Shown::View,
        "SELECT r.n AS n, d.n AS m, r.device FROM readings r ASOF LEFT JOIN doors d
         MATCH_CONDITION (r.ts >= d.ts) ON r.device = d.device",
    ),
    (
        "known",
        Shown::View,
        "SELECT d.n, r.floor FROM doors d LEFT JOIN rooms r ON d.device = r._key",
    ),
    (
        "moved",
        Shown::View,
        "SELECT n, device, lag(n) OVER w AS l, sum(temp) OVER (PARTITION BY device ORDER BY ts
         RANGE BETWEEN INTERVAL '20 seconds' PRECEDING AND CURRENT ROW) AS s,
         changed(temp, 9) OVER w AS c FROM readings WINDOW w AS (PARTITION BY device ORDER BY ts)",
    ),
    (
        "risen",
        Shown::View,
        "SELECT device, n, m FROM readings MATCH_RECOGNIZE (PARTITION BY device ORDER BY ts
         MEASURES FIRST(n) AS n, sum(b.n) AS m PATTERN (a b{2,}) WITHIN INTERVAL '20 seconds'
         DEFINE b AS b.temp > PREV(b.temp))",
    ),
    (
        "heated",
        Shown::View,
        "SELECT window_start, window_end, device, count(*) AS c, sum(n) AS s
         FROM EVENT_WINDOW(readings, DESCRIPTOR(ts), START WITH temp > 30, END WITH temp < 20,
         LONGEST => INTERVAL '15 seconds') GROUP BY window_start, window_end, device",
    ),
    ("stray", Shown::View, "SELECT n, device, ts FROM strays WHERE n % 2 = 0"),
    (
        "hot_counts",
        Shown::View,
        "SELECT window_start, count(*) AS c, sum(n) AS s
         FROM TUMBLE(hot_readings, DESCRIPTOR(ts), INTERVAL '5 seconds') GROUP BY window_start",
    ),
    ("hots", Shown::Log, "SELECT ts, device, n FROM readings WHERE temp > 30"),
    (
        "minutes",
        Shown::Log,
        "SELECT window_start, device, max(n) AS m FROM TUMBLE(readings, DESCRIPTOR(ts),
         INTERVAL '15 seconds') GROUP BY window_start, device",
    ),
    (
        "visits",
        Shown::Log,
        "SELECT window_end, device, count(*) AS c FROM SESSION(readings PARTITION BY device,
         DESCRIPTOR(ts), INTERVAL '4 seconds') GROUP BY window_end, device",
    ),
    (
        "tens",
        Shown::Log,
        "SELECT window_end, device, sum(n) AS s, max(temp) AS m
         FROM COUNT_WINDOW(readings, DESCRIPTOR(ts), 10, 4) GROUP BY window_end, device",
    ),
    (
        "warm",
        Shown::Log,
        "SELECT window_start, device, temp > 25 AS w, count(*) AS c
         FROM STATE_WINDOW(readings, DESCRIPTOR(ts), temp > 25)
         GROUP BY window_start, device, temp > 25",
    ),
    (
        "pairs",
        Shown::LogOfSeveral,
        "SELECT r.n AS n, d.n AS m FROM readings r JOIN doors d ON r.device = d.device
         AND d.ts BETWEEN r.ts AND r.ts + INTERVAL '3 seconds'",
    ),
];

pub(crate) fn statements() -> impl Iterator<Item = String> {
    let job = |(name, shown, query): &(&str, Shown, &str)| match shown {
        Shown::View => format!("CREATE MATERIALIZED VIEW IF NOT EXISTS {name} AS {query}"),
        _ => format!("CREATE SINK IF NOT EXISTS {name} WITH (log = '{name}') AS {query}"),
    };
    STREAMS.iter().map(|stream| (*stream).to_owned()).chain(JOBS.iter().map(job))
}

/// What some of the views must show, as a query that DataFusion answers over the history.
pub(crate) fn of_history() -> impl Iterator<Item = (&'static str, String)> {
    let closed = |name, query, condition: &str| {
        (name, format!("SELECT * FROM ({query}) WHERE device <> 'end' {condition}"))
    };
    [("tumbled", TUMBLED), ("hopped", HOPPED), ("visited", VISITED)]
        .into_iter()
        .map(move |(name, query)| closed(name, query, ""))
        .chain([("paired", PAIRED.to_owned())])
}

/// The rows of an answer in an order of their own.
pub(crate) async fn answer(engine: &Engine, query: &str) -> Vec<String> {
    let mut rows = lines(&engine.sql(query).await.unwrap());
    rows.sort();
    rows
}

fn lines(answer: &[RecordBatch]) -> Vec<String> {
    let text = pretty_format_batches(answer).unwrap().to_string();
    let rows = text.lines().skip(3).filter(|line| line.starts_with('|'));
    rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>().join("|")).collect()
}
