//! Rows that wait until the watermark has passed them.

use std::collections::BTreeMap;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::error::ArrowError;

use crate::error::OperatorError;

/// Rows with their times, in order of time; those of one time in the order in which they came.
#[derive(Debug, Clone)]
pub(super) struct Ordered {
    pub(super) rows: RecordBatch,
    pub(super) times: ScalarBuffer<i64>,
}

/// A piece of what waits, by the number of its arrival.
#[derive(Debug)]
struct Piece {
    of: Ordered,
    is_stored: bool,
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    /// By their first row's time and their number.
    pieces: BTreeMap<(i64, u64), Piece>,
    next: u64,
    /// Bytes of the pieces in the stored state.
    stored: BTreeMap<u64, usize>,
    /// Pieces that have left and are still in the stored state.
    left: Vec<u64>,
}

impl Ordered {
    pub(super) fn new(rows: RecordBatch, times: ScalarBuffer<i64>) -> Result<Ordered, ArrowError> {
        if times.is_sorted() {
            return Ok(Ordered { rows, times });
        }
        let order = order_by(&times);
        let times = order.values().iter().map(|row| times[*row as usize]).collect();
        Ok(Ordered { rows: take_record_batch(&rows, &order)?, times })
    }

    /// These, in the order in which they came.
    fn of(parts: &[Ordered]) -> Result<Option<Ordered>, ArrowError> {
        if let [] | [_] = parts {
            return Ok(parts.first().cloned());
        }
        let times = parts.iter().flat_map(|part| part.times.iter().copied()).collect();
        let rows = concat_batches(parts[0].rows.schema_ref(), parts.iter().map(|part| &part.rows))?;
        Ordered::new(rows, times).map(Some)
    }

    fn split(&self, at: usize) -> (Ordered, Ordered) {
        let slice = |from: usize, rows: usize| Ordered {
            rows: self.rows.slice(from, rows),
            times: self.times.slice(from, rows),
        };
        (slice(0, at), slice(at, self.times.len() - at))
    }
}

/// The rows in order of a number each; those with the same one stay as they are.
pub(super) fn order_by<T: Ord>(by: &[T]) -> UInt32Array {
    let rows =
        u32::try_from(by.len()).expect("state has a limit far below four thousand million rows");
    let mut order: Vec<u32> = (0..rows).collect();
    order.sort_by_key(|row| &by[*row as usize]);
    UInt32Array::from(order)
}

impl Pending {
    pub(super) fn rows(&self) -> usize {
        self.pieces.values().map(|piece| piece.of.times.len()).sum()
    }

    pub(super) fn stored_bytes(&self) -> usize {
        self.stored.values().sum()
    }

    pub(super) fn push(&mut self, rows: Ordered) {
        let number = self.next;
        self.next += 1;
        self.insert(number, rows, false);
    }

    fn insert(&mut self, number: u64, of: Ordered, is_stored: bool) {
        match of.times.first() {
            Some(first) => drop(self.pieces.insert((*first, number), Piece { of, is_stored })),
            None if is_stored => {
                self.stored.remove(&number);
                self.left.push(number);
            }
            None => {}
        }
    }

    /// Takes out the rows in front of a time.
    pub(super) fn take(&mut self, before: i64) -> Result<Option<Ordered>, OperatorError> {
        let mut taken = Vec::new();
        while let Some(entry) = self.pieces.first_entry() {
            if entry.key().0 >= before {
                break;
            }
            let ((_, number), piece) = entry.remove_entry();
            let passed = piece.of.times.partition_point(|time| *time < before);
            let (passed, waiting) = piece.of.split(passed);
            taken.push((number, passed));
            self.insert(number, waiting, piece.is_stored);
        }
        taken.sort_by_key(|(number, _)| *number);
        let taken: Vec<_> = taken.into_iter().map(|(_, rows)| rows).collect();
        Ok(Ordered::of(&taken)?)
    }

    /// Calls `put` with what is not stored yet and its number, and `remove` with what has left.
    /// `put` returns bytes.
    pub(super) fn store(
        &mut self,
        mut put: impl FnMut(Option<&RecordBatch>, u64) -> Result<usize, OperatorError>,
    ) -> Result<(), OperatorError> {
        for number in self.left.drain(..) {
            put(None, number)?;
        }
        let new = self.pieces.iter().filter(|(_, piece)| !piece.is_stored);
        let mut new: Vec<_> = new.map(|(key, _)| *key).collect();
        // What came later has greater numbers, so that all of it may go by the first.
        new.sort_by_key(|(_, number)| *number);
        let Some((_, number)) = new.first().copied() else { return Ok(()) };
        let parts = new.iter().filter_map(|key| self.pieces.remove(key));
        let parts: Vec<_> = parts.map(|piece| piece.of).collect();
        if let Some(all) = Ordered::of(&parts)? {
            self.stored.insert(number, put(Some(&all.rows), number)?);
            self.insert(number, all, true);
        }
        Ok(())
    }

    /// Takes over a stored piece, without the rows that have left it.
    pub(super) fn restore(
        &mut self,
        number: u64,
        of: &Ordered,
        emitted: Option<i64>,
        bytes: usize,
    ) {
        let passed = of.times.partition_point(|time| Some(*time) < emitted);
        self.stored.insert(number, bytes);
        self.next = self.next.max(number + 1);
        self.insert(number, of.split(passed).1, true);
    }
}
