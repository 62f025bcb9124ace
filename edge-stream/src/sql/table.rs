//! `CREATE TABLE` and `INSERT INTO`: rows that statements bring, told apart by a key.

use std::ops::ControlFlow;

use arrow::datatypes::Field;
use datafusion::sql::sqlparser::ast::{Query, VisitMut};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::window::{Resolve, RunBy};
use super::{Script, nearest};
use crate::error::{Position, SqlError};

const USAGE: &str = "write CREATE TABLE limits (device VARCHAR, high DOUBLE, PRIMARY KEY (device))";

const INSERT: &str =
    "write INSERT INTO limits VALUES ('press', 80), or INSERT INTO limits SELECT ..";

/// The columns of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TableDefinition {
    pub(crate) columns: Vec<Field>,
    /// The places of those that tell rows apart, in the order of the key.
    pub(crate) key: Vec<usize>,
}

/// Rows for a table.
#[derive(Debug, Clone)]
pub(crate) struct Insert {
    pub(crate) table: (String, Position),
    /// What the query gives, in its order; nothing for all columns.
    pub(crate) columns: Vec<(String, Position)>,
    pub(crate) query: Query,
}

impl Script<'_> {
    pub(super) fn table_definition(&mut self) -> Result<TableDefinition, SqlError> {
        let open = self.parser.peek_token_ref().clone();
        if !self.parser.consume_token(&Token::LParen) {
            return Err(self.at(&open, "a table needs columns").or(USAGE));
        }
        let (mut columns, mut key) = (Vec::new(), None);
        loop {
            let at = self.parser.peek_token_ref().clone();
            let own = if self.is_next("KEY", 1) && self.words(&["PRIMARY", "KEY"])? {
                self.names()?
            } else {
                let name = self.parser.peek_token_ref().clone();
                let column = self.column(&columns)?;
                let own = self.words(&["PRIMARY", "KEY"])?;
                let own = if own { vec![(column.name().clone(), name)] } else { Vec::new() };
                columns.push(column);
                own
            };
            if !own.is_empty() && key.replace(own).is_some() {
                return Err(self
                    .at(&at, "a table has one PRIMARY KEY")
                    .or("name all its columns in it: PRIMARY KEY (line, device)"));
            }
            let next = self.parser.peek_token_ref().clone();
            if self.parser.consume_token(&Token::RParen) {
                break;
            }
            if !self.parser.consume_token(&Token::Comma) {
                let reason = format!("expected , or ) behind a column, found {}", next.token);
                return Err(self.at(&next, reason));
            }
        }
        let Some(key) = key else {
            return Err(self
                .at(&open, "a table needs a PRIMARY KEY, which tells its rows apart")
                .or(USAGE));
        };
        let key = key.into_iter().map(|(name, at)| self.place_of(&name, &at, &columns));
        Ok(TableDefinition { key: key.collect::<Result<_, _>>()?, columns })
    }

    fn place_of(
        &self,
        name: &str,
        at: &TokenWithSpan,
        columns: &[Field],
    ) -> Result<usize, SqlError> {
        columns.iter().position(|column| column.name() == name).ok_or_else(|| {
            let error = self.at(at, format!("there is no column `{name}` for the key"));
            match nearest(name, columns.iter().map(|column| column.name().as_str())) {
                Some(near) => error.or(format!("did you mean `{near}`?")),
                None => error.or(USAGE),
            }
        })
    }

    /// `(a, b)`
    fn names(&mut self) -> Result<Vec<(String, TokenWithSpan)>, SqlError> {
        let open = self.parser.peek_token_ref().clone();
        if !self.parser.consume_token(&Token::LParen) {
            return Err(self.at(&open, format!("expected (, found {}", open.token)));
        }
        let mut names = Vec::<(String, TokenWithSpan)>::new();
        loop {
            let at = self.parser.peek_token_ref().clone();
            let name = self.column_name()?;
            if names.iter().any(|(known, _)| *known == name) {
                return Err(self.at(&at, format!("column `{name}` is there twice")));
            }
            names.push((name, at));
            let next = self.parser.peek_token_ref().clone();
            if self.parser.consume_token(&Token::RParen) {
                return Ok(names);
            }
            if !self.parser.consume_token(&Token::Comma) {
                let reason = format!("expected , or ) behind a name, found {}", next.token);
                return Err(self.at(&next, reason));
            }
        }
    }

    /// `INSERT INTO table [(columns)] query`
    pub(super) fn insert(&mut self) -> Result<Insert, SqlError> {
        self.words(&["INSERT", "INTO"])?;
        let at = self.parser.peek_token_ref().span.start;
        let table = (self.name()?, self.here(&at));
        let is_query = |script: &Script<'_>, behind| {
            ["VALUES", "SELECT", "WITH"].iter().any(|word| script.is_next(word, behind))
        };
        let mut columns = Vec::new();
        if self.parser.peek_token_ref().token == Token::LParen && !is_query(self, 1) {
            let names = self.names()?.into_iter();
            columns = names.map(|(name, at)| (name, self.here(&at.span.start))).collect();
        }
        let next = self.parser.peek_token_ref().clone();
        if next.token != Token::LParen && !is_query(self, 0) {
            let reason = format!("expected VALUES or SELECT, found {}", next.token);
            return Err(self.at(&next, reason).or(INSERT));
        }
        let query = self.parser.parse_query();
        let mut query = *query.map_err(|error| self.parse_error(error))?;
        match query.visit(&mut Resolve(RunBy::Query)) {
            ControlFlow::Continue(()) => Ok(Insert { table, columns, query }),
            ControlFlow::Break(error) => Err(error),
        }
    }
}
