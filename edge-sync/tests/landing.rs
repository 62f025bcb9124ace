//! Rows of a real Log land in a real folder, once, over restarts, copied databases, a zone that
//! is out of order and a Log that drops. What landed is counted by reading the files back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use edge_db::{Db, Entry, Log, LogOptions, Time, WhenFull};
use edge_sync::{Account, StartError, StreamAudit, Syncer, SyncerBuilder, Zone};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(60);

struct Edge {
    dir: TempDir,
    db: Db,
    log: Log,
}

impl Edge {
    fn new() -> Edge {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path().join("db")).unwrap();
        let log = db.log("readings").unwrap();
        Edge { dir, db, log }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, rows: usize) {
        let mut batch = self.db.batch();
        for row in 0..rows {
            batch.append(&self.log, Entry::new(format!("{{\"row\":{row}}}")).key("office/lab"));
        }
        batch.commit().unwrap();
    }

    fn syncer(&self) -> SyncerBuilder {
        Syncer::builder(&self.db)
            .edge("gw")
            .folder(self.path("zone"))
            .log(&self.log)
            .max_segment_rows(100)
    }

    /// Starts, drains and stops.
    async fn sync(&self) -> Account {
        let syncer = self.syncer().start().await.unwrap();
        syncer.shutdown(LONG).await.unwrap();
        let account = syncer.accounting().unwrap().remove(0);
        assert_eq!(account.accepted, account.landed + account.pending + account.dropped);
        account
    }

    fn audit(&self) -> StreamAudit {
        Zone::new(self.path("zone")).audit("readings").unwrap().remove("gw").unwrap_or_default()
    }

    /// Closes the database, and opens it again from the folder of this name.
    fn reopen(&mut self, name: &str) {
        self.db.shutdown(LONG).unwrap();
        self.db = Db::open(self.path(name)).unwrap();
        self.log = self.db.log("readings").unwrap();
    }

    fn copy_db(&self, to: &str) {
        fs::create_dir(self.path(to)).unwrap();
        for file in fs::read_dir(self.path("db")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), self.path(to).join(file.file_name())).unwrap();
        }
    }
}

fn read(path: &Path) -> RecordBatch {
    let file = fs::File::open(path).unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.next().unwrap().unwrap()
}

#[tokio::test]
async fn every_row_lands_once_over_restarts() {
    let mut edge = Edge::new();
    for round in 1..=4 {
        edge.append(250);
        let account = edge.sync().await;
        assert_eq!((account.landed, account.pending), (round * 250, 0));
        edge.reopen("db");
    }
    let audit = edge.audit();
    assert!(audit.is_whole(), "{audit:?}");
    assert_eq!((audit.rows, audit.segments), (1000, 12));
}

#[tokio::test]
async fn full_segments_land_while_the_rest_waits_for_company() {
    let edge = Edge::new();
    edge.append(250);
    let syncer = edge.syncer().linger(Duration::from_secs(3600)).start().await.unwrap();
    let cursor = edge.log.cursor("sync.zone").unwrap();
    let mut moved = cursor.watch();
    while cursor.position().unwrap().get() < 200 {
        moved.changed().await;
    }
    assert_eq!(edge.audit().rows, 200);
    let account = &syncer.accounting().unwrap()[0];
    assert_eq!((account.accepted, account.landed, account.pending), (250, 200, 50));
    // Dropped without a shutdown: the rest lands after the next start.
    drop(syncer);
    assert_eq!(edge.sync().await.landed, 250);
    assert!(edge.audit().is_whole());
}

#[tokio::test]
async fn every_byte_of_a_record_lands() {
    let edge = Edge::new();
    let time = Time::from_micros(1_422_886_740_000_000);
    let text = Entry::new("{\"co2_ppm\":749}").key("office/lab").header("qos", vec![1]).at(time);
    edge.log.append(text.header("user.a", "b").header("user.a", "c")).unwrap();
    edge.log.append(Entry::new(vec![0xFF, 0x00]).key(vec![0xFE])).unwrap();
    edge.sync().await;

    let rows = read(&edge.path("zone/readings/edge=gw/00000000000000000000.parquet"));
    let text = |column: &str| rows[column].as_string::<i32>().iter().collect::<Vec<_>>();
    let raw = |column: &str| rows[column].as_binary::<i32>().iter().collect::<Vec<_>>();
    assert_eq!(text("key"), [Some("office/lab"), None]);
    assert_eq!(raw("key_raw"), [None, Some(&[0xFE][..])]);
    assert_eq!(text("value"), [Some("{\"co2_ppm\":749}"), None]);
    assert_eq!(raw("value_raw"), [None, Some(&[0xFF, 0x00][..])]);
    let times = rows["_time"].as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!(times.value(0), time.micros());
    let headers = rows["headers"].as_list::<i32>().value(0);
    let names = headers.as_struct().column(0).as_string::<i32>().iter().flatten();
    assert_eq!(names.collect::<Vec<_>>(), ["qos", "user.a", "user.a"]);
}

