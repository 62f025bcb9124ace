//! What is asked of `Engine::sql`: queries, and what there is.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, VisitMut};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::emit::JobQuery;
use super::statement::{Action, Definition};
use super::window::{Resolve, RunBy};
use super::{Script, nearest};
use crate::error::SqlError;

/// A question, as far as it is not for DataFusion alone.
#[derive(Debug)]
pub(crate) enum Question {
    /// A query, or what else DataFusion answers.
    Query(ast::Statement),
    /// `SHOW ..`
    Show(Listing),
    /// `DESCRIBE name`; the statement is for a name that is none of ours.
    Describe(String, ast::Statement),
    /// `EXPLAIN STREAMING query` and `EXPLAIN CREATE ..`
    Explain(Box<JobQuery>),
    /// `EXPLAIN JOB name`
    ExplainJob(String),
}

/// A table of the schema `system`, and what follows on `SHOW`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing {
    Streams,
    Views,
    Sinks,
    Jobs,
}

impl Listing {
    pub(crate) const ALL: [Listing; 4] =
        [Listing::Streams, Listing::Views, Listing::Sinks, Listing::Jobs];

    pub(crate) fn table(self) -> &'static str {
        match self {
            Listing::Streams => "streams",
            Listing::Views => "views",
            Listing::Sinks => "sinks",
            Listing::Jobs => "jobs",
        }
    }
}

/// What DataFusion itself can show.
const SHOWN: [&str; 4] = ["tables", "columns", "functions", "all"];

/// The one question that the text is.
pub(crate) fn parse_question(sql: &str) -> Result<Question, SqlError> {
    let mut script = Script::new(sql)?;
    let question = script.question()?;
    script.expect_end()?;
    Ok(question)
}

impl Script<'_> {
    fn question(&mut self) -> Result<Question, SqlError> {
        if self.is_next("SHOW", 0)
            && let Some(listing) = self.listing()?
        {
            return Ok(Question::Show(listing));
        }
        if self.is_next("INSERT", 0) {
            let next = self.parser.peek_token_ref();
            return Err(self.at(next, "INSERT is no question").or("give it to `execute`"));
        }
        let is_explained = self.is_next("EXPLAIN", 0);
        if is_explained && (self.is_next("STREAMING", 1) || self.is_next("CREATE", 1)) {
            return self.explained();
        }
        if is_explained && self.is_next("JOB", 1) {
            self.words(&["EXPLAIN", "JOB"])?;
            return Ok(Question::ExplainJob(self.name()?));
        }
        let described = match (&self.parser.peek_nth_token_ref(1).token, self.is_describe()) {
            (Token::Word(word), true) if word.quote_style.is_some() => Some(word.value.clone()),
            (Token::Word(word), true) => Some(word.value.to_lowercase()),
            _ => None,
        };
        let is_one_name = !matches!(self.parser.peek_nth_token_ref(2).token, Token::Period);
        let statement = self.parser.parse_statement();
        let mut statement = statement.map_err(|error| self.parse_error(error))?;
        match (statement.visit(&mut Resolve(RunBy::Query)), described.filter(|_| is_one_name)) {
            (ControlFlow::Continue(()), Some(name)) => Ok(Question::Describe(name, statement)),
            (ControlFlow::Continue(()), None) => Ok(Question::Query(statement)),
            (ControlFlow::Break(error), _) => Err(error),
        }
    }

    fn is_describe(&self) -> bool {
        self.is_next("DESCRIBE", 0) || self.is_next("DESC", 0)
    }

    /// What `SHOW` is about; `None` if that is for DataFusion.
    fn listing(&mut self) -> Result<Option<Listing>, SqlError> {
        let behind = usize::from(self.is_next("MATERIALIZED", 1));
        let token = self.parser.peek_nth_token_ref(1 + behind).clone();
        let Token::Word(word) = &token.token else { return Ok(None) };
        let name = word.value.to_lowercase();
        if let Some(listing) = Listing::ALL.into_iter().find(|listing| listing.table() == name) {
            (0..2 + behind).for_each(|_| drop(self.parser.next_token()));
            return Ok(Some(listing));
        }
        let is_path = matches!(self.parser.peek_nth_token_ref(2 + behind).token, Token::Period);
        if is_path || SHOWN.contains(&name.as_str()) {
            return Ok(None);
        }
        let error = self.at(&token, format!("SHOW `{}` is no question", word.value));
        let known = Listing::ALL.iter().map(|listing| listing.table()).chain(SHOWN);
        Err(match nearest(&name, known) {
            Some(near) => error.or(format!("did you mean SHOW {}?", near.to_uppercase())),
            None => error.or("SHOW STREAMS, VIEWS, SINKS, JOBS or TABLES"),
        })
    }

    fn explained(&mut self) -> Result<Question, SqlError> {
        self.expect_word("EXPLAIN")?;
        if self.word("STREAMING") {
            return Ok(Question::Explain(Box::new(self.query()?)));
        }
        let at = self.parser.peek_token_ref().clone();
        match self.statement()?.action {
            Action::Create {
                what: Definition::View(query) | Definition::Sink(_, query), ..
            } => Ok(Question::Explain(query)),
            Action::Create { what: Definition::Table(_), .. } => {
                Err(self.at(&at, "a table has no operators").or("EXPLAIN what looks rows up in it"))
            }
            _ => Err(self
                .at(&at, "a stream has no operators")
                .or("EXPLAIN CREATE MATERIALIZED VIEW, CREATE SINK or STREAMING SELECT")),
        }
    }
}
