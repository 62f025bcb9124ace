//! `docs/sql.md` and `docs/operators.md` say what is so: their examples run, their errors are the engine's
//! own, and what operators keep is what `EXPLAIN` says and a checkpoint stores.

#![cfg(feature = "mq")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/recipes.rs"]
mod recipes;
#[path = "support/site.rs"]
mod site;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::SchemaRef;
use edge_db::Db;
use edge_mq::Broker;
use edge_stream::{Begin, Engine, Pipeline, Stored};
use recipes::code;
use site::{LONG, ask};

const SQL: &str = include_str!("../docs/sql.md");
const OPERATORS: &str = include_str!("../docs/operators.md");

/// What the pages stand on, without a broker's topics.
const STREAMS: &str = "
CREATE STREAM readings (device VARCHAR, ts TIMESTAMP, temp DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '5 seconds') WITH (log = 'readings_raw', format = 'json');
CREATE STREAM doors (device VARCHAR, ts TIMESTAMP, open BOOLEAN,
  WATERMARK FOR ts AS ts - INTERVAL '5 seconds') WITH (log = 'doors_raw', format = 'json');
CREATE MATERIALIZED VIEW heat AS SELECT device, temp FROM readings WHERE temp > 80;
CREATE TABLE limits (device VARCHAR, line VARCHAR, high DOUBLE, PRIMARY KEY (device));
";

struct Site {
    db: Db,
    broker: Broker,
    engine: Engine,
}

impl Site {
    async fn start(dir: &Path) -> Site {
        let db = Db::open(dir.join("db")).unwrap();
        let broker = Broker::builder().db(&db).start().await.unwrap();
        let engine = Engine::builder().db(&db).broker(&broker);
        let engine = engine.files(dir.join("files")).start().await.unwrap();
        Site { db, broker, engine }
    }

