//! What was measured, by work, engine and metric; what comes of several rounds, and ratios.

use std::collections::{BTreeMap, BTreeSet};

use std::fmt::Debug;

use crate::metric::Metric;
use crate::rounds::{median, ratio};

/// One kind of work: `db` and `mq` have their own.
pub(crate) trait Case: Copy + Ord + Debug + 'static {
    /// Its name in tables, in JSON and for `--only`.
    fn name(self) -> &'static str;
}

/// What is compared: `db` and `mq` have their own.
pub(crate) trait Contender: Copy + Ord + Debug + 'static {
    /// The one that floors are about.
    const OURS: Self;

    /// Its name in JSON and for child processes.
    fn id(self) -> &'static str;

    /// Its name in tables.
    fn name(self) -> &'static str;

    /// Whether this program was built with it. Floors that need one that it was not built with
    /// are not judged.
    fn is_built_in(self) -> bool {
        true
    }

    /// Whether it can be measured here.
    fn is_here(self) -> bool {
        self.is_built_in()
    }
}

/// Which figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Figure<W, E> {
    pub(crate) work: W,
    pub(crate) metric: Metric,
    pub(crate) engine: E,
}

/// All figures of one run of the program.
#[derive(Debug)]
pub(crate) struct Figures<W, E> {
    /// By round.
    values: BTreeMap<Figure<W, E>, BTreeMap<usize, f64>>,
    /// The works that this run is about; what is not among them is no fault.
    asked: BTreeSet<W>,
    /// What went wrong, with the engine at fault.
    faults: Vec<(E, String)>,
}

impl<W: Case, E: Contender> Figures<W, E> {
    /// No figures yet of these works.
    pub(crate) fn of(asked: impl IntoIterator<Item = W>) -> Figures<W, E> {
        let asked = asked.into_iter().collect();
        Figures { values: BTreeMap::new(), asked, faults: Vec::new() }
    }

    pub(crate) fn record(&mut self, round: usize, figure: Figure<W, E>, value: f64) {
        self.values.entry(figure).or_default().insert(round, value);
    }

    pub(crate) fn fault(&mut self, engine: E, what: String) {
        self.faults.push((engine, what));
    }

    pub(crate) fn asked(&self, work: W) -> bool {
        self.asked.contains(&work)
    }

    pub(crate) fn faults(&self) -> impl Iterator<Item = (E, &str)> {
        self.faults.iter().map(|(engine, what)| (*engine, what.as_str()))
    }

    /// The value over the rounds: their median; the least of device bytes, to which whoever else
    /// writes can only add.
    pub(crate) fn value(&self, figure: Figure<W, E>) -> Option<f64> {
        let values = self.values.get(&figure)?.values().copied();
        match figure.metric {
            Metric::DeviceBytesPerPut | Metric::DeviceBytesPerByte => values.min_by(f64::total_cmp),
            _ => median(values),
        }
    }

    /// One figure by the other, round by round: the median. Of device bytes, one value by the
    /// other.
    pub(crate) fn ratio(&self, figure: Figure<W, E>, by: Figure<W, E>) -> Option<f64> {
        if let Metric::DeviceBytesPerPut | Metric::DeviceBytesPerByte = figure.metric {
            return Some(self.value(figure)? / self.value(by)?);
        }
        let (figures, others) = (self.values.get(&figure)?, self.values.get(&by)?);
        let rounds = figures.iter();
        let (figures, others): (Vec<_>, Vec<_>) =
            rounds.map(|(round, value)| (Some(*value), others.get(round).copied())).unzip();
        ratio(&figures, &others)
    }

    /// Each figure there is with its value, by work, metric and engine.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Figure<W, E>, f64)> {
        self.values.keys().filter_map(|figure| Some((*figure, self.value(*figure)?)))
    }
}

/// Where one engine's figures of one round go.
#[derive(Debug)]
pub(crate) struct Sheet<'a, W, E> {
    pub(crate) figures: &'a mut Figures<W, E>,
    pub(crate) engine: E,
    pub(crate) round: usize,
}

impl<W: Case, E: Contender> Sheet<'_, W, E> {
    /// Keeps the figure, and shows it as progress.
    pub(crate) fn record(&mut self, work: W, metric: Metric, value: f64) {
        let figure = Figure { work, metric, engine: self.engine };
        self.figures.record(self.round, figure, value);
        match metric {
            Metric::PerSecond => eprint!(" {} {};", work.name(), metric.show(value)),
            _ => eprint!(" {} {} {};", work.name(), metric.label(), metric.show(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Engine, Work};

    fn figure(engine: Engine) -> Figure<Work, Engine> {
        Figure { work: Work::Put1, metric: Metric::PerSecond, engine }
    }

    #[test]
    fn ratios_compare_within_a_round() {
        let mut figures = Figures::of([Work::Put1]);
        for (round, ours, theirs) in [(1, 10.0, 1.0), (2, 200.0, 100.0), (3, 3_000.0, 1_000.0)] {
            figures.record(round, figure(Engine::EdgeDb), ours);
            figures.record(round, figure(Engine::Redb), theirs);
        }
        let (ours, theirs) = (figure(Engine::EdgeDb), figure(Engine::Redb));
        assert_eq!(figures.value(ours), Some(200.0));
        assert_eq!(figures.ratio(ours, theirs), Some(3.0));
    }

    #[test]
    fn of_device_bytes_the_least_counts() {
        let mut figures = Figures::of([Work::Wear1]);
        let figure =
            |engine| Figure { work: Work::Wear1, metric: Metric::DeviceBytesPerPut, engine };
        let (ours, theirs) = (figure(Engine::EdgeDb), figure(Engine::Redb));
        for (round, our, their) in [(1, 90.0, 30.0), (2, 10.0, 70.0), (3, 50.0, 20.0)] {
            figures.record(round, ours, our);
            figures.record(round, theirs, their);
        }
        assert_eq!(figures.value(ours), Some(10.0));
        assert_eq!(figures.ratio(ours, theirs), Some(0.5));
    }

    #[test]
    fn a_round_that_one_of_them_lacks_is_left_out_of_the_ratio() {
        let mut figures = Figures::of([Work::Put1]);
        figures.record(1, figure(Engine::EdgeDb), 8.0);
        figures.record(2, figure(Engine::EdgeDb), 6.0);
        figures.record(2, figure(Engine::Redb), 3.0);
        let (ours, theirs) = (figure(Engine::EdgeDb), figure(Engine::Redb));
        assert_eq!(figures.ratio(ours, theirs), Some(2.0));
        assert_eq!(figures.ratio(ours, figure(Engine::Fjall)), None);
    }
}
