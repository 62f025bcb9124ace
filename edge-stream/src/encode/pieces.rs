//! Batches as Arrow IPC streams, none of which is too large for a record or a message.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use crate::decode::payload_of;

/// Rows and bytes of one payload.
const PIECE_ROWS: usize = 8_192;
const PIECE_BYTES: usize = 512 << 10;

/// The batch in payloads, so that no step of a job that reads them takes too much at once.
pub(crate) fn pieces(batch: &RecordBatch) -> Result<Vec<Vec<u8>>, ArrowError> {
    let rows = batch.num_rows();
    let row_bytes = batch.get_array_memory_size() / rows.max(1);
    let step = (PIECE_BYTES / row_bytes.max(1)).clamp(1, PIECE_ROWS);
    let slices = (0..rows).step_by(step).map(|from| batch.slice(from, step.min(rows - from)));
    slices.map(|slice| payload_of(&slice)).collect()
}