    async fn end(self) {
        self.engine.shutdown(LONG).await.unwrap();
        self.broker.shutdown(LONG).await.unwrap();
        self.db.shutdown(LONG).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_of_the_language_run() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(dir.path()).await;
    let mut count = 0;
    for section in SQL.split("\n## ") {
        let is_asked = section.starts_with("Questions");
        let blocks = code(section, "sql");
        let statements = blocks.iter().flat_map(|block| block.split(";\n")).map(str::trim);
        for statement in statements.filter(|statement| !statement.is_empty()) {
            let first = statement.lines().find(|line| !line.starts_with("--")).unwrap();
            let is_query = ["SELECT", "WITH"].iter().any(|word| first.starts_with(word));
            let done = match (is_asked, is_query) {
                (true, _) => site.engine.sql(statement).await.map(drop),
                (false, true) => site.engine.subscribe(statement, Begin::Now).await.map(drop),
                (false, false) => site.engine.execute(statement).await,
            };
            done.unwrap_or_else(|error| panic!("{statement}\n  says: {error}"));
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
    site.end().await;
}

/// Statements, and the error that stands below each.
fn refusals(block: &str) -> Vec<(String, String)> {
    let mut found = Vec::<(String, String)>::new();
    for line in block.lines() {
        match line.strip_prefix("    ") {
            None => found.push((line.to_owned(), String::new())),
            Some(text) => {
                let error = &mut found.last_mut().unwrap().1;
                let space = if error.is_empty() { "" } else { " " };
                error.push_str(space);
                error.push_str(text);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_so_in_these_words() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(dir.path()).await;
    site.engine.execute(STREAMS).await.unwrap();
    let [jobs, statements, questions] = code(SQL, "text")[..] else { panic!("three blocks") };
    let mut wrong = String::new();
    for (kind, block) in
        ["job", "statement", "question"].into_iter().zip([jobs, statements, questions])
    {
        for (sql, expected) in refusals(block) {
            let done = match kind {
                "job" => site.engine.subscribe(&sql, Begin::Now).await.map(drop),
                "statement" => site.engine.execute(&sql).await,
                _ => site.engine.sql(&sql).await.map(drop),
            };
            let error = done.err().map_or("is not refused".to_owned(), |error| error.to_string());
            if error != expected {
                wrong.push_str(&format!("{sql}\n    {error}\n"));
            }
        }
    }
    assert!(wrong.is_empty(), "docs/sql.md says otherwise:\n{wrong}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_there_by_the_names_of_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(dir.path()).await;
    let (_, section) = SQL.split_once("\n## Functions\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let query = "SELECT DISTINCT routine_name FROM information_schema.routines";
    let known: BTreeSet<_> = ask(&site.engine, query).await.into_iter().collect();
    let table = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let names: Vec<_> = table.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 150, "{known:?}");
    let missing: Vec<_> = names.iter().filter(|name| !known.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    site.end().await;
}

#[test]
fn grammar_defines_what_it_uses() {
    let [grammar] = code(SQL, "ebnf")[..] else { panic!("one grammar") };
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    // Where one begins to read; and `table`, of which `query` speaks.
    let roots = ["script", "question", "trial", "table"];
    let (mut defined, mut used) = (BTreeSet::new(), BTreeSet::from(roots));
    for rule in grammar.split(" ;\n").filter(|rule| !rule.trim().is_empty()) {
        let (name, rule) = rule.split_once(" = ").unwrap();
        assert!(defined.insert(name.trim()), "{name} is defined twice");
        if rule.trim().starts_with('?') {
            continue;
        }
        // Every second part stands in quotes.
        let own = rule.split('"').step_by(2).flat_map(|part| part.split(|c| !is_name(c)));
        used.extend(own.filter(|word| !word.is_empty()));
    }
    assert_eq!(used, defined);
}

/// A query of the page, and what stands below it, by the first word of the line.
struct Example<'a> {
    query: &'a str,
    lines: Vec<(&'a str, &'a str)>,
}

impl Example<'_> {
    fn says(&self, word: &str) -> Option<&str> {
        self.lines.iter().find(|(first, _)| *first == word).map(|(_, rest)| *rest)
    }
}

fn examples() -> Vec<Example<'static>> {
    let queries = OPERATORS.split("```sql\n").skip(1);
    let examples = queries.map(|rest| {
        let query = rest.split("```").next().unwrap().trim();
        let lines = code(rest, "text")[0].lines();
        let lines = lines.map(|line| line.split_once(' ').unwrap_or((line, "")));
        Example { query, lines: lines.map(|(word, rest)| (word, rest.trim())).collect() }
    });
    examples.collect()
}

#[test]
fn every_operator_has_its_place_on_the_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/operator");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_operator = path.is_file()
            && std::fs::read_to_string(&path).unwrap().contains("impl Operator for ");
        let name = path.file_name().unwrap().to_string_lossy();
        let is_named = OPERATORS
            .lines()
            .any(|line| line.starts_with("## ") && line.contains(&format!("`{name}`")));
        assert!(!is_operator || is_named, "docs/operators.md has no heading with `{name}`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_keep_what_the_page_says() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(dir.path()).await;
    site.engine.execute(STREAMS).await.unwrap();
    for example in examples() {
        let explain = format!("EXPLAIN STREAMING {}", example.query);
        let steps = site.engine.sql(&explain).await;
        let steps = steps.unwrap_or_else(|error| panic!("{}\n  says: {error}", example.query));
        let steps = recipes::cells(&steps);
        let expected = (example.says("keeps").unwrap(), example.says("until").unwrap());
        let is_there = steps.iter().any(|step| {
            step.iter().any(|cell| cell == expected.0) && step.iter().any(|cell| cell == expected.1)
        });
        assert!(is_there, "{}\n  {expected:?} is not in {steps:#?}", example.query);
    }
    site.end().await;
}

/// As many devices as the page measures with.
const DEVICES: i64 = 1000;
const SECOND: i64 = 1_000_000;

/// A row of each device at this second.
fn rows(second: i64, value: ArrayRef, name: &str) -> RecordBatch {
    let times = (0..DEVICES).map(|_| second * SECOND);
    let devices = (0..DEVICES).map(|device| Some(format!("d{device:04}")));
    let columns: [(&str, ArrayRef, bool); 3] = [
        ("device", Arc::new(devices.collect::<StringArray>()), true),
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(times)), true),
        (name, value, true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn reading(second: i64) -> RecordBatch {
    let temps = (0..DEVICES).map(|device| Some(20.0 + (second * device % 17) as f64));
    rows(second, Arc::new(temps.collect::<Float64Array>()), "temp")
}

fn door(second: i64) -> RecordBatch {
    let open = (0..DEVICES).map(|device| Some((second + device) % 3 == 0));
    rows(second, Arc::new(open.collect::<BooleanArray>()), "open")
}

/// What the pipeline of a query stores after ten seconds.
async fn pushed(query: &str) -> (Pipeline, usize) {
    let schema = |rows: &RecordBatch| -> SchemaRef { rows.schema() };
    let delay = Duration::from_secs(5);
    let builder = Pipeline::builder("readings", schema(&reading(0))).watermark("ts", delay);
    let builder = builder.stream("doors", schema(&door(0))).watermark("ts", delay);
    let mut pipeline = builder.query(query).await.unwrap();
    let mut stored = Stored::new();
    for second in 0..10 {
        pipeline.push_to("readings", &reading(second)).unwrap();
        pipeline.push_to("doors", &door(second)).unwrap();
        for (key, change) in pipeline.checkpoint().unwrap() {
            match change {
                Some(bytes) => drop(stored.insert(key, bytes)),
                None => drop(stored.remove(&key)),
            }
        }
    }
    let bytes = stored.values().map(|bytes| bytes.len()).sum();
    (pipeline, bytes)
}

#[tokio::test]
async fn operators_store_the_bytes_of_the_page() {
    let mut measured = 0;
    let mut wrong = String::new();
    for example in examples() {
        let Some(text) = example.says("stores") else { continue };
        let (bytes, rest) = text.split_once(' ').unwrap();
        assert_eq!(rest, "bytes for each of 1,000 devices");
        let said: i64 = bytes.parse().unwrap();
        let (_, bytes) = pushed(example.query).await;
        let found = i64::try_from(bytes).unwrap() / DEVICES;
        if (found - said).abs() * 10 > said {
            wrong.push_str(&format!("{}\n  stores {found}, and not {said}\n", example.query));
        }
        measured += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(measured > 8, "{measured}");
}

#[tokio::test]
async fn a_job_over_its_limit_says_what_the_page_says() {
    let windows = examples().into_iter().find(|example| example.query.contains("TUMBLE")).unwrap();
    let (mut pipeline, _) = pushed(windows.query).await;
    pipeline.limit_state(1000);
    pipeline.push(&reading(10)).unwrap();
    let error = pipeline.checkpoint().unwrap_err().to_string();
    let said = code(OPERATORS, "text")[0].split_whitespace().collect::<Vec<_>>().join(" ");
    // How many bytes they are, the pages' own figures say.
    let words = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    assert_eq!(words(&error), words(&said));
}
