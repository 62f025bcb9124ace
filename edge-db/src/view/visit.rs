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
        while let Some(behind) = sides
            .visit_tree(|show| tree.visit(from.as_ref().map(Vec::as_slice), to, show), &mut visit)?
        {
            if is_empty(Bound::Included(&behind), to) {
                break;
            }
            from = Bound::Included(behind.to_vec());
        }
        Ok(())
    }
}

/// Memory tables over the tree, the younger first.
struct Sides(Vec<Side>);

impl Sides {
    /// Merges what `walk` shows of the tree; gives the key to go on from if it should skip what was
    /// erased in front of that.
    fn visit_tree(
        &mut self,
        walk: impl FnOnce(&mut Show<'_>) -> Result<(), StoreError>,
        visit: &mut impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<Option<Bytes>, StoreError> {
        let mut erased = 0;
        let mut behind = None;
        let mut is_over = false;
        walk(&mut |key, value| {
            let shown = self.visit_up_to(Some(key), visit);
            let is_hidden = match shown {
                ControlFlow::Continue(is_hidden) => is_hidden,
                ControlFlow::Break(()) => {
                    is_over = true;
                    return ControlFlow::Break(());
                }
            };
            let erasing = self.0.iter().find_map(|side| side.erasing(key));
            match erasing {
                Some((_, end)) if erased == WALKED => {
                    behind = Some(end);
                    return ControlFlow::Break(());
                }
                Some(_) => erased += 1,
                None => erased = 0,
            }
            if is_hidden || erased > 0 {
                return ControlFlow::Continue(());
            }
            let flow = visit(key, value);
            is_over = flow.is_break();
            flow
        })?;
        if behind.is_none() && !is_over {
            // It ends here whether this breaks or not.
            is_over = self.visit_up_to(None, visit).is_break();
        }
        Ok(behind.filter(|_| !is_over))
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
