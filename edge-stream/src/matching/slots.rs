//! The rows of an attempt that conditions look back at.

/// A row among those of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Anchor {
    /// So many behind the first.
    First(u32),
    /// So many in front of the last.
    Last(u32),
}

/// A row of a variable, or where that is `None` of the whole match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Reference {
    pub(crate) variable: Option<usize>,
    pub(crate) anchor: Anchor,
}

/// Which rows of each variable are to be known while a match is under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slotted {
    /// For each variable how many of its first and last rows.
    of: Vec<(usize, usize)>,
}

/// These rows, by their places in the attempt: for each variable its first ones, then its last
/// ones from the newest back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Slots(Box<[Option<u32>]>);

impl Slotted {
    /// What conditions refer to.
    pub(crate) fn new(
        variables: usize,
        references: impl IntoIterator<Item = Reference>,
    ) -> Slotted {
        let mut of = vec![(0, 0); variables];
        for Reference { variable, anchor } in references {
            let Some(variable) = variable else { continue };
            let (firsts, lasts): &mut (usize, usize) = &mut of[variable];
            match anchor {
                Anchor::First(behind) => *firsts = (*firsts).max(behind as usize + 1),
                Anchor::Last(in_front) => *lasts = (*lasts).max(in_front as usize + 1),
            }
        }
        Slotted { of }
    }

    pub(super) fn empty(&self) -> Slots {
        let len = self.of.iter().map(|(firsts, lasts)| firsts + lasts).sum();
        Slots(vec![None; len].into())
    }

    fn start(&self, variable: usize) -> usize {
        self.of[..variable].iter().map(|(firsts, lasts)| firsts + lasts).sum()
    }

    /// The same, once a row is of a variable.
    pub(super) fn with(&self, slots: &Slots, variable: usize, row: u32) -> Slots {
        let mut slots = slots.clone();
        let ((firsts, lasts), start) = (self.of[variable], self.start(variable));
        let (first, last) = slots.0[start..start + firsts + lasts].split_at_mut(firsts);
        if let Some(free) = first.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(row);
        }
        last.rotate_right(usize::from(!last.is_empty()));
        if let Some(newest) = last.first_mut() {
            *newest = Some(row);
        }
        slots
    }

    /// The row that is meant while `current` is looked at as the next row, of variable `own`.
    pub(crate) fn find(
        &self,
        slots: &Slots,
        Reference { variable, anchor }: Reference,
        own: usize,
        current: u32,
    ) -> Option<u32> {
        let Some(variable) = variable else {
            return match anchor {
                Anchor::First(behind) => Some(behind).filter(|row| *row <= current),
                Anchor::Last(in_front) => current.checked_sub(in_front),
            };
        };
        let ((firsts, lasts), start) = (self.of[variable], self.start(variable));
        let (first, last) = slots.0[start..start + firsts + lasts].split_at(firsts);
        let is_own = variable == own;
        match anchor {
            Anchor::Last(0) if is_own => Some(current),
            Anchor::Last(in_front) => *last.get((in_front as usize) - usize::from(is_own))?,
            Anchor::First(behind) => {
                let known = first.iter().flatten().count();
                let next = (is_own && known == behind as usize).then_some(current);
                first.get(behind as usize).copied().flatten().or(next)
            }
        }
    }
}
