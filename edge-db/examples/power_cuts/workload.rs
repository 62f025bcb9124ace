//! What a batch does, at random.

use std::ops::Range;

use edge_db::{Batch, EncodeError, Entry, ReadError, Seq, Time, Transaction, WriteError};

use crate::handles::Handles;
use crate::model::{Change, Issued, Life, MARKS, Model, Which, job_row};
use crate::model_log::Rec;
use crate::model_state::{derived, near, next_row};
use crate::rng::Rng;

const KEYS: u64 = 24;
const BADGES: u64 = 80;

/// Some changes, few or many, small or large.
pub(crate) fn changes(rng: &mut Rng, model: &Model) -> Vec<Change> {
    let mut changes = Vec::new();
    if rng.chance(5) {
        // As it is known; what flies may change it before.
        let key = table_key(rng);
        changes.push(Change::Expect(key, model.state.table.get(&key).cloned()));
    }
    changes.extend((0..rng.spread(6)).map(|_| change(rng, model)));
    changes
}

/// What a transaction does: it reads some rows and puts what it makes of them, with some more.
pub(crate) fn transaction(rng: &mut Rng, model: &Model) -> Vec<Change> {
    let derive = |rng: &mut Rng| Change::Derive { from: table_key(rng), to: table_key(rng) };
    let mut changes: Vec<_> = (0..=rng.below(2)).map(|_| derive(rng)).collect();
    changes.extend((0..rng.below(3)).map(|_| change(rng, model)));
    changes
}

fn change(rng: &mut Rng, model: &Model) -> Change {
    match rng.below(100) {
        0..18 => Change::Insert(table_key(rng), value(rng)),
        18..23 => Change::Remove(table_key(rng)),
        23 => Change::ClearTable,
        24..27 => Change::RemoveRange(range(rng)),
        27..32 => Change::Update(table_key(rng)),
        32..47 => Change::Put(cell_key(rng), value(rng)),
        47..52 => Change::Delete(cell_key(rng)),
        52 => Change::Clear,
        53..59 => Change::Join(life(rng), table_key(rng), badge(rng)),
        59..61 => Change::Leave(table_key(rng)),
        61..66 => Change::Note(life(rng), table_key(rng), rng.next()),
        66..68 => Change::DropNotes(range(rng)),
        68..82 => Change::Append(Which::Kept, rec(rng)),
        82..97 => Change::Append(Which::Rolling, rec(rng)),
        _ => {
            let which = rng.pick(&[Which::Kept, Which::Rolling]);
            Change::Trim(which, rng.below(model.state.ends[which as usize] + 1))
        }
    }
}

pub(crate) fn table_key(rng: &mut Rng) -> u32 {
    u32::try_from(rng.below(KEYS)).expect("below 24")
}

fn range(rng: &mut Rng) -> Range<u32> {
    let from = table_key(rng);
    from..from + table_key(rng) / 4
}

fn life(rng: &mut Rng) -> Life {
    rng.pick(&[Life::None, Life::Longest, Life::Longest])
}

fn badge(rng: &mut Rng) -> u8 {
    u8::try_from(rng.below(BADGES)).expect("below 80")
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
    let mut batch = match issued.within {
        Some(within) => handles.db.batch().within(within),
        None => handles.db.batch(),
    };
    issued.changes.iter().for_each(|change| add(&mut batch, handles, change));
    add_mark(&mut batch, handles, issued.number);
    batch
}

/// Why an attempt of a transaction stored nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// The same as an attempt of a transaction.
pub(crate) fn attempt(
    tx: &mut Transaction,
    handles: &Handles,
    issued: &Issued,
) -> Result<(), Trouble> {
    let table = &handles.table;
    for change in &issued.changes {
        let Change::Derive { from, to } = change else {
            add(tx.batch(), handles, change);
            continue;
        };
        let row = tx.get(table, from)?;
        let near = tx.range(table, near(*from))?.collect::<Result<Vec<_>, _>>()?.len();
        tx.insert(table, to, &derived(row.as_deref(), near))?;
    }
    add_mark(tx.batch(), handles, issued.number);
    Ok(())
}

fn add(batch: &mut Batch, handles: &Handles, change: &Change) {
    let Handles { table, cells, .. } = handles;
    let encodes = "it always encodes";
    match change {
        Change::Expect(key, row) => batch.expect(table, key, row.as_ref()).expect(encodes),
        Change::Insert(key, value) => batch.insert(table, key, value).expect(encodes),
        Change::Remove(key) => batch.remove(table, key),
        Change::RemoveRange(range) => batch.remove_range(table, range.clone()),
        Change::ClearTable => batch.clear_table(table),
        Change::Update(key) => {
            batch.update(table, key, |row: Option<Vec<u8>>| Some(next_row(row.as_deref())));
        }
        Change::Derive { .. } => unreachable!("in transactions only, which read"),
        Change::Put(key, value) => batch.put(cells, key, value),
        Change::Delete(key) => batch.delete(cells, key),
        Change::Clear => batch.clear(cells),
        Change::Join(life, key, badge) => {
            batch.insert(&handles.members[*life as usize], key, badge).expect(encodes);
        }
        Change::Leave(key) => batch.remove(&handles.members[0], key),
        Change::Note(life, key, note) => {
            batch.insert(&handles.notes[*life as usize], key, note).expect(encodes);
        }
        Change::DropNotes(range) => batch.remove_range(&handles.notes[0], range.clone()),
        Change::Append(which, rec) => {
            let entry = Entry::new(rec.value.clone()).key(rec.key.clone());
            batch.append(handles.log(*which), entry.at(Time::from_micros(rec.micros)));
        }
        Change::Advance(cursor, to) => {
            batch.advance(&handles.cursors[*cursor], Seq::new(*to));
            let row = to.to_be_bytes().to_vec();
            batch.insert(table, &job_row(*cursor), &row).expect(encodes);
        }
        Change::Trim(which, before) => batch.trim(handles.log(*which), Seq::new(*before)),
    }
}

fn add_mark(batch: &mut Batch, handles: &Handles, number: u64) {
    batch.put(&handles.marks, (number % MARKS).to_be_bytes(), number.to_be_bytes());
}
