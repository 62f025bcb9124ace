//! The search for a match that begins at one row, row by row.
//!
//! All ways through the pattern are followed at once, in the order in which they are preferred. What
//! has been found stands once no way that is preferred to it is left. Two ways that stand at one step
//! and look back at the same rows go on alike, so the second of them is dropped.

use std::collections::HashSet;
use std::sync::Arc;

use super::pattern::{Program, Step};
use super::slots::{Slots, Slotted};

/// Ways that are followed at a time.
const MAX_WAYS: usize = 10_000;

/// More ways through a pattern are to be followed than there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crowded {
    pub(crate) limit: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// The preferred ones first.
    ways: Vec<Way>,
    /// Rows that have been looked at.
    rows: u32,
    found: Option<Path>,
}

/// Whether more rows can change the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Open,
    Decided,
}

/// One way through the pattern, about to take a row.
#[derive(Debug, Clone)]
struct Way {
    step: usize,
    variable: usize,
    slots: Slots,
    path: Path,
}

/// The variables of the rows so far; ways have what they were before they parted in common.
#[derive(Debug, Clone, Default)]
struct Path(Option<Arc<Link>>);

#[derive(Debug)]
struct Link {
    variable: usize,
    before: Path,
}

impl Path {
    fn with(&self, variable: usize) -> Path {
        Path(Some(Arc::new(Link { variable, before: self.clone() })))
    }

    fn variables(&self) -> Vec<usize> {
        let links = std::iter::successors(self.0.as_deref(), |link| link.before.0.as_deref());
        let mut variables: Vec<_> = links.map(|link| link.variable).collect();
        variables.reverse();
        variables
    }
}

impl Drop for Path {
    /// Not by recursion: a path may be as long as what waits.
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(mut link) = next.and_then(Arc::into_inner) {
            next = link.before.0.take();
        }
    }
}

impl Attempt {
    pub(crate) fn new(program: &Program, slotted: &Slotted) -> Attempt {
        let mut attempt = Attempt { ways: Vec::new(), rows: 0, found: None };
        let mut next = Next { program, ways: Vec::new(), seen: HashSet::new() };
        next.add(0, &slotted.empty(), &Path::default());
        attempt.ways = next.ways;
        attempt
    }

    /// Rows that have been looked at.
    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    /// Looks at the next row. `holds` says whether it may be a variable, where these rows are known.
    pub(crate) fn advance<E: From<Crowded>>(
        &mut self,
        program: &Program,
        slotted: &Slotted,
        mut holds: impl FnMut(usize, &Slots) -> Result<bool, E>,
    ) -> Result<Status, E> {
        let mut next = Next { program, ways: Vec::new(), seen: HashSet::new() };
        for way in &self.ways {
            if !holds(way.variable, &way.slots)? {
                continue;
            }
            let slots = slotted.with(&way.slots, way.variable, self.rows);
            let path = way.path.with(way.variable);
            if next.add(way.step + 1, &slots, &path) {
                // All that are preferred less can go no better.
                self.found = Some(path);
                break;
            }
            if next.ways.len() > MAX_WAYS {
                return Err(Crowded { limit: MAX_WAYS }.into());
            }
        }
        self.ways = next.ways;
        self.rows += 1;
        Ok(if self.ways.is_empty() { Status::Decided } else { Status::Open })
    }

    /// The variable of each row of the match, if there is one; no more rows come to it.
    pub(crate) fn finish(self) -> Option<Vec<usize>> {
        self.found.map(|path| path.variables())
    }
}

/// The ways to be followed from the next row on.
struct Next<'a> {
    program: &'a Program,
    ways: Vec<Way>,
    seen: HashSet<(usize, Slots)>,
}

impl Next<'_> {
    /// Adds the ways from a step on, the preferred ones first, up to one that is a match: whether
    /// there is one.
    fn add(&mut self, from: usize, slots: &Slots, path: &Path) -> bool {
        let mut rest = vec![from];
        while let Some(step) = rest.pop() {
            if !self.seen.insert((step, slots.clone())) {
                continue;
            }
            match self.program.steps[step] {
                Step::Found => return true,
                Step::Jump(to) => rest.push(to),
                Step::Either(first, second) => rest.extend([second, first]),
                Step::Row(variable) => {
                    let (slots, path) = (slots.clone(), path.clone());
                    self.ways.push(Way { step, variable, slots, path });
                }
            }
        }
        false
    }
}
