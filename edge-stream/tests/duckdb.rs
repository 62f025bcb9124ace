//! DuckDB agrees on the recipes: those of the README that batch SQL can say are asked of it over the same
//! rows, those of the page and some hundred more. `.ci/run` installs it; see CONTRIBUTING.md.
//!
//! A job has answered what lies in front of its watermark, DuckDB sees all rows: so its queries stop
//! there, at `passed()`. Two recipes have no words in batch SQL: number 7 finds the row that a table had
//! when a reading came, and number 14 is MATCH_RECOGNIZE.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/recipes.rs"]
mod recipes;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

use recipes::{Block, Recipe, Row};

/// Printed with every failure: another seed makes other rows.
const SEED: u64 = 20_261_130;
const READINGS: usize = 400;

/// What each recipe is to DuckDB, by its number.
const QUERIES: [(u32, &str); 16] = [
    (
        1,
        "SELECT time_bucket(INTERVAL '1 minute', ts) AS window_start, device, avg(temp), count(*)
         FROM readings GROUP BY ALL HAVING window_start + INTERVAL '1 minute' <= passed()",
    ),
    (
        2,
        "WITH states AS (
           SELECT device, ts, temp, last_value(CASE WHEN temp > 80 THEN TRUE WHEN temp < 75 THEN FALSE END
             IGNORE NULLS) OVER (PARTITION BY device ORDER BY ts) AS is_hot FROM readings)
         SELECT 'alarm/' || device, ts, temp, is_hot FROM states
         WHERE is_hot IS NOT NULL AND ts < passed()
         QUALIFY is_hot IS DISTINCT FROM lag(is_hot) OVER (PARTITION BY device ORDER BY ts)",
    ),
    (
        3,
        "WITH RECURSIVE numbered AS (
           SELECT device, ts, temp, row_number() OVER (PARTITION BY device ORDER BY ts) AS n
           FROM readings WHERE ts < passed()),
         walk AS (
           SELECT device, ts, temp, n, temp AS reported, TRUE AS is_out FROM numbered WHERE n = 1
           UNION ALL
           SELECT x.device, x.ts, x.temp, x.n,
             CASE WHEN abs(x.temp - walk.reported) > 0.5 THEN x.temp ELSE walk.reported END,
             abs(x.temp - walk.reported) > 0.5
           FROM walk JOIN numbered x ON x.device = walk.device AND x.n = walk.n + 1)
         SELECT 'report/' || device, ts, temp FROM walk WHERE is_out",
    ),
    (
        4,
        "WITH edges AS (
           SELECT *, (temp > 80) IS DISTINCT FROM lag(temp > 80) OVER (PARTITION BY device ORDER BY ts)
             AS flips FROM readings WHERE ts < passed()),
         lasting AS (
           SELECT device, ts, temp, max(CASE WHEN flips THEN ts END)
             OVER (PARTITION BY device ORDER BY ts) AS since FROM edges)
         SELECT device, since, min(ts) FROM lasting
         WHERE temp > 80 AND ts >= since + INTERVAL '30 seconds' GROUP BY device, since",
    ),
    (
        5,
        "SELECT device, id, ts, what FROM events WHERE ts < max_ts() - INTERVAL '1 minute'
         QUALIFY row_number() OVER (PARTITION BY device, id ORDER BY ts, _seq) = 1",
    ),
    (
        6,
        "SELECT device, count(*), max(ts), max_by(temp, ts) FROM readings GROUP BY device",
    ),
    (
        8,
        "WITH minutes AS (
           SELECT time_bucket(INTERVAL '1 minute', ts) AS window_start, device, avg(temp) AS temp,
             count(*) AS n
           FROM readings GROUP BY ALL HAVING window_start + INTERVAL '1 minute' <= passed()),
         spans AS (
           SELECT *, coalesce(lead(window_start) OVER (PARTITION BY device ORDER BY window_start),
             window_start + INTERVAL '1 minute') AS next_start,
             lead(temp) OVER (PARTITION BY device ORDER BY window_start) AS next_temp FROM minutes)
         SELECT filled, device, temp,
           CASE WHEN filled = window_start THEN temp ELSE temp + (next_temp - temp)
             * epoch(filled - window_start) / epoch(next_start - window_start) END,
           CASE WHEN filled = window_start THEN n ELSE 0 END
         FROM (SELECT *, unnest(generate_series(window_start, next_start - INTERVAL '1 minute',
           INTERVAL '1 minute')) AS filled FROM spans)",
    ),
    (
        9,
        "WITH works AS (
           SELECT *, coalesce(ts - lag(ts) OVER w >= INTERVAL '2 minutes', TRUE) AS is_first
           FROM power WHERE watt > 50 WINDOW w AS (PARTITION BY machine ORDER BY ts)),
         runs AS (
           SELECT *, sum(is_first::INT) OVER (PARTITION BY machine ORDER BY ts) AS run FROM works)
         SELECT min(ts), machine, max(ts), avg(watt), count(*) FROM runs GROUP BY machine, run
         HAVING max(ts) + INTERVAL '2 minutes' <= passed()",
    ),
    (
        10,
        "WITH steps AS (
           SELECT meter, ts, kwh, lag(kwh) OVER (PARTITION BY meter ORDER BY ts) AS before FROM meters)
         SELECT time_bucket(INTERVAL '15 minutes', ts) AS window_start, meter,
           sum(CASE WHEN kwh >= before THEN kwh - before ELSE kwh END),
           count(*) FILTER (WHERE kwh < before)
         FROM steps WHERE before IS NOT NULL GROUP BY ALL
         HAVING window_start + INTERVAL '15 minutes' <= passed()",
    ),
    (
        11,
        "SELECT * FROM (
           SELECT time_bucket(INTERVAL '1 minute', ts) AS window_start, device,
             max(temp) - min(temp) AS jump, count(*)
           FROM readings GROUP BY ALL HAVING window_start + INTERVAL '1 minute' <= passed())
         QUALIFY row_number() OVER (PARTITION BY window_start ORDER BY jump DESC, device) <= 3",
    ),
    (
        12,
        "WITH marked AS (
           SELECT *, coalesce(ts - lag(ts) OVER w >= INTERVAL '5 minutes', TRUE) AS is_first
           FROM readings WINDOW w AS (PARTITION BY device ORDER BY ts)),
         spoken AS (
           SELECT *, sum(is_first::INT) OVER (PARTITION BY device ORDER BY ts) AS spell FROM marked)
         SELECT 'silent/' || device, min(ts), max(ts), count(*) FROM spoken GROUP BY device, spell
         HAVING max(ts) + INTERVAL '5 minutes' <= passed()",
    ),
    (
        13,
        "SELECT device, ts, temp, mean FROM (
           SELECT device, ts, temp, avg(temp) OVER w AS mean, stddev(temp) OVER w AS deviation,
             count(*) OVER w AS n
           FROM readings
           WINDOW w AS (PARTITION BY device ORDER BY ts ROWS BETWEEN 20 PRECEDING AND 1 PRECEDING))
         WHERE n >= 4 AND abs(temp - mean) > greatest(4 * deviation, 1) AND ts < passed()",
    ),
    (
        15,
        "WITH known AS (
           SELECT *, time_bucket(INTERVAL '1 minute', ts) AS window_start,
             max(ts) OVER (ORDER BY _seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newest
           FROM counters)
         SELECT window_start, sum(parts) FROM known
         WHERE newest IS NULL OR window_start + INTERVAL '1 minute'
           > newest - INTERVAL '5 seconds' - INTERVAL '10 minutes'
         GROUP BY window_start HAVING window_start + INTERVAL '1 minute' <= passed()",
    ),
    // As it stands in the README.
    (16, ""),
    // One reading after the other, as where a window begins depends on where the one before ended.
    (
        17,
        "WITH RECURSIVE numbered AS (
           SELECT device, ts, temp, row_number() OVER (PARTITION BY device ORDER BY ts) AS n
           FROM readings WHERE ts < passed()),
         walk AS (
           SELECT device, n, ts, temp, CASE WHEN temp > 80 THEN ts END AS since,
             CASE WHEN temp > 80 THEN ts + INTERVAL '1 hour' END AS cut, FALSE AS is_last
           FROM numbered WHERE n = 1
           UNION ALL
           SELECT device, n, ts, temp, since, CASE WHEN since IS NOT NULL THEN since + INTERVAL '1 hour' END,
             since IS NOT NULL AND temp < 70
           FROM (
             SELECT x.device, x.n, x.ts, x.temp,
               CASE WHEN w.since IS NOT NULL AND NOT w.is_last AND x.ts < w.cut THEN w.since
                    WHEN x.temp > 80 THEN x.ts END AS since
             FROM walk w JOIN numbered x ON x.device = w.device AND x.n = w.n + 1))
         SELECT since, CASE WHEN bool_or(is_last) THEN max(ts) ELSE max(cut) END AS until, device,
           max(temp), count(*)
         FROM walk WHERE since IS NOT NULL GROUP BY device, since
         HAVING bool_or(is_last) OR max(cut) < passed()",
    ),
    (
        18,
        "SELECT 'alarm/' || device, ts, temp, mean, n FROM (
           SELECT device, ts, temp, avg(temp) OVER w AS mean, count(*) OVER w AS n FROM readings
           WINDOW w AS (PARTITION BY device ORDER BY ts
                        RANGE BETWEEN INTERVAL '60 seconds' PRECEDING AND CURRENT ROW))
         WHERE temp > 80 AND ts < passed()",
    ),
];

