//! A compressed log takes less of the data file and gives back the same; what a build cannot do
//! it says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::error::Error;
use std::time::Duration;

use edge_db::{Compression, Db, Entry, LogOptions, OpenError, Seq};

const ALL: [(Compression, bool); 2] =
    [(Compression::Lz4, cfg!(feature = "lz4")), (Compression::Zstd, cfg!(feature = "zstd"))];

fn value(number: u64) -> String {
    format!(r#"{{"sensor":"office/lab/climate","temperature_c":21.5,"number":{number}}}"#)
}

/// Bytes of the data file with this log settled in it.
fn settled_bytes(compression: Compression) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let options = LogOptions::new().compression(compression);
    let log = db.log_with("readings", options).unwrap();
    for group in 0..100 {
        let mut batch = db.batch();
        (0..100).for_each(|row| batch.append(&log, Entry::new(value(group * 100 + row))));
        batch.commit().unwrap();
    }
    db.checkpoint().unwrap();
    let bytes = db.stats().file_bytes;
    db.shutdown(Duration::from_secs(60)).unwrap();

    let db = Db::open(dir.path()).unwrap();
    let log = db.find_log("readings").unwrap();
    let mut position = Seq::ZERO;
    while position < Seq::new(10_000) {
        for record in log.read(position, 999).unwrap() {
            assert_eq!(record.seq(), position);
            assert_eq!(record.value(), value(position.get()).as_bytes());
            position = position.next();
        }
    }
    bytes
}

#[test]
fn compressed_log_takes_less_of_the_file() {
    let plain = settled_bytes(Compression::None);
    for (compression, _) in ALL.into_iter().filter(|(_, is_built_in)| *is_built_in) {
        let bytes = settled_bytes(compression);
        assert!(bytes * 2 < plain, "{compression:?}: {bytes} of {plain} bytes");
    }
}

#[test]
fn compression_that_is_not_built_in_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    for (compression, is_built_in) in ALL {
        match db.log_with("readings", LogOptions::new().compression(compression)) {
            Ok(_) => assert!(is_built_in),
            Err(OpenError::Compression { name, feature }) => {
                assert!(!is_built_in && name == "readings");
                assert!(["lz4", "zstd"].contains(&feature));
            }
            Err(other) => panic!("{other}: {:?}", other.source()),
        }
    }
    assert_eq!(db.find_log("readings").is_some(), ALL.iter().any(|(_, is_built_in)| *is_built_in));
}
