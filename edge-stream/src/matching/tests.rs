//! Against a matcher that tries one way after the other and goes back, over all rows at once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::collection::vec;
use proptest::prelude::*;

use super::pattern::Unusable;
use super::*;

/// When a row may be a variable: its value compared with a constant, or with that of another row.
#[derive(Debug, Clone, Copy)]
enum Condition {
    Always,
    AtLeast(i8),
    Below(i8),
    /// More than the row that is referred to has, if there is one.
    MoreThan(Reference),
    /// Not the value of the row that is referred to, where there is none too.
    NotAs(Reference),
}

impl Condition {
    fn holds(
        self,
        values: &[i8],
        current: usize,
        find: impl Fn(Reference) -> Option<usize>,
    ) -> bool {
        let value = values[current];
        match self {
            Condition::Always => true,
            Condition::AtLeast(least) => value >= least,
            Condition::Below(most) => value < most,
            Condition::MoreThan(row) => find(row).is_some_and(|row| value > values[row]),
            Condition::NotAs(row) => find(row).is_none_or(|row| value != values[row]),
        }
    }

    fn reference(self) -> Option<Reference> {
        match self {
            Condition::MoreThan(row) | Condition::NotAs(row) => Some(row),
            _ => None,
        }
    }
}

/// The referred row among those of a match so far, of which the current one is the last.
fn referred(path: &[usize], Reference { variable, anchor }: Reference) -> Option<usize> {
    let mut rows = (0..path.len()).filter(|row| variable.is_none_or(|own| path[*row] == own));
    match anchor {
        Anchor::First(behind) => rows.nth(behind as usize),
        Anchor::Last(in_front) => rows.rev().nth(in_front as usize),
    }
}

struct Backtracking<'a> {
    values: &'a [i8],
    conditions: &'a [Condition],
}

impl Backtracking<'_> {
    /// The first way through the pattern and what follows it, if there is one.
    fn matches(&self, pattern: &[&Pattern], path: &mut Vec<usize>) -> bool {
        let Some((first, rest)) = pattern.split_first() else { return true };
        match first {
            Pattern::Variable(variable) => {
                path.push(*variable);
                let current = path.len() - 1;
                let condition = self.conditions[*variable];
                let is_match = current < self.values.len()
                    && condition.holds(self.values, current, |row| referred(path, row))
                    && self.matches(rest, path);
                if !is_match {
                    path.truncate(current);
                }
                is_match
            }
            Pattern::Concat(parts) => {
                let all: Vec<_> = parts.iter().chain(rest.iter().copied()).collect();
                self.matches(&all, path)
            }
            Pattern::Either(parts) => parts.iter().any(|part| {
                let all: Vec<_> = std::iter::once(part).chain(rest.iter().copied()).collect();
                self.matches(&all, path)
            }),
            Pattern::Repeat { of, least, most, is_greedy } => {
                let once_more = |path: &mut Vec<usize>| {
                    let less = most.map(|most| most - 1);
                    let (of, least) = (of.clone(), least.saturating_sub(1));
                    let again = Pattern::Repeat { of, least, most: less, is_greedy: *is_greedy };
                    let of = match &again {
                        Pattern::Repeat { of, .. } => &**of,
                        _ => unreachable!("it was just made"),
                    };
                    let all: Vec<_> =
                        [of, &again].into_iter().chain(rest.iter().copied()).collect();
                    self.matches(&all, path)
                };
                let may_repeat = *most != Some(0);
                match (*least > 0, *is_greedy) {
                    (true, _) => may_repeat && once_more(path),
                    (false, true) => (may_repeat && once_more(path)) || self.matches(rest, path),
                    (false, false) => self.matches(rest, path) || (may_repeat && once_more(path)),
                }
            }
        }
    }
}

/// What the attempt finds in these rows, and how many it has looked at.
fn attempted(
    program: &Program,
    slotted: &Slotted,
    conditions: &[Condition],
    values: &[i8],
) -> (Option<Vec<usize>>, usize) {
    let mut attempt = Attempt::new(program, slotted);
    while (attempt.rows() as usize) < values.len() {
        let current = attempt.rows();
        let status = attempt.advance(program, slotted, |variable, slots| {
            let find = |row| slotted.find(slots, row, variable, current).map(|row| row as usize);
            Ok::<_, Crowded>(conditions[variable].holds(values, current as usize, find))
        });
        if status.unwrap() == Status::Decided {
            break;
        }
    }
    let rows = attempt.rows() as usize;
    (attempt.finish(), rows)
}

const VARIABLES: usize = 3;

