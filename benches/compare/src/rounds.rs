//! Medians over the rounds: figures of a busy machine drift, ratios of neighbours less.

use std::time::Duration;

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

/// The smallest of these, which are sorted, that so much of them does not exceed.
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (sorted.len() as f64 * share).ceil();
    // Floats are exact for any number of puts here, and the cast saturates.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let place = (rank as usize).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
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
    fn percentiles_are_of_the_sorted_rank() {
        let sorted: Vec<_> = (1..=1_000).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 0.99), Duration::from_millis(990));
        assert_eq!(percentile(&sorted, 0.9999), Duration::from_millis(1_000));
        assert_eq!(percentile(&sorted, 1.0), Duration::from_millis(1_000));
        assert_eq!(percentile(&[], 0.99), Duration::ZERO);
    }
}
