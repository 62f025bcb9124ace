//! `watermark_by`: a watermark for each key of a stream, such as its devices, and the least of them.
//!
//! It is decided record by record, so that it does not depend on how many are read at a time. Rows
//! behind the watermark of the stream are late, and late rows are not heard: a clock that stands, or
//! has jumped back, keeps its key from holding up the others once the key is idle. Time goes by as
//! records arrive, of any key; no clock is read. A pause of all keys counts as half of the time until
//! keys are idle, as it may be that nobody could be heard.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;

use super::key_column::{Arrivals, KeyColumn};
use super::lowest::Lowest;
use super::{EventTime, micros_of};
use crate::error::OperatorError;
use crate::operator::places::Places;

/// Keys that are known at a time. Of more, the one that has been silent the longest is forgotten.
pub(super) const MOST_KEYS: usize = 10_000;

/// The keys of a stream that are waited for.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(super) of: KeyColumn,
    pub(super) places: Places<Key>,
    /// Of all keys.
    pub(super) key_bytes: usize,
    by_mark: Lowest,
    by_heard: Lowest,
    /// Whose watermark is the least, as the last settling found.
    slowest: Option<u32>,
    /// Whether that may be another one now.
    is_moved: bool,
    /// The key of the last row.
    last: Option<u32>,
    /// Microseconds that somebody has been heard.
    pub(super) clock: i64,
    /// When the last record arrived.
    pub(super) arrived: Option<i64>,
    /// Keys that were forgotten as there were too many.
    pub(super) crowded_out: u64,
    most: usize,
    /// Places whose keys have changed since the last checkpoint, or gone, each once.
    pub(super) changed: Vec<u32>,
    /// Which places these are.
    pub(super) is_changed: Vec<bool>,
}

/// What is known of a key.
#[derive(Debug)]
pub(super) struct Key {
    /// The greatest that `WATERMARK FOR` has given for its rows.
    pub(super) mark: i64,
    /// The clock when it was heard last.
    pub(super) heard: i64,
}

/// How the keys of a stream stand.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg(feature = "db")]
pub(crate) struct KeysStand {
    pub(crate) count: usize,
    pub(crate) slowest: Option<(String, EventTime)>,
    pub(crate) crowded_out: u64,
}

