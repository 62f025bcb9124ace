//! What is measured together, how often, and the rounds A B A B in which peers take turns.

use std::time::Instant;

use crate::Result;
use crate::figures::{Case, Contender, Figures, Sheet};
use crate::options::Options;

/// Works that one measurement yields together. `B` is what it needs to know.
#[derive(Debug)]
pub(crate) struct Run<W: 'static, E: 'static, B> {
    pub(crate) works: &'static [W],
    pub(crate) engines: &'static [E],
    pub(crate) often: Often,
    pub(crate) measure: fn(&B, &mut Sheet<'_, W, E>) -> Result<()>,
}

/// In which rounds a run takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Often {
    /// In each.
    EachRound,
    /// In each, but only in the first with `--quick`: it takes long.
    OnceIfQuick,
    /// In the first, and not at all with `--quick`.
    OnceUnlessQuick,
}

impl Often {
    pub(crate) fn includes(self, round: usize, quick: bool) -> bool {
        match self {
            Often::EachRound => true,
            Often::OnceIfQuick => round == 1 || !quick,
            Often::OnceUnlessQuick => round == 1 && !quick,
        }
    }
}

impl<W: Case, E: Contender, B> Run<W, E, B> {
    fn is_asked(&self, options: &Options) -> bool {
        self.works.iter().any(|work| options.wants(work.name()))
    }

    /// Lets each engine do it once, ours first. One that fails is told of, and does not stop the
    /// others.
    fn measure(&self, bench: &B, round: usize, figures: &mut Figures<W, E>) {
        for engine in self.engines.iter().copied().filter(|engine| engine.is_here()) {
            eprint!("round {round}: {}:", engine.name());
            let start = Instant::now();
            let outcome = (self.measure)(bench, &mut Sheet { figures, engine, round });
            eprintln!(" ({:.1} s)", start.elapsed().as_secs_f64());
            if let Err(error) = outcome {
                let works: Vec<&str> = self.works.iter().map(|work| work.name()).collect();
                let fault = format!("{}, round {round}: {error}", works.join(", "));
                eprintln!("{}: {fault}", engine.name());
                figures.fault(engine, fault);
            }
        }
    }
}

/// Measures in all rounds what the command line asks for.
pub(crate) fn measure<W: Case, E: Contender, B>(
    runs: &[Run<W, E, B>],
    bench: &B,
    options: &Options,
) -> Figures<W, E> {
    let mut figures = Figures::of(asked(runs, options));
    for round in 1..=options.rounds {
        for run in runs.iter().filter(|run| run.is_asked(options)) {
            if run.often.includes(round, options.quick) {
                run.measure(bench, round, &mut figures);
            }
        }
    }
    figures
}

/// The works that this run of the program is about.
fn asked<W: Case, E, B>(runs: &[Run<W, E, B>], options: &Options) -> impl Iterator<Item = W> {
    let runs = runs.iter().filter(|run| run.often.includes(1, options.quick));
    runs.flat_map(|run| run.works).copied().filter(|work| options.wants(work.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_leaves_out_what_takes_long() {
        let rounds = |often: Often, quick| [1, 2].map(|round| often.includes(round, quick));
        assert_eq!(rounds(Often::EachRound, true), [true, true]);
        assert_eq!(rounds(Often::OnceIfQuick, true), [true, false]);
        assert_eq!(rounds(Often::OnceIfQuick, false), [true, true]);
        assert_eq!(rounds(Often::OnceUnlessQuick, true), [false, false]);
    }
}
