//! `SESSION(readings PARTITION BY room, DESCRIPTOR(ts), INTERVAL '30 seconds')` in `FROM`: the rows
//! with `window_start` and `window_end`, whose values are known once rows are grouped.

use datafusion::sql::sqlparser::ast::{Expr, FunctionArg, Query};

use super::keyed::Keyed;

pub(super) const USAGE: &str = "write SESSION(stream, DESCRIPTOR(time_column), INTERVAL '30 seconds'): how long no row comes \
     between two sessions";

/// What stands for the call: the gap, and the columns of `PARTITION BY`, are its sizes.
const TEMPLATE: &str = "SELECT *, session_start(time_, S) AS window_start, \
                        session_end(time_, S) AS window_end FROM table_";

/// The query that the call stands for; or what is wrong with it.
pub(super) fn windowed(args: &[FunctionArg]) -> Result<Query, String> {
    let args: Vec<_> = args.iter().collect();
    let shape = || "SESSION takes a stream, a time column and a gap".to_owned();
    let keyed = Keyed::read(&args, 1).ok_or_else(shape)?;
    keyed.check("SESSION")?;
    match keyed.own.as_slice() {
        [Expr::Interval(_)] => keyed.filled(TEMPLATE, &keyed.own).ok_or_else(shape),
        [gap] => Err(format!("SESSION's gap is an INTERVAL, not `{gap}`")),
        _ => Err(shape()),
    }
}
