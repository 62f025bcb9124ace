//! Looks up for the ledger which chunks of a Log may be dropped next.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use super::{chunk, chunk_last};
use crate::Seq;
use crate::error::{ReadError, StoreError};
use crate::ledger::StoredChunk;
use crate::space::Space;
use crate::store::Store;

/// Chunks looked at in one step while room is made; the ledger keeps what it was told of them.
const OLDEST_CHUNKS: usize = 16;

/// The oldest chunks that are stored, from the one that holds `from` on.
pub(crate) fn oldest_chunks(
    store: &Arc<Store>,
    log: Space,
    from: Seq,
) -> Result<Vec<StoredChunk>, StoreError> {
    let view = store.view().map_err(|error| match error {
        ReadError::Store(error) => error,
        other => StoreError::new("read", other),
    })?;
    let (start, end) = (log.chunk_key(from), log.next().prefix());
    let mut chunks = Vec::with_capacity(OLDEST_CHUNKS);
    let mut damaged = None;
    view.visit(Bound::Included(&start), Bound::Excluded(&end), |key, stored| {
        match stored_chunk(key, stored) {
            Ok(chunk) => chunks.push(chunk),
            Err(error) => damaged = Some(error),
        }
        let more = damaged.is_none() && chunks.len() < OLDEST_CHUNKS;
        if more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    damaged.map_or(Ok(chunks), Err)
}

fn stored_chunk(key: &[u8], stored: &[u8]) -> Result<StoredChunk, StoreError> {
    let front = chunk::front(stored).map_err(|error| StoreError::new("read", error))?;
    let records = chunk_last(key).and_then(|last| front.positions(last));
    let records = records.ok_or_else(|| StoreError::new("read", "a chunk's key is damaged"))?;
    Ok(StoredChunk { records, end_bytes: front.end_bytes, latest: front.latest })
}
