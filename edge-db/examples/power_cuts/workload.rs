//! What a batch does, at random.

use edge_db::{Batch, Entry, Seq, Time};

use crate::handles::Handles;
use crate::model::{Change, Issued, MARKS, Model, Which, job_row};
use crate::model_log::Rec;
use crate::rng::Rng;

const KEYS: u64 = 24;

/// Some changes, few or many, small or large.
pub(crate) fn changes(rng: &mut Rng, model: &Model) -> Vec<Change> {
    (0..rng.spread(6)).map(|_| change(rng, model)).collect()
}

fn change(rng: &mut Rng, model: &Model) -> Change {
    match rng.below(100) {
        0..25 => Change::Insert(table_key(rng), value(rng)),
        25..32 => Change::Remove(table_key(rng)),
        32 => Change::ClearTable,
        33..52 => Change::Put(cell_key(rng), value(rng)),
        52..58 => Change::Delete(cell_key(rng)),
        58 => Change::Clear,
        59..78 => Change::Append(Which::Kept, rec(rng)),
        78..97 => Change::Append(Which::Rolling, rec(rng)),
        _ => {
            let which = rng.pick(&[Which::Kept, Which::Rolling]);
            Change::Trim(which, rng.below(model.state.ends[which as usize] + 1))
        }
    }
}

pub(crate) fn table_key(rng: &mut Rng) -> u32 {
    u32::try_from(rng.below(KEYS)).expect("below 24")
}

/// Keys of different lengths; some begin with others.
pub(crate) fn cell_key(rng: &mut Rng) -> Vec<u8> {
    let number = rng.below(KEYS);
    vec![b'a' + u8::try_from(number % 4).expect("below 4"); 1 + rng_len(number)]
}

fn rng_len(number: u64) -> usize {
    usize::try_from(number / 4).expect("below 6")
}

fn value(rng: &mut Rng) -> Vec<u8> {
    // Seldom one that is longer than a segment of the journal.
    let most = if rng.chance(1) { 30_000 } else { 800 };
    let len = rng.spread(most);
    rng.bytes(usize::try_from(len).expect("small"))
}

fn rec(rng: &mut Rng) -> Rec {
    let len = rng.spread(600);
    let key = rng.below(6);
    Rec {
        micros: i64::try_from(rng.below(1 << 50)).expect("below 2^50"),
        key: rng.bytes(usize::try_from(key).expect("small")),
        value: rng.bytes(usize::try_from(len).expect("small")),
    }
}

/// The same as a batch of the database, with the batch's mark.
pub(crate) fn batch(handles: &Handles, issued: &Issued) -> Batch {
    let mut batch = handles.db.batch();
    for change in &issued.changes {
        match change {
            Change::Insert(key, value) => insert(&mut batch, handles, *key, value.clone()),
            Change::Remove(key) => batch.remove(&handles.table, key),
            Change::ClearTable => batch.clear_table(&handles.table),
            Change::Put(key, value) => batch.put(&handles.cells, key, value),
            Change::Delete(key) => batch.delete(&handles.cells, key),
            Change::Clear => batch.clear(&handles.cells),
            Change::Append(which, rec) => {
                let entry = Entry::new(rec.value.clone()).key(rec.key.clone());
                batch.append(handles.log(*which), entry.at(Time::from_micros(rec.micros)));
            }
            Change::Advance(cursor, to) => {
                batch.advance(&handles.cursors[*cursor], Seq::new(*to));
                insert(&mut batch, handles, job_row(*cursor), to.to_be_bytes().to_vec());
            }
            Change::Trim(which, before) => batch.trim(handles.log(*which), Seq::new(*before)),
        }
    }
    let slot = issued.number % MARKS;
    batch.put(&handles.marks, slot.to_be_bytes(), issued.number.to_be_bytes());
    batch
}

fn insert(batch: &mut Batch, handles: &Handles, key: u32, value: Vec<u8>) {
    batch.insert(&handles.table, &key, &value).expect("bytes always encode");
}
