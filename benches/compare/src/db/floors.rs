//! What edge-db must reach, and whether it did.

mod bound;
mod list;

pub(super) use list::floors;

use self::bound::Bound;
use super::figures::{Figure, Figures};
use crate::table::Table;

/// One demand on one figure of edge-db.
#[derive(Debug)]
pub(super) struct Floor {
    /// What it is about.
    work: &'static str,
    ours: Figure,
    bound: Bound,
}

/// Whether a floor holds, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Holds(String),
    Fails(String),
    /// Nobody asked for the works that it needs, or the program was built without an engine.
    NotInThisRun(String),
}

impl Floor {
    pub(super) fn judge(&self, figures: &Figures) -> Verdict {
        if !figures.asked(self.ours.work) {
            return Verdict::NotInThisRun(format!("{} was not run", self.ours.work.name()));
        }
        self.bound.judge(self.ours, figures)
    }
}

/// All floors with their verdicts.
#[derive(Debug)]
pub(super) struct Judged {
    rows: Vec<(&'static str, String, Verdict)>,
}

impl Judged {
    pub(super) fn of(floors: &[Floor], figures: &Figures) -> Judged {
        let row = |floor: &Floor| {
            (floor.work, floor.bound.says(floor.ours, figures), floor.judge(figures))
        };
        Judged { rows: floors.iter().map(row).collect() }
    }

    /// Whether none fails.
    pub(super) fn none_fails(&self) -> bool {
        self.count(|verdict| matches!(verdict, Verdict::Fails(_))) == 0
    }

    fn count(&self, is: impl Fn(&Verdict) -> bool) -> usize {
        self.rows.iter().filter(|(_, _, verdict)| is(verdict)).count()
    }

    pub(super) fn table(&self) -> Table {
        let mut table = Table::new(&["floor of edge-db", "needs", "has", "holds"]);
        for (work, needs, verdict) in &self.rows {
            let (has, holds) = match verdict {
                Verdict::Holds(has) => (has, "yes"),
                Verdict::Fails(has) => (has, "NO"),
                Verdict::NotInThisRun(why) => (why, "-"),
            };
            table.row([(*work).to_owned(), needs.clone(), has.clone(), holds.to_owned()]);
        }
        table
    }

    /// The counts of verdicts, as one sentence.
    pub(super) fn summary(&self) -> String {
        let holds = self.count(|verdict| matches!(verdict, Verdict::Holds(_)));
        let fail = self.count(|verdict| matches!(verdict, Verdict::Fails(_)));
        let others = self.rows.len() - holds - fail;
        format!(
            "{} floors: {holds} hold, {fail} do not, {others} cannot be told from this run.",
            self.rows.len()
        )
    }
}

#[cfg(test)]
mod tests;
