use proptest::prelude::*;

use super::*;

fn filter(text: &str) -> TopicFilter {
    text.parse().unwrap()
}

fn matches(tree: &FilterTree<u32>, topic: &str) -> Vec<u32> {
    let mut found = Vec::new();
    tree.each_match(&topic.parse().unwrap(), |value| found.push(*value));
    found.sort_unstable();
    found
}

#[test]
fn same_value_is_replaced_and_others_stay() {
    let mut tree = FilterTree::default();
    tree.insert(&filter("a/+"), 1, |_| false);
    tree.insert(&filter("a/+"), 2, |_| false);
    tree.insert(&filter("a/+"), 3, |old| *old == 1);
    assert_eq!((matches(&tree, "a/b"), tree.len), (vec![2, 3], 2));
}

#[test]
fn removing_the_last_value_leaves_no_node() {
    let mut tree = FilterTree::default();
    for text in ["a/b/c", "a/+/#", "#", "+"] {
        tree.insert(&filter(text), 1, |_| false);
    }
    for text in ["a/b/c", "a/+/#", "#", "+"] {
        assert_eq!(tree.remove(&filter(text), |_| true), Some(1), "{text}");
        assert_eq!(tree.remove(&filter(text), |_| true), None, "{text}");
    }
    assert!(tree.is_empty() && tree.root.is_empty());
}

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "", "$x", "ü"])
}

fn any_topic() -> impl Strategy<Value = TopicName> {
    let topic = prop::collection::vec(level(), 1..5).prop_map(|levels| levels.join("/"));
    topic.prop_filter_map("empty", |topic| topic.parse().ok())
}

fn any_filter() -> impl Strategy<Value = TopicFilter> {
    let level = prop_oneof![3 => level(), 1 => Just("+")];
    (prop::collection::vec(level, 0..4), any::<bool>()).prop_filter_map(
        "empty",
        |(mut levels, hash)| {
            levels.extend(hash.then_some("#"));
            levels.join("/").parse().ok()
        },
    )
}

proptest! {
    /// Against the plain way: ask every filter.
    #[test]
    fn finds_what_a_linear_scan_finds(
        filters in prop::collection::vec(any_filter(), 0..40),
        removed in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        topics in prop::collection::vec(any_topic(), 1..20),
    ) {
        let mut tree = FilterTree::default();
        let mut model: Vec<(TopicFilter, u32)> = Vec::new();
        for (value, filter) in (0..).zip(filters) {
            tree.insert(&filter, value, |_| false);
            model.push((filter, value));
        }
        for index in removed {
            if model.is_empty() { break; }
            let (filter, value) = model.swap_remove(index.index(model.len()));
            prop_assert_eq!(tree.remove(&filter, |found| *found == value), Some(value));
        }
        prop_assert_eq!(tree.len, model.len());
        for topic in topics {
            let mut found = Vec::new();
            tree.each_match(&topic, |value| found.push(*value));
            found.sort_unstable();
            let scan = model.iter().filter(|(filter, _)| filter.matches(&topic));
            let mut expected: Vec<u32> = scan.map(|(_, value)| *value).collect();
            expected.sort_unstable();
            prop_assert_eq!(found, expected, "{}", topic);
        }
    }
}
