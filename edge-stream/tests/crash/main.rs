//! `kill -9` of a process that runs jobs of all kinds, again and again on one database: its views and
//! Logs are in the end what a process has that nobody killed, row for row.
//!
//! The process is this test binary, started again. It runs the jobs of `jobs.rs` and appends the records
//! of `input.rs`, from where the Logs end, as fast as it can; now and then it waits until all jobs
//! have come so far. For each record batch, each answer to that wait and each checkpoint of a job it
//! prints a line, and dies behind a line that the seed has chosen: with windows, sessions and joins open,
//! while some jobs have committed and others have not. A failure prints the seed.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod input;
mod jobs;
#[path = "../support/site.rs"]
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use edge_db::{Db, Watch};
use edge_stream::Engine;
use input::{Input, Random};
use jobs::{JOBS, Shown, statements};
use site::{LONG, append, end};

const CHILD: &str = "EDGE_STREAM_CRASH_CHILD";
const ROUNDS: u64 = 50;
/// Another seed kills at other moments.
const SEED: u64 = 20_261_130;

/// One write call for a line, so that a kill leaves no half of one behind.
fn tell(what: &str) {
    std::io::stdout().write_all(format!("\n> {what}\n").as_bytes()).unwrap();
}

/// Not a test by itself: what the child does. Without the variable it has nothing to show.
#[tokio::test(flavor = "multi_thread")]
async fn child_works_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let db = Db::open(dir).unwrap();
    let places = places(&db);
    let last = places.iter().max().copied().unwrap_or(0);
    let behind = places.iter().filter(|place| **place < last).count();
    let apart = places.iter().collect::<BTreeSet<_>>().len();
    tell(&format!("opened {behind} {apart}"));
    let engine = engine_over(&db, || tell("created")).await;
    for (name, _, _) in JOBS {
        let stored = db.keyspace(&format!("stream.state.{name}")).unwrap().watch();
        tokio::spawn(tell_of_checkpoints(stored));
    }
    let mut input = Input::new(&db);
    let mut random = Random(input.second());
    loop {
        input.feed(1 + random.below(8));
        tell("fed");
        if random.below(4) == 0 {
            engine.caught_up(LONG).await.unwrap();
            tell("caught up");
        }
    }
}

async fn tell_of_checkpoints(mut stored: Watch) {
    loop {
        stored.changed().await;
        tell("stored");
    }
}

/// How far each job has come in the records of `readings`, and where these end.
fn places(db: &Db) -> Vec<u64> {
    let Some(log) = db.find_log("readings_raw") else { return Vec::new() };
    let cursor = |name: &str| log.cursor(&format!("stream.{name}")).unwrap();
    let reads = |query: &str| query.contains("(readings") || query.contains(" readings");
    let jobs = JOBS.iter().filter(|(_, _, query)| reads(query));
    let places = jobs.map(|(name, _, _)| cursor(name).position().unwrap().get());
    places.chain([log.bounds().unwrap().end.get()]).collect()
}

async fn engine_over(db: &Db, created: impl Fn()) -> Engine {
    let rooms = input::rooms(db);
    let engine = Engine::builder().db(db).table(&rooms).start().await.unwrap();
    for statement in statements() {
        engine.execute(&statement).await.unwrap();
        created();
    }
    engine
}

/// One life of the child, up to this line; how many jobs were behind, and how many places they had,
/// when it began.
fn live(dir: &Path, lines: u64) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_works_until_it_is_killed", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut told = output.filter_map(|line| Some(line.strip_prefix("> ")?.to_owned()));
    let opened = told.next().expect("the child opens the database");
    let went_on = (0..lines).all(|_| told.next().is_some());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(went_on, "the child ended by itself");
    let counts: Vec<u64> = opened.split(' ').skip(1).map(|count| count.parse().unwrap()).collect();
    (counts[0], counts[1])
}

/// What all views and Logs show once the records of so many seconds are there, and all windows closed.
async fn outcome(dir: &Path, seconds: u64) -> BTreeMap<&'static str, Vec<String>> {
    let db = Db::open(dir).unwrap();
    let engine = engine_over(&db, || ()).await;
    let mut input = Input::new(&db);
    let mut random = Random(SEED);
    while input.second() < seconds {
        input.feed((1 + random.below(30)).min(seconds - input.second()));
    }
    input.end();
    // What one job says to another is there behind the first.
    engine.caught_up(LONG).await.unwrap();
    engine.caught_up(LONG).await.unwrap();
    let mut found = BTreeMap::new();
    for (name, shown, _) in JOBS {
        found.insert(*name, shown.rows(&db, &engine, name).await);
    }
    for log in ["strays_late", "strays_errors"] {
        found.insert(log, Shown::Log.rows(&db, &engine, log).await);
    }
    for (name, query) in jobs::of_history() {
        let expected = jobs::answer(&engine, &query).await;
        check(name, &found[name], &expected, "the history of its streams");
    }
    end(&db, &engine).await;
    found
}

/// Says which rows differ, rather than all that there are.
fn check(name: &str, found: &[String], expected: &[String], other: &str) {
    let only = |these: &[String], those: &[String]| {
        let mut counts = BTreeMap::new();
        those.iter().for_each(|row| *counts.entry(row.clone()).or_insert(0u32) += 1);
        let is_over = |row: &&String| match counts.get_mut(*row) {
            Some(count @ 1..) => {
                *count -= 1;
                false
            }
            _ => true,
        };
        these.iter().filter(is_over).take(5).cloned().collect::<Vec<_>>()
    };
    assert!(
        found == expected,
        "`{name}` has {} rows, {other} {}, in another order at least; seed {SEED}\nonly here: {:#?}\n\
         only there: {:#?}",
        found.len(),
        expected.len(),
        only(found, expected),
        only(expected, found),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn views_and_logs_of_a_process_killed_50_times_are_those_of_one_that_never_was() {
    println!("seed {SEED}");
    let (killed, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut random = Random(SEED);
    let mut amid = 0;
    for round in 0..ROUNDS {
        // Some while jobs are created or taken up, most while they work.
        let lines = if round % 5 == 0 { random.below(30) } else { 25 + random.below(100) };
        let (behind, apart) = live(killed.path(), lines);
        amid += u64::from(behind > 0 && apart > 2);
    }
    let db = Db::open(killed.path()).unwrap();
    let seconds = Input::new(&db).second() + 20;
    db.shutdown(LONG).unwrap();
    drop(db);
    println!("{seconds} seconds, {amid} kills between the commits of jobs");

    let found = outcome(killed.path(), seconds).await;
    let expected = outcome(whole.path(), seconds).await;
    assert!(amid >= ROUNDS / 5, "only {amid} kills came between the commits of jobs");
    for (name, expected) in &expected {
        assert!(expected.len() >= 20, "`{name}` has only {} rows", expected.len());
        check(name, &found[name], expected, "the process that never was killed");
    }
}
