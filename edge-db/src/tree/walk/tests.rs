//! What redb wrote is read without it, all of it and nothing else.

use std::convert::Infallible;
use std::ops::Bound;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::disk::Folder;
use crate::encryption::Cipher;
use crate::memory::MemoryTable;
use crate::revision::Revision;
use crate::store::Write;
use crate::tree;
use crate::tree::Alarm;

fn settle(tree: &mut tree::Tree, writes: Vec<Write>, revision: u64) {
    let table = MemoryTable::default();
    let revision = Revision::new(revision);
    table.apply(writes, revision, revision);
    tree.settle(&table, revision).unwrap();
}

fn entries(walker: &Walker) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::new();
    let walked = walker.walk(&mut |piece| {
        match piece {
            Piece::Entry(key, value) => entries.push((key.to_vec(), value.to_vec())),
            Piece::Lost(lost) => panic!("{lost:?}"),
            Piece::Read(_) => {}
        }
        Ok::<(), Infallible>(())
    });
    walked.unwrap_or_else(|never| match never {});
    entries
}

/// A key and the length of its value, which may take pages of its own.
fn entry() -> impl Strategy<Value = (Vec<u8>, usize)> {
    let value = prop_oneof![8 => 0usize..300, 1 => 3000usize..70_000];
    (vec(0u8..4, 1..12), value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn walk_finds_what_redb_finds(
        groups in vec(vec(entry(), 0..160), 1..5),
        cipher in select(ciphers()),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(Folder::new(dir.path()).unwrap());
        let mut tree = tree_on(&disk, cipher.clone());
        for (number, group) in (1..).zip(&groups) {
            let writes = group.iter().map(|(key, length)| {
                let key = [&[0, 0, 0, 20], key.as_slice()].concat();
                // Some keys are taken out again.
                match length % 7 {
                    0 => Write::Delete(key.into()),
                    _ => Write::Put(key.into(), vec![1; *length].into()),
                }
            });
            settle(&mut tree, writes.collect(), number);
        }
        let view = tree.view().unwrap();
        let range = view.range(Bound::Unbounded, Bound::Unbounded).unwrap();
        let expected: Vec<_> = range
            .map(|entry| entry.map(|entry| (entry.key().to_vec(), entry.value().to_vec())).unwrap())
            .collect();
        drop((view, tree));
        let walker = Walker::open(&*disk, cipher.clone()).unwrap();
        prop_assert_eq!(walker.header_damage(), None);
        prop_assert_eq!(&entries(&walker), &expected);
        for (key, value) in expected.iter().step_by(7) {
            prop_assert_eq!(walker.get(key), Lookup::Found(value.clone()));
            prop_assert_eq!(walker.get(&[key.as_slice(), &[9]].concat()), Lookup::Absent);
        }
        let unused = walker.rest(&mut |_| Ok::<(), Infallible>(()));
        prop_assert_eq!(unused, Ok(0));
        prop_assert_eq!(walker.shape(), Shape::default());
        tree::try_open(&*disk, cipher).unwrap();
    }
}

/// As it is, and encrypted where that is built in.
fn ciphers() -> Vec<Option<Cipher>> {
    vec![
        None,
        #[cfg(feature = "encryption")]
        Some(Cipher::new(&[7; 32])),
    ]
}

fn tree_on(disk: &Arc<dyn Disk>, cipher: Option<Cipher>) -> tree::Tree {
    tree::Tree::open(Arc::clone(disk), cipher, 1 << 20, false, Alarm::new(|| {})).unwrap()
}

/// Flips a bit of the file.
fn flip(disk: &dyn Disk, at: u64) {
    let file = disk.open(FILE).unwrap();
    let mut byte = [0];
    file.read(at, &mut byte).unwrap();
    file.write(at, &[byte[0] ^ 1]).unwrap();
}

#[test]
fn tree_is_found_though_the_page_that_names_it_is_damaged() {
    for cipher in ciphers() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(Folder::new(dir.path()).unwrap());
        let mut tree = tree_on(&disk, cipher.clone());
        settle(&mut tree, vec![Write::Put(vec![9; 9].into(), vec![1].into())], 1);
        drop(tree);
        let open = || Walker::open(&*disk, cipher.clone()).unwrap();
        let whole = entries(&open());
        let walker = open();
        let named_by = walker.slot.unwrap().tables.unwrap().pointer.place(walker.geometry);
        let Tree::Root(Some(root)) = walker.tree() else { panic!("the tree is whole") };
        let root = walker.in_file(root.pointer.place(walker.geometry));
        // In how many entries it says that the tree has.
        let at = walker.in_file(named_by);
        flip(&*disk, at + 58);
        let walker = open();
        assert_eq!(walker.get(&[9; 9]), Lookup::Found(vec![1]));
        assert_eq!(entries(&walker), whole);
        assert_eq!(walker.shape(), Shape { bypassed: vec![at], ..Shape::default() });
        // What it names is not whole either.
        flip(&*disk, root + 20);
        assert_eq!(open().get(&[9; 9]), Lookup::Lost);
    }
}

/// Whose tag alone is altered has content that redb's own checksum takes for whole; so would it
/// that of somebody else.
#[cfg(feature = "encryption")]
#[test]
fn page_that_does_not_decrypt_is_lost_but_not_those_that_it_leads_to() {
    const ROWS: u32 = 400;
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(Folder::new(dir.path()).unwrap());
    let cipher = Some(Cipher::new(&[7; 32]));
    let mut tree = tree_on(&disk, cipher.clone());
    let put = |n: u32| Write::Put(n.to_be_bytes().to_vec().into(), vec![1; 200].into());
    settle(&mut tree, (1000..1000 + ROWS).map(put).collect(), 1);
    drop(tree);
    let (mut leaves, mut branches) = (0, 0);
    let blocks = Walker::open(&*disk, cipher.clone()).unwrap().seen.borrow().len();
    for block in 1..blocks {
        let tag = Seal::new(cipher.clone()).layout().entry_offset_of(block) + 39;
        flip(&*disk, tag);
        let walker = Walker::open(&*disk, cipher.clone()).unwrap();
        let (mut found, mut lost) = (0, 0);
        let walked = walker.walk(&mut |piece| {
            match piece {
                Piece::Entry(..) => found += 1,
                Piece::Lost(Lost { offsets, .. }) => {
                    assert_eq!(offsets, [walker.pages.offset_of(block)]);
                    lost += 1;
                }
                Piece::Read(_) => {}
            }
            Ok::<(), Infallible>(())
        });
        walked.unwrap_or_else(|never| match never {});
        let shape = walker.shape();
        assert_eq!(shape.mended.len(), 0, "block {block}");
        // One more says how far it has settled.
        assert!(found + 30 > ROWS, "block {block}: only {found} entries are left");
        assert_eq!(lost > 0, found < ROWS + 1, "block {block}");
        leaves += lost;
        branches += shape.bypassed.len();
        flip(&*disk, tag);
    }
    assert!(leaves > 20 && branches >= 2, "{leaves} leaves, {branches} branches");
}
