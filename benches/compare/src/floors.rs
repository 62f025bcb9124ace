//! What edge-db and edge-mq must reach, and whether they did.

mod bound;

pub(crate) use bound::Bound;

use crate::figures::{Case, Contender, Figure, Figures};
use crate::table::Table;

/// One demand on one figure of ours.
#[derive(Debug)]
pub(crate) struct Floor<W, E> {
    /// What it is about.
    pub(crate) work: &'static str,
    pub(crate) ours: Figure<W, E>,
    pub(crate) bound: Bound<W, E>,
}

/// Whether a floor holds, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Holds(String),
    Fails(String),
    /// Nobody asked for the works that it needs, or the program was built without an engine.
    NotInThisRun(String),
}

impl<W: Case, E: Contender> Floor<W, E> {
    pub(crate) fn judge(&self, figures: &Figures<W, E>) -> Verdict {
        if !figures.asked(self.ours.work) {
            return Verdict::NotInThisRun(format!("{} was not run", self.ours.work.name()));
        }
        self.bound.judge(self.ours, figures)
    }
}

/// All floors with their verdicts.
#[derive(Debug)]
pub(crate) struct Judged {
    /// Of whom.
    name: &'static str,
    rows: Vec<(&'static str, String, Verdict)>,
}

impl Judged {
    pub(crate) fn of<W: Case, E: Contender>(
        floors: &[Floor<W, E>],
        figures: &Figures<W, E>,
    ) -> Judged {
        let row = |floor: &Floor<W, E>| {
            (floor.work, floor.bound.says(floor.ours, figures), floor.judge(figures))
        };
        Judged { name: E::OURS.name(), rows: floors.iter().map(row).collect() }
    }

    /// Whether none fails.
    pub(crate) fn none_fails(&self) -> bool {
        self.count(|verdict| matches!(verdict, Verdict::Fails(_))) == 0
    }

    fn count(&self, is: impl Fn(&Verdict) -> bool) -> usize {
        self.rows.iter().filter(|(_, _, verdict)| is(verdict)).count()
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(&[&format!("floor of {}", self.name), "needs", "has", "holds"]);
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
    pub(crate) fn summary(&self) -> String {
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
pub(crate) mod tests;
