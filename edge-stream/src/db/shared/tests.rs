//! What jobs share is what each would have read for itself.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type};
use edge_db::{Db, Entry, LogOptions};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::decode::format::Format;
use crate::decode::stream_schema;

const END: Seq = Seq::new(u64::MAX);

/// A stream of numbers `n`; each seventh record is no row.
fn stream(records: u64) -> (TempDir, Arc<Shared>) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log_with("log", LogOptions::new().max_bytes(1 << 20)).unwrap();
    let mut batch = db.batch();
    for number in 0..records {
        let value = if number % 7 == 6 { "x".to_owned() } else { format!(r#"{{"n":{number}}}"#) };
        batch.append(&log, Entry::new(value));
    }
    batch.commit().unwrap();
    let schema = stream_schema(&[Field::new("n", DataType::Int64, true)]);
    let decoder = Decoder::new(&schema, None, None, &Format::default()).unwrap();
    let shared = Arc::new(Shared::new(log.into(), decoder));
    (dir, shared)
}

/// The rows, and the positions of what is none.
fn found(part: &Part) -> (Vec<i64>, Vec<u64>) {
    let numbers = part.rows.column_by_name("n").unwrap();
    let rejected = part.rejected.iter().map(|one| part.record(one.place).unwrap().seq().get());
    (numbers.as_primitive::<Int64Type>().values().to_vec(), rejected.collect())
}

fn expected(range: Range<u64>) -> (Vec<i64>, Vec<u64>) {
    let (rejected, rows): (Vec<u64>, Vec<u64>) = range.partition(|number| number % 7 == 6);
    (rows.into_iter().map(u64::cast_signed).collect(), rejected)
}

#[test]
fn jobs_that_are_equally_far_share_what_one_of_them_has_decoded() {
    let (_dir, shared) = stream(20);
    let readers = [0, 1].map(|_| shared.reader(&shared.decoder, Seq::ZERO));
    let parts = readers.each_ref().map(|reader| reader.read(Seq::ZERO, END).unwrap().unwrap());
    assert!(Arc::ptr_eq(parts[0].rows.column(0), parts[1].rows.column(0)));
    assert_eq!(found(&parts[0]), expected(0..20));
    // Nobody needs it any more.
    assert!(shared.state.lock().pieces.is_empty());
    assert!(readers[0].read(parts[0].next, END).unwrap().is_none());
}

#[test]
fn who_comes_into_the_middle_of_a_piece_gets_the_rest_of_it() {
    let (_dir, shared) = stream(20);
    let (first, second) =
        (shared.reader(&shared.decoder, Seq::ZERO), shared.reader(&shared.decoder, Seq::new(5)));
    first.read(Seq::ZERO, END).unwrap().unwrap();
    assert_eq!(shared.state.lock().pieces.len(), 1);
    let rest = second.read(Seq::new(5), Seq::new(14)).unwrap().unwrap();
    assert_eq!((found(&rest), rest.next.get()), (expected(5..14), 14));
    assert_eq!(rest.len(), 9);
}

#[test]
fn who_wants_other_columns_gets_them() {
    let (_dir, shared) = stream(5);
    let plain = shared.reader(&shared.decoder.clone().with_columns(&[0]), Seq::ZERO);
    let part = plain.read(Seq::ZERO, END).unwrap().unwrap();
    assert_eq!(part.rows.column_by_name("_seq").unwrap().null_count(), 5);
    let all = shared.reader(&shared.decoder, Seq::ZERO);
    let part = all.read(Seq::ZERO, END).unwrap().unwrap();
    assert_eq!(part.rows.column_by_name("_seq").unwrap().null_count(), 0);
}

#[test]
fn what_was_decoded_ahead_is_what_follows() {
    let records = 3 * PIECE_RECORDS as u64 + 5;
    let (_dir, shared) = stream(records);
    let reader = shared.reader(&shared.decoder, Seq::ZERO);
    let ahead = Seq::new(PIECE_RECORDS as u64);
    shared.state.lock().pieces.insert(ahead, Arc::default());
    shared.fill(ahead);
    let (mut position, mut parts) = (Seq::ZERO, Vec::new());
    while let Some(part) = reader.read(position, END).unwrap() {
        assert_eq!(found(&part), expected(position.get()..part.next.get()));
        position = part.next;
        parts.push(part);
    }
    assert_eq!((position.get(), parts.len()), (records, 4));
}

#[test]
fn what_is_kept_for_a_job_that_lags_behind_has_a_limit() {
    let records = 4 * PIECE_RECORDS as u64;
    let (_dir, shared) = stream(records);
    let behind = shared.reader(&shared.decoder, Seq::ZERO);
    let first = shared.reader(&shared.decoder, Seq::ZERO);
    let (mut position, mut piece_bytes) = (Seq::ZERO, 0);
    while let Some(part) = first.read(position, END).unwrap() {
        position = part.next;
        piece_bytes = piece_bytes.max(part.bytes());
        // Numbers alone are far less than the records that they came from.
        assert!(part.bytes() > part.len() * size_of::<RecordRef>());
    }
    let state = shared.state.lock();
    let pieces = state.pieces.values().filter_map(|slot| slot.lock().clone());
    let kept: usize = pieces.map(|piece| piece.bytes).sum();
    assert!(kept > 0 && kept < KEPT_BYTES + piece_bytes, "{kept} bytes");
    drop(state);
    assert_eq!(found(&behind.read(Seq::ZERO, Seq::new(9)).unwrap().unwrap()), expected(0..9));
}

#[test]
fn nothing_is_left_of_what_was_to_be_decoded_behind_the_end() {
    let (_dir, shared) = stream(5);
    let _reader = shared.reader(&shared.decoder, Seq::ZERO);
    let behind = Seq::new(PIECE_RECORDS as u64);
    shared.state.lock().pieces.insert(behind, Arc::default());
    shared.fill(behind);
    assert!(shared.state.lock().pieces.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn each_job_reads_every_record_once_whatever_others_read(
        steps in vec((0..3usize, 1..40u64, any::<bool>()), 1..60),
    ) {
        let (_dir, shared) = stream(100);
        let readers = [0, 1, 2].map(|_| shared.reader(&shared.decoder, Seq::ZERO));
        let mut positions = [Seq::ZERO; 3];
        for (reader, further, is_bounded) in steps {
            let position = &mut positions[reader];
            let until = if is_bounded { Seq::new(position.get() + further) } else { END };
            if let Some(part) = readers[reader].read(*position, until).unwrap() {
                let range = position.get()..part.next.get();
                prop_assert_eq!(found(&part), expected(range));
                *position = part.next;
            }
        }
    }
}
