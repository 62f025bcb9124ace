//! What is asked of `Engine::sql`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, VisitMut};

use super::Script;
use super::window::{Resolve, RunBy};
use crate::error::SqlError;

/// What `sql` runs: a query, or a question about the catalog.
pub(crate) fn parse_question(sql: &str) -> Result<ast::Statement, SqlError> {
    let mut script = Script::new(sql)?;
    let statement = script.parser.parse_statement();
    let mut statement = statement.map_err(|error| script.parse_error(error))?;
    script.expect_end()?;
    match statement.visit(&mut Resolve(RunBy::Query)) {
        ControlFlow::Continue(()) => Ok(statement),
        ControlFlow::Break(error) => Err(error),
    }
}
