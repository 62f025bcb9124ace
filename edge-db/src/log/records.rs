//! What one read of a Log gives.

use std::ops::Range;

use bytes::Bytes;

use super::{Record, RecordRef};
use crate::{Seq, Time};

/// Records of one read, in the order that was asked for.
///
/// They lie in the chunks that they were read from. To look at them costs nothing more;
/// [`into_iter`](IntoIterator::into_iter) gives them as [`Record`]s, of which each keeps its share of
/// a chunk.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let db = edge_db::Db::open(dir.path())?;
/// # let log = db.log("readings")?;
/// log.append(edge_db::Entry::new("21.5"))?;
/// let records = log.read(edge_db::Seq::ZERO, 100)?;
/// assert_eq!((records.len(), records.next().get()), (1, 1));
/// assert!(records.iter().all(|record| record.value() == b"21.5"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Records {
    pub(super) found: Found,
    pub(super) next: Seq,
    pub(super) missing: Option<Range<Seq>>,
}

impl Records {
    /// Where to read on: the position behind the last record, or, read backwards, that of the
    /// last one.
    pub fn next(&self) -> Seq {
        self.next
    }

    /// What was asked for and is no longer kept.
    pub fn missing(&self) -> Option<Range<Seq>> {
        self.missing.clone()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether the end of the log was reached before.
    pub fn is_empty(&self) -> bool {
        self.found.len() == 0
    }

    /// The record at this place in the order.
    pub fn get(&self, place: usize) -> Option<RecordRef<'_>> {
        self.found.get(place)
    }

    /// The records in order.
    pub fn iter(&self) -> RecordRefs<'_> {
        self.as_slice().iter()
    }

    /// All of them, to be looked at in parts.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let db = edge_db::Db::open(dir.path())?;
    /// # let log = db.log("readings")?;
    /// for value in ["20", "21", "22"] {
    ///     log.append(edge_db::Entry::new(value))?;
    /// }
    /// let records = log.read(edge_db::Seq::ZERO, 100)?;
    /// let records = records.as_slice();
    /// let (before, rest) = records.split_at(records.place_of(edge_db::Seq::new(2)));
    /// assert_eq!((before.len(), rest.len()), (2, 1));
    /// assert_eq!(before.last().map(|record| record.value()), Some(&b"21"[..]));
    /// assert_eq!(rest.get(0).map(|record| record.value()), Some(&b"22"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn as_slice(&self) -> RecordSlice<'_> {
        self.found.as_slice()
    }
}

impl IntoIterator for Records {
    type Item = Record;
    type IntoIter = IntoRecords;

    fn into_iter(self) -> IntoRecords {
        IntoRecords { bodies: self.found.bodies, places: self.found.places.into_iter() }
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = RecordRef<'a>;
    type IntoIter = RecordRefs<'a>;

    fn into_iter(self) -> RecordRefs<'a> {
        self.iter()
    }
}

/// Records of one read that follow one another in the order that was asked for, where they lie.
#[derive(Debug, Clone, Copy)]
pub struct RecordSlice<'a> {
    bodies: &'a [Bytes],
    places: &'a [Place],
}

impl<'a> RecordSlice<'a> {
    /// How many there are.
    pub fn len(self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.places.is_empty()
    }

    /// The record at this place among them.
    pub fn get(self, place: usize) -> Option<RecordRef<'a>> {
        Some(self.places.get(place)?.show(self.bodies))
    }

    /// The last of them.
    pub fn last(self) -> Option<RecordRef<'a>> {
        Some(self.places.last()?.show(self.bodies))
    }

    /// Those in front of a place, and those from there on; the second is empty if there are not so many.
    pub fn split_at(self, place: usize) -> (RecordSlice<'a>, RecordSlice<'a>) {
        let (front, rest) = self.places.split_at(place.min(self.places.len()));
        let of = |places| RecordSlice { bodies: self.bodies, places };
        (of(front), of(rest))
    }

    /// The place of the first record that is not in front of `seq`, if they are in the order of their
    /// positions.
    pub fn place_of(self, seq: Seq) -> usize {
        self.places.partition_point(|place| place.seq < seq)
    }

    /// The records in order.
    pub fn iter(self) -> RecordRefs<'a> {
        RecordRefs { bodies: self.bodies, places: self.places.iter() }
    }
}

impl<'a> IntoIterator for RecordSlice<'a> {
    type Item = RecordRef<'a>;
    type IntoIter = RecordRefs<'a>;

    fn into_iter(self) -> RecordRefs<'a> {
        self.iter()
    }
}

