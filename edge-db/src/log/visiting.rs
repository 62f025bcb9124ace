//! Looking at the records of a Log where they lie.

use std::ops::{Bound, ControlFlow};

use super::{Log, RecordRef, chunk, chunk_last};
use crate::Seq;
use crate::error::ReadError;
use crate::view::View;

impl Log {
    /// Shows the records from `from` on to `show`, in order, until that breaks. Copies nothing
    /// but what is compressed.
    pub(crate) fn visit_in(
        &self,
        view: &View,
        from: Seq,
        mut show: impl FnMut(RecordRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let (start, end) = (self.space().chunk_key(from), self.space().next().prefix());
        let mut damaged = None;
        view.visit(Bound::Included(&start), Bound::Excluded(&end), |key, stored| {
            let mut flow = ControlFlow::Continue(());
            let mut watched = |record: RecordRef<'_>| {
                flow = show(record);
                flow
            };
            let visited = match chunk_last(key) {
                Some(last) => chunk::visit(stored, last, from, &mut watched)
                    .map_err(|source| self.value_error(source)),
                None => Err(self.key_error()),
            };
            match visited {
                Ok(()) => flow,
                Err(error) => {
                    damaged = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        damaged.map_or(Ok(()), Err)
    }
}
