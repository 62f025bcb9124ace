//! What a file holds for who reads it, and what of that is on the disk.

use crate::rng::Rng;

/// What a disk writes whole or not at all.
pub(crate) const SECTOR: usize = 512;
/// What space is given out in.
const BLOCK: usize = 4096;

/// One file: its content as written, its content as a power cut would leave it, and the writes
/// between the two.
#[derive(Debug, Default)]
pub(crate) struct SimFile {
    current: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// Lengths that it had since the last sync.
    lengths: Vec<usize>,
    /// Which blocks take space.
    allocated: Vec<bool>,
}

/// Whole sectors as they stood right after a write.
#[derive(Debug)]
struct Change {
    start: usize,
    bytes: Vec<u8>,
}

impl SimFile {
    pub(crate) fn len(&self) -> usize {
        self.current.len()
    }

    pub(crate) fn read(&self, start: usize, out: &mut [u8]) -> bool {
        let found = start.checked_add(out.len()).and_then(|end| self.current.get(start..end));
        if let Some(found) = found {
            out.copy_from_slice(found);
        }
        found.is_some()
    }

    pub(crate) fn write(&mut self, start: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let end = start + data.len();
        if end > self.current.len() {
            self.set_end(end);
        }
        self.current[start..end].copy_from_slice(data);
        self.note(start, end);
        for block in self.blocks(start, end) {
            self.allocated[block] = true;
        }
    }

    pub(crate) fn set_len(&mut self, len: usize) {
        let before = self.current.len();
        if len < before {
            // What is cut off reads as zeros if the file grows again.
            self.current[len..].fill(0);
            self.note(len, before);
            self.allocated.truncate(len.div_ceil(BLOCK));
        }
        if len != before {
            self.set_end(len);
        }
    }

    fn set_end(&mut self, len: usize) {
        self.current.resize(len, 0);
        self.lengths.push(len);
        self.allocated.resize(len.div_ceil(BLOCK), false);
    }

    fn note(&mut self, start: usize, end: usize) {
        let start = start / SECTOR * SECTOR;
        let end = end.next_multiple_of(SECTOR).min(self.current.len());
        self.unsynced.push(Change { start, bytes: self.current[start..end].to_vec() });
    }

