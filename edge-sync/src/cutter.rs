//! Cuts segments from a Log: reads rows and encodes them. Blocking; runs beside the runtime.

use std::ops::Range;

use bytes::Bytes;
use edge_db::{Log, ReadError, Record, Seq};

use crate::edge_id::EdgeId;
use crate::outbox::{Digest, Intent};
use crate::segment::{self, About};

/// The keys and values of a segment are about this long at most, so that encoding it needs no
/// more than a few times that in memory.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;

/// Makes segments of one Log.
#[derive(Debug, Clone)]
pub(crate) struct Cutter {
    log: Log,
    edge: EdgeId,
    epoch: u64,
}

/// A segment before it has a number.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) range: Range<Seq>,
    pub(crate) gap: bool,
    pub(crate) bytes: Bytes,
    pub(crate) digest: Digest,
}

enum Rows {
    Kept(Vec<Record>),
    /// Retention has dropped these.
    Missing(Range<Seq>),
}

impl Cutter {
    pub(crate) fn new(log: Log, edge: EdgeId, epoch: u64) -> Cutter {
        Cutter { log, edge, epoch }
    }

    /// The segment of up to `max_rows` rows from `first` on, or the gap marker for those that the
    /// Log no longer holds.
    pub(crate) fn cut(&self, first: Seq, max_rows: u64) -> Result<Cut, ReadError> {
        match self.rows(first, max_rows)? {
            Rows::Kept(records) => {
                let range = first..first.plus(records.len() as u64);
                Ok(self.encode(range, false, &records))
            }
            Rows::Missing(range) => Ok(self.encode(range, true, &[])),
        }
    }

    /// The intended segment made again; another one, by its digest, if its rows are gone or this
    /// build encodes them otherwise.
    pub(crate) fn again(&self, intent: &Intent) -> Result<Cut, ReadError> {
        match intent.gap {
            true => Ok(self.encode(intent.first..intent.next, true, &[])),
            false => self.cut(intent.first, intent.rows()),
        }
    }

    fn encode(&self, range: Range<Seq>, gap: bool, records: &[Record]) -> Cut {
        let about = About {
            edge: self.edge.as_str(),
            stream: self.log.name(),
            epoch: self.epoch,
            first: range.start,
            next: range.end,
            gap,
        };
        let bytes = segment::encode(&about, records).expect("segment::columns fits its schema");
        let digest = segment::digest(&bytes);
        Cut { range, gap, bytes, digest }
    }

    fn rows(&self, first: Seq, max_rows: u64) -> Result<Rows, ReadError> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        let mut next = first;
        while bytes < SEGMENT_BYTES && next.since(first) < max_rows {
            let wanted = usize::try_from(max_rows - next.since(first)).unwrap_or(usize::MAX);
            let records = self.log.read(next, wanted)?;
            match records.missing() {
                Some(missing) if rows.is_empty() => return Ok(Rows::Missing(missing)),
                Some(_) => break,
                None if records.is_empty() => break,
                None => {}
            }
            bytes += records.iter().map(|r| r.key().len() + r.value().len()).sum::<usize>();
            next = records.next();
            rows.extend(records);
        }
        Ok(Rows::Kept(rows))
    }
}
