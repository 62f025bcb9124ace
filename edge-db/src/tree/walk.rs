//! The data file read page by page, past what is damaged. Writes nothing.

mod pass;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;

use self::pass::Pass;
use super::FILE;
use super::layout::BLOCK_BYTES;
use super::nodes::{Geometry, Header, Node, Pointer, Root, Slot, Widths, table};
use super::pages::Pages;
use super::seal::Seal;
use crate::disk::Disk;
use crate::encryption::Cipher;

/// No tree is as deep.
const DEPTH: usize = 64;

/// A tree and the widths of its keys and values.
type Table = (Root, Widths);

/// What a walk comes by, in the order of the keys.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    /// So many bytes of the file were read.
    Read(u64),
    Entry(&'a [u8], &'a [u8]),
    Lost(Lost),
}

/// Entries that cannot be read, between two that can.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Offsets of the pages that are damaged.
    pub(crate) offsets: Vec<u64>,
    pub(crate) after: Option<Vec<u8>>,
    pub(crate) before: Option<Vec<u8>>,
}

/// What the file says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Blocks whose checksum does not hold and whose content does, by the tree's own checksums.
    pub(crate) mended: BTreeSet<u64>,
    /// Damaged pages below which some of the tree was found by its own checksums.
    pub(crate) bypassed: Vec<u64>,
    /// Entries that there should be more than were found, as far as the tree says.
    pub(crate) missing: u64,
    /// Entries that were found where none should be.
    pub(crate) surplus: u64,
    /// Damaged pages of redb's own bookkeeping.
    pub(crate) bookkeeping: Vec<u64>,
}

/// A data file that may be damaged.
#[derive(Debug)]
pub(crate) struct Walker {
    pages: Pages,
    len: u64,
    geometry: Geometry,
    slot: Option<Slot>,
    has_magic: bool,
    has_sums: bool,
    /// By block: whether a walk has come by it.
    seen: RefCell<Vec<bool>>,
    shape: RefCell<Shape>,
    /// Of the last walk.
    entries: Cell<u64>,
    /// Whether any block was what was written.
    has_opened: Cell<bool>,
}

/// What a lookup gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Found(Vec<u8>),
    Absent,
    /// It cannot be read.
    Lost,
}

impl Walker {
    /// The file of an encrypted database with its cipher. An error if there is none, or nothing of
    /// it can be read.
    pub(crate) fn open(disk: &dyn Disk, cipher: Option<Cipher>) -> io::Result<Walker> {
        let file = disk.open(FILE)?;
        let (pages, has_sums) = Pages::open_any(file, Seal::new(cipher))?;
        let len = pages.bytes();
        let mut block = vec![0; BLOCK_BYTES];
        pages.read_any(0, &mut block)?;
        let header = Header::parse(&block);
        let blocks = usize::try_from(len.div_ceil(BLOCK_BYTES as u64)).map_err(io::Error::other)?;
        let mut walker = Walker {
            pages,
            len,
            geometry: header.geometries[0],
            slot: header.slots.first().copied(),
            has_magic: header.has_magic,
            has_sums,
            seen: RefCell::new(vec![false; blocks]),
            shape: RefCell::default(),
            entries: Cell::new(0),
            has_opened: Cell::new(false),
        };
        let root = walker.slot.and_then(|slot| slot.tables).map(|root| root.pointer);
        // A wrong numbering of pages finds no page that is whole.
        let fits = |geometry: &&Geometry| {
            walker.geometry = **geometry;
            root.is_some_and(|root| walker.load(root, Widths::NONE).1)
        };
        let geometry = header.geometries.iter().find(fits).unwrap_or(&header.geometries[0]);
        walker.geometry = *geometry;
        Ok(walker)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.len
    }

    /// How much of it a walk came by.
    pub(crate) fn seen_bytes(&self) -> u64 {
        self.seen.borrow().iter().filter(|seen| **seen).count() as u64 * BLOCK_BYTES as u64
    }

    /// Whether the first checksums of the blocks say what the file is.
    pub(crate) fn has_sums(&self) -> bool {
        self.has_sums
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.pages.is_encrypted()
    }

    /// Whether none of its blocks is what was written, as if another key were theirs; known once
    /// [`Walker::rest`] has read them all.
    pub(crate) fn opens_nothing(&self) -> bool {
        self.seen.borrow().len() > 1 && !self.has_opened.get()
    }