    /// Everything written is on the disk, but for what an earlier failed sync gave up.
    pub(crate) fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            change.apply(&mut self.durable);
        }
        self.lengths.clear();
        self.durable.resize(self.current.len(), 0);
    }

    /// A sync that fails: some sectors reached the disk, the others count as clean and never will,
    /// as Linux has it. Who reads sees all of them until the power goes.
    pub(crate) fn fail_sync(&mut self, rng: &mut Rng) {
        let survive = rng.pick(&[0, 50, 100]);
        for change in std::mem::take(&mut self.unsynced) {
            change.apply_in_part(&mut self.durable, survive, rng);
        }
    }

    /// The power is gone: of what was not synced any sector may be there, and any of the lengths.
    pub(crate) fn lose_power(&mut self, rng: &mut Rng) {
        let survive = rng.pick(&[0, 10, 50, 50, 90, 100]);
        let before = self.durable.len();
        for change in std::mem::take(&mut self.unsynced) {
            change.apply_in_part(&mut self.durable, survive, rng);
        }
        let lengths = std::mem::take(&mut self.lengths);
        let len = match (survive, lengths.last()) {
            (_, None) | (0, _) => before,
            (100, Some(last)) => *last,
            _ => *lengths.get(rng.index(lengths.len() + 1)).unwrap_or(&before),
        };
        self.durable.resize(len, 0);
        self.current.clone_from(&self.durable);
        self.allocated.resize(len.div_ceil(BLOCK), false);
    }

    pub(crate) fn allocated_bytes(&self) -> usize {
        self.allocated.iter().filter(|is| **is).count() * BLOCK
    }

    /// Bytes of space that a write would take.
    pub(crate) fn wanted_bytes(&self, start: usize, end: usize) -> usize {
        let is_there = |block: &usize| self.allocated.get(*block).copied().unwrap_or(false);
        self.blocks(start, end).filter(|block| !is_there(block)).count() * BLOCK
    }

    fn blocks(&self, start: usize, end: usize) -> std::ops::Range<usize> {
        start / BLOCK..end.div_ceil(BLOCK)
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        self.apply_sectors(content, |_| true);
    }

    fn apply_in_part(&self, content: &mut Vec<u8>, survive: u64, rng: &mut Rng) {
        self.apply_sectors(content, |_| rng.chance(survive));
    }

    fn apply_sectors(&self, content: &mut Vec<u8>, mut survives: impl FnMut(usize) -> bool) {
        for (number, sector) in self.bytes.chunks(SECTOR).enumerate() {
            if !survives(number) {
                continue;
            }
            let start = self.start + number * SECTOR;
            let end = start + sector.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[start..end].copy_from_slice(sector);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(file: impl Fn() -> SimFile) -> Vec<Vec<u8>> {
        let lose = |seed| {
            let mut file = file();
            file.lose_power(&mut Rng::new(seed));
            file.current
        };
        let mut found: Vec<_> = (0..300).map(lose).collect();
        found.sort();
        found.dedup();
        found
    }

    #[test]
    fn synced_content_and_length_survive() {
        let found = outcomes(|| {
            let mut file = SimFile::default();
            file.write(0, &[1; 2000]);
            file.sync();
            file
        });
        assert_eq!(found, [vec![1; 2000]]);
    }

    #[test]
    fn each_unsynced_sector_survives_or_not() {
        let found = outcomes(|| {
            let mut file = SimFile::default();
            file.write(0, &[1; 2 * SECTOR]);
            file.sync();
            file.write(0, &[2; 2 * SECTOR]);
            file
        });
        let sectors = |a: u8, b: u8| [[a; SECTOR], [b; SECTOR]].concat();
        assert_eq!(found, [sectors(1, 1), sectors(1, 2), sectors(2, 1), sectors(2, 2)]);
    }

    #[test]
    fn unsynced_lengths_may_be_lost_in_both_directions() {
        let found = outcomes(|| {
            let mut file = SimFile::default();
            file.write(0, &[1; 1000]);
            file.sync();
            file.set_len(0);
            file
        });
        assert!(found.contains(&Vec::new()) && found.contains(&vec![1; 1000]));
        let found = outcomes(|| {
            let mut file = SimFile::default();
            file.write(0, &[1; 1000]);
            file
        });
        assert!(found.contains(&Vec::new()) && found.contains(&vec![1; 1000]));
    }

    #[test]
    fn sync_after_a_failed_one_saves_nothing() {
        let after = |seed| {
            let mut file = SimFile::default();
            file.write(0, &[1; SECTOR]);
            file.sync();
            file.write(0, &[2; SECTOR]);
            file.fail_sync(&mut Rng::new(seed));
            file.sync();
            assert_eq!(file.current, vec![2; SECTOR]);
            file.lose_power(&mut Rng::new(seed));
            file.current[0]
        };
        let found: std::collections::BTreeSet<_> = (0..30).map(after).collect();
        assert_eq!(found, [1, 2].into());
    }

    #[test]
    fn holes_take_no_space() {
        let mut file = SimFile::default();
        file.set_len(100 * BLOCK);
        assert_eq!((file.allocated_bytes(), file.wanted_bytes(0, BLOCK + 1)), (0, 2 * BLOCK));
        file.write(BLOCK, &[1]);
        assert_eq!((file.allocated_bytes(), file.wanted_bytes(0, BLOCK + 1)), (BLOCK, BLOCK));
        file.set_len(0);
        assert_eq!(file.allocated_bytes(), 0);
    }
}
