//! Rounds A B A B and their medians: figures of a busy machine drift, ratios of neighbours less.

/// Measures every peer once in each round; the results by peer.
pub(crate) fn interleave<P, T>(
    peers: &[P],
    rounds: usize,
    mut measure: impl FnMut(usize, &P) -> T,
) -> Vec<Vec<T>> {
    let mut results: Vec<Vec<T>> = peers.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for (peer, results) in peers.iter().zip(&mut results) {
            results.push(measure(round, peer));
        }
    }
    results
}

/// The middle one; between two, their mean. `None` of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { (values[middle - 1] + upper) / 2.0 })
}

/// The median of their figure by ours, round by round; rounds that lack one of them do not count.
pub(crate) fn ratio(theirs: &[Option<f64>], ours: &[Option<f64>]) -> Option<f64> {
    let pairs = theirs.iter().zip(ours);
    median(pairs.filter_map(|(theirs, ours)| Some((*theirs)? / (*ours)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_even_count_is_mean_of_the_middle_two() {
        assert_eq!(median([4.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn ratio_skips_rounds_without_a_figure() {
        let theirs = [Some(1.0), None, Some(6.0)];
        assert_eq!(ratio(&theirs, &[Some(2.0), Some(9.0), Some(2.0)]), Some(1.75));
    }

    #[test]
    fn peers_take_turns() {
        let mut order = Vec::new();
        interleave(&["a", "b"], 2, |round, peer| order.push((round, *peer)));
        assert_eq!(order, [(1, "a"), (1, "b"), (2, "a"), (2, "b")]);
    }
}
