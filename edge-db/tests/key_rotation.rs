//! A key is rotated, and created, whole or not at all: the power is cut at each operation of the
//! disk, and one of the two keys opens the database, with all that was acknowledged.

#![cfg(feature = "encryption")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the power cuts use the rest of the modules")]

#[path = "../examples/power_cuts/rng.rs"]
mod rng;
#[path = "../examples/power_cuts/sim_disk.rs"]
mod sim_disk;
#[path = "../examples/power_cuts/sim_file.rs"]
mod sim_file;
#[path = "../examples/power_cuts/sim_names.rs"]
mod sim_names;
#[path = "../examples/power_cuts/sim_plug.rs"]
mod sim_plug;
#[path = "../examples/power_cuts/trouble.rs"]
mod trouble;

use std::time::Duration;

use edge_db::{Db, EncryptionKey, OpenError, RotateKeyError};
use rng::Rng;
use sim_disk::SimDisk;
use trouble::{Ending, Fault, Kind, Op};

const LONG: Duration = Duration::from_secs(60);
/// What survives of unsynced writes is different for each.
const SEEDS: u64 = 40;

fn open(disk: &SimDisk, byte: u8) -> Result<Db, OpenError> {
    let key = EncryptionKey::from_bytes([byte; 32]);
    Db::builder().encryption_key(key).open_on(disk.plug())
}

fn rotate(db: &Db, byte: u8) -> Result<(), RotateKeyError> {
    db.rotate_key(&EncryptionKey::from_bytes([byte; 32]))
}

fn put(db: &Db, value: u8) {
    let table = db.keyspace("rows").unwrap();
    let mut batch = db.batch();
    batch.put(&table, "row", [value]);
    batch.commit().unwrap();
}

/// The key that opens the database, which must have the row.
fn opening(disk: &SimDisk, keys: [u8; 2], value: u8) -> u8 {
    let opened: Vec<_> = keys.into_iter().filter(|byte| is_opened(disk, *byte, value)).collect();
    let [byte] = opened[..] else { panic!("{opened:?} of {keys:?} open the database") };
    byte
}

fn is_opened(disk: &SimDisk, byte: u8, value: u8) -> bool {
    match open(disk, byte) {
        Ok(db) => {
            let found = db.keyspace("rows").unwrap().get("row").unwrap();
            assert_eq!(found.as_deref(), Some(&[value][..]));
            db.shutdown(LONG).unwrap();
            true
        }
        Err(OpenError::WrongKey { .. }) => false,
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn power_cut_at_any_step_of_a_rotation_leaves_one_of_the_two_keys() {
    // Create, write, sync, rename, sync of the names: and one cut behind them all.
    const STEPS: u64 = 6;
    let mut outcomes = [0, 0];
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(&mut rng);
        let (mut byte, mut value) = (1, 1);
        put(&open(&disk, byte).unwrap(), value);
        for step in 0..STEPS {
            disk.power_on(&mut rng);
            let db = open(&disk, byte).unwrap();
            value += 1;
            put(&db, value);
            disk.arm(step, Ending::PowerCut);
            let rotated = rotate(&db, byte + 1);
            assert_eq!(rotated.is_ok(), step >= STEPS - 1, "step {step}: {rotated:?}");
            disk.end(Ending::PowerCut);
            drop(db);
            disk.power_on(&mut rng);
            let found = opening(&disk, [byte, byte + 1], value);
            assert!(rotated.is_err() || found == byte + 1, "seed {seed}: a rotation was lost");
            outcomes[usize::from(found - byte)] += 1;
            byte = found;
        }
    }
    assert!(outcomes.iter().all(|count| *count > 40), "{outcomes:?}: the test sees nothing");
}

#[test]
fn refused_rotation_leaves_a_database_that_goes_on_and_can_be_tried_again() {
    for op in [Op::Create, Op::Write, Op::Sync, Op::Rename] {
        let disk = SimDisk::new(&mut Rng::new(1));
        let db = open(&disk, 1).unwrap();
        disk.fail(Fault { kind: Kind::Key, op, after: 0 });
        assert!(matches!(rotate(&db, 2), Err(RotateKeyError::Write(_))), "{op:?}");
        put(&db, 1);
        db.shutdown(LONG).unwrap();
        assert_eq!(opening(&disk, [1, 2], 1), 1, "{op:?}");
        let db = open(&disk, 1).unwrap();
        rotate(&db, 2).unwrap();
        db.shutdown(LONG).unwrap();
        assert_eq!(opening(&disk, [1, 2], 1), 2, "{op:?}");
    }
}

#[test]
fn power_cut_at_any_step_of_the_first_opening_leaves_a_folder_that_opens() {
    for seed in 0..SEEDS / 5 {
        for step in 0.. {
            let mut rng = Rng::new(seed);
            let disk = SimDisk::new(&mut rng);
            disk.arm(step, Ending::PowerCut);
            let is_whole = open(&disk, 1).is_ok();
            if disk.has_ended().is_none() {
                assert!(is_whole && step > 10, "no cut at step {step}");
                break;
            }
            disk.power_on(&mut rng);
            let db = open(&disk, 1).unwrap();
            put(&db, 1);
            db.shutdown(LONG).unwrap();
            assert_eq!(opening(&disk, [1, 2], 1), 1);
        }
    }
}