fn pattern() -> impl Strategy<Value = Pattern> {
    let leaf = (0..VARIABLES).prop_map(Pattern::Variable);
    leaf.prop_recursive(4, 12, 3, |inner| {
        let repeat = (inner.clone(), 0u32..3, prop::option::of(0u32..3), any::<bool>());
        prop_oneof![
            vec(inner.clone(), 2..4).prop_map(Pattern::Concat),
            vec(inner, 2..3).prop_map(Pattern::Either),
            repeat.prop_map(|(of, least, more, is_greedy)| {
                let (of, most) = (Box::new(of), more.map(|more| least + more));
                Pattern::Repeat { of, least, most, is_greedy }
            }),
        ]
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    let anchor = prop_oneof![(0u32..3).prop_map(Anchor::First), (0u32..3).prop_map(Anchor::Last)];
    let reference = (prop::option::of(0..VARIABLES), anchor)
        .prop_map(|(variable, anchor)| Reference { variable, anchor });
    prop_oneof![
        Just(Condition::Always),
        (0i8..5).prop_map(Condition::AtLeast),
        (0i8..5).prop_map(Condition::Below),
        reference.clone().prop_map(Condition::MoreThan),
        reference.prop_map(Condition::NotAs),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn attempt_finds_what_backtracking_finds(
        pattern in pattern(),
        conditions in vec(condition(), VARIABLES),
        values in vec(0i8..5, 0..9),
    ) {
        let Ok(program) = Program::new(&pattern) else { return Ok(()) };
        let slotted = Slotted::new(VARIABLES, conditions.iter().filter_map(|one| one.reference()));
        let (found, looked_at) = attempted(&program, &slotted, &conditions, &values);
        let brute = |rows: usize| {
            let mut path = Vec::new();
            let of = Backtracking { values: &values[..rows], conditions: &conditions };
            of.matches(&[&pattern], &mut path).then_some(path)
        };
        prop_assert_eq!(&found, &brute(values.len()));
        // It was decided without the rows behind.
        prop_assert_eq!(&found, &brute(looked_at));
    }
}

fn variables(letters: &str) -> Vec<usize> {
    letters.bytes().map(|letter| usize::from(letter - b'A')).collect()
}

fn repeat(of: usize, least: u32, most: Option<u32>, is_greedy: bool) -> Pattern {
    Pattern::Repeat { of: Box::new(Pattern::Variable(of)), least, most, is_greedy }
}

#[test]
fn what_is_preferred_is_found_as_soon_as_it_stands() {
    use Condition::{Always, AtLeast};
    let (a, b) = (Pattern::Variable(0), Pattern::Variable(1));
    let concat = |parts: &[Pattern]| Pattern::Concat(parts.to_vec());
    for (pattern, values, expected, rows) in [
        // B holds from 2 on, A always.
        (concat(&[a.clone(), b.clone()]), vec![0, 3, 3], Some("AB"), 2),
        (concat(&[a.clone(), repeat(1, 1, None, true)]), vec![0, 3, 3, 1, 3], Some("ABB"), 4),
        (concat(&[a.clone(), repeat(1, 1, None, false)]), vec![0, 3, 3, 1], Some("AB"), 2),
        (concat(&[a.clone(), repeat(1, 1, Some(2), true)]), vec![0, 3, 3, 3], Some("ABB"), 3),
        (concat(&[repeat(0, 0, None, true), b.clone()]), vec![0, 3, 0, 3], Some("AAAB"), 4),
        (concat(&[repeat(0, 0, None, false), b.clone()]), vec![0, 3, 0, 3], Some("AB"), 2),
        (Pattern::Either(vec![b.clone(), a.clone()]), vec![0, 3], Some("A"), 1),
        (b.clone(), vec![0, 3], None, 1),
        (concat(&[a, b]), vec![0], None, 1),
    ] {
        let program = Program::new(&pattern).unwrap();
        let found = attempted(&program, &Slotted::new(2, []), &[Always, AtLeast(2)], &values);
        assert_eq!(found, (expected.map(variables), rows), "{pattern:?} in {values:?}");
    }
}

#[test]
fn patterns_that_take_no_row_or_too_many_steps_are_refused() {
    let either = Pattern::Either(vec![Pattern::Variable(0), repeat(1, 0, Some(1), true)]);
    let loops =
        Pattern::Repeat { of: Box::new(either.clone()), least: 1, most: None, is_greedy: true };
    let ends = Pattern::Concat(vec![loops, Pattern::Variable(2)]);
    for (pattern, expected) in [
        (repeat(0, 0, None, true), Unusable::Empty),
        (either, Unusable::Empty),
        (ends, Unusable::EmptyLoop),
        (repeat(0, 3, Some(2), true), Unusable::Reversed),
        (repeat(0, 1000, None, true), Unusable::TooLong),
        (repeat(0, 1, Some(600), true), Unusable::TooLong),
    ] {
        assert_eq!(Program::new(&pattern), Err(expected), "{pattern:?}");
    }
}

#[test]
fn ways_that_look_back_at_the_same_rows_are_one() {
    // (A | B)* C: each row may be both, and nothing looks back at which it was.
    let either = Pattern::Either(vec![Pattern::Variable(0), Pattern::Variable(1)]);
    let any = Pattern::Repeat { of: Box::new(either), least: 0, most: None, is_greedy: true };
    let program = Program::new(&Pattern::Concat(vec![any, Pattern::Variable(2)])).unwrap();
    let rows = |references: &[Reference]| {
        let slotted = Slotted::new(3, references.iter().copied());
        let mut attempt = Attempt::new(&program, &slotted);
        let holds = |variable, _: &Slots| Ok::<_, Crowded>(variable != 2);
        (0..10_000).find_map(|row| attempt.advance(&program, &slotted, holds).err().map(|_| row))
    };
    assert_eq!(rows(&[]), None);
    let tenth = Reference { variable: Some(0), anchor: Anchor::Last(20) };
    assert!(rows(&[tenth]).is_some_and(|row| row < 20));
}
