//! The least of many values that only rise.

use std::collections::BTreeSet;

/// Places in the order of values that they had at some time. One that has risen since is moved when it
/// comes to the front, so that values that rise further behind cost nothing.
#[derive(Debug, Default)]
pub(super) struct Lowest {
    order: BTreeSet<(i64, u32)>,
    /// The value by which each place is in order.
    noted: Vec<i64>,
}

impl Lowest {
    pub(super) fn insert(&mut self, place: u32, value: i64) {
        let at = place as usize;
        self.noted.resize(self.noted.len().max(at + 1), i64::MIN);
        self.noted[at] = value;
        self.order.insert((value, place));
    }

    pub(super) fn remove(&mut self, place: u32) {
        if let Some(noted) = self.noted.get(place as usize) {
            self.order.remove(&(*noted, place));
        }
    }

    /// No value is less than this.
    pub(super) fn bound(&self) -> Option<i64> {
        self.order.first().map(|(noted, _)| *noted)
    }

    /// The least value as they are now, and its place; of several the least place.
    pub(super) fn first(&mut self, value: impl Fn(u32) -> i64) -> Option<(i64, u32)> {
        loop {
            let (noted, place) = *self.order.first()?;
            let now = value(place);
            if now <= noted {
                return Some((noted, place));
            }
            self.remove(place);
            self.insert(place, now);
        }
    }
}
