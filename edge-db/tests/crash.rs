//! What was acknowledged survives `kill -9`, and a disk that refuses writes. A child process (this
//! test binary, started again) writes from several threads and prints each number once its commit
//! was acknowledged; the parent ends it, or the limit on its file size does, and looks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use edge_db::{Db, Entry, ReadError, WriteError};

const WRITERS: u64 = 16;
const CHILD: &str = "EDGE_DB_CRASH_CHILD";

/// Not a test by itself: what the child does. Without the variable it has nothing to show.
#[test]
fn child_writes_until_it_is_ended() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let db = Db::open(dir).unwrap();
    let refused = std::thread::scope(|scope| {
        let db = &db;
        // Each goes on behind the highest of its numbers.
        let next = db.table::<u64, Vec<u8>>("table").unwrap().iter().unwrap();
        let next = next.map(|row| row.unwrap().0 / WRITERS + 1).max().unwrap_or(0);
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(db, writer, next))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    for error in refused {
        assert!(matches!(error, WriteError::Store(_)), "{error}");
    }
    // Reads go on.
    assert!(numbers(&db).unwrap().len() > 10);
    println!("refused");
}

/// Stores numbers of its own, one batch each over log and table, until one is refused.
fn write(db: &Db, writer: u64, next: u64) -> WriteError {
    let log = db.log("log").unwrap();
    let table = db.table::<u64, Vec<u8>>("table").unwrap();
    for n in (next..).map(|n| n * WRITERS + writer) {
        let mut batch = db.batch();
        batch.append(&log, Entry::new(n.to_string()));
        batch.insert(&table, &n, &vec![1; 200]).unwrap();
        if let Err(error) = batch.commit() {
            return error;
        }
        // One write call for a line, so that a kill leaves no half of one behind.
        std::io::stdout().write_all(format!("\nacked {n}\n").as_bytes()).unwrap();
    }
    unreachable!("the child is ended or refused before the numbers are");
}

/// The numbers in the log; an error if one is doubled or log and table differ.
fn numbers(db: &Db) -> Result<BTreeSet<u64>, ReadError> {
    let snapshot = db.snapshot()?;
    let log = db.log("log").unwrap();
    let table = db.table::<u64, Vec<u8>>("table").unwrap();
    let mut numbers = BTreeSet::new();
    let mut position = edge_db::Seq::ZERO;
    loop {
        let records = snapshot.read(&log, position, 1000)?;
        if records.is_empty() {
            break;
        }
        position = records.next();
        for record in records {
            let number = std::str::from_utf8(record.value()).unwrap().parse().unwrap();
            assert!(numbers.insert(number), "{number} is stored twice");
        }
    }
    let in_table: Result<BTreeSet<u64>, _> =
        snapshot.iter(&table)?.map(|row| row.map(|(key, _)| key)).collect();
    assert_eq!(in_table?, numbers, "half a batch is stored");
    Ok(numbers)
}

fn child(dir: &Path, shell: &str) -> std::process::Child {
    let this = std::env::current_exe().unwrap();
    Command::new("sh")
        .args(["-c", shell, "sh"])
        .arg(this)
        .args(["child_writes_until_it_is_ended", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn acked(line: &str) -> Option<u64> {
    line.strip_prefix("acked ")?.parse().ok()
}

#[test]
fn acknowledged_batches_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..50usize {
        let mut child = child(dir.path(), "exec \"$@\"");
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        // Uneven numbers, so that the kill meets different moments of a commit.
        for line in lines
            .by_ref()
            .lines()
            .map(Result::unwrap)
            .filter_map(|l| acked(&l))
            .take(50 + 37 * (round % 13))
        {
            acknowledged.insert(line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(lines.lines().map(Result::unwrap).filter_map(|l| acked(&l)));

        let db = Db::open(dir.path()).unwrap();
        let stored = numbers(&db).unwrap();
        let lost: Vec<_> = acknowledged.difference(&stored).collect();
        assert!(lost.is_empty(), "lost in round {round}: {lost:?}");
        db.shutdown(Duration::from_secs(60)).unwrap();
    }
    assert!(acknowledged.len() > 5000);
}

/// A limit on the file's size stands in for a full disk: the write fails in the kernel.
#[test]
fn refused_write_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = child(dir.path(), "ulimit -f 6000; trap '' XFSZ; exec \"$@\"");
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(child.wait().unwrap().success(), "{output}");
    assert!(output.lines().any(|line| line == "refused"), "the limit was not reached");
    let acknowledged: BTreeSet<u64> = output.lines().filter_map(acked).collect();

    let db = Db::open(dir.path()).unwrap();
    let stored = numbers(&db).unwrap();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    db.log("log").unwrap().append(Entry::new("4000000000")).unwrap();
}
