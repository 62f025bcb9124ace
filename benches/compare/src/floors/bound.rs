//! A limit for one figure, fixed or by another figure of the same run.

use super::Verdict;
use crate::figures::{Case, Contender, Figure, Figures};

/// What a figure must be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound<W, E> {
    Least(f64),
    Most(f64),
    /// So many times the other, in the median of the rounds.
    LeastTimes(f64, Figure<W, E>),
    /// The same from above.
    MostTimes(f64, Figure<W, E>),
    /// The fixed limit, or the other figure where that is more.
    MostOrAs(f64, Figure<W, E>),
}

impl<W: Case, E: Contender> Bound<W, E> {
    /// The figure that ours is held against.
    #[cfg(test)]
    pub(super) fn other(self) -> Option<Figure<W, E>> {
        match self {
            Bound::Least(_) | Bound::Most(_) => None,
            Bound::LeastTimes(_, other)
            | Bound::MostTimes(_, other)
            | Bound::MostOrAs(_, other) => Some(other),
        }
    }

    /// What is needed, in words.
    pub(crate) fn says(self, ours: Figure<W, E>, figures: &Figures<W, E>) -> String {
        let show = |value| ours.metric.show(value);
        match self {
            Bound::Least(limit) => format!("at least {}", show(limit)),
            Bound::Most(limit) => format!("at most {}", show(limit)),
            Bound::LeastTimes(times, other) => format!("at least {times}x {}", name(other, ours)),
            Bound::MostTimes(times, other) => {
                format!("{} at most {times}x {}", ours.metric.label(), name(other, ours))
            }
            Bound::MostOrAs(limit, other) => {
                let theirs = figures.value(other).map_or("time".to_owned(), show);
                format!("at most {}, or the {theirs} of {}", show(limit), name(other, ours))
            }
        }
    }

    pub(crate) fn judge(self, ours: Figure<W, E>, figures: &Figures<W, E>) -> Verdict {
        let Some(value) = figures.value(ours) else {
            return Verdict::Fails("not measured".to_owned());
        };
        let has = ours.metric.show(value);
        match self {
            Bound::Least(limit) => verdict(value >= limit, has),
            Bound::Most(limit) => verdict(value <= limit, has),
            Bound::LeastTimes(times, other) => {
                by(ours, other, figures, |ratio| ratio.is_finite() && ratio >= times)
            }
            Bound::MostTimes(times, other) => by(ours, other, figures, |ratio| ratio <= times),
            // Without the other one, the fixed limit is all there is.
            Bound::MostOrAs(limit, other) => {
                let limit = figures.value(other).map_or(limit, |other| limit.max(other));
                verdict(value <= limit, has)
            }
        }
    }
}

/// Comparisons with NaN are false, so that a figure that is none does not hold.
fn verdict(holds: bool, has: String) -> Verdict {
    if holds { Verdict::Holds(has) } else { Verdict::Fails(has) }
}

fn by<W: Case, E: Contender>(
    ours: Figure<W, E>,
    other: Figure<W, E>,
    figures: &Figures<W, E>,
    holds: impl Fn(f64) -> bool,
) -> Verdict {
    if !figures.asked(other.work) {
        return Verdict::NotInThisRun(format!("{} was not run", other.work.name()));
    }
    match figures.ratio(ours, other) {
        Some(ratio) => verdict(holds(ratio), format!("{ratio:.2}x")),
        None if !other.engine.is_built_in() => {
            Verdict::NotInThisRun(format!("built without {}", other.engine.id()))
        }
        None => Verdict::Fails(format!("no figure of {}", name(other, ours))),
    }
}

/// The other figure, beside ours: by its engine where the work is the same, else by its work.
fn name<W: Case, E: Contender>(other: Figure<W, E>, ours: Figure<W, E>) -> String {
    let (engine, work) = (other.engine.name(), other.work.name());
    match () {
        () if other.engine == ours.engine => format!("its own {work}"),
        () if other.work == ours.work => engine.to_owned(),
        () => format!("{engine}, {work}"),
    }
}