/// [`Records`] where they lie.
#[derive(Debug, Clone)]
pub struct RecordRefs<'a> {
    bodies: &'a [Bytes],
    places: std::slice::Iter<'a, Place>,
}

impl<'a> Iterator for RecordRefs<'a> {
    type Item = RecordRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordRef<'a>> {
        self.places.next().map(|place| place.show(self.bodies))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl DoubleEndedIterator for RecordRefs<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.places.next_back().map(|place| place.show(self.bodies))
    }
}

impl ExactSizeIterator for RecordRefs<'_> {}

/// [`Records`], each with its share of the chunk.
#[derive(Debug)]
pub struct IntoRecords {
    bodies: Vec<Bytes>,
    places: std::vec::IntoIter<Place>,
}

impl Iterator for IntoRecords {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        self.places.next().map(|place| place.take(&self.bodies))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl DoubleEndedIterator for IntoRecords {
    fn next_back(&mut self) -> Option<Record> {
        self.places.next_back().map(|place| place.take(&self.bodies))
    }
}

impl ExactSizeIterator for IntoRecords {}

/// Records as they were found in chunks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// The parts of chunks.
    bodies: Vec<Bytes>,
    places: Vec<Place>,
}

/// Where a record lies.
#[derive(Debug, Clone)]
struct Place {
    seq: Seq,
    time: Time,
    /// The number of its body.
    body: u32,
    key: Span,
    headers: Span,
    value: Span,
}

/// From, to.
type Span = (u32, u32);

impl Found {
    /// What each record takes beside its body.
    pub(crate) const PLACE_BYTES: usize = size_of::<Place>();

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn get(&self, place: usize) -> Option<RecordRef<'_>> {
        Some(self.places.get(place)?.show(&self.bodies))
    }

    pub(crate) fn first(&self) -> Option<Seq> {
        self.places.first().map(|place| place.seq)
    }

    pub(crate) fn last(&self) -> Option<Seq> {
        self.places.last().map(|place| place.seq)
    }

    pub(crate) fn as_slice(&self) -> RecordSlice<'_> {
        RecordSlice { bodies: &self.bodies, places: &self.places }
    }

    pub(crate) fn iter(&self) -> RecordRefs<'_> {
        self.as_slice().iter()
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.places.truncate(len);
    }

    /// Turns round those from this place on.
    pub(crate) fn reverse_from(&mut self, place: usize) {
        self.places[place..].reverse();
    }

    /// What is [pushed](Found::push) from now on lies in here. `records` are about as many as that
    /// will be.
    pub(crate) fn begin(&mut self, body: Bytes, records: usize) {
        self.bodies.push(body);
        self.places.reserve(records);
    }

    /// Takes in some of the records of another, which lie where they are.
    pub(crate) fn share(&mut self, of: &Found, places: Range<usize>) {
        let before = short(self.bodies.len());
        self.bodies.extend_from_slice(&of.bodies);
        let places = of.places[places].iter().cloned();
        self.places.extend(places.map(|place| Place { body: before + place.body, ..place }));
    }

    /// A record in the body that was begun last.
    pub(crate) fn push(&mut self, record: RecordRef<'_>) {
        let Some((number, body)) = self.bodies.iter().enumerate().next_back() else { return };
        let span = |part: &[u8]| {
            let start = part.as_ptr().addr() - body.as_ptr().addr();
            (short(start), short(start + part.len()))
        };
        self.places.push(Place {
            seq: record.seq,
            time: record.time,
            body: short(number),
            key: span(record.key),
            headers: span(record.headers),
            value: span(record.value),
        });
    }
}

/// Bodies of chunks are no longer than a commit, and a read has no more of them than bytes.
fn short(number: usize) -> u32 {
    u32::try_from(number).expect("parts of a chunk, and chunks of a read, are less than 4 GiB")
}

impl Place {
    #[inline]
    fn show<'a>(&self, bodies: &'a [Bytes]) -> RecordRef<'a> {
        let body = &bodies[self.body as usize];
        let part = |span: Span| &body[span.0 as usize..span.1 as usize];
        let (key, headers, value) = (part(self.key), part(self.headers), part(self.value));
        RecordRef { seq: self.seq, time: self.time, key, headers, value }
    }

    fn take(&self, bodies: &[Bytes]) -> Record {
        let body = &bodies[self.body as usize];
        let part = |span: Span| body.slice(span.0 as usize..span.1 as usize);
        let (key, headers, value) = (part(self.key), part(self.headers), part(self.value));
        Record { seq: self.seq, time: self.time, key, headers, value }
    }
}
