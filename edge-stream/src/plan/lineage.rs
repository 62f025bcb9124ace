//! What the columns of a plan are, as far as windows need to know: event time, the bounds of a
//! window, the keys of groups.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;

use crate::error::SqlError;
use crate::sessions::{self, Session};
use crate::windows::function::{Side, WindowFunction};
use crate::windows::{Shape, Windows};
use crate::{gaps, row_windows};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lineage {
    /// The column that the stream's watermark is about.
    EventTime,
    /// A bound of the window that a row lies in.
    Bound(Bound),
    /// A bound of the session that a row lies in.
    Session(Session),
    /// A bound of a window over a column that is not the event time.
    ForeignBound,
    /// A bound of the window that a group was made for. Windows that grow have their start in common
    /// with others, and are told apart by their ends only.
    GroupWindow {
        is_unique: bool,
        /// Whether windows over it close by the watermark.
        is_event_time: bool,
        /// The names of all keys of the groups, whether they are in the answer or not.
        keys: Arc<[String]>,
    },
    /// A key of a group, by its place among the keys.
    GroupKey(usize),
    Aggregate,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) windows: Windows,
    pub(super) side: Side,
}

impl Lineage {
    /// Whether the watermark is about this column.
    pub(super) fn is_event_time(&self) -> bool {
        matches!(self, Lineage::EventTime | Lineage::GroupWindow { is_event_time: true, .. })
    }

    /// Whether rows have been grouped.
    pub(super) fn is_grouped(&self) -> bool {
        matches!(self, Lineage::GroupWindow { .. } | Lineage::GroupKey(..) | Lineage::Aggregate)
    }

    /// Whether it tells windows of one key apart.
    pub(super) fn is_unique(&self) -> bool {
        matches!(self, Lineage::GroupWindow { is_unique: true, .. })
    }

    /// Whether its values say nothing before rows are grouped: a row lies in several windows.
    fn is_spread(&self) -> bool {
        matches!(self, Lineage::Bound(bound) if bound.windows.shape != Shape::Tumble)
    }

    /// What it is of a row that is made of several, or one of several that are alike: the keys of
    /// groups do not tell such rows apart.
    pub(super) fn ungrouped(&self) -> Lineage {
        match self {
            Lineage::EventTime | Lineage::GroupWindow { .. } => Lineage::EventTime,
            Lineage::Bound(_) | Lineage::ForeignBound => self.clone(),
            _ => Lineage::Other,
        }
    }
}

/// What an expression over columns of these lineages is.
pub(super) fn of(expr: &Expr, input: &DFSchema, below: &[Lineage]) -> Lineage {
    match expr {
        Expr::Alias(alias) => of(&alias.expr, input, below),
        Expr::Column(column) => {
            let place = input.maybe_index_of_column(column);
            place.and_then(|place| below.get(place)).cloned().unwrap_or(Lineage::Other)
        }
        Expr::ScalarFunction(call) => {
            if let Some(session) = sessions::named(call) {
                let time = call.args.first().map(|time| of(time, input, below));
                let is_event_time = time.is_some_and(|time| time.is_event_time());
                return if is_event_time {
                    Lineage::Session(session)
                } else {
                    Lineage::ForeignBound
                };
            }
            if row_windows::named(call.func.name()).is_some() {
                let time = call.args.first().map(|time| of(time, input, below));
                return match time.is_some_and(|time| time.is_event_time()) {
                    true => Lineage::EventTime,
                    false => Lineage::ForeignBound,
                };
            }
            if let Some(bound) = gaps::unmarked(call) {
                return of(bound, input, below);
            }
            let function = WindowFunction::named(call.func.name());
            let Some(function @ WindowFunction::Bound(_, side)) = function else {
                return Lineage::Other;
            };
            let Some((time, sizes)) = call.args.split_first() else { return Lineage::Other };
            let sizes = sizes.iter().map(|size| match size {
                Expr::Literal(size, _) => Some(size),
                _ => None,
            });
            let windows = sizes.collect::<Option<Vec<_>>>().map(|sizes| function.windows(&sizes));
            match windows {
                Some(Ok(windows)) if of(time, input, below).is_event_time() => {
                    Lineage::Bound(Bound { windows, side })
                }
                _ => Lineage::ForeignBound,
            }
        }
        _ => Lineage::Other,
    }
}

/// Refuses expressions that compute with a bound of windows that lie over each other: which of them
/// is meant is known only once rows are grouped.
pub(super) fn check_spread<'a>(
    exprs: impl IntoIterator<Item = &'a Expr>,
    input: &DFSchema,
    below: &[Lineage],
) -> Result<(), SqlError> {
    for expr in exprs {
        let is_plain = matches!(expr.clone().unalias(), Expr::Column(_));
        let columns = expr.column_refs();
        let places = columns.iter().filter_map(|column| input.maybe_index_of_column(column));
        if !is_plain && places.filter_map(|place| below.get(place)).any(Lineage::is_spread) {
            let reason = format!("`{expr}`: a row lies in several windows of HOP and CUMULATE");
            return Err(SqlError::statement(None, reason).or(
                "GROUP BY window_start, window_end, and compute with the columns of the groups",
            ));
        }
    }
    Ok(())
}

/// Refuses an answer with a bound of windows that lie over each other, whose rows are not grouped.
pub(super) fn check_grouped(lineage: &[Lineage]) -> Result<(), SqlError> {
    if lineage.iter().any(Lineage::is_spread) {
        let reason = "a row lies in several windows of HOP and CUMULATE";
        return Err(SqlError::statement(None, reason)
            .or("GROUP BY window_start, window_end, or select the rows FROM the stream itself"));
    }
    Ok(())
}

/// The columns that tell rows of the answer apart where there is no window: all keys, which have
/// these names.
pub(super) fn group_key(lineage: &[Lineage], names: &[String]) -> Result<Vec<usize>, SqlError> {
    let columns = names.iter().enumerate().map(|(key, name)| {
        let column = lineage.iter().position(|one| *one == Lineage::GroupKey(key));
        column.ok_or_else(|| missing(name))
    });
    columns.collect()
}

fn missing(name: &str) -> SqlError {
    let reason = format!("rows of the answer are told apart by `{name}`, which is not in it");
    SqlError::statement(None, reason).or(format!("add `{name}` to the SELECT list"))
}

/// The columns that tell rows of the answer apart: one bound of the window, and all keys.
pub(super) fn key(lineage: &[Lineage]) -> Result<Option<Vec<usize>>, SqlError> {
    let place = |wanted: &dyn Fn(&Lineage) -> bool| lineage.iter().position(wanted);
    let keys = lineage.iter().find_map(|one| match one {
        Lineage::GroupWindow { keys, .. } => Some(keys),
        _ => None,
    });
    if !lineage.iter().any(Lineage::is_grouped) {
        return Ok(None);
    }
    let Some(window) = place(&Lineage::is_unique) else {
        let has_start = keys.is_some();
        return Err(missing(if has_start { "window_end" } else { "window_start" }));
    };
    let keys = group_key(lineage, keys.map_or(&[], |keys| keys))?;
    Ok(Some([vec![window], keys].concat()))
}
