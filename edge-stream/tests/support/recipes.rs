//! The recipes of the README: read from it, and run by an engine with a broker.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use edge_db::Db;
use edge_mq::{Broker, LocalSubscription, Message, QoS};
use edge_stream::{Begin, Engine, Subscription, Update};
use serde_json::Value;

const README: &str = include_str!("../../README.md");
const LONG: Duration = Duration::from_secs(60);

/// The day of all times.
const DAY: &str = "2026-01-01T";

/// What a recipe has under its heading.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) title: String,
    /// The streams that it reads, and what it does with them.
    pub(crate) stream: String,
    pub(crate) sql: String,
    pub(crate) blocks: Vec<Block>,
}

/// Rows that go in or come out.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) is_in: bool,
    pub(crate) name: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

pub(crate) type Row = Vec<String>;

/// All recipes, in their order.
pub(crate) fn all() -> Vec<Recipe> {
    let (_, section) = README.split_once("\n## Recipes\n").unwrap();
    let mut parts = section.split("\n## ").next().unwrap().split("\n### ");
    let stream = code(parts.next().unwrap(), "sql")[0];
    parts.map(|text| Recipe::parse(stream, text)).collect()
}

/// The blocks of code in this language.
pub(crate) fn code<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let blocks = text.split(&format!("```{language}\n")).skip(1).collect::<Vec<_>>();
    blocks.into_iter().map(|block| block.split("```").next().unwrap()).collect()
}

impl Recipe {
    fn parse(stream: &str, text: &str) -> Recipe {
        let title = text.lines().next().unwrap().to_owned();
        let [sql] = code(text, "sql")[..] else { panic!("{title}: one block of SQL") };
        let [rows] = code(text, "text")[..] else { panic!("{title}: one block of rows") };
        let mut blocks = Vec::<Block>::new();
        for line in rows.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            if line.starts_with(' ') {
                blocks.last_mut().unwrap().rows.push(words.collect());
                continue;
            }
            let is_in = match words.next().unwrap().as_str() {
                "in" => true,
                "out" => false,
                other => panic!("{title}: `{other}` is neither in nor out"),
            };
            let (name, columns) = (words.next().unwrap(), words.collect());
            blocks.push(Block { is_in, name, columns, rows: Vec::new() });
        }
        for block in &blocks {
            let is_table = block.rows.iter().all(|row| row.len() == block.columns.len());
            assert!(is_table, "{title}: a row of {} has not its columns", block.name);
        }
        Recipe { title, stream: stream.to_owned(), sql: sql.trim().to_owned(), blocks }
    }

    /// Whether its SQL is asked, and creates nothing.
    fn is_question(&self) -> bool {
        self.sql.starts_with("SELECT")
    }

    /// The topic of a stream, with its levels; `None` for a table.
    fn topic(&self, stream: &str) -> Option<&str> {
        let created = format!("CREATE STREAM {stream} ");
        let text = self.sql.split_once(&created).or_else(|| self.stream.split_once(&created));
        text?.1.split_once("topic = '")?.1.split('\'').next()
    }

    /// What comes out at each block that says what does. `in_one` has all rows of a block come at
    /// once, otherwise each is waited for.
    pub(crate) async fn run(&self, in_one: bool) -> Vec<Vec<Row>> {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let broker = Broker::builder().db(&db).start().await.unwrap();
        let engine = Engine::builder().db(&db).broker(&broker).start().await.unwrap();
        let mut running = Running { recipe: self, broker, engine, live: None };
        let answers = running.run(in_one).await;
        running.engine.shutdown(LONG).await.unwrap();
        running.broker.shutdown(LONG).await.unwrap();
        db.shutdown(LONG).unwrap();
        answers
    }
}

struct Running<'a> {
    recipe: &'a Recipe,
    broker: Broker,
    engine: Engine,
    live: Option<Subscription>,
}

