//! What the columns of a plan are, as far as windows need to know: event time, the bounds of a
//! window, the keys of groups.

use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;

use crate::error::SqlError;
use crate::session::{TUMBLE_END, TUMBLE_START, micros};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lineage {
    /// The column that the stream's watermark is about.
    EventTime,
    /// A bound of the window that a row lies in.
    Bound(Bound),
    /// A bound of a window over a column that is not the event time.
    ForeignBound,
    /// A bound of the window that a group was made for.
    GroupWindow,
    /// A key of a group: its place, and its name for messages.
    GroupKey(usize, String),
    /// The groups' keys have gone, with only this said about the column.
    Aggregate {
        keys: Vec<String>,
    },
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) size_micros: i64,
    pub(super) is_end: bool,
}

/// What an expression over columns of these lineages is.
pub(super) fn of(expr: &Expr, input: &DFSchema, below: &[Lineage]) -> Lineage {
    match expr {
        Expr::Alias(alias) => of(&alias.expr, input, below),
        Expr::Column(column) => {
            let place = input.maybe_index_of_column(column);
            place.and_then(|place| below.get(place)).cloned().unwrap_or(Lineage::Other)
        }
        Expr::ScalarFunction(function) => {
            let is_end = match function.func.name() {
                TUMBLE_START => false,
                TUMBLE_END => true,
                _ => return Lineage::Other,
            };
            match function.args.as_slice() {
                [time, Expr::Literal(size, _)] if of(time, input, below) == Lineage::EventTime => {
                    let bound = |size_micros| Lineage::Bound(Bound { size_micros, is_end });
                    micros(size).map_or(Lineage::ForeignBound, bound)
                }
                _ => Lineage::ForeignBound,
            }
        }
        _ => Lineage::Other,
    }
}

/// The columns that tell rows of the answer apart: one bound of the window, and all keys.
pub(super) fn key(lineage: &[Lineage]) -> Result<Option<Vec<usize>>, SqlError> {
    let place = |wanted: &dyn Fn(&Lineage) -> bool| lineage.iter().position(wanted);
    let keys = lineage.iter().find_map(|one| match one {
        Lineage::Aggregate { keys } => Some(keys),
        _ => None,
    });
    let is_grouped = |one: &Lineage| {
        matches!(one, Lineage::GroupWindow | Lineage::GroupKey(..) | Lineage::Aggregate { .. })
    };
    if !lineage.iter().any(is_grouped) {
        return Ok(None);
    }
    let missing = |name: &str| {
        let reason = format!("rows of the answer are told apart by `{name}`, which is not in it");
        Err(SqlError::statement(None, reason).or(format!("add `{name}` to the SELECT list")))
    };
    let Some(window) = place(&|one| *one == Lineage::GroupWindow) else {
        return missing("window_start");
    };
    let mut columns = vec![window];
    for (key, name) in keys.into_iter().flatten().enumerate() {
        match place(&|one| matches!(one, Lineage::GroupKey(place, _) if *place == key)) {
            Some(column) => columns.push(column),
            None => return missing(name),
        }
    }
    Ok(Some(columns))
}
