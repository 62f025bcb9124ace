//! What a pipeline answers and stores, as tests compare it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use edge_stream::{Pipeline, Stored};

/// The rows as text, in an order of their own, without the header. Floats have six digits behind the
/// point, as sums of them depend on their order in the last ones.
pub(crate) fn lines(batches: &[RecordBatch]) -> Vec<String> {
    lines_by(batches, |cell| {
        let is_float = cell.contains('.') && !cell.contains('[');
        cell.parse::<f64>().map_or(cell.to_owned(), |value| {
            if is_float { format!("{value:.6}") } else { cell.to_owned() }
        })
    })
}

/// The same, every cell as it is.
pub(crate) fn exact_lines(batches: &[RecordBatch]) -> Vec<String> {
    lines_by(batches, str::to_owned)
}

pub(crate) fn lines_by(batches: &[RecordBatch], shown: impl Fn(&str) -> String) -> Vec<String> {
    let text = pretty_format_batches(batches).unwrap().to_string();
    let rows = text.lines().skip(3).filter(|line| line.starts_with('|'));
    let cells = rows.map(|line| {
        let cells = line.split('|').map(|cell| shown(cell.trim()));
        cells.collect::<Vec<_>>().join("|")
    });
    let mut lines: Vec<_> = cells.collect();
    lines.sort();
    lines
}

/// Stores a checkpoint; gives the keys that it has written or taken away, each with its bytes.
pub(crate) fn store(query: &mut Pipeline, stored: &mut Stored) -> Vec<(Vec<u8>, usize)> {
    let changes = query.checkpoint().unwrap().into_iter();
    let changes = changes.map(|(key, change)| match change {
        Some(bytes) => {
            let length = bytes.len();
            stored.insert(key.clone(), bytes);
            (key, length)
        }
        None => {
            stored.remove(&key);
            (key, 0)
        }
    });
    changes.collect()
}