impl Running<'_> {
    async fn run(&mut self, in_one: bool) -> Vec<Vec<Row>> {
        let recipe = self.recipe;
        let mut messages = BTreeMap::new();
        for block in recipe.blocks.iter().filter(|block| block.name.ends_with('#')) {
            let subscription = self.broker.local().subscribe(&block.name, 10_000).await.unwrap();
            messages.insert(block.name.clone(), subscription);
        }
        self.engine.execute(&recipe.stream).await.unwrap();
        if !recipe.is_question() {
            let created = self.engine.execute(&recipe.sql).await;
            created.unwrap_or_else(|error| panic!("{}: {error}", recipe.title));
        }
        let mut answers = Vec::new();
        for block in &recipe.blocks {
            if block.is_in {
                self.feed(block, in_one).await;
            } else if let Some(messages) = messages.get_mut(&block.name) {
                answers.push(self.published(block, messages).await);
            } else {
                answers.push(self.answer(block).await);
            }
        }
        answers
    }

    async fn feed(&self, block: &Block, in_one: bool) {
        for row in &block.rows {
            let cells = block.columns.iter().map(String::as_str).zip(row);
            let Some(topic) = self.recipe.topic(&block.name) else {
                self.insert(block, row).await;
                continue;
            };
            let mut topic = topic.to_owned();
            let mut payload = serde_json::Map::new();
            for (column, cell) in cells {
                let level = format!("{{{column}}}");
                if topic.contains(&level) {
                    topic = topic.replace(&level, cell);
                } else {
                    payload.insert(column.to_owned(), json(cell));
                }
            }
            let payload = Value::from(payload).to_string();
            self.publish(&topic, payload).await;
            if !in_one {
                self.engine.caught_up(LONG).await.unwrap();
            }
        }
        self.engine.caught_up(LONG).await.unwrap();
    }

    async fn insert(&self, block: &Block, row: &Row) {
        let value = |cell: &String| match json(cell) {
            Value::String(text) => format!("'{text}'"),
            other => other.to_string(),
        };
        let (columns, values) = (block.columns.join(", "), row.iter().map(value));
        let values = values.collect::<Vec<_>>().join(", ");
        let insert = format!("INSERT INTO {} ({columns}) VALUES ({values})", block.name);
        self.engine.execute(&insert).await.unwrap();
    }

    async fn publish(&self, topic: &str, payload: String) {
        let message = Message::new(topic.parse().unwrap(), payload).qos(QoS::AtLeastOnce);
        self.broker.local().publish(message).await.unwrap();
    }

    /// The messages that are there, in their order.
    async fn published(&self, block: &Block, messages: &mut LocalSubscription) -> Vec<Row> {
        let last = block.name.replace('#', "the_end");
        self.publish(&last, String::new()).await;
        let mut rows = Vec::new();
        loop {
            let message = messages.recv().await.unwrap();
            let topic = message.topic().as_str();
            if topic == last {
                return rows;
            }
            let fields: Value = serde_json::from_slice(message.payload()).unwrap();
            let cells = block.columns.iter().map(|column| match column.as_str() {
                "topic" => topic.to_owned(),
                column => match &fields[column] {
                    Value::Null => "-".to_owned(),
                    Value::String(text) => text.trim_start_matches(DAY).to_owned(),
                    other => other.to_string(),
                },
            });
            rows.push(cells.collect());
        }
    }

    /// The rows of a view, or of a question, in an order of their own.
    async fn answer(&mut self, block: &Block) -> Vec<Row> {
        let columns = block.columns.join(", ");
        let mut rows = match block.name.as_str() {
            "sql" => {
                self.live =
                    Some(self.engine.subscribe(&self.recipe.sql, Begin::Now).await.unwrap());
                let asked = format!("SELECT {columns} FROM ({})", self.recipe.sql);
                cells(&self.engine.sql(&asked).await.unwrap())
            }
            "live" => {
                let live = self.live.as_mut().expect("`out sql` is in front of `out live`");
                let mut rows = Vec::new();
                while rows.len() < block.rows.len() {
                    let update = live.next().await.unwrap().unwrap();
                    let Update::Rows { rows: batch, .. } = update else { panic!("{update:?}") };
                    rows.extend(cells(&[batch]));
                }
                rows
            }
            view => {
                let asked = format!("SELECT {columns} FROM {view}");
                cells(&self.engine.sql(&asked).await.unwrap())
            }
        };
        rows.sort();
        rows
    }
}

/// A cell of the README, as devices write it.
fn json(cell: &str) -> Value {
    match cell {
        "-" => Value::Null,
        time if is_time(time) => format!("{DAY}{time}").into(),
        other => serde_json::from_str(other).unwrap_or_else(|_| other.into()),
    }
}

/// `12:00:05`
pub(crate) fn is_time(cell: &str) -> bool {
    cell.len() == 8 && cell.split(':').count() == 3
}

/// The cells of an answer, row by row.
pub(crate) fn cells(answer: &[RecordBatch]) -> Vec<Row> {
    let options = FormatOptions::default().with_null("-");
    let mut rows = Vec::new();
    for batch in answer {
        let columns = batch.columns().iter();
        let columns: Vec<_> =
            columns.map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| column.value(row).to_string());
            rows.push(cells.map(|cell| cell.trim_start_matches(DAY).to_owned()).collect());
        }
    }
    rows
}
