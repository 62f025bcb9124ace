//! One way through a tree, from the first key to the last.

use super::{DEPTH, Lost, Piece, Walker};
use crate::tree::nodes::{Node, Pointer, Widths};

/// The way through one tree.
pub(super) struct Pass<'a, E> {
    walker: &'a Walker,
    visit: &'a mut dyn FnMut(Piece<'_>) -> Result<(), E>,
    last: Option<Vec<u8>>,
    /// Pages since the last entry.
    lost: Lost,
}

impl<'a, E> Pass<'a, E> {
    /// `lost` is what is known to be damaged in front of all of it.
    pub(super) fn new(
        walker: &'a Walker,
        visit: &'a mut dyn FnMut(Piece<'_>) -> Result<(), E>,
        lost: Lost,
    ) -> Pass<'a, E> {
        Pass { walker, visit, last: None, lost }
    }

    pub(super) fn page(&mut self, pointer: Pointer, widths: Widths, depth: usize) -> Result<(), E> {
        let place = pointer.place(self.walker.geometry);
        let (page, is_whole) = self.walker.load(pointer, widths);
        let is_new = is_whole && self.walker.saw(place);
        (self.visit)(Piece::Read(page.len() as u64))?;
        match Node::parse(&page, widths) {
            Some(Node::Leaf(leaf)) if is_new => {
                for (key, value) in leaf.entries() {
                    self.entry(key, value)?;
                }
                Ok(())
            }
            Some(Node::Branch(branch)) if is_new && depth < DEPTH => {
                for child in branch.children() {
                    match child {
                        Some(child) => self.page(child, widths, depth + 1)?,
                        None => self.lose(place),
                    }
                }
                Ok(())
            }
            // Of a damaged branch each child is known to be right by its own checksum. If it says
            // a wrong number of them, it says wrong places, too.
            Some(Node::Branch(branch)) if !is_whole && depth < DEPTH => {
                self.walker.saw(place);
                self.walker.shape.borrow_mut().bypassed.push(self.walker.in_file(place));
                for child in branch.children() {
                    match child.filter(|child| self.walker.load(*child, widths).1) {
                        Some(child) => self.page(child, widths, depth + 1)?,
                        None => self.lose(place),
                    }
                }
                Ok(())
            }
            _ => {
                self.lose(place);
                self.walker.saw(place);
                Ok(())
            }
        }
    }

    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), E> {
        if self.last.as_deref().is_some_and(|last| last >= key) {
            // A page that is whole and not in its place.
            self.walker.shape.borrow_mut().surplus += 1;
            return Ok(());
        }
        if !self.lost.offsets.is_empty() {
            let lost = std::mem::take(&mut self.lost);
            let (after, before) = (self.last.clone(), Some(key.to_vec()));
            (self.visit)(Piece::Lost(Lost { after, before, ..lost }))?;
        }
        self.walker.entries.set(self.walker.entries.get() + 1);
        let last = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        (self.visit)(Piece::Entry(key, value))
    }

    fn lose(&mut self, place: Option<(u64, u64)>) {
        let offset = self.walker.in_file(place);
        if !self.lost.offsets.contains(&offset) {
            self.lost.offsets.push(offset);
        }
    }

    /// Tells what was lost behind the last entry.
    pub(super) fn end(&mut self) -> Result<(), E> {
        if self.lost.offsets.is_empty() {
            return Ok(());
        }
        let lost = std::mem::take(&mut self.lost);
        (self.visit)(Piece::Lost(Lost { after: self.last.take(), before: None, ..lost }))
    }
}