#[tokio::test]
async fn lost_answer_is_recognised_by_the_digest() {
    let mut edge = Edge::new();
    edge.sync().await;
    edge.append(50);
    edge.db.shutdown(LONG).unwrap();
    edge.copy_db("before");
    edge.reopen("db");
    edge.sync().await;
    // The database as it was before the upload, as after a crash that lost the answer.
    edge.reopen("before");
    let account = edge.sync().await;
    assert_eq!((account.landed, account.pending, account.trouble), (50, 0, None));
    let audit = edge.audit();
    assert!(audit.is_whole());
    assert_eq!((audit.rows, audit.segments), (50, 1));
}

#[tokio::test]
async fn copied_database_is_fenced_and_keeps_its_rows() {
    let mut edge = Edge::new();
    edge.append(50);
    edge.db.shutdown(LONG).unwrap();
    edge.copy_db("clone");
    edge.reopen("db");
    edge.sync().await;
    let landed = fs::read(edge.path("zone/readings/edge=gw/00000000000000000000.parquet")).unwrap();

    edge.reopen("clone");
    edge.append(1);
    let account = edge.sync().await;
    assert_eq!((account.landed, account.pending), (0, 51));
    let trouble = account.trouble.unwrap();
    assert!(
        trouble.starts_with("fenced: readings/edge=gw/00000000000000000000.parquet"),
        "{trouble}"
    );
    let after = fs::read(edge.path("zone/readings/edge=gw/00000000000000000000.parquet")).unwrap();
    assert_eq!(landed, after, "the zone is as it was");
}

/// Fills a log that drops, in chunks of 10 rows of 1 KB.
fn overflow(edge: &Edge) {
    for _ in 0..10 {
        let mut batch = edge.db.batch();
        (0..10).for_each(|_| batch.append(&edge.log, Entry::new(vec![b'x'; 1000])));
        batch.commit().unwrap();
    }
}

#[tokio::test]
async fn dropped_rows_leave_a_gap_marker_and_are_counted() {
    let mut edge = Edge::new();
    let options = LogOptions::new().max_bytes(50_000).when_full(WhenFull::DropOldest);
    edge.log = edge.db.log_with("readings", options).unwrap();
    edge.sync().await;
    overflow(&edge);
    let account = edge.sync().await;
    let kept = edge.log.bounds().unwrap();
    assert_eq!(account.dropped, kept.start.get());
    assert_eq!(account.landed, kept.end.since(kept.start));
    let audit = edge.audit();
    assert!(audit.is_whole(), "{audit:?}");
    assert_eq!((audit.dropped, audit.rows), (account.dropped, account.landed));
}

#[tokio::test]
async fn intended_rows_that_were_dropped_before_they_landed_become_a_gap() {
    let mut edge = Edge::new();
    let options = LogOptions::new().max_bytes(50_000).when_full(WhenFull::DropOldest);
    edge.log = edge.db.log_with("readings", options).unwrap();
    edge.append(20);
    // A file where the folder should be: every upload fails, after the intent was committed.
    fs::create_dir_all(edge.path("zone")).unwrap();
    fs::write(edge.path("zone/readings"), "in the way").unwrap();
    let syncer = edge.syncer().start().await.unwrap();
    let left = syncer.shutdown(Duration::from_millis(300)).await.unwrap();
    assert_eq!(left.pending, 20);
    let account = syncer.accounting().unwrap().remove(0);
    assert!(account.failing > 0 && account.trouble.is_some(), "{account:?}");

    overflow(&edge);
    edge.reopen("db");
    fs::remove_file(edge.path("zone/readings")).unwrap();
    let account = edge.sync().await;
    assert_eq!((account.pending, account.trouble), (0, None));
    assert!(account.dropped >= 20);
    let audit = edge.audit();
    assert!(audit.is_whole(), "{audit:?}");
    assert_eq!((audit.dropped, audit.rows), (account.dropped, account.landed));
}

#[tokio::test]
async fn wrong_options_are_told_before_anything_starts() {
    let edge = Edge::new();
    let error = edge.syncer().edge("a/b").start().await.unwrap_err();
    assert_eq!(error.to_string(), "`a/b` is no edge id: use 1 to 64 letters, digits, `-` and `_`");
    let error = Syncer::builder(&edge.db).log(&edge.log).start().await.unwrap_err();
    assert!(matches!(error, StartError::NoRemote));
    fs::write(edge.path("plain"), "").unwrap();
    let error = edge.syncer().folder(edge.path("plain/zone")).start().await.unwrap_err();
    assert!(matches!(error, StartError::Folder { .. }), "{error}");
    let log = edge.db.log("odd name").unwrap();
    let error = edge.syncer().log(&log).start().await.unwrap_err();
    assert!(matches!(error, StartError::LogName { .. }));
}

#[tokio::test]
async fn audit_finds_a_segment_that_is_missing_and_one_that_is_damaged() {
    let edge = Edge::new();
    edge.append(300);
    edge.sync().await;
    let segment = |number: u64| edge.path(&format!("zone/readings/edge=gw/{number:020}.parquet"));
    fs::remove_file(segment(1)).unwrap();
    let audit = edge.audit();
    assert!(!audit.is_whole());
    assert_eq!((audit.missing_segments, audit.missing_rows), (vec![1], 100));
    fs::write(segment(1), "not parquet").unwrap();
    let error = Zone::new(edge.path("zone")).audit("readings").unwrap_err();
    assert!(error.to_string().contains("00000000000000000001.parquet is no segment"), "{error}");
}