    /// What is wrong with the first block, which has no checksum of its own.
    pub(crate) fn header_damage(&self) -> Option<&'static str> {
        match self.slot {
            None => Some("neither of its two commits can be read"),
            Some(slot) if !slot.is_primary => {
                Some("its last commit cannot be read, the one before can")
            }
            Some(_) if !self.has_magic => Some("it does not begin as a file of redb does"),
            Some(_) => None,
        }
    }

    /// All entries in order, each page read once. The visitor may stop by an error.
    pub(crate) fn walk<E>(
        &self,
        visit: &mut dyn FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.seen.borrow_mut().fill(false);
        *self.shape.borrow_mut() = Shape::default();
        self.entries.set(0);
        let mut lost = Lost::default();
        let (found, whole) = match self.tree() {
            Tree::Root(root) => (root, true),
            Tree::Bypassed(root, at) => {
                self.shape.borrow_mut().bypassed.push(at);
                (Some(root), false)
            }
            Tree::Lost(offsets) => {
                lost.offsets = offsets;
                (None, false)
            }
        };
        let mut pass = Pass::new(self, visit, lost);
        if let Some(root) = found {
            pass.page(root.pointer, Widths::NONE, 0)?;
        }
        pass.end()?;
        if let (true, Some(root)) = (whole, found) {
            let mut shape = self.shape.borrow_mut();
            shape.missing = root.length.saturating_sub(self.entries.get());
            shape.surplus = self.entries.get().saturating_sub(root.length);
        }
        Ok(())
    }

    /// Walks redb's own tables, and reads all blocks that no walk came by. Gives how many of those
    /// are damaged: nobody reads them.
    pub(crate) fn rest<E>(
        &self,
        visit: &mut dyn FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let tables = self.slot.and_then(|slot| slot.bookkeeping);
        let mut roots = Vec::new();
        let mut damaged = Vec::new();
        self.own_table(
            tables.map(|root| (root, Widths::NONE)),
            visit,
            &mut damaged,
            &mut |table| {
                roots.extend(table);
            },
        )?;
        for root in roots {
            self.own_table(Some(root), visit, &mut damaged, &mut |_| {})?;
        }
        self.shape.borrow_mut().bookkeeping = damaged;
        let mut bad = 0;
        let mut block = vec![0; BLOCK_BYTES];
        for number in 1..self.seen.borrow().len() {
            if self.seen.borrow()[number] {
                continue;
            }
            let offset = (number * BLOCK_BYTES) as u64;
            let read = self.pages.read_any(offset, &mut block);
            let is_bad = read.map_or(true, |bad| !bad.is_empty());
            self.opened(!is_bad);
            bad += u64::from(is_bad && !self.pages.is_unwritten(number));
            visit(Piece::Read(BLOCK_BYTES as u64))?;
        }
        Ok(bad)
    }

    /// What [`Walker::walk`] and [`Walker::rest`] came by.
    pub(crate) fn shape(&self) -> Shape {
        self.shape.take()
    }

    fn own_table<E>(
        &self,
        root: Option<Table>,
        visit: &mut dyn FnMut(Piece<'_>) -> Result<(), E>,
        damaged: &mut Vec<u64>,
        each: &mut dyn FnMut(Option<Table>),
    ) -> Result<(), E> {
        let Some((root, widths)) = root else { return Ok(()) };
        let mut visit = |piece: Piece<'_>| {
            match piece {
                Piece::Read(_) => return visit(piece),
                Piece::Lost(lost) => damaged.extend(lost.offsets),
                Piece::Entry(_, value) => {
                    let found = table(value);
                    each(found.and_then(|(root, widths)| Some((root?, widths))));
                }
            }
            Ok(())
        };
        let mut pass = Pass::new(self, &mut visit, Lost::default());
        pass.page(root.pointer, widths, 0)?;
        pass.end()
    }

    /// What is stored under a key.
    pub(crate) fn get(&self, key: &[u8]) -> Lookup {
        match self.tree() {
            Tree::Root(root) => root.map_or(Lookup::Absent, |root| self.find(root.pointer, key, 0)),
            Tree::Bypassed(root, _) => self.find(root.pointer, key, 0),
            Tree::Lost(_) => Lookup::Lost,
        }
    }

    fn find(&self, pointer: Pointer, key: &[u8], depth: usize) -> Lookup {
        let (page, is_whole) = self.load(pointer, Widths::NONE);
        match Node::parse(&page, Widths::NONE) {
            Some(Node::Leaf(leaf)) if is_whole => {
                let found = leaf.entries().find(|(found, _)| *found == key);
                found.map_or(Lookup::Absent, |(_, value)| Lookup::Found(value.into()))
            }
            Some(Node::Branch(branch)) if is_whole && depth < DEPTH => {
                let child = branch.child_of(key);
                child.map_or(Lookup::Lost, |child| self.find(child, key, depth + 1))
            }
            // Which child has it cannot be told; those that are whole are its children.
            Some(Node::Branch(branch)) if depth < DEPTH => {
                let children = branch.children().flatten();
                let whole = children.filter(|child| self.load(*child, Widths::NONE).1);
                let mut found = whole.map(|child| self.find(child, key, depth + 1));
                let found = found.find(|found| matches!(found, Lookup::Found(_)));
                found.unwrap_or(Lookup::Lost)
            }
            _ => Lookup::Lost,
        }
    }

    /// The one table that is ours.
    fn tree(&self) -> Tree {
        let Some(slot) = self.slot else { return Tree::Lost(vec![self.pages.offset_of(0)]) };
        let Some(tables) = slot.tables else { return Tree::Root(None) };
        let (page, is_whole) = self.load(tables.pointer, Widths::NONE);
        let place = tables.pointer.place(self.geometry);
        let at = self.in_file(place);
        self.saw(place);
        // One table, so its tree has one page.
        let Some(Node::Leaf(leaf)) = Node::parse(&page, Widths::NONE) else {
            return Tree::Lost(vec![at]);
        };
        let ours = leaf.entries().find(|(name, _)| *name == super::NAME.as_bytes());
        let found = ours.map(|(_, definition)| table(definition).map(|(root, _)| root));
        match found {
            Some(Some(root)) if is_whole => Tree::Root(root),
            None if is_whole => Tree::Root(None),
            // Known to be right by its own checksum.
            Some(Some(Some(root))) if self.load(root.pointer, Widths::NONE).1 => {
                Tree::Bypassed(root, at)
            }
            _ => Tree::Lost(vec![at]),
        }
    }

    /// A page and whether it is whole; empty if there is none.
    ///
    /// Of an encrypted file a page is whole only if all of it is what was encrypted: its own
    /// checksum could be made to hold by whoever wrote something else there.
    fn load(&self, pointer: Pointer, widths: Widths) -> (Vec<u8>, bool) {
        let Some((offset, length)) = pointer.place(self.geometry) else {
            return (Vec::new(), false);
        };
        let end = self.len.next_multiple_of(BLOCK_BYTES as u64);
        if offset.checked_add(length).is_none_or(|behind| behind > end) {
            return (Vec::new(), false);
        }
        let Ok(size) = usize::try_from(length) else { return (Vec::new(), false) };
        let mut page = vec![0; size];
        let Ok(bad) = self.pages.read_any(offset, &mut page) else { return (Vec::new(), false) };
        self.opened(bad.len() * BLOCK_BYTES < page.len());
        let is_proven = bad.is_empty() || !self.pages.is_encrypted();
        let is_whole = is_proven && pointer.fits(&page, widths);
        if is_whole && !bad.is_empty() {
            self.shape.borrow_mut().mended.extend(bad);
        }
        (page, is_whole)
    }

    fn opened(&self, any: bool) {
        self.has_opened.set(self.has_opened.get() || any);
    }

    /// Where a page lies in the file.
    fn in_file(&self, place: Option<(u64, u64)>) -> u64 {
        let block = place.map_or(0, |(offset, _)| offset / BLOCK_BYTES as u64);
        self.pages.offset_of(usize::try_from(block).unwrap_or(0))
    }

    /// Notes that a page is used; false if it is already.
    fn saw(&self, place: Option<(u64, u64)>) -> bool {
        let Some((offset, length)) = place else { return false };
        let block = |at: u64| usize::try_from(at / BLOCK_BYTES as u64).unwrap_or(usize::MAX);
        let mut seen = self.seen.borrow_mut();
        let end = block(offset.saturating_add(length)).min(seen.len());
        let Some(blocks) = seen.get_mut(block(offset)..end) else { return false };
        let is_new = !blocks.contains(&true);
        blocks.fill(true);
        is_new
    }
}

enum Tree {
    Root(Option<Root>),
    /// The page that names it is damaged. Where.
    Bypassed(Root, u64),
    /// Where the damage is.
    Lost(Vec<u64>),
}

#[cfg(test)]
mod tests;
