//! What the data file says of each of its blocks, in memory and on the disk.

use std::collections::BTreeSet;
use std::io;

use super::layout::Layout;
use crate::disk::DiskFile;

/// An entry of a few bytes for each block.
#[derive(Debug)]
pub(super) struct Entries {
    layout: Layout,
    /// By block; zeros where nothing was written.
    bytes: Vec<u8>,
    /// Blocks whose entries are not in the file yet.
    changed: BTreeSet<usize>,
}

impl Entries {
    /// Those of a file that holds so many blocks.
    pub(super) fn read(file: &dyn DiskFile, layout: Layout, count: usize) -> io::Result<Entries> {
        let mut bytes = vec![0; count * layout.entry_bytes];
        let mut first = 0;
        while first < count {
            let end = layout.group_end(first).min(count);
            let group = &mut bytes[first * layout.entry_bytes..end * layout.entry_bytes];
            file.read(layout.entry_offset_of(first), group)?;
            first = end;
        }
        Ok(Entries { layout, bytes, changed: BTreeSet::new() })
    }

    /// None are known of so many blocks.
    pub(super) fn none(layout: Layout, count: usize) -> Entries {
        Entries { layout, bytes: vec![0; count * layout.entry_bytes], changed: BTreeSet::new() }
    }

    pub(super) fn count(&self) -> usize {
        self.bytes.len() / self.layout.entry_bytes
    }

    /// Empty where the file ends before.
    pub(super) fn get(&self, block: usize) -> &[u8] {
        let from = block * self.layout.entry_bytes;
        self.bytes.get(from..from + self.layout.entry_bytes).unwrap_or_default()
    }

    /// Sets the entries of neighbours from `first` on.
    pub(super) fn set(&mut self, first: usize, entries: &[u8]) {
        let from = first * self.layout.entry_bytes;
        let to = from + entries.len();
        self.bytes.resize(self.bytes.len().max(to), 0);
        self.bytes[from..to].copy_from_slice(entries);
        self.changed.extend(first..to / self.layout.entry_bytes);
    }

    /// Forgets those behind so many blocks, or begins with empty ones.
    pub(super) fn resize(&mut self, count: usize) {
        let before = self.count();
        self.bytes.resize(count * self.layout.entry_bytes, 0);
        self.changed.split_off(&count);
        // The group may still hold those of blocks that were cut off before.
        self.changed.extend(before..count.min(self.layout.group_end(before)));
    }

    /// Writes changed ones, neighbours at once.
    pub(super) fn write(&mut self, file: &dyn DiskFile) -> io::Result<()> {
        let Layout { entry_bytes } = self.layout;
        let changed = std::mem::take(&mut self.changed);
        let mut changed = changed.into_iter().peekable();
        while let Some(first) = changed.next() {
            let mut last = first;
            let end = self.layout.group_end(first);
            // A gap of few blocks is cheaper written than seeked over.
            let is_near = |next: &usize, last| *next <= last + 64 && *next < end;
            while let Some(next) = changed.next_if(|next| is_near(next, last)) {
                last = next;
            }
            let run = &self.bytes[first * entry_bytes..(last + 1) * entry_bytes];
            let written = file.write(self.layout.entry_offset_of(first), run);
            if written.is_err() {
                self.changed.extend(first..=last);
                self.changed.extend(changed);
                return written;
            }
        }
        Ok(())
    }
}
