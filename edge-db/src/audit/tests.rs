//! Entries that do not agree: each is found, and what repair writes for it leaves nothing to find.

use std::ops::Bound;

use proptest::prelude::*;

use super::*;
use crate::log::chunk::ChunkBuilder;
use crate::store::Write;
use crate::{Compression, Db, Entry};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Of a database with something of each kind.
fn entries() -> Entries {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log("log").unwrap();
    let table = db.table::<u32, String>("table").unwrap();
    let keys = db.keyspace("keys").unwrap();
    table.unique_index("value", |value: &String| Some(value.clone())).unwrap();
    table.keep_count().unwrap();
    table.capture_into(&db.log("changes").unwrap()).unwrap();
    let cursor = log.cursor("reader").unwrap();
    for n in 0..20 {
        let mut batch = db.batch();
        batch.append(&log, Entry::new(n.to_string()).key("key").header("a", "b"));
        batch.insert(&table, &n, &n.to_string()).unwrap();
        batch.put(&keys, n.to_be_bytes(), "x");
        batch.advance(&cursor, Seq::new(u64::from(n) / 2));
        batch.commit().unwrap();
    }
    let range = db.view().unwrap().range(Bound::Unbounded, Bound::Unbounded).unwrap();
    range.map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

fn audit(entries: &Entries) -> Findings {
    let get = |key: &[u8]| Some(entries.get(key).map(|value| value.clone().into()));
    let sources = Sources { get: &get, extracts: HashMap::new(), now: Time::from_micros(7) };
    let mut audit = Audit::new(sources, Findings::default());
    entries.iter().for_each(|(key, value)| audit.entry(key, value));
    audit.finish()
}

fn mend(entries: &mut Entries, findings: &Findings) {
    for edit in &findings.edits {
        match edit {
            Write::Put(key, value) => drop(entries.insert(key.to_vec(), value.to_vec())),
            Write::Delete(key) => drop(entries.remove(key.as_ref())),
            Write::DeleteRange(from, to) => {
                entries.retain(|key, _| !(from.as_ref()..to.as_ref()).contains(&key.as_slice()));
            }
        }
    }
}

/// Finds one thing, said like this, and mends it.
#[track_caller]
fn one(mut entries: Entries, said: &str) -> Entries {
    let found = audit(&entries);
    let list: Vec<_> = found.list.iter().map(ToString::to_string).collect();
    assert_eq!(list.len(), 1, "{list:#?}");
    assert!(list[0].contains(said), "{list:#?}");
    mend(&mut entries, &found);
    let again = audit(&entries);
    assert!(again.list.is_empty(), "{list:#?}, then {:#?}", again.list);
    entries
}

fn space_of(entries: &Entries, name: &str) -> Space {
    let stored = &entries[&Space::CATALOG.key(name.as_bytes())];
    codec::decode::<Named>(stored, 0).unwrap().space
}

/// The keys in a space.
fn keys_in(entries: &Entries, name: &str) -> Vec<Vec<u8>> {
    let space = space_of(entries, name);
    entries.keys().filter(|key| Space::of(key) == Some(space)).cloned().collect()
}

#[test]
fn what_the_database_wrote_is_clean() {
    let entries = entries();
    assert!(entries.len() > 100);
    assert!(audit(&entries).list.is_empty(), "{:#?}", audit(&entries).list);
    assert!(audit(&Entries::new()).list.is_empty());
}

#[test]
fn count_that_is_not_the_rows_becomes_that() {
    let mut entries = entries();
    let key = space_of(&entries, "table").count_key();
    entries.insert(key.clone(), codec::number(21));
    let mended = one(entries, "count of `table`: it says 21, there are 20 rows");
    assert_eq!(mended[&key], codec::number(20));
}

#[test]
fn index_that_does_not_agree_is_emptied() {
    let index = "table\0index\0value";
    let is_empty = |mended: &Entries| assert!(keys_in(mended, index).is_empty());
    let entry = &keys_in(&entries(), index)[3];
    let mut lonely = entries();
    let row = [&entry[..entry.len() - 4], &[0, 0, 0, 99]].concat();
    lonely.insert(row, codec::raw(b""));
    is_empty(&one(lonely, "two rows have the same key"));
    let mut lonely = entries();
    let other = space_of(&lonely, index).key(b"zzz\0\0\0\0\0\x63");
    lonely.insert(other, codec::raw(b""));
    is_empty(&one(lonely, "an entry has no row"));
    let mut valued = entries();
    valued.insert(entry.clone(), codec::raw(b"x"));
    is_empty(&one(valued, "an entry has a value"));
    let mut short = entries();
    let cut = space_of(&short, index).key(b"9");
    short.insert(cut, codec::raw(b""));
    is_empty(&one(short, "an entry's key is none of the index's kind"));
}

#[test]
fn entries_that_are_none_of_their_space_go() {
    let mut wrong = entries();
    wrong.insert(space_of(&wrong, "keys").key(b"k"), vec![1, 0, 7]);
    one(wrong, "`keys`, key \"k\": its value is no value of a keyspace");
    let mut wrong = entries();
    wrong.insert(Space::CATALOG.key(b"broken"), vec![1, 0]);
    one(wrong, "this is no name");
    let mut wrong = entries();
    wrong.insert(vec![0, 0], vec![]);
    one(wrong, "nothing is stored under such keys");
    let mut wrong = entries();
    let twice = wrong[&Space::CATALOG.key(b"keys")].clone();
    wrong.insert(Space::CATALOG.key(b"twice"), twice);
    one(wrong, "another name has the same key space");
}

#[test]
fn space_without_a_name_gets_one() {
    let mut entries = entries();
    let keys = keys_in(&entries, "keys").len();
    let number = space_of(&entries, "keys").number();
    entries.remove(&Space::CATALOG.key(b"keys"));
    let mended = one(entries, "its entries have no name");
    assert_eq!(keys_in(&mended, &format!("recovered-{number}")).len(), keys);
}

#[test]
fn cursor_behind_the_end_goes_to_the_end() {
    let mut entries = entries();
    let key = space_of(&entries, "log").cursor_key("reader");
    entries.insert(key.clone(), codec::encode(&Seq::new(21), 0).unwrap());
    let mended = one(entries, "cursor `reader` is at 21, the log ends at 20");
    assert_eq!(codec::decode(&mended[&key], 0), Ok(Seq::new(20)));
}

#[test]
fn missing_chunks_become_gaps_at_every_place_of_a_log() {
    for (lost, said) in
        [(0..1, "0 to 0"), (7..10, "7 to 9"), (19..20, "19 to 19"), (0..20, "0 to 19")]
    {
        let mut entries = entries();
        let log = space_of(&entries, "log");
        for seq in lost.clone() {
            assert!(entries.remove(&log.chunk_key(Seq::new(seq))).is_some());
        }
        let mended = one(entries, &format!("records {said} are not there"));
        let state: crate::LogState = codec::decode(&mended[&log.log_state_key()], 0).unwrap();
        assert_eq!((state.first, state.next), (Seq::ZERO, Seq::new(20)));
        // The reader had passed what is before 9.
        assert_eq!(state.dropped, lost.filter(|seq| *seq >= 9).count() as u64);
    }
}

#[test]
fn state_of_a_log_is_what_its_chunks_say() {
    let mut entries = entries();
    let key = space_of(&entries, "log").log_state_key();
    let whole = entries.remove(&key).unwrap();
    let mended = one(entries.clone(), "its state is not there");
    assert_eq!(mended[&key], whole);
    let state: crate::LogState = codec::decode(&whole, 0).unwrap();
    entries.insert(key.clone(), crate::LogState { bytes: 1, ..state }.encode());
    assert_eq!(one(entries, "its state says records 0 to 20 and 1 bytes")[&key], whole);
}

#[test]
fn chunk_that_overlaps_goes() {
    let mut entries = entries();
    let log = space_of(&entries, "log");
    let mut chunk = ChunkBuilder::new(Compression::None);
    for _ in 0..3 {
        chunk.push(&Entry::new("x"), Time::from_micros(1));
    }
    entries.insert(log.chunk_key(Seq::new(20)), chunk.finish(1, Time::from_micros(1)));
    one(entries, "the chunk overlaps the one before it");
}

#[test]
fn later_format_is_told() {
    let mut entries = entries();
    entries.insert(Space::CATALOG.key(&[]), codec::encode(&9u32, 0).unwrap());
    let get = |_: &[u8]| None;
    let sources = Sources { get: &get, extracts: HashMap::new(), now: Time::from_micros(7) };
    let mut audit = Audit::new(sources, Findings::default());
    entries.iter().for_each(|(key, value)| audit.entry(key, value));
    assert_eq!(audit.later_format, Some(9));
}

proptest! {
    /// Entries gone, values cut, in any number: never a panic, and nothing is left to find.
    #[test]
    fn whatever_is_found_is_mended(
        gone in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        cut in proptest::collection::vec(any::<[prop::sample::Index; 2]>(), 0..6),
    ) {
        thread_local!(static WHOLE: Entries = entries());
        let mut entries = WHOLE.with(Clone::clone);
        for index in gone {
            let key = index.get(&entries.keys().collect::<Vec<_>>()).to_vec();
            entries.remove(&key);
        }
        for [index, length] in cut {
            let key = index.get(&entries.keys().collect::<Vec<_>>()).to_vec();
            let value = entries.get_mut(&key).unwrap();
            let length = length.index(value.len() + 1);
            value.truncate(length);
        }
        let found = audit(&entries);
        mend(&mut entries, &found);
        let again = audit(&entries);
        prop_assert!(again.list.is_empty(), "{:#?}, then {:#?}", found.list, again.list);
    }
}
