//! Floors hold, fail, or cannot be told: each of them by what was measured.

use super::*;
use crate::db::{Engine, Work};
use crate::metric::Metric;

type Bound = super::Bound<Work, Engine>;
type Figure = crate::figures::Figure<Work, Engine>;
type Figures = crate::figures::Figures<Work, Engine>;

const OURS: Figure = figure(Engine::EdgeDb);

const fn figure(engine: Engine) -> Figure {
    Figure { work: Work::Put16, metric: Metric::PerSecond, engine }
}

fn measured(values: &[(Engine, f64)]) -> Figures {
    let mut figures = Figures::of(Work::ALL);
    for (engine, value) in values {
        figures.record(1, figure(*engine), *value);
    }
    figures
}

fn judge(bound: Bound, values: &[(Engine, f64)]) -> Verdict {
    Floor { work: "test", ours: OURS, bound }.judge(&measured(values))
}

fn holds(bound: Bound, values: &[(Engine, f64)]) -> bool {
    match judge(bound, values) {
        Verdict::Holds(_) => true,
        Verdict::Fails(_) => false,
        Verdict::NotInThisRun(why) => panic!("{why}"),
    }
}

#[test]
fn bounds_hold_up_to_their_limit_and_not_beyond() {
    let (ours, redb) = (Engine::EdgeDb, Engine::Redb);
    let other = figure(redb);
    let table: [(Bound, f64, f64); 5] = [
        (Bound::Least(10.0), 10.0, 9.9),
        (Bound::Most(10.0), 10.0, 10.1),
        (Bound::LeastTimes(8.0, other), 40.0, 39.9),
        (Bound::MostTimes(2.0, other), 10.0, 10.1),
        (Bound::MostOrAs(3.0, other), 5.0, 5.1),
    ];
    for (bound, good, bad) in table {
        assert!(holds(bound, &[(ours, good), (redb, 5.0)]), "{bound:?}");
        assert!(!holds(bound, &[(ours, bad), (redb, 5.0)]), "{bound:?}");
    }
    assert!(holds(Bound::MostOrAs(7.0, other), &[(ours, 6.0), (redb, 5.0)]));
}

#[test]
fn what_is_no_number_does_not_hold() {
    let (ours, redb) = (Engine::EdgeDb, Engine::Redb);
    let other = figure(redb);
    for bound in [
        Bound::Least(1.0),
        Bound::Most(1.0),
        Bound::LeastTimes(1.0, other),
        Bound::MostTimes(1.0, other),
        Bound::MostOrAs(1.0, other),
    ] {
        assert!(!holds(bound, &[(ours, f64::NAN), (redb, 1.0)]), "{bound:?}");
    }
    // A peer that did nothing makes no good ratio.
    assert!(!holds(Bound::LeastTimes(1.0, other), &[(ours, 5.0), (redb, 0.0)]));
}

#[test]
fn what_was_asked_for_and_not_measured_fails() {
    let redb = (Engine::Redb, 1.0);
    let other = figure(Engine::Redb);
    assert!(!holds(Bound::Least(0.0), &[redb]));
    assert!(!holds(Bound::Most(1.0), &[redb]));
    assert!(!holds(Bound::LeastTimes(0.0, other), &[redb]));
    assert!(!holds(Bound::LeastTimes(0.0, other), &[(Engine::EdgeDb, 1.0)]));
}

#[test]
fn what_was_not_asked_for_is_not_judged() {
    let figures = Figures::of([Work::Scan]);
    let floor = Floor { work: "test", ours: OURS, bound: Bound::Least(0.0) };
    assert!(matches!(floor.judge(&figures), Verdict::NotInThisRun(_)));
    let ours = Figure { work: Work::Scan, ..OURS };
    let by_another_work = Floor { work: "test", ours, bound: Bound::LeastTimes(1.0, OURS) };
    let mut figures = Figures::of([Work::Scan]);
    figures.record(1, ours, 1.0);
    assert!(matches!(by_another_work.judge(&figures), Verdict::NotInThisRun(_)));
}

#[test]
fn an_engine_that_is_not_built_in_is_not_judged_and_others_are() {
    let ours = (Engine::EdgeDb, 2.0);
    let rocksdb = judge(Bound::LeastTimes(1.0, figure(Engine::RocksDb)), &[ours]);
    let missing = matches!(rocksdb, Verdict::NotInThisRun(_));
    assert_eq!(missing, !Engine::RocksDb.is_built_in());
    let limit = Bound::MostOrAs(1.0, figure(Engine::RocksDb));
    assert!(matches!(judge(limit, &[ours]), Verdict::Fails(_)));
}

/// Checks that each floor of a list fails without figures, and can fail and hold with them: one
/// that nothing can turn red would be worse than none.
pub(crate) fn check_each_can_fail<W: Case, E: Contender>(works: &[W], floors: &[Floor<W, E>]) {
    let empty = || crate::figures::Figures::of(works.iter().copied());
    let (mut best, mut worst) = (empty(), empty());
    let mut most = 1e12;
    for floor in floors {
        let more = matches!(floor.bound, super::Bound::Least(_) | super::Bound::LeastTimes(..));
        let (good, bad) = if more { (most, 1e-12) } else { (0.0, 1e12) };
        // Far above those in front, which it may be held against.
        most *= 10.0;
        best.record(1, floor.ours, good);
        worst.record(1, floor.ours, bad);
    }
    let is_ours = |figure| floors.iter().any(|floor| floor.ours == figure);
    for other in floors.iter().filter_map(|floor| floor.bound.other()) {
        if !is_ours(other) {
            best.record(1, other, 1.0);
            worst.record(1, other, 1.0);
        }
    }
    for floor in floors {
        assert!(!matches!(floor.judge(&empty()), Verdict::Holds(_)), "{floor:?}");
        assert!(matches!(floor.judge(&best), Verdict::Holds(_)), "{floor:?}");
        // Compared with another figure that has a floor of its own, and is as bad here.
        let relative = floor.bound.other().is_some_and(is_ours);
        assert!(relative || matches!(floor.judge(&worst), Verdict::Fails(_)), "{floor:?}");
    }
}

#[test]
fn one_failing_floor_is_enough() {
    let figures = measured(&[(Engine::EdgeDb, 10.0), (Engine::Redb, 5.0)]);
    let floor = |bound| Floor { work: "put", ours: OURS, bound };
    let good = floor(Bound::LeastTimes(2.0, figure(Engine::Redb)));
    let bad = floor(Bound::Least(11.0));
    let judged = Judged::of(&[good], &figures);
    assert!(judged.none_fails());
    let lines: Vec<String> = judged.table().to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines[2], "| put              | at least 2x redb 4.6 | 2.00x |   yes |");
    let judged = Judged::of(&[floor(Bound::Least(1.0)), bad], &figures);
    assert!(!judged.none_fails());
    assert_eq!(judged.summary(), "2 floors: 1 hold, 1 do not, 0 cannot be told from this run.");
}