/// Reads tables and a query, and prints a row in each line.
const DRIVER: &str = "
import duckdb, json, sys
asked = json.load(sys.stdin)
for table in asked['tables']:
    name, columns = table['name'], table['columns']
    kinds = ', '.join(f'{column} {kind}' for column, kind in columns)
    duckdb.sql(f'CREATE TABLE {name} (_seq BIGINT, {kinds})')
    places = ', '.join('?' for _ in range(len(columns) + 1))
    rows = [[seq, *row] for seq, row in enumerate(table['rows'])]
    duckdb.executemany(f'INSERT INTO {name} VALUES ({places})', rows)
    duckdb.sql(f'CREATE OR REPLACE MACRO max_ts() AS (SELECT max(ts) FROM {name})')
duckdb.sql('''CREATE MACRO passed() AS max_ts() - INTERVAL '5 seconds' ''')
def text(value):
    if value is None:
        return '-'
    if isinstance(value, bool):
        return str(value).lower()
    return value.strftime('%H:%M:%S') if hasattr(value, 'strftime') else str(value)
for row in duckdb.sql(asked['query']).fetchall():
    print(*map(text, row), sep='\\t')
";

/// The type of a column, by its values.
fn kind(column: usize, rows: &[Row]) -> &'static str {
    let all = |is: &dyn Fn(&str) -> bool| rows.iter().all(|row| is(&row[column]));
    match () {
        () if all(&recipes::is_time) => "TIMESTAMP",
        () if all(&|cell| cell.parse::<f64>().is_ok()) => "DOUBLE",
        () => "VARCHAR",
    }
}

