//! Rows whose clock runs ahead: their event time lies too far behind the arrival of their record.
//!
//! They are told by what is stored with the record, not by a clock: each query, and each replay,
//! leaves out the same rows.

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, max};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use chrono::{DateTime, SecondsFormat};
use edge_db::RecordRef;

use super::{Decoded, OfRecords, Rejected};
use crate::sql::times::Span;

/// 2020 began, in microseconds. A record that came before that came to a gateway whose own clock
/// was not set: it says nothing about the clocks of others.
const UNSET: i64 = 1_577_836_800_000_000;

/// Rows of `records` without those whose event time, in this column, is more than `most` ahead.
pub(super) fn without<'a>(
    rows: RecordBatch,
    (column, most): (usize, &Span),
    records: impl Iterator<Item = RecordRef<'a>> + Clone,
    of: &OfRecords,
) -> Result<Decoded, ArrowError> {
    let arrivals = records.map(|record| record.time().micros());
    let times = rows.column(column).as_primitive::<TimestampMicrosecondType>();
    if max(times) <= arrivals.clone().map(|arrived| latest(arrived, most)).min() {
        return Ok(rows.into());
    }
    let arrivals: Vec<_> = arrivals.collect();
    let (mut is_kept, mut rejected) = (Vec::with_capacity(times.len()), Vec::<Rejected>::new());
    for (row, time) in times.values().iter().enumerate() {
        let place = of.record(row);
        is_kept.push(*time <= latest(arrivals[place], most));
        if is_kept[row] {
            continue;
        }
        match rejected.last_mut().filter(|last| last.place == place) {
            Some(last) => last.rows_ahead += 1,
            None => {
                let name = rows.schema_ref().field(column).name();
                let reason = reason(name, *time, most, arrivals[place]);
                rejected.push(Rejected { place, reason, rows_ahead: 1 });
            }
        }
    }
    for one in rejected.iter_mut().filter(|one| of.rows_of(one.place) > 1) {
        one.reason = format!("in {} of its rows {}", one.rows_ahead, one.reason);
    }
    let rows = filter_record_batch(&rows, &BooleanArray::from(is_kept))?;
    Ok(Decoded { rows, rejected })
}

/// The latest time of a row that comes then.
pub(super) fn latest(arrived: i64, most: &Span) -> i64 {
    if arrived < UNSET { i64::MAX } else { arrived.saturating_add(most.micros) }
}

/// Why a row of this time is none, or would be if it came now.
pub(super) fn reason(column: &str, time: i64, most: &Span, arrived: i64) -> String {
    let (time, arrived) = (rfc3339(time), rfc3339(arrived));
    format!("`{column}` is {time}, and it came at {arrived}: more than max_ahead = {most} ahead")
}

/// A time as text.
pub(crate) fn rfc3339(micros: i64) -> String {
    let time = DateTime::from_timestamp_micros(micros);
    time.map_or(micros.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}
