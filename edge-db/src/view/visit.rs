//! Entries shown in order where they lie, for who need not keep them: nothing of the tree is copied
//! or counted as used, which is what iterating over it costs most.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use super::{Side, View, is_empty};
use crate::error::StoreError;
use crate::revision::Revision;
use crate::tree::Show;

/// So many entries of an erased range are walked through before the tree is searched for its end.
const WALKED: usize = 8;

impl View {
    /// Shows every entry between the bounds to `visit`, until that breaks.
    pub(crate) fn visit(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        if is_empty(from, to) {
            return Ok(());
        }
        let mut sides = Sides(self.sides(&[], Revision::ZERO, from, to));
        let tree = &self.open.layers.base.tree;
        if sides.0.is_empty() {
            // Settled data: nothing to merge.
            return tree.visit(from, to, visit);
        }
        let mut from = from.map(<[u8]>::to_vec);
        loop {
            let walk = |show: &mut Show<'_>| tree.visit(from.as_ref().map(Vec::as_slice), to, show);
            match sides.visit_tree(walk, &mut visit)? {
                ControlFlow::Break(()) => return Ok(()),
                ControlFlow::Continue(Some(behind)) if !is_empty(Bound::Included(&behind), to) => {
                    from = Bound::Included(behind.to_vec());
                }
                ControlFlow::Continue(_) => break,
            }
        }
        match sides.visit_up_to(None, &mut visit) {
            // It ends here, whether this broke or not.
            ControlFlow::Continue(_) | ControlFlow::Break(()) => Ok(()),
        }
    }
}

/// Memory tables over the tree, the younger first.
struct Sides(Vec<Side>);

impl Sides {
    /// Merges what `walk` shows of the tree, until `visit` breaks; gives the key to go on from if it
    /// should skip what was erased in front of that. What the tables have behind the last entry of
    /// the tree is not shown yet.
    fn visit_tree(
        &mut self,
        walk: impl FnOnce(&mut Show<'_>) -> Result<(), StoreError>,
        visit: &mut impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<(), Option<Bytes>>, StoreError> {
        let mut erased = 0;
        let mut ended = ControlFlow::Continue(None);
        walk(&mut |key, value| {
            ended = self.visit_entry(key, value, &mut erased, visit);
            match ended {
                ControlFlow::Continue(None) => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        })?;
        Ok(ended)
    }

    /// Shows what comes up to and with one entry of the tree. `erased` counts those in a row that
    /// are in an erased range; gives its end if that is better searched for.
    fn visit_entry(
        &mut self,
        key: &[u8],
        value: &[u8],
        erased: &mut usize,
        visit: &mut impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<(), Option<Bytes>> {
        let is_hidden = self.visit_up_to(Some(key), visit)?;
        if let Some((_, end)) = self.0.iter().find_map(|side| side.erasing(key)) {
            *erased += 1;
            return ControlFlow::Continue((*erased > WALKED).then_some(end));
        }
        *erased = 0;
        if !is_hidden {
            visit(key, value)?;
        }
        ControlFlow::Continue(None)
    }

    /// Shows what the tables have up to and with a key, or all that is left; whether they say
    /// anything of the key.
    fn visit_up_to(
        &mut self,
        key: Option<&[u8]>,
        visit: &mut impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<(), bool> {
        loop {
            let mut first: Option<(usize, &Bytes)> = None;
            for (place, side) in self.0.iter_mut().enumerate() {
                // On equal keys the younger one wins, which comes first.
                if let Some(next) = side.peek(true)
                    && first.is_none_or(|(_, first)| next < first)
                {
                    first = Some((place, next));
                }
            }
            let Some((place, next)) = first else { return ControlFlow::Continue(false) };
            if key.is_some_and(|key| next > key) {
                return ControlFlow::Continue(false);
            }
            let next = next.clone();
            if let Some(value) = super::take(&mut self.0, place, &next, true) {
                visit(&next, &value)?;
            }
            if key.is_some_and(|key| next == key) {
                return ControlFlow::Continue(true);
            }
        }
    }
}
