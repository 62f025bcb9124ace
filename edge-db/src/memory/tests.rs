use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Erase(u8, u8),
}

fn groups() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = prop_oneof![
        4 => (0u8..24, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        1 => (0u8..24).prop_map(Step::Delete),
        1 => (0u8..24, 0u8..24).prop_map(|(from, to)| Step::Erase(from, to)),
    ];
    vec(vec(step, 1..5), 1..30)
}

fn key(number: u8) -> Bytes {
    Bytes::copy_from_slice(&[number])
}

fn write(step: &Step) -> Write {
    match *step {
        Step::Put(at, value) => Write::Put(key(at), key(value)),
        Step::Delete(at) => Write::Delete(key(at)),
        Step::Erase(from, to) => Write::DeleteRange(key(from), key(to)),
    }
}

/// What a table over a lower layer in which every key has the value 255 must say.
type Model = BTreeMap<u8, Found>;

fn apply(model: &mut Model, step: &Step) {
    match *step {
        Step::Put(at, value) => drop(model.insert(at, Found::Value(key(value)))),
        Step::Delete(at) => drop(model.insert(at, Found::Deleted)),
        Step::Erase(from, to) => {
            (from..to).for_each(|at| drop(model.insert(at, Found::Deleted)));
        }
    }
}

fn said(table: &MemoryTable, at: Revision) -> Model {
    let all = (0u8..24).map(|number| (number, table.get(&[number], || at)));
    all.filter(|(_, found)| *found != Found::Below).collect()
}

proptest! {
    /// Views that stay open see what they saw, whatever is written and pruned after them.
    #[test]
    fn every_open_view_sees_its_revision(groups in groups(), open in vec(any::<bool>(), 30)) {
        let table = MemoryTable::default();
        let mut models = vec![(Revision::ZERO, Model::new())];
        let mut now = Model::new();
        for (number, group) in groups.iter().enumerate() {
            let revision = Revision::new(number as u64 + 1);
            let oldest = models.iter().map(|(revision, _)| *revision).min();
            let visible = Revision::new(number as u64);
            let oldest = oldest.unwrap_or(visible).min(visible);
            table.apply(group.iter().map(write).collect(), revision, oldest);
            group.iter().for_each(|step| apply(&mut now, step));
            if number == 0 || !open[number] {
                models.pop();
            }
            models.push((revision, now.clone()));
            for (revision, model) in &models {
                prop_assert_eq!(&said(&table, *revision), model, "at {}", revision);
            }
        }
    }

    #[test]
    fn scans_agree_with_gets_in_both_directions(groups in groups(), from in 0u8..24, to in 0u8..24) {
        let table = MemoryTable::default();
        for (number, group) in groups.iter().enumerate() {
            let revision = Revision::new(number as u64 + 1);
            table.apply(group.iter().map(write).collect(), revision, revision);
        }
        let at = Revision::new(groups.len() as u64);
        let (from, to) = (key(from.min(to)), key(from.max(to)));
        let bounds = (Bound::Included(from.as_ref()), Bound::Included(to.as_ref()));
        let mut forwards = Vec::new();
        table.scan(bounds.0, bounds.1, at, usize::MAX, |key, value| forwards.push((key, value)));
        let mut backwards = Vec::new();
        table.scan_back(bounds.0, bounds.1, at, usize::MAX, |key, value| {
            backwards.push((key, value));
        });
        backwards.reverse();
        prop_assert_eq!(&forwards, &backwards);
        let erased = table.erased(bounds.0, bounds.1, at);
        for number in from[0]..=to[0] {
            let scanned = forwards.iter().find(|(key, _)| key[0] == number);
            let found = match scanned {
                Some((_, Some(value))) => Found::Value(value.clone()),
                Some((_, None)) => Found::Deleted,
                None if erased.covers(&[number], at) => Found::Deleted,
                None => Found::Below,
            };
            prop_assert_eq!(found, table.get(&[number], || at), "key {}", number);
        }
    }
}

#[test]
fn overwritten_value_gives_its_memory_back() {
    let table = MemoryTable::default();
    for number in 1..1000 {
        let write = Write::Put(key(1), Bytes::from(vec![0; 100]));
        table.apply(vec![write], Revision::new(number), Revision::new(number - 1));
    }
    assert!(table.bytes() < 1000, "{} bytes", table.bytes());
}

#[test]
fn neighbouring_ranges_become_one() {
    let table = MemoryTable::default();
    for number in 0..200u8 {
        let write = Write::DeleteRange(key(number), key(number + 1));
        let revision = Revision::new(u64::from(number) + 1);
        table.apply(vec![write], revision, Revision::new(u64::from(number)));
    }
    assert!(table.bytes() < 1000, "{} bytes", table.bytes());
}
