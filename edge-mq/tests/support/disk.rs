//! A disk without space, by the disk budget of a database.

use std::path::Path;

use edge_db::{Db, Table, WriteError};

/// A database of a few MB, and what may fill it.
pub(crate) fn open(dir: &Path) -> (Db, Table<u64, Vec<u8>>) {
    let builder = Db::builder().memory_bytes(256 << 10).journal_bytes(512 << 10);
    let db = builder.disk_budget(4 << 20).open(dir).unwrap();
    let ballast = db.table("ballast").unwrap();
    (db, ballast)
}

pub(crate) fn fill(db: &Db, ballast: &Table<u64, Vec<u8>>) {
    let mut has_settled = false;
    for key in 0.. {
        match add(db, ballast, key) {
            Ok(()) => has_settled = false,
            Err(WriteError::Full { .. }) if has_settled => return,
            // What has settled may take less.
            Err(WriteError::Full { .. }) => {
                db.checkpoint().unwrap();
                has_settled = true;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn make_room(db: &Db, ballast: &Table<u64, Vec<u8>>) {
    let mut batch = db.batch();
    batch.remove_range(ballast, ..);
    batch.commit().unwrap();
}

/// 10 KB, if there is room for them.
pub(crate) fn add(db: &Db, ballast: &Table<u64, Vec<u8>>, key: u64) -> Result<(), WriteError> {
    let mut batch = db.batch();
    batch.insert(ballast, &key, &vec![7; 10_000]).unwrap();
    batch.commit().map(drop)
}