impl Keys {
    pub(crate) fn new(of: KeyColumn) -> Keys {
        Keys {
            of,
            places: Places::default(),
            key_bytes: 0,
            by_mark: Lowest::default(),
            by_heard: Lowest::default(),
            slowest: None,
            is_moved: false,
            last: None,
            clock: 0,
            arrived: None,
            crowded_out: 0,
            most: MOST_KEYS,
            changed: Vec::new(),
            is_changed: Vec::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn limited_to(of: KeyColumn, most: usize) -> Keys {
        Keys { most, ..Keys::new(of) }
    }

    /// The name of the column.
    #[cfg(feature = "db")]
    pub(crate) fn name(&self) -> &str {
        self.of.name()
    }

    /// Looks at rows with all columns of the stream, whose event times and watermarks these are.
    /// `current` is the watermark of the stream, which moves; `late` gets the rows behind it.
    pub(crate) fn observe(
        &mut self,
        rows: &RecordBatch,
        (times, marks): (&dyn Array, &dyn Array),
        current: &mut Option<EventTime>,
        mut late: impl FnMut(usize, EventTime),
    ) -> Result<(), OperatorError> {
        let (times, marks) = (micros_of(times)?, micros_of(marks)?);
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let marks = marks.as_primitive::<TimestampMicrosecondType>();
        let (cells, arrivals) = (self.of.cells(rows)?, self.of.arrivals(rows)?);
        let mut number = [0; 8];
        for row in 0..rows.num_rows() {
            if arrivals.begins_record(row) {
                // Rows of one record are not late for each other.
                if row > 0 {
                    self.settle(current);
                }
                self.pass(&arrivals, row);
            }
            match *current {
                Some(watermark) if times.value(row) < watermark.micros() => late(row, watermark),
                _ if marks.is_valid(row) => {
                    self.hear(cells.key(row, &mut number), marks.value(row));
                }
                _ => {}
            }
        }
        if rows.num_rows() > 0 {
            self.settle(current);
        }
        Ok(())
    }

    /// Lets pass what lies between the record of this row and the one in front of it. A clock that
    /// was set back, or a leap ahead, is no silence of keys.
    fn pass(&mut self, arrivals: &Arrivals, row: usize) {
        let (Some(timeout), Some(at)) = (self.of.idle_micros, arrivals.time(row)) else { return };
        let pause = self.arrived.map_or(0, |last| at.saturating_sub(last));
        self.clock = self.clock.saturating_add(pause.clamp(0, (timeout / 2).max(1)));
        self.arrived = Some(at);
    }

    /// A row in time.
    fn hear(&mut self, key: &[u8], mark: i64) {
        let place = match self.last {
            Some(place) if self.places.key(place) == Some(key) => place,
            _ => self.place_of(key, mark),
        };
        self.last = Some(place);
        let known = self.places.get_mut(place).expect("it is there, or has been put there");
        if mark > known.mark {
            known.mark = mark;
            self.is_moved |= self.slowest == Some(place);
        }
        known.heard = self.clock;
        self.note_change(place);
    }

    fn note_change(&mut self, place: u32) {
        let at = place as usize;
        if self.is_changed.len() <= at {
            self.is_changed.resize(at + 1, false);
        }
        if !std::mem::replace(&mut self.is_changed[at], true) {
            self.changed.push(place);
        }
    }

    fn place_of(&mut self, key: &[u8], mark: i64) -> u32 {
        if let Some(place) = self.places.find(key) {
            return place;
        }
        if self.places.len() >= self.most
            && let Some((_, place)) = self.by_heard.first(|place| heard(&self.places, place))
        {
            self.crowded_out += 1;
            self.forget(place);
        }
        let place = self.places.place_of(key, || Key { mark, heard: self.clock });
        self.note(place);
        place
    }

    /// A key is at a place where none was.
    pub(super) fn note(&mut self, place: u32) {
        self.key_bytes += self.places.key(place).map_or(0, <[u8]>::len);
        self.by_mark.insert(place, mark(&self.places, place));
        self.by_heard.insert(place, heard(&self.places, place));
        self.is_moved = true;
    }

    fn forget(&mut self, place: u32) {
        self.by_mark.remove(place);
        self.by_heard.remove(place);
        self.key_bytes -= self.places.key(place).map_or(0, <[u8]>::len);
        self.places.remove(place);
        self.note_change(place);
        self.is_moved |= self.slowest == Some(place);
    }

    /// Behind a record: who is idle is forgotten, and the watermark of the stream goes on to the least
    /// of the others. It does not begin before each key could be heard.
    fn settle(&mut self, current: &mut Option<EventTime>) {
        if let Some(timeout) = self.of.idle_micros {
            let idle = self.clock.saturating_sub(timeout);
            if idle < 0 {
                return;
            }
            while self.by_heard.bound().is_some_and(|bound| bound <= idle)
                && let Some((at, place)) = self.by_heard.first(|place| heard(&self.places, place))
                && at <= idle
            {
                self.forget(place);
            }
        }
        if self.is_moved {
            let least = self.by_mark.first(|place| mark(&self.places, place));
            *current = least.map(|(mark, _)| EventTime::from_micros(mark)).max(*current);
            (self.slowest, self.is_moved) = (least.map(|(_, place)| place), false);
        }
    }

    /// How they stand.
    #[cfg(feature = "db")]
    pub(crate) fn stand(&self) -> KeysStand {
        let place = match self.is_moved {
            // It has not begun.
            true => self.places.places().min_by_key(|place| mark(&self.places, *place)),
            false => self.slowest,
        };
        let slowest = place.and_then(|place| {
            let key = self.places.key(place)?;
            Some((self.of.text(key), EventTime::from_micros(mark(&self.places, place))))
        });
        KeysStand { count: self.places.len(), slowest, crowded_out: self.crowded_out }
    }
}

/// The watermark of a key.
fn mark(places: &Places<Key>, place: u32) -> i64 {
    places.get(place).map_or(i64::MAX, |key| key.mark)
}

/// The clock when a key was heard last.
fn heard(places: &Places<Key>, place: u32) -> i64 {
    places.get(place).map_or(i64::MAX, |key| key.heard)
}
