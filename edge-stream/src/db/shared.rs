//! What is read and decoded of a stream, once for all jobs that read it.
//!
//! A job asks for what follows its position and gets a piece that another one may have decoded; jobs
//! that are equally far share each piece. A piece is dropped when all have it behind them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;

use arrow::array::RecordBatch;
use edge_db::{RecordRef, Records, Seq};
use parking_lot::Mutex;

use super::in_background;
use super::job::JobError;
use super::tape::Tape;
use crate::decode::{Decoded, Decoder, Memory, Rejected};

/// Records in a piece: more cost latency and memory, fewer cost speed.
pub(crate) const PIECE_RECORDS: usize = 8192;

/// Bytes of pieces that are kept for jobs that lag behind the first; these decode for themselves else.
const KEPT_BYTES: usize = 2 * 1024 * 1024;

/// Pieces that are decoded in front of the first job, however many cores there are.
const MOST_AHEAD: u64 = 4;

/// What jobs share of a stream.
#[derive(Debug)]
pub(crate) struct Shared {
    log: Tape,
    decoder: Decoder,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Columns that somebody wants.
    wanted: Vec<bool>,
    /// By the position where they begin.
    pieces: BTreeMap<Seq, Arc<Slot>>,
    /// Where each job stands.
    readers: HashMap<u64, Seq>,
    last_reader: u64,
}

/// A piece, once whoever came first has decoded it; the others wait at its lock.
type Slot = Mutex<Option<Arc<Piece>>>;

/// Rows of records that follow one another.
#[derive(Debug)]
struct Piece {
    from: Seq,
    part: Part,
    bytes: usize,
    wanted: Vec<bool>,
    /// Whether each record that was not rejected is one row.
    is_one_each: bool,
}

/// What a job takes in at once.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) next: Seq,
    /// Records that the Log had dropped before.
    pub(crate) missed: u64,
    all: Arc<Records>,
    /// Those of all records that this is about.
    range: Range<usize>,
    pub(crate) rows: RecordBatch,
    /// What is no row, by its place among the records.
    pub(crate) rejected: Vec<Rejected>,
}

impl Shared {
    /// For a stream of these records.
    pub(crate) fn new(log: Tape, decoder: Decoder) -> Shared {
        Shared { log, decoder, state: Mutex::default() }
    }

    /// A job that wants what this decoder gives, from a position on.
    pub(crate) fn reader(self: &Arc<Shared>, decoder: &Decoder, at: Seq) -> Reader {
        let mut state = self.state.lock();
        state.last_reader += 1;
        let number = state.last_reader;
        state.readers.insert(number, at);
        let wanted = decoder.wanted().to_vec();
        state.wanted.resize(wanted.len(), false);
        state.wanted.iter_mut().zip(&wanted).for_each(|(all, one)| *all |= one);
        Reader { shared: Arc::clone(self), number, wanted }
    }

    /// How many jobs read it.
    pub(crate) fn readers(&self) -> usize {
        self.state.lock().readers.len()
    }

    /// The piece that begins here, or one that goes past here.
    fn slot(&self, from: Seq, until: Seq, wanted: &[bool]) -> Arc<Slot> {
        let mut state = self.state.lock();
        if let Some((start, slot)) = state.pieces.range(..=from).next_back() {
            // One that is being decoded begins elsewhere, and may end in front of `from`.
            let piece = slot.try_lock().and_then(|piece| piece.clone());
            if *start == from || piece.is_some_and(|piece| piece.serves(from, until, wanted)) {
                return Arc::clone(slot);
            }
        }
        Arc::clone(state.pieces.entry(from).or_default())
    }

    /// Notes where a job stands, and drops what nobody needs.
    fn note(&self, reader: u64, at: Option<Seq>) {
        let mut state = self.state.lock();
        match at {
            Some(at) => drop(state.readers.insert(reader, at)),
            None => drop(state.readers.remove(&reader)),
        }
        state.trim();
    }

    /// Decodes the piece that begins here, unless somebody has.
    pub(crate) fn fill(&self, from: Seq) {
        let slot = self.state.lock().pieces.get(&from).cloned();
        let Some(slot) = slot else { return };
        let mut piece = slot.lock();
        if piece.is_none() {
            // Whoever needs it sees the error.
            *piece = self.decode(from, Seq::new(u64::MAX)).ok().flatten().map(Arc::new);
        }
        if piece.is_none() {
            self.state.lock().pieces.remove(&from);
        }
    }

    /// `None` at the end of the Log.
    fn decode(&self, from: Seq, until: Seq) -> Result<Option<Piece>, JobError> {
        let wanted = self.state.lock().wanted.clone();
        let decoder = self.decoder.clone().with_wanted(wanted.clone());
        let part = Part::read(&self.log, &decoder, &mut Memory::default(), from, until)?;
        let is_one_each = decoder.is_one_each();
        Ok(part.map(|part| Piece { from, bytes: part.bytes(), part, wanted, is_one_each }))
    }
}

impl Part {
    /// Reads records from a position on, and decodes them; `None` at the end of the Log.
    pub(crate) fn read(
        log: &Tape,
        decoder: &Decoder,
        memory: &mut Memory,
        from: Seq,
        until: Seq,
    ) -> Result<Option<Part>, JobError> {
        let records = log.read(from, PIECE_RECORDS)?;
        let next = records.next().min(until);
        if next <= from {
            return Ok(None);
        }
        let missed = records.missing().map_or(0, |missing| missing.end.min(until).since(from));
        let (wanted, _) = records.as_slice().split_at(records.as_slice().place_of(until));
        let Decoded { rows, rejected } = decoder.decode(wanted, memory)?;
        let range = 0..wanted.len();
        Ok(Some(Part { next, missed, all: Arc::new(records), range, rows, rejected }))
    }