/// What DuckDB answers over the rows of these blocks.
fn duckdb(query: &str, blocks: &[Block]) -> Vec<Row> {
    let mut tables = BTreeMap::<&str, (&[String], Vec<Row>)>::new();
    for block in blocks {
        let table = tables.entry(&block.name).or_insert((&block.columns, Vec::new()));
        table.1.extend(block.rows.iter().cloned());
    }
    let tables = tables.into_iter().map(|(name, (columns, rows))| {
        let kinds = columns.iter().enumerate();
        let kinds: Vec<_> = kinds.map(|(place, column)| (column, kind(place, &rows))).collect();
        let rows = rows.into_iter().map(|row| row.into_iter().map(in_full).collect::<Row>());
        serde_json::json!({ "name": name, "columns": kinds, "rows": rows.collect::<Vec<_>>() })
    });
    let asked = serde_json::json!({ "tables": tables.collect::<Vec<_>>(), "query": query });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("asked.json");
    std::fs::write(&path, asked.to_string()).unwrap();
    let input = std::fs::File::open(path).unwrap();
    let output = Command::new("python3").args(["-c", DRIVER]).stdin(input).output();
    let output = output.expect("python3 is installed");
    assert!(output.status.success(), "{query}\n{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    printed.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn in_full(cell: String) -> String {
    if recipes::is_time(&cell) { format!("2026-01-01 {cell}") } else { cell }
}

/// Rows in one order, and numbers without what rounding leaves in their last digits.
fn comparable(rows: impl IntoIterator<Item = Row>) -> Vec<String> {
    let cell = |cell: String| match cell.parse::<f64>() {
        Ok(number) => format!("{:.6}", number + 0.0),
        Err(_) => cell,
    };
    let rows = rows.into_iter();
    let mut rows: Vec<_> =
        rows.map(|row| row.into_iter().map(cell).collect::<Vec<_>>().join(" ")).collect();
    rows.sort();
    rows
}

fn query(recipe: &Recipe) -> Option<&str> {
    let number: u32 = recipe.title.split('.').next().unwrap().parse().unwrap();
    let (_, query) = QUERIES.iter().find(|(of, _)| *of == number)?;
    Some(if query.is_empty() { &recipe.sql } else { query })
}

#[test]
fn duckdb_agrees_on_the_rows_of_the_readme() {
    let mut asked = 0;
    for recipe in recipes::all() {
        let Some(query) = query(&recipe) else { continue };
        // What a subscriber gets of a question is no answer over all rows.
        let is_live = recipe.blocks.iter().any(|block| block.name == "live");
        let out = recipe.blocks.iter().rposition(|block| !block.is_in && block.name != "live");
        let (before, out) = recipe.blocks.split_at(out.unwrap());
        let fed: Vec<_> = before.iter().filter(|block| block.is_in).cloned().collect();
        assert!(is_live || fed.len() == recipe.blocks.iter().filter(|block| block.is_in).count());
        let found = comparable(duckdb(query, &fed));
        assert_eq!(found, comparable(out[0].rows.clone()), "{}", recipe.title);
        asked += 1;
    }
    assert_eq!(asked, QUERIES.len());
}

/// A small generator: the test must do the same again for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// What a reading may differ by from the one before: halves, so that sums are exact.
const STEPS: [f64; 8] = [-4.0, -1.0, -0.5, 0.0, 0.0, 0.5, 1.0, 4.0];

/// Readings of four devices that wander through all limits, with silent times, no two of a device at
/// one time, and up to four seconds out of order.
fn readings(random: &mut Random) -> Vec<Row> {
    let mut temps = [78.0f64; 4];
    let mut rows = Vec::new();
    let mut second = 0;
    let mut silent = [0u64; 4];
    while rows.len() < READINGS {
        second += 5;
        for (device, temp) in temps.iter_mut().enumerate() {
            if silent[device] > second {
                continue;
            }
            *temp += STEPS[usize::try_from(random.below(8)).unwrap()];
            *temp = temp.clamp(60.0, 95.0);
            let time = second + random.below(5);
            let mut ts = String::new();
            write!(ts, "12:{:02}:{:02}", time / 60, time % 60).unwrap();
            rows.push(vec![format!("d{device}"), ts, format!("{temp:?}")]);
            if device > 0 && random.below(40) == 0 {
                silent[device] = second + 60 + random.below(400);
            }
        }
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn duckdb_agrees_on_generated_readings() {
    let mut random = Random(SEED);
    let rows = readings(&mut random);
    let mut agreed = 0;
    for mut recipe in recipes::all() {
        let is_of_readings =
            recipe.blocks.iter().all(|block| !block.is_in || block.name == "readings");
        let Some(query) = query(&recipe).filter(|_| is_of_readings).map(str::to_owned) else {
            continue;
        };
        let out = recipe.blocks.iter().find(|block| !block.is_in).unwrap().clone();
        recipe.blocks.retain(|block| block.is_in);
        recipe.blocks.truncate(1);
        recipe.blocks[0].rows = rows.clone();
        recipe.blocks.push(out);
        let expected = comparable(duckdb(&query, &recipe.blocks[..1]));
        let found = comparable(recipe.run(true).await.remove(0));
        assert!(!expected.is_empty(), "{}: nothing comes out", recipe.title);
        assert_eq!(found, expected, "seed {SEED}: {}", recipe.title);
        agreed += 1;
    }
    assert!(agreed > 8, "{agreed}");
}
