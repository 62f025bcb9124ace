//! What the devices send, minute by minute.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::error::ArrowError;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
/// 2026 began, in microseconds.
const NEW_YEAR: i64 = 1_767_225_600 * SECOND;
/// Readings come up to so much late; the watermark waits for half a minute.
const JITTER: i64 = 20 * SECOND;
/// One reading in so many comes much too late, once there were hours that it can be too late for.
const LATE_ONE_IN: u64 = 10_000;
/// Longer than any window or session is open: 10 minutes; 20 and the gap of 5.
const LATE_BY: i64 = 40 * MINUTE;

/// The readings of a minute, in the order in which they come, and how many of them are too late.
pub(crate) struct Minute {
    pub(crate) rows: RecordBatch,
    pub(crate) late: u64,
}

pub(crate) fn minute(number: u32, devices: u32) -> Result<Minute, ArrowError> {
    let begin = i64::from(number) * MINUTE;
    let (mut times, mut names, mut temps, mut late) = (Vec::new(), Vec::new(), Vec::new(), 0);
    // A third is silent: 10 of 30 minutes, others at other times.
    for device in (0..devices).filter(|device| (number + device * 17) % 30 < 20) {
        let chance = mixed(u64::from(number) << 32 | u64::from(device));
        let sent = begin + i64::from(device) * MINUTE / i64::from(devices);
        let jitter = i64::try_from(chance % 20_000).unwrap_or(0) * JITTER / 20_000;
        let is_late = begin > LATE_BY + 10 * MINUTE && (chance >> 20).is_multiple_of(LATE_ONE_IN);
        late += u64::from(is_late);
        times.push(NEW_YEAR + sent - if is_late { LATE_BY } else { jitter });
        names.push(format!("device-{device}"));
        // Up and down in six hours, and some noise.
        let hours = f64::from(number) / 60.0;
        let noise = (chance >> 40) % 60;
        temps.push(
            20.0 + 10.0 * (hours * 1.047).sin()
                + f64::from(u8::try_from(noise).unwrap_or(0)) / 10.0,
        );
    }
    let columns: [(&str, ArrayRef); 3] = [
        ("ts", Arc::new(TimestampMicrosecondArray::from(times))),
        ("device", Arc::new(StringArray::from(names))),
        ("temp", Arc::new(Float64Array::from(temps))),
    ];
    Ok(Minute { rows: RecordBatch::try_from_iter(columns)?, late })
}

/// The mixer of SplitMix64.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}