    /// What it takes in memory, about.
    fn bytes(&self) -> usize {
        let records = self
            .all
            .iter()
            .map(|record| size_of_val(&record) + record.key().len() + record.value().len());
        self.rows.get_array_memory_size() + records.sum::<usize>()
    }

    /// Records, whether they are rows or not.
    pub(crate) fn records(&self) -> impl DoubleEndedIterator<Item = RecordRef<'_>> {
        let (within, _) = self.all.as_slice().split_at(self.range.end);
        within.split_at(self.range.start).1.iter()
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }

    /// The record of this place among them.
    pub(crate) fn record(&self, place: usize) -> Option<RecordRef<'_>> {
        self.all.get(self.range.start + place)
    }

    /// What follows one position up to another, both within. Each record is one row, or none.
    fn slice(&self, start: Seq, next: Seq) -> Part {
        // Those of one read follow one another.
        let first = self.all.get(0).map_or(self.next, |record| record.seq());
        let place = |seq: Seq| {
            usize::try_from(seq.since(first)).map_or(self.all.len(), |at| at.min(self.all.len()))
        };
        let range = place(start)..place(next);
        let within = |place: usize| self.rejected.partition_point(|one| one.place < place);
        let rejected = within(range.start)..within(range.end);
        let rows = self.rows.slice(range.start - rejected.start, range.len() - rejected.len());
        let moved = |one: &Rejected| Rejected { place: one.place - range.start, ..one.clone() };
        let rejected = self.rejected[rejected].iter().map(moved).collect();
        let (all, missed) = (Arc::clone(&self.all), 0);
        Part { next, missed, all, range, rows, rejected }
    }
}

impl State {
    fn trim(&mut self) {
        let Some(least) = self.readers.values().min().copied() else {
            return self.pieces.clear();
        };
        let mut kept_bytes = 0;
        let mut kept = BTreeMap::new();
        // What is far behind goes first.
        while let Some((start, slot)) = self.pieces.pop_last() {
            let piece = slot.try_lock().and_then(|piece| piece.clone());
            let is_needed = match &piece {
                Some(piece) => piece.part.next > least && kept_bytes < KEPT_BYTES,
                None => start >= least,
            };
            if is_needed {
                kept_bytes += piece.map_or(0, |piece| piece.bytes);
                kept.insert(start, slot);
            }
        }
        self.pieces = kept;
    }
}

impl Piece {
    /// Whether it has what follows `from`, up to `until`, with these columns.
    fn serves(&self, from: Seq, until: Seq, wanted: &[bool]) -> bool {
        let is_whole = from == self.from && self.part.next <= until;
        let has = self.wanted.iter().zip(wanted).all(|(has, wants)| *has || !wants);
        has && (self.from..self.part.next).contains(&from) && (is_whole || self.is_one_each)
    }

    /// What it has from a position on and up to another, both within.
    fn part(&self, from: Seq, until: Seq) -> Part {
        let next = self.part.next.min(until);
        if from == self.from && next == self.part.next {
            return self.part.clone();
        }
        let first = Seq::new(self.from.get() + self.part.missed);
        let start = first.max(from).min(next);
        Part { missed: start.since(from), ..self.part.slice(start, next) }
    }

    /// Whether more followed when it was read.
    fn is_full(&self) -> bool {
        self.part.all.len() == PIECE_RECORDS
    }
}

/// One job's way through a stream.
#[derive(Debug)]
pub(crate) struct Reader {
    shared: Arc<Shared>,
    number: u64,
    wanted: Vec<bool>,
}

impl Reader {
    /// What follows `from`, up to `until`; `None` at the end.
    pub(crate) fn read(&self, from: Seq, until: Seq) -> Result<Option<Part>, JobError> {
        if from >= until {
            return Ok(None);
        }
        let slot = self.shared.slot(from, until, &self.wanted);
        let mut held = slot.lock();
        let piece = match &*held {
            Some(piece) if piece.serves(from, until, &self.wanted) => Arc::clone(piece),
            _ => {
                let Some(piece) = self.shared.decode(from, until)? else { return Ok(None) };
                let piece = Arc::new(piece);
                *held = Some(Arc::clone(&piece));
                piece
            }
        };
        drop(held);
        if piece.is_full() {
            self.decode_ahead(piece.part.next);
        }
        let part = piece.part(from, until);
        self.shared.note(self.number, Some(part.next));
        Ok(Some(part))
    }

    /// Where there are other cores, they decode what comes next.
    fn decode_ahead(&self, from: Seq) {
        static CORES: OnceLock<u64> = OnceLock::new();
        let cores =
            *CORES.get_or_init(|| available_parallelism().map_or(1, |cores| cores.get() as u64));
        if cores == 1 {
            return;
        }
        for piece in 0..cores.min(MOST_AHEAD) {
            let from = Seq::new(from.get() + piece * PIECE_RECORDS as u64);
            let mut state = self.shared.state.lock();
            if let Entry::Vacant(free) = state.pieces.entry(from) {
                free.insert(Arc::default());
                let shared = Arc::clone(&self.shared);
                in_background(move || shared.fill(from));
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.note(self.number, None);
    }
}

#[cfg(test)]
mod tests;
