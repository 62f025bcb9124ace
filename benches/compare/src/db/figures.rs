//! What was measured, by work, engine and metric; what comes of several rounds, and ratios.

use std::collections::{BTreeMap, BTreeSet};

use super::engine::Engine;
use super::work::{Metric, Work};
use crate::rounds::{median, ratio};

/// Which figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Figure {
    pub(super) work: Work,
    pub(super) metric: Metric,
    pub(super) engine: Engine,
}

/// All figures of one run of the program.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// By round.
    values: BTreeMap<Figure, BTreeMap<usize, f64>>,
    /// The works that this run is about; what is not among them is no fault.
    asked: BTreeSet<Work>,
    /// What went wrong, with the engine at fault.
    faults: Vec<(Engine, String)>,
}

impl Figures {
    /// No figures yet of these works.
    pub(super) fn of(asked: impl IntoIterator<Item = Work>) -> Figures {
        Figures { asked: asked.into_iter().collect(), ..Figures::default() }
    }

    pub(super) fn record(&mut self, round: usize, figure: Figure, value: f64) {
        self.values.entry(figure).or_default().insert(round, value);
    }

    pub(super) fn fault(&mut self, engine: Engine, what: String) {
        self.faults.push((engine, what));
    }

    pub(super) fn asked(&self, work: Work) -> bool {
        self.asked.contains(&work)
    }

    pub(super) fn faults(&self) -> impl Iterator<Item = (Engine, &str)> {
        self.faults.iter().map(|(engine, what)| (*engine, what.as_str()))
    }

    /// The value over the rounds: their median; the least of device bytes, to which whoever else
    /// writes can only add.
    pub(super) fn value(&self, figure: Figure) -> Option<f64> {
        let values = self.values.get(&figure)?.values().copied();
        match figure.metric {
            Metric::DeviceBytesPerPut | Metric::DeviceBytesPerByte => values.min_by(f64::total_cmp),
            _ => median(values),
        }
    }

    /// One figure by the other, round by round: the median. Of device bytes, one value by the
    /// other.
    pub(super) fn ratio(&self, figure: Figure, by: Figure) -> Option<f64> {
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
    pub(super) fn all(&self) -> impl Iterator<Item = (Figure, f64)> {
        self.values.keys().filter_map(|figure| Some((*figure, self.value(*figure)?)))
    }
}

/// Where one engine's figures of one round go.
#[derive(Debug)]
pub(super) struct Sheet<'a> {
    pub(super) figures: &'a mut Figures,
    pub(super) engine: Engine,
    pub(super) round: usize,
}

impl Sheet<'_> {
    /// Keeps the figure, and shows it as progress.
    pub(super) fn record(&mut self, work: Work, metric: Metric, value: f64) {
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

    fn figure(engine: Engine) -> Figure {
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
