//! Each engine keeps what it was given: over handles, and over a close.

use std::time::{Duration, Instant};

use super::*;
use crate::db::rows::rows;

fn stores() -> impl Iterator<Item = Engine> {
    Engine::ALL.into_iter().filter(|engine| engine.is_built_in() && *engine != Engine::Disk)
}

#[test]
fn every_store_reads_what_it_stored() {
    for engine in stores() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = engine.open(dir.path(), Memory::Equal).unwrap();
        let rows = rows(0..50);
        store.put(&rows[..20]).unwrap();
        store.handle().unwrap().put(&rows[20..]).unwrap();
        let mut value = Vec::new();
        assert!(store.get(&rows[30].key, &mut value).unwrap(), "{engine:?}");
        assert_eq!(value, rows[30].value, "{engine:?}");
        assert!(!store.get(b"nobody", &mut value).unwrap(), "{engine:?}");
        assert_eq!(store.scan().unwrap(), Scanned::of(0..50), "{engine:?}");
        store.close().unwrap();
    }
}

#[test]
fn every_store_opens_again_with_its_rows() {
    for engine in stores() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = engine.open(dir.path(), Memory::Equal).unwrap();
        store.put(&rows(0..50)).unwrap();
        store.close().unwrap();
        let mut store = engine.open(dir.path(), Memory::Default).unwrap();
        assert_eq!(store.scan().unwrap(), Scanned::of(0..50), "{engine:?}");
        store.close().unwrap();
    }
}

#[test]
fn what_is_appended_is_read_again() {
    for engine in stores() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = engine.open(dir.path(), Memory::Equal).unwrap();
        let rows: Vec<Row> = (0..3_000).map(Row::in_order).collect();
        for batch in rows.chunks(100) {
            store.append(batch).unwrap();
        }
        assert_eq!(store.read_appended().unwrap(), Scanned::of(0..3_000), "{engine:?}");
        store.close().unwrap();
    }
}

#[test]
fn async_puts_are_all_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Engine::EdgeDb.open(dir.path(), Memory::Equal).unwrap();
    let end = Instant::now() + Duration::from_millis(50);
    let count = store.put_async(100, end).unwrap().unwrap();
    assert!(count > 100, "only {count}");
    assert_eq!(store.scan().unwrap(), Scanned::of(0..count));
}

#[test]
fn threads_share_syncs_of_the_disk_and_lose_no_row() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = Engine::Disk.open(dir.path(), Memory::Equal).unwrap();
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let mut handle = disk.handle().unwrap();
            std::thread::spawn(move || {
                for number in 0..50 {
                    handle.put(&[Row::new(thread * 50 + number)]).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(disk.scan().unwrap(), Scanned::of(0..400));
}

#[test]
fn ids_name_engines() {
    for engine in Engine::ALL {
        assert_eq!(Engine::of_id(engine.id()).unwrap(), engine);
    }
    assert!(Engine::of_id("leveldb").is_err());
}
